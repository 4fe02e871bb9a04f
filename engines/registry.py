"""Which engines there are: an explicit table, filled by calls."""

from __future__ import annotations

from collections.abc import Callable

from controller.api.errors import UnknownEngine
from engines.interface import Engine


class Registry:
    """Canonical names (values of `databaseType`) and what makes an engine of each."""

    def __init__(self) -> None:
        self._makers: dict[str, Callable[[], Engine]] = {}

    def register(self, name: str, make: Callable[[], Engine]) -> None:
        """Add an engine. A name that is taken is a defect of the program: ValueError."""
        if name in self._makers:
            raise ValueError(f"the engine {name!r} is registered twice")
        self._makers[name] = make

    def get(self, name: str) -> Engine:
        """A new engine of that name.

        Raises: UnknownEngine, which names the known ones.
        """
        try:
            make = self._makers[name]
        except KeyError:
            known = ", ".join(self.names())
            raise UnknownEngine(f"there is no engine {name!r}; known are: {known}") from None
        return make()

    def names(self) -> tuple[str, ...]:
        return tuple(sorted(self._makers))


def _cockroach() -> Engine:
    from engines.cockroach.engine import CockroachEngine  # noqa: PLC0415

    return CockroachEngine()


def _postgres() -> Engine:
    from engines.postgres.engine import PostgresEngine  # noqa: PLC0415

    return PostgresEngine()


def _mysql() -> Engine:
    from engines.mysql.engine import MysqlEngine  # noqa: PLC0415

    return MysqlEngine()


def _mariadb() -> Engine:
    from engines.mariadb.engine import MariadbEngine  # noqa: PLC0415

    return MariadbEngine()


def all_engines() -> Registry:
    """The engines of this build. Add one: a function and a line here, the rest is in its folder."""
    registry = Registry()
    registry.register("cockroach", _cockroach)
    registry.register("mariadb", _mariadb)
    registry.register("mysql", _mysql)
    registry.register("postgres", _postgres)
    return registry


_ENGINES = all_engines()
get = _ENGINES.get
names = _ENGINES.names
