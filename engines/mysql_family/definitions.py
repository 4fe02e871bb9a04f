"""The stream "objects": definitions as SQL that any client runs, and that is read back here.

Each has a line of JSON before it, which says what it is and how long its
statement is. Reading writes the block anew and compares: nothing can stand
between the statements that is not one of them.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence

import attrs
import orjson

from controller.api.errors import FormatError
from engines.mysql_family.objects import KINDS, Context, Definition

_HEAD = "-- db-backup objects 1"
_END = "-- db-backup objects completed: {}"
_META = "-- db-backup object "
#: Far more than any schema's definitions; what is larger is not one of ours.
MAX_BYTES = 1 << 28
_LENGTH = "statement_bytes"
#: A literal of a view is in the bytes of its own character set.
_ANY_BYTE = "surrogateescape"


def encode(definitions: Sequence[Definition]) -> bytes:
    parts = [f"{_HEAD}\n".encode()]
    delimiter = _delimiter(definitions)
    parts += [_block(one, delimiter) for one in definitions]
    return b"".join([*parts, (_END.format(len(definitions)) + "\n").encode()])


def decode(data: bytes) -> list[Definition]:
    """Raises: FormatError: this is not what `encode` wrote."""
    head = f"{_HEAD}\n".encode()
    if not data.startswith(head):
        raise FormatError('the stream "objects" does not begin as it should')
    found: list[Definition] = []
    at = len(head)
    marker = _META.encode()
    while data.startswith(marker, at):
        line_end = data.find(b"\n", at)
        try:
            meta = orjson.loads(data[at + len(marker) : line_end])
            size, delimiter = int(meta.pop(_LENGTH)), str(meta.pop("delimiter"))
            context = Context(**meta.pop("context"))
            prologue = _prologue(context, delimiter)
            begin = line_end + 1 + len(prologue)
            statement = data[begin : begin + size].decode(errors=_ANY_BYTE)
            one = Definition(context=context, statement=statement, **meta)
            block = _block(one, delimiter)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise FormatError(f'the stream "objects" is damaged at byte {at}') from error
        if one.kind not in KINDS or not data.startswith(block, at):
            raise FormatError(f'the stream "objects" is damaged at byte {at}')
        found.append(one)
        at += len(block)
    if data[at:] != (_END.format(len(found)) + "\n").encode():
        raise FormatError('the stream "objects" does not end as it should')
    return found


def _block(one: Definition, delimiter: str) -> bytes:
    meta = attrs.asdict(one)
    statement = meta.pop("statement").encode(errors=_ANY_BYTE)
    meta |= {_LENGTH: len(statement), "delimiter": delimiter}
    line = f"{_META}{orjson.dumps(meta).decode()}\n".encode()
    epilogue = f"\n{delimiter}\nDELIMITER ;\n\n".encode()
    return b"".join((line, _prologue(one.context, delimiter), statement, epilogue))


def _prologue(context: Context, delimiter: str) -> bytes:
    settings = "".join(f"SET SESSION {setting};\n" for setting in context.settings())
    return f"{settings}DELIMITER {delimiter}\n".encode()


def _delimiter(definitions: Iterable[Definition]) -> str:
    """A line end for clients that no statement contains."""
    texts = [one.statement for one in definitions]
    for number in itertools.count():
        candidate = f";;{number}" if number else ";;"
        if not any(re.search(re.escape(candidate), text) for text in texts):
            return candidate
    raise AssertionError("unreachable")
