"""What belongs to a database and is kept outside of it, as one JSON stream.

Roles that the database refers to (without passwords), its owner, privileges,
locale and settings. pg_dump leaves these out of an archive, or names the
database in them, which would pin the name of the restored one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from attrs import field, frozen
from cattrs import Converter

from controller.api.errors import FormatError
from engines.postgres.connection import Session, one_row
from engines.postgres.quoting import identifier, literal

FORMAT = 1
#: Far more than any server's roles take; what is larger was not written by us.
MAX_BYTES = 64 << 20

#: Settings whose values are lists of names; quoting the list as one text would make it one name.
_LISTS = frozenset(
    {
        "local_preload_libraries",
        "search_path",
        "session_preload_libraries",
        "shared_preload_libraries",
        "temp_tablespaces",
        "unix_socket_directories",
    }
)
_PRIVILEGED = ("superuser", "replication", "bypassrls")


@frozen(kw_only=True)
class Role:
    """A role and what a database refers to it for: owner, acl, policy, setting, member."""

    name: str
    used_for: tuple[str, ...] = ()
    attributes: Mapping[str, bool] = field(factory=dict)
    connection_limit: int = -1
    valid_until: str | None = None
    settings: tuple[tuple[str, str], ...] = ()
    member_of: tuple[str, ...] = ()

    def create(self) -> list[str]:
        """Statements that make it, without password and without the rights of a superuser."""
        words = [
            name.upper() if self.attributes.get(name) else f"NO{name.upper()}"
            for name in ("login", "inherit", "createdb", "createrole")
        ]
        if self.connection_limit != -1:
            words.append(f"CONNECTION LIMIT {int(self.connection_limit)}")
        if self.valid_until is not None:
            words.append(f"VALID UNTIL {literal(self.valid_until)}")
        name = identifier(self.name)
        return [f"CREATE ROLE {name} {' '.join(words)}"] + [
            f"ALTER ROLE {name} SET {setting(*pair)}" for pair in self.settings
        ]

    def withheld(self) -> list[str]:
        """What a person may want to give it, as statements."""
        name = identifier(self.name)
        lines = [
            f"ALTER ROLE {name} {attribute.upper()};"
            for attribute in _PRIVILEGED
            if self.attributes.get(attribute)
        ]
        if self.attributes.get("login"):
            lines.append(f"ALTER ROLE {name} PASSWORD '...';")
        return lines


@frozen(kw_only=True)
class Grant:
    """One entry of a database's access list; grantee "" is PUBLIC."""

    grantee: str
    privilege: str
    grantable: bool = False


@frozen(kw_only=True)
class DatabaseProperties:
    """What ALTER DATABASE, GRANT and ALTER ROLE IN DATABASE say. `acl` None is the default."""

    owner: str
    acl: tuple[Grant, ...] | None = None
    connection_limit: int = -1
    comment: str | None = None
    settings: tuple[tuple[str, str], ...] = ()
    role_settings: tuple[tuple[str, str, str], ...] = ()

    def statements(self, database: str, *, owner: bool) -> list[str]:
        """Statements that give `database` these properties."""
        name = identifier(database)
        lines = [f"ALTER DATABASE {name} OWNER TO {identifier(self.owner)}"] if owner else []
        lines += [f"ALTER DATABASE {name} SET {setting(*pair)}" for pair in self.settings]
        lines += [
            f"ALTER ROLE {identifier(role)} IN DATABASE {name} SET {setting(key, value)}"
            for role, key, value in self.role_settings
        ]
        if self.connection_limit != -1:
            lines.append(f"ALTER DATABASE {name} CONNECTION LIMIT {int(self.connection_limit)}")
        if self.comment is not None:
            lines.append(f"COMMENT ON DATABASE {name} IS {literal(self.comment)}")
        return lines + self._grants(name)

    def _grants(self, name: str) -> list[str]:
        if self.acl is None:
            return [f"GRANT CONNECT, TEMPORARY ON DATABASE {name} TO PUBLIC"]
        lines = [f"REVOKE ALL ON DATABASE {name} FROM PUBLIC"]
        for grant in self.acl:
            if grant.privilege not in ("CREATE", "CONNECT", "TEMPORARY"):
                continue  # a privilege that this program does not know yet
            grantee = identifier(grant.grantee) if grant.grantee else "PUBLIC"
            option = " WITH GRANT OPTION" if grant.grantable else ""
            lines.append(f"GRANT {grant.privilege} ON DATABASE {name} TO {grantee}{option}")
        return lines


