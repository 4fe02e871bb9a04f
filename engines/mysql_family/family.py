"""What is different between MySQL and MariaDB, as values."""

from __future__ import annotations

from attrs import frozen

from controller.api.v1 import MariadbSpec, MysqlSpec

Spec = MysqlSpec | MariadbSpec


@frozen(kw_only=True)
class Family:
    """One of the two.

    Args:
        name: of the engine, its section and its image.
        title: for people.
        spec: type of its section.
        dump, client: names of the tools.
        variable: environment variable with folders of client tools.
        package: the client's, and where it is from if that is not Debian.
        supported: series with an image, the newest last.
        past_end_of_life: backups are taken, upstream mends nothing any more.
        definer_rights: what a server may want of who makes what others define.
        position_rights: any of these lets it read the binary log's position.
    """

    name: str
    title: str
    is_mariadb: bool
    spec: type[Spec]
    dump: str
    client: str
    variable: str
    package: str
    supported: tuple[str, ...]
    past_end_of_life: tuple[str, ...]
    definer_rights: tuple[str, ...]
    position_rights: tuple[str, ...]

    @property
    def newest(self) -> str:
        return self.supported[-1]

    @property
    def section(self) -> str:
        return f"spec.{self.name}"
