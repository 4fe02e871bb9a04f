"""How far a restore is: data by bytes and tables, then indexes and constraints by their number."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable

from attrs import frozen

from engines.interface import Progress
from engines.postgres.progress import Teller

#: What pg_restore says with --verbose about its work, as opposed to what is wrong.
_CHATTER = re.compile(
    r"pg_restore: (?P<verb>creating|processing|launching|finished|connecting|"
    r"executing|implied|entering|finishing|skipping|restoring|restored|disabling|enabling|"
    r"setting|started|wait|processed|dropping)\b(?P<rest>.*)"
)
_TABLE = re.compile(r'data for table "(?P<name>.*)"')
#: "launching item 3401 INDEX sale_note".
_ITEM = re.compile(r"item \d+ (?P<entry>.*)")
#: A line of `pg_restore --list`: dump id; catalogue and object id, entry.
_LISTED = re.compile(r"\d+; \d+ \d+ (?P<entry>.*)")
_INDEX = re.compile(r"INDEX (?!ATTACH )")
_CONSTRAINT = re.compile(r"(FK |CHECK )?CONSTRAINT ")


@frozen(kw_only=True)
class Contents:
    """How many of each an archive's table of contents names.

    Args:
        tables: with data of their own; 0 in an archive of definitions alone.
        has_partitions: then not every table has data of its own.
    """

    tables: int = 0
    indexes: int = 0
    constraints: int = 0
    has_partitions: bool = False

    @classmethod
    def of(cls, listing: Iterable[str]) -> Contents:
        """Count the lines of `pg_restore --list`."""
        tables = indexes = constraints = 0
        has_partitions = False
        for line in listing:
            match = _LISTED.match(line)
            if match is None:
                continue
            entry = match["entry"]
            tables += entry.startswith("TABLE DATA ")
            has_partitions |= entry.startswith("TABLE ATTACH ")
            indexes += bool(_INDEX.match(entry))
            constraints += bool(_CONSTRAINT.match(entry))
        return cls(
            tables=tables, indexes=indexes, constraints=constraints, has_partitions=has_partitions
        )


class RestoreTeller(Teller):
    """Makes one story of the bytes that were given to pg_restore and what it says itself.

    An instance is the `on_line` of its commands: it keeps their chatter out of
    their error text.

    Args:
        total_bytes: of all data. tables: how many will get data, 0 if unknown.
        contents: of the archive with the definitions.
        parallel: workers for indexes; more than one say when an entry is done,
            one says only when it begins.
    Threads: `_counting` guards the counters; the order is `_counting`, then the
    teller's own lock.
    """

    def __init__(
        self,
        report: Callable[[Progress], None],
        *,
        total_bytes: int,
        tables: int,
        contents: Contents,
        parallel: int,
    ) -> None:
        super().__init__(report)
        self._total_bytes = total_bytes
        self._total_tables = tables
        self._contents = contents
        self._parallel = parallel
        self._counting = threading.Lock()
        self._bytes = 0
        self._tables = 0
        self._table = ""
        self._definitions = 0
        self._is_building = False
        #: Indexes and constraints.
        self._built_count = 0
        self._current: list[str] = []

    def moved(self, size: int) -> None:
        """So many bytes more were given to pg_restore."""
        with self._counting:
            self._bytes += size
            self._tell_data()

    def build(self) -> None:
        """From now on it makes indexes and constraints."""
        with self._counting:
            self._is_building = True
            self._tell_building()

    def __call__(self, line: str) -> bool:
        match = _CHATTER.match(line)
        if match is None:
            return False
        verb, rest = match["verb"], match["rest"].strip()
        with self._counting:
            if verb == "processing" and (table := _TABLE.match(rest)):
                self._tables += 1
                self._table = table["name"]
                self._tell_data()
            elif self._is_building:
                self._built(verb, rest)
            elif verb == "creating":
                self._definitions += 1
                self.report(
                    Progress(
                        stage="definitions",
                        done=self._definitions,
                        unit="objects",
                        detail=rest[:200],
                    )
                )
        return True

    def _built(self, verb: str, rest: str) -> None:
        item = _ITEM.match(rest)
        if verb == "launching" and item:
            self._current.append(item["entry"])
        elif verb == "finished" and item:
            self._end(item["entry"])
        elif verb == "creating" and self._parallel == 1:
            for entry in list(self._current):
                self._end(entry)
            self._current.append(rest)
        else:
            return
        self._tell_building()

    def _end(self, entry: str) -> None:
        if entry in self._current:
            self._current.remove(entry)
        self._built_count += bool(_INDEX.match(entry) or _CONSTRAINT.match(entry))

    def _tell_data(self) -> None:
        words = []
        if self._tables:
            # A table that an extension brings may come on top.
            of = f" of {self._total_tables}" if self._tables <= self._total_tables else ""
            words = [f"table {self._tables}{of}", self._table]
        self.report(
            Progress(
                stage="data",
                done=self._bytes,
                total=self._total_bytes,
                detail=", ".join(words)[:200],
            )
        )

    def _tell_building(self) -> None:
        kinds = {"indexes": self._contents.indexes, "constraints": self._contents.constraints}
        self.report(
            Progress(
                stage=" and ".join(kind for kind, number in kinds.items() if number) or "the rest",
                done=self._built_count,
                total=sum(kinds.values()),
                unit="objects",
                detail=", ".join(self._current)[:300],
            )
        )