@frozen(kw_only=True)
class Locale:
    """Encoding and collation, which are fixed when a database is made."""

    encoding: str
    collate: str
    ctype: str
    provider: str = "c"
    locale: str | None = None
    icu_rules: str | None = None

    def create_options(self) -> str:
        """Options of CREATE DATABASE."""
        options = [
            f"ENCODING {literal(self.encoding)}",
            f"LC_COLLATE {literal(self.collate)}",
            f"LC_CTYPE {literal(self.ctype)}",
        ]
        if self.provider == "i":
            options += ["LOCALE_PROVIDER icu", f"ICU_LOCALE {literal(self.locale or '')}"]
            if self.icu_rules:
                options.append(f"ICU_RULES {literal(self.icu_rules)}")
        elif self.provider == "b":
            options += ["LOCALE_PROVIDER builtin", f"BUILTIN_LOCALE {literal(self.locale or '')}"]
        return " ".join(options)


@frozen(kw_only=True)
class Globals:
    """The stream "globals"."""

    database: str
    locale: Locale
    properties: DatabaseProperties
    roles: tuple[Role, ...] = ()
    public_schema: bool = True

    def encode(self) -> bytes:
        document = {"format": FORMAT, **_converter().unstructure(self)}
        return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def decode(data: bytes) -> Globals:
    """Read the stream again.

    Raises: FormatError.
    """
    if len(data) > MAX_BYTES:
        raise FormatError('the stream "globals" is larger than any that was written')
    try:
        document: dict[str, Any] = orjson.loads(data)
        known = document.get("format")
        if known != FORMAT:
            raise FormatError(f'the stream "globals" has format {known}, known is {FORMAT}')
        return _converter().structure(document, Globals)
    except FormatError:
        raise
    except Exception as error:
        raise FormatError(f'the stream "globals" cannot be read: {error}') from error


def _converter() -> Converter:
    """Strict about primitives: by default 1.9 would become 1 and None the text "None"."""
    converter = Converter()

    def exactly(value: Any, wanted: type) -> Any:
        if type(value) is not wanted:
            raise TypeError(f"{wanted.__name__} expected, not {type(value).__name__}")
        return value

    for primitive in (str, int, bool):
        converter.register_structure_hook(primitive, exactly)
    return converter


def setting(name: str, value: str) -> str:
    """``name TO value`` of an ALTER .. SET."""
    key = ".".join(identifier(part) for part in name.split("."))
    if name.lower() not in _LISTS:
        return f"{key} TO {literal(value)}"
    items = [literal(item) for item in _split_names(value)]
    return f"{key} TO {', '.join(items) or literal('')}"


def _split_names(value: str) -> list[str]:
    """The names in ``"$user", public, "a, b"``."""
    names: list[str] = []
    name, quoted, index = "", False, 0
    while index < len(value):
        character = value[index]
        if character == '"' and quoted and value[index + 1 : index + 2] == '"':
            name += '"'
            index += 1
        elif character == '"':
            quoted = not quoted
        elif character == "," and not quoted:
            names.append(name)
            name = ""
        elif quoted or not character.isspace():
            name += character
        index += 1
    return [part for part in [*names, name] if part or value.strip()]


def read(session: Session, database: str) -> Globals:
    """Ask the server; `session` may be in any database."""
    properties, locale, oid = _database(session, database)
    return Globals(
        database=database,
        locale=locale,
        properties=properties,
        roles=_roles(session, oid, properties),
    )


