"""The command line: one verb a module, each thin.

A verb that is a job (backup-now, restore, verify, prune) asks the runner that
listens on the control socket; where none does - on a laptop - it runs the job
itself, in the same kind of child process.
"""
