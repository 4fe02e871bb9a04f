"""What a runner does: each job in a child process, watched by the parent.

    request (stdin) -> child: load config, open engine and locations, act
                    <- events (one JSON object a line): progress, warnings, report, outcome

Belongs here: one module per kind of job, the child's frame and its watcher.
Does not belong here: when jobs run (runner.scheduler) and who asks (runner.control).
"""