def _database(session: Session, database: str) -> tuple[DatabaseProperties, Locale, int]:
    # Columns came with the majors: provider 15, rules 16, one name for every provider's locale 17.
    row = one_row(
        session,
        """
        SELECT pg_catalog.to_jsonb(d) - 'datacl', d.oid::int8,
               pg_catalog.pg_encoding_to_char(d.encoding), pg_catalog.pg_get_userbyid(d.datdba),
               pg_catalog.shobj_description(d.oid, 'pg_database'), d.datacl IS NULL
        FROM pg_catalog.pg_database d WHERE d.datname = %s
        """,
        (database,),
    )
    columns, oid, encoding, owner, comment, default_acl = row
    acl = session.execute(
        """
        SELECT CASE a.grantee WHEN 0 THEN '' ELSE pg_catalog.pg_get_userbyid(a.grantee) END,
               a.privilege_type, a.is_grantable
        FROM pg_catalog.pg_database d, pg_catalog.aclexplode(d.datacl) a
        WHERE d.oid = %s ORDER BY 1, 2
        """,
        (oid,),
    ).fetchall()
    settings = session.execute(
        """
        SELECT CASE s.setrole WHEN 0 THEN '' ELSE pg_catalog.pg_get_userbyid(s.setrole) END,
               pg_catalog.unnest(s.setconfig)
        FROM pg_catalog.pg_db_role_setting s WHERE s.setdatabase = %s ORDER BY 1, 2
        """,
        (oid,),
    ).fetchall()
    split = [(role, *text.split("=", 1)) for role, text in settings]
    properties = DatabaseProperties(
        owner=owner,
        acl=None
        if default_acl
        else tuple(
            Grant(grantee=grantee, privilege=privilege, grantable=grantable)
            for grantee, privilege, grantable in acl
        ),
        connection_limit=max(columns["datconnlimit"], -1),
        comment=comment,
        settings=tuple((key, value) for role, key, value in split if not role),
        role_settings=tuple((role, key, value) for role, key, value in split if role),
    )
    locale = Locale(
        encoding=encoding,
        collate=columns["datcollate"],
        ctype=columns["datctype"],
        provider=columns.get("datlocprovider", "c"),
        locale=columns.get("datlocale", columns.get("daticulocale")),
        icu_rules=columns.get("daticurules"),
    )
    return properties, locale, oid


_DEPENDENCE = {"o": "owner", "a": "acl", "i": "acl", "r": "policy"}


def _roles(session: Session, oid: int, properties: DatabaseProperties) -> tuple[Role, ...]:
    """Those that the database refers to, and those that these are members of."""
    used: dict[str, set[str]] = {properties.owner: {"owner"}}
    for grant in properties.acl or ():
        if grant.grantee:
            used.setdefault(grant.grantee, set()).add("acl")
    for role, _key, _value in properties.role_settings:
        used.setdefault(role, set()).add("setting")
    for role, kind in session.execute(
        """
        SELECT DISTINCT pg_catalog.pg_get_userbyid(refobjid), deptype::text
        FROM pg_catalog.pg_shdepend
        WHERE dbid = %s AND refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass
        """,
        (oid,),
    ).fetchall():
        used.setdefault(role, set()).add(_DEPENDENCE.get(kind, "acl"))
    memberships: dict[str, list[str]] = {}
    for member, group in session.execute(
        """
        SELECT pg_catalog.pg_get_userbyid(member), pg_catalog.pg_get_userbyid(roleid)
        FROM pg_catalog.pg_auth_members ORDER BY 1, 2
        """
    ).fetchall():
        memberships.setdefault(member, []).append(group)
    waiting = list(used)
    while waiting:
        for group in memberships.get(waiting.pop(), ()):
            if group not in used:
                waiting.append(group)
            used.setdefault(group, set()).add("member")
    rows = session.execute(
        """
        SELECT r.rolname, r.rolsuper, r.rolinherit, r.rolcreaterole, r.rolcreatedb, r.rolcanlogin,
               r.rolreplication, r.rolbypassrls, r.rolconnlimit, r.rolvaliduntil::text, s.setconfig
        FROM pg_catalog.pg_roles r
        LEFT JOIN pg_catalog.pg_db_role_setting s ON s.setrole = r.oid AND s.setdatabase = 0
        WHERE r.rolname = ANY (%s) AND r.rolname !~ '^pg_' ORDER BY r.rolname
        """,
        (list(used),),
    ).fetchall()
    names = ("superuser", "inherit", "createrole", "createdb", "login", "replication", "bypassrls")
    return tuple(
        Role(
            name=row[0],
            used_for=tuple(sorted(used[row[0]])),
            attributes=dict(zip(names, row[1:8], strict=True)),
            connection_limit=row[8],
            valid_until=row[9],
            settings=tuple((key, value) for key, value in (t.split("=", 1) for t in row[10] or ())),
            member_of=tuple(memberships.get(row[0], ())),
        )
        for row in rows
    )
