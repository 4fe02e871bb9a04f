"""The CockroachDB engine.

The cluster writes its backups into the bucket by itself: `BACKUP INTO`, chains
of a full backup and incremental ones. ADR 0016.
"""
