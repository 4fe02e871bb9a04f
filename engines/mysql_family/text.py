"""What is seen of a dump as it passes, on its way to a location or to a client."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from controller.api.errors import FormatError

#: The end of every dump that came to its end.
_MARKER = b"-- Dump completed"
_TAIL_BYTES = 1 << 16
#: What a dump sets for its session is within.
HEAD_BYTES = 1 << 14
#: Statements that leave the schema, at the beginning of a line: no dump of one schema has them.
_LEAVES = re.compile(
    rb"\n(?:(?i:use|(?:create|drop|alter) (?:database|schema|user|role)|grant|revoke|"
    rb"set (?:@@)?global|set password|source|system|delimiter|tee|pager|connect|exit|quit)\b)"
)
#: A name has 64 characters of up to 3 bytes, or of 2 where each is a quote.
_LONGEST_BYTES = 256
#: Up to what comes after the name, so that half a quote is no end of it.
_MAKES = re.compile(rb"\nCREATE (TABLE|SEQUENCE) `((?:[^`]|``)*)`[^`]")
#: How MySQL's definition of a table says that it is in a general tablespace.
_IN_TABLESPACE = re.compile(rb"\n\) /\*!50100 TABLESPACE `((?:[^`]|``)*)` ")
#: How many bytes of a chunk are looked for one by one.
_TRIES = 16
#: No row has it: a line end in a text is escaped.
_STATEMENT_END = b";\n"
#: MariaDB's tool begins a line with each row, and rows are nearly all of a dump.
_NO_ROW = re.compile(rb"\n[^(\n]")
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
    modes = rb"\1,ALLOW_INVALID_DATES,NO_ENGINE_SUBSTITUTION\2"
    return _set_otherwise(head, modes + checks + rb"\3")


def without_folders(head: bytes) -> bytes:
    """The beginning of a dump, so that its tables are made in the server's own folder.

    Raises: FormatError: it does not begin as dumps do.
    """
    return _set_otherwise(head, rb"\1,NO_DIR_IN_CREATE\2\3")


def _set_otherwise(head: bytes, modes: bytes) -> bytes:
    changed, number = _MODE.subn(modes, head, count=1)
    if not number:
        raise FormatError("the dump does not set SQL_MODE at its beginning, as all are known to do")
    return changed


class Text:
    """What is seen of a dump as it passes: its head, its tail, and what tables it makes.

    The tools escape line ends in texts, so what begins a line is theirs - or stands in a name.

    Attributes:
        leaves: the first statement that leaves the schema; empty: there is none.
        tables, sequences: names of what it makes, in its order.
        tablespaces: names of those that tables are in, each with that of a table.
        statement_bytes: of the longest statement, as far as it has passed. Those that lie within
            one chunk are not counted: every server takes them.
    """

    def __init__(self) -> None:
        self.leaves = ""
        self.head = b""
        self.tail = b""
        self.tables: list[str] = []
        self.sequences: list[str] = []
        self.tablespaces: dict[str, str] = {}
        self._passed = 0
        self._read_to = 0
        self.statement_bytes = 0
        self._since_end_bytes = 0

    def passing(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            self.feed(chunk)
            yield chunk

    def feed(self, chunk: bytes) -> None:
        if len(self.head) < HEAD_BYTES:
            self.head += chunk[: HEAD_BYTES - len(self.head)]
        self._measure(chunk)
        before = self.tail[-_LONGEST_BYTES:]
        if b"\n" in chunk or b"\n" in before:
            part, part_at = before + chunk, self._passed - len(before)
            for at in _line_ends(part):
                self._look(part, at)
                self._read(part, at, part_at)
                self._find_tablespace(part, at)
        self._passed += len(chunk)
        is_enough = len(chunk) >= _TAIL_BYTES
        self.tail = chunk if is_enough else (self.tail + chunk)[-_TAIL_BYTES:]

    def _measure(self, chunk: bytes) -> None:
        """Of two finds a chunk: this sees every byte of a backup."""
        if chunk.startswith(b"\n") and self.tail.endswith(b";"):
            self._since_end_bytes = 0
        first = _find_end(chunk)
        passed = self._since_end_bytes + (len(chunk) if first < 0 else first)
        self.statement_bytes = max(self.statement_bytes, passed)
        last = first if first < 0 else _find_last_end(chunk)
        self._since_end_bytes = passed if last < 0 else len(chunk) - last - len(_STATEMENT_END)

    def _look(self, part: bytes, at: int) -> None:
        if not self.leaves and (found := _LEAVES.match(part, at)):
            self.leaves = found[0].decode(errors="replace").strip()

    def _read(self, part: bytes, at: int, part_at: int) -> None:
        """Look for what is made after a line end of a part of the dump that begins at `part_at`."""
        if part_at + at < self._read_to or not (found := _MAKES.match(part, at)):
            return
        self._read_to = part_at + found.end()
        made = self.tables if found[1] == b"TABLE" else self.sequences
        made.append(_unquoted(found[2]))

    def _find_tablespace(self, part: bytes, at: int) -> None:
        if (found := _IN_TABLESPACE.match(part, at)) and self.tables:
            self.tablespaces.setdefault(_unquoted(found[1]), self.tables[-1])

    @property
    def is_complete(self) -> bool:
        last = self.tail.rstrip(b"\n").rpartition(b"\n")[2]
        return last.startswith(_MARKER)

    @property
    def has_begun(self) -> bool:
        """Whether the tool has read something, so that its transaction has begun for sure."""
        return len(self.head) == HEAD_BYTES or _BEGUN.search(self.head) is not None

    @property
    def position(self) -> dict[str, str]:
        """Where in the binary log the snapshot is, as MariaDB's tool writes it; may be empty."""
        found: dict[str, str] = {}
        if match := _LOG_POSITION.search(self.head):
            found |= {"file": match[1].decode(), "position": match[2].decode()}
        if match := _GTID.search(self.head) or _GTID.search(self.tail):
            found["gtid"] = match[1].decode()
        return found


def _unquoted(name: bytes) -> str:
    return name.replace(b"``", b"`").decode(errors="replace")


def _line_ends(part: bytes) -> Iterator[int]:
    """Where lines end, before those at least that are no rows.

    Every byte of a backup comes by here, and looking for one byte is as fast as memory is. A line
    of MySQL's is a statement of up to a megabyte; of MariaDB each row is a line.
    """
    at = part.find(b"\n")
    for _ in range(_TRIES):
        if at < 0:
            return
        yield at
        at = part.find(b"\n", at + 1)
    if at >= 0:
        for found in _NO_ROW.finditer(part, at):
            yield found.start()


def _find_end(chunk: bytes) -> int:
    """The first end of a statement; -1: there is none. Looks for one byte, as above."""
    at = -1
    for _ in range(_TRIES):
        at = chunk.find(b";", at + 1)
        if at < 0 or chunk.startswith(b"\n", at + 1):
            return at
    return chunk.find(_STATEMENT_END, at)


def _find_last_end(chunk: bytes) -> int:
    at = len(chunk)
    for _ in range(_TRIES):
        at = chunk.rfind(b";", 0, at)
        if at < 0 or chunk.startswith(b"\n", at + 1):
            return at
    return chunk.rfind(_STATEMENT_END, 0, at + 1)
