"""What the stored objects mean: keys, manifests, the catalogue of one owner in one location.

Belongs here: the storage format of docs/format.md. Does not belong here: how
bytes get to a store (runner.storage) and how they are made (runner.pipeline).
"""
