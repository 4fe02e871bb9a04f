"""The parts of the PostgreSQL engine that need no server."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, strategies

from controller.api.errors import FormatError, InvalidSpec, PreflightFailed
from controller.api.secrets import Secret, SecretValue
from controller.api.v1 import SHORTEST_STALL, PostgresSpec
from engines.interface import InitOptions
from engines.postgres import dump, globals as database_globals, snapshot, target, tools, versions
from engines.postgres.catalogue import Table
from engines.postgres.engine import PostgresEngine

MIB = 1 << 20


def an_engine(version: str = "", **fields: object) -> PostgresEngine:
    def refuse(_value: SecretValue) -> Secret:
        raise AssertionError("the controller has no secrets to give")

    engine = PostgresEngine()
    spec = PostgresSpec(**{"database": "shop", "host": "db", "user": "backup", **fields})
    engine.init(
        InitOptions(namespace="n", name="x", spec=spec, resolve=refuse, environ={}, version=version)
    )
    return engine


def tables(*sizes: int) -> list[Table]:
    return [
        Table(oid=i, schema="s", name=f't"{i}', kind="r", size_bytes=size, of_extension=False)
        for i, size in enumerate(sizes)
    ]


class TestInit:
    def test_pod_spec_is_the_same_each_time_and_knows_no_secret(self) -> None:
        password = SecretValue(value=Secret("hunter2"))
        engine = an_engine(version="16.3", password=password)

        spec = engine.pod_spec(image_prefix="registry/x", release="1.2.3")

        assert spec == engine.pod_spec(image_prefix="registry/x", release="1.2.3")
        assert spec.image == "registry/x-postgres:16-1.2.3"
        assert "hunter2" not in repr(spec)

    @pytest.mark.parametrize("version", ["9.6", "10", "99", "latest"])
    def test_an_unknown_major_is_refused_by_path(self, version: str) -> None:
        with pytest.raises(InvalidSpec, match=r"spec\.databaseVersion"):
            an_engine(version=version)

    def test_another_engines_section_is_refused(self) -> None:
        with pytest.raises(InvalidSpec, match=r"spec\.postgres"):
            PostgresEngine().init(
                InitOptions(namespace="n", name="x", spec=None, resolve=Secret, environ={})
            )


class TestPlan:
    def test_one_stream_is_the_whole_database(self) -> None:
        assert dump.plan(tables(1, 2), 1) == {"dump": ()}

    @given(
        strategies.lists(strategies.integers(0, 1000 * MIB), max_size=60), strategies.integers(2, 6)
    )
    def test_every_row_is_in_exactly_one_stream(self, sizes: list[int], parallel: int) -> None:
        streams = dump.plan(tables(*sizes), parallel)

        *named, complement = [o for name, o in streams.items() if name != "schema"]
        carried = [
            o.removeprefix("--table=") for options in named for o in options if "--table" in o
        ]
        left_out = [
            option.removeprefix("--exclude-table-data=")
            for option in complement
            if option.startswith("--exclude")
        ]
        assert len(carried) == len(set(carried))
        assert sorted(carried) == sorted(left_out)
        assert len(named) <= parallel - 1
        assert next(iter(streams)) == "schema"

    def test_equal_tables_are_spread_evenly(self) -> None:
        streams = dump.plan(tables(*[100 * MIB] * 6), 3)

        assert [len([o for o in s if "table" in o]) for s in streams.values()] == [0, 2, 2, 4]


class TestNames:
    @given(strategies.text(min_size=1, max_size=40), strategies.text(min_size=1, max_size=40))
    def test_temporary_names_are_short_plain_and_differ_by_target(self, one: str, two: str) -> None:
        name = target.beside(one, "abc123")

        assert len(name) <= 63
        assert name.replace("_", "").isalnum()
        assert (name == target.beside(two, "abc123")) == (one == two)

    @given(strategies.text(min_size=1, max_size=63))
    def test_dated_names_fit(self, name: str) -> None:
        kept = target.kept_name(name, datetime(2026, 7, 1, 12, 0, 5, tzinfo=UTC))

        assert len(kept.encode()) <= 63
        assert kept.endswith("_before_20260701120005")


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("work_mem", "7MB", "\"work_mem\" TO '7MB'"),
        ("app.x", "it's", "\"app\".\"x\" TO 'it''s'"),
        ("search_path", '"$user", public', "\"search_path\" TO '$user', 'public'"),
        ("search_path", '"a, ""b"', '"search_path" TO \'a, "b\''),
        ("search_path", "", "\"search_path\" TO ''"),
        ("log_line_prefix", "a\\b", "\"log_line_prefix\" TO E'a\\\\b'"),
    ],
)
def test_settings_are_quoted(name: str, value: str, expected: str) -> None:
    assert database_globals.setting(name, value) == expected


def test_globals_survive_and_strangers_are_refused() -> None:
    around = database_globals.Globals(
        database="shop",
        locale=database_globals.Locale(encoding="UTF8", collate="C", ctype="C"),
        properties=database_globals.DatabaseProperties(
            owner="o",
            acl=(database_globals.Grant(grantee="", privilege="CONNECT"),),
            role_settings=(("r", "k", "v"),),
        ),
        roles=(database_globals.Role(name="o", used_for=("owner",), attributes={"login": True}),),
    )

    assert database_globals.decode(around.encode()) == around
    for stranger in (
        b"",
        b"[]",
        b'{"format": 9}',
        b'{"format": 1}',
        b'{"format": 1, "database": 5}',
    ):
        with pytest.raises(FormatError):
            database_globals.decode(stranger)


@pytest.mark.parametrize(
    ("text", "major"), [("16.14", 16), ("18.4 (Debian 18.4-1)", 18), ("17beta1", 17)]
)
def test_majors_are_read_from_what_servers_say(text: str, major: int) -> None:
    assert versions.major_of(text) == major


def test_tools_are_chosen_by_major(tmp_path: Path) -> None:
    for major in (15, 17):
        folder = tmp_path / str(major)
        folder.mkdir()
        for name in ("pg_dump", "pg_restore"):
            program = folder / name
            program.write_text(f"#!/bin/sh\necho '{name} (PostgreSQL) {major}.2'\n")
            program.chmod(0o755)
    environ = {"POSTGRES_BIN_DIRS": f"{tmp_path}/17:{tmp_path}/15", "PATH": ""}

    assert tools.for_dump(environ, 15).bin_dir == tmp_path / "15"
    assert tools.for_dump(environ, 16).major == 17
    assert tools.for_restore(environ, 17).version == "17.2"
    with pytest.raises(PreflightFailed, match="postgresql-client-14"):
        tools.for_restore(environ, 14)


def test_no_wait_for_a_lock_passes_for_a_stall() -> None:
    """Each end of it is told; half as much again is for a machine that is busy."""
    assert 1.5 * max(snapshot.LOCK_WAIT_S, dump._PAUSE_S) <= SHORTEST_STALL.total_seconds()
