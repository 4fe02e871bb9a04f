"""What the processes of both sides need: a clock, a log, a reader of YAML, HTTP for probes.

A leaf that the runner imports, too: it knows values and the standard library,
and nothing of databases, storages, clusters or either side's loops.
"""
