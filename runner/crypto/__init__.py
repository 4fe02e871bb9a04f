"""Encryption of backups: the standard age format, nothing of our own.

Belongs here: bytes in, bytes out. Does not belong here: which location has
which key (runner.repository.keys) and where the bytes go (runner.pipeline).
"""
