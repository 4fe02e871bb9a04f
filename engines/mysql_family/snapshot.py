"""One instant for several sessions, which cannot share a snapshot: what brings it about.

Sessions that begin one after the other see the same if nothing is committed from the first to the
last. That is provable where the binary log has every commit. MariaDB tells the position of each
snapshot in it: equal ones are the proof. MySQL tells the log's position alone, which a commit
moves before readers see it; but until they do, the commit owns its GTID. So: a position, then no
GTID that is owned, then the sessions begin, then the same position.

Where writes do not pause, MariaDB has a lock for this, which waits for no statement. MySQL has
none that harms nobody: when FLUSH TABLES WITH READ LOCK has waited for a query in vain, the tables
of that query stay shut until it ends; and where LOCK TABLES meets a transaction that writes to two
of them, it is the transaction that fails, of a deadlock.
"""

from __future__ import annotations

import contextlib
import enum
import threading
import time
from collections.abc import Callable, Sequence
from typing import Self

from attrs import frozen

from controller.api.errors import BackupError
from engines.mysql_family import catalogue
from engines.mysql_family.connection import LOCK_WAIT, Server, Session, code_of
from engines.mysql_family.family import Family
from engines.mysql_family.grants import Rights
from engines.mysql_family.quoting import account

LOCK = "BACKUP STAGE BLOCK_COMMIT"
#: How often the sessions are begun in the hope that nothing is committed meanwhile.
TRIES = 3
#: How long the lock is waited for, with commits waiting behind us.
LOCK_WAIT_S = 2
#: How long it takes at most, that wait included; who has not begun by then is given up.
HELD_S = 5.0
#: The server ends a session that is silent for so long: where we are cut off, too, commits go on.
_SILENCE_S = 10


class NotOneInstant(Exception):
    """The sessions are not known to see the same, for the reason that it says."""


class Way(enum.Enum):
    """What makes sessions see one instant."""

    ALONE = "there is one"
    POSITIONS = "equal positions in the binary log"
    LOCK = "a lock"


@frozen(kw_only=True)
class Ways:
    """What can be tried, in this order; `cure` is what would help if nothing of it does."""

    ways: Sequence[Way]
    cure: str


def ways(session: Session, family: Family, rights: Rights, *, reads_position: bool) -> Ways:
    """For an account with these rights.

    Args:
        reads_position: whether there is a binary log whose position it may read.
    """
    found = []
    if reads_position and catalogue.logs_every_commit(session, is_mariadb=family.is_mariadb):
        found = [Way.POSITIONS] * TRIES
    cure = "move the schedule to where there are pauses between writes"
    if family.is_mariadb and rights.on_server("RELOAD"):
        return Ways(ways=(*found, Way.LOCK), cure=cure)
    if family.is_mariadb:
        cure = (
            f"GRANT RELOAD ON *.* TO {account(rights.account)}; lets commits wait some tenths of a "
            "second for it"
        )
    elif not found:
        cure = (
            "that takes a binary log without filters, gtid_mode = ON, and "
            f"GRANT REPLICATION CLIENT ON *.* TO {account(rights.account)};"
        )
    return Ways(ways=tuple(found), cure=cure)


class CommitLock:
    """Keeps all commits of a MariaDB server waiting for as long as sessions take to begin.

    A context manager. The lock is the session's: it ends with it, and so with us. Whoever waits for
    it longer than LOCK_WAIT_S, or needs more than HELD_S in all, lets go.

    Args:
        on_lost: called from another thread when it took too long and is let go.
    Threads: `_guard` guards `_session`, which is taken out by who releases.
    """

    def __init__(self, server: Server, on_lost: Callable[[], None]) -> None:
        self._server = server
        self._on_lost = on_lost
        self._guard = threading.Lock()
        self._session: Session | None = None
        self._timer = threading.Timer(HELD_S, self._lose)
        self._began_mono = 0.0
        self.is_lost = False
        #: From the first statement that commits may have waited for to the release.
        self.held_s = 0.0

    def __enter__(self) -> Self:
        session = self._server.session()
        self._session = session
        try:
            session.run(
                f"SET SESSION lock_wait_timeout = {LOCK_WAIT_S}",
                f"SET SESSION wait_timeout = {_SILENCE_S}",
            )
            self._began_mono = time.monotonic()
            self._timer.start()
            session.run("BACKUP STAGE START", LOCK, what="while locking commits out")
        except BaseException as error:
            self._timer.cancel()
            if self._timer.ident is not None:
                self._timer.join()
            session.close()
            if self.is_lost or (isinstance(error, BackupError) and code_of(error) == LOCK_WAIT):
                raise NotOneInstant(f"{LOCK} was not to be had within {LOCK_WAIT_S} s") from error
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
        self._timer.join()

    def release(self) -> bool:
        """Let commits go on; True if they were locked out until now, which the first call tells."""
        with self._guard:
            session, self._session = self._session, None
        if session is None:
            return False
        self._timer.cancel()
        was_held = False
        with contextlib.suppress(BackupError):  # without a session there is no lock
            session.run("BACKUP STAGE END", what="while letting commits go on")
            was_held = True
        session.close()
        self.held_s = time.monotonic() - self._began_mono
        return was_held

    def _lose(self) -> None:
        with self._guard:
            session, self._session = self._session, None
        if session is not None:
            self.is_lost = True
            session.cut()
            self._on_lost()
