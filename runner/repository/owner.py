"""Which cluster writes below a prefix: two clusters that share one would prune each other."""

from __future__ import annotations

import orjson
from attrs import frozen

from controller.api import codec
from controller.api.errors import FormatError, InvalidSpec


@frozen(kw_only=True)
class OwnerRecord:
    """`_owner.json`."""

    cluster_id: str


def encode_owner(record: OwnerRecord) -> bytes:
    return orjson.dumps(codec.encode(record))


def decode_owner(raw: bytes) -> OwnerRecord:
    """Read an owner's record; raises FormatError."""
    try:
        return codec.decode(OwnerRecord, orjson.loads(raw))
    except (ValueError, InvalidSpec) as error:
        raise FormatError(f"_owner.json is not readable: {error}") from error
