"""What every long-lived process of this project needs: a clock, a log.

A leaf that the runner imports, too: it knows values and the standard library,
and nothing of databases, storages, clusters or either side's loops.
"""
