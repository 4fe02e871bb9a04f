"""Our own JSON records: attrs values to bytes and back, one way for all of them.

Manifests, owners, states and outcomes are read from buckets and from other
versions of this program: unknown fields are passed over, anything else that
does not fit is a FormatError.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import orjson

from controller.api import codec
from controller.api.errors import FormatError, InvalidSpec

T = TypeVar("T")


def to_json(value: object, *, indent: bool = False) -> bytes:
    """Write an attrs value with camelCase names; one line unless `indent`."""
    return orjson.dumps(codec.encode(value), option=orjson.OPT_INDENT_2 if indent else None)


def from_json(kind: type[T], raw: bytes | Mapping[str, Any], what: str) -> T:
    """Read a value of `kind` from JSON text, or from what it parses to.

    Args:
        what: names the record in errors: "the manifest", "_owner.json".
    Raises: FormatError.
    """
    try:
        document = orjson.loads(raw) if isinstance(raw, bytes) else raw
        return codec.decode(kind, document)
    except InvalidSpec as error:
        raise FormatError(f"{what} is malformed: {error}") from error
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{what} is not readable: {error}") from error
