"""How the bytes flow: one dump to many locations, one location's objects to an engine.

    engine -> hash, count -> zstd -> age -> parts -> per location: queue, upload
    location -> objects -> hash -> age -> zstd -> hash, hold back the end -> engine

Belongs here: streams, bounded buffers, threads, abort rules. Does not belong
here: what a manifest says (runner.repository) and when a job runs (runner.jobs).
"""
