"""What is seen of a dump as it passes, on its way to a location or to a client."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from controller.api.errors import FormatError

#: The end of every dump that came to its end.
_MARKER = b"-- Dump completed"
_TAIL_BYTES = 1 << 16
_HEAD_BYTES = 1 << 14
#: Statements that leave the schema, at the beginning of a line: no dump of one schema has them.
_LEAVES = re.compile(
    rb"\n(?:(?i:use|(?:create|drop|alter) (?:database|schema|user|role)|grant|revoke|"
    rb"set (?:@@)?global|set password|source|system|delimiter|tee|pager|connect|exit|quit)\b)"
)
_LONGEST_BYTES = 32
#: MariaDB's tool begins a line with each row, and rows are nearly all of a dump.
_NO_ROW = re.compile(rb"\n[^(]")
_LOG_POSITION = re.compile(rb"MASTER_LOG_FILE='([^']+)', MASTER_LOG_POS=(\d+)")
_GTID = re.compile(rb"gtid_slave_pos='([^']*)'")
#: What the tools say first of what they have read: whatever comes before needs no transaction.
_BEGUN = re.compile(rb"\n-- (?:Table structure|Sequence structure|Dump completed)")
#: How every dump sets what the values in it are checked by.
_MODE = re.compile(
    rb"(\n/\*!40101 SET @OLD_SQL_MODE=@@SQL_MODE, SQL_MODE='[A-Z_,]*)('.*?)( \*/;\n)"
)


def unchecked(head: bytes, *, is_mariadb: bool) -> bytes:
    """The beginning of a dump, so that the rows after it are taken as they were stored.

    A storage engine that is not there is an error, and no other one is taken for it.
    Dates such as February 31st would be loaded as zeros without a word, and rows of MariaDB that
    break a CHECK, made while checks were off or before there was one, not at all.

    Raises: FormatError: it does not begin as dumps do.
    """
    checks = rb", check_constraint_checks=0" if is_mariadb else b""
    changed, number = _MODE.subn(
        rb"\1,ALLOW_INVALID_DATES,NO_ENGINE_SUBSTITUTION\2" + checks + rb"\3", head, count=1
    )
    if not number:
        raise FormatError("the dump does not set SQL_MODE at its beginning, as all are known to do")
    return changed


class Text:
    """What is seen of a dump as it passes: its head, its tail, and how many tables it makes.

    The tools escape line ends in texts, so what begins a line is theirs - or stands in a name.

    Attributes:
        leaves: the first statement that leaves the schema; empty: there is none.
    """

    def __init__(self) -> None:
        self.leaves = ""
        self.head = b""
        self.tail = b""
        self.tables = 0
        self.sequences = 0

    def passing(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            self.feed(chunk)
            yield chunk

    def feed(self, chunk: bytes) -> None:
        if len(self.head) < _HEAD_BYTES:
            self.head += chunk[: _HEAD_BYTES - len(self.head)]
        if _NO_ROW.search(self.tail[-_LONGEST_BYTES:] + chunk):
            self._read(chunk)
        self.tail = (self.tail + chunk[-_TAIL_BYTES:])[-_TAIL_BYTES:]

    def _read(self, chunk: bytes) -> None:
        for kind, pattern in (
            ("tables", b"\nCREATE TABLE `"),
            ("sequences", b"\nCREATE SEQUENCE `"),
        ):
            # One that begins in what has passed and ends in this chunk, and those within it.
            across = self.tail[1 - len(pattern) :] + chunk[: len(pattern) - 1]
            number = across.count(pattern) + chunk.count(pattern)
            setattr(self, kind, getattr(self, kind) + number)
        self._look(self.tail[-_LONGEST_BYTES:] + chunk[:_LONGEST_BYTES])
        self._look(chunk)

    def _look(self, part: bytes) -> None:
        if not self.leaves and (found := _LEAVES.search(part)):
            self.leaves = found[0].decode(errors="replace").strip()

    @property
    def is_complete(self) -> bool:
        last = self.tail.rstrip(b"\n").rpartition(b"\n")[2]
        return last.startswith(_MARKER)

    @property
    def has_begun(self) -> bool:
        """Whether the tool has read something, so that its transaction has begun for sure."""
        return len(self.head) == _HEAD_BYTES or _BEGUN.search(self.head) is not None

    @property
    def position(self) -> dict[str, str]:
        """Where in the binary log the snapshot is, as MariaDB's tool writes it; may be empty."""
        found: dict[str, str] = {}
        if match := _LOG_POSITION.search(self.head):
            found |= {"file": match[1].decode(), "position": match[2].decode()}
        if match := _GTID.search(self.head) or _GTID.search(self.tail):
            found["gtid"] = match[1].decode()
        return found
