"""What counts as an empty target, and what becomes of it."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from attrs import evolve

from controller.api.errors import TargetExists
from engines.interface import BackupFacts, Engine, Progress, Restored, Target
from engines.postgres import catalogue
from tests.fakes.streams import MemorySink, MemorySource
from tests.integration.postgres.conftest import fill_small
from tests.integration.postgres.test_restore_faults import databases
from tests.servers.postgres import PostgresServer
from tests.servers.postgres_engine import a_context, an_engine

AnyDatabase = Callable[..., str]

#: Catalogue -> what enters something there and nowhere else that counts, where that can be.
MAKES = {
    "pg_class": "CREATE SEQUENCE public.s",
    "pg_proc": "CREATE FUNCTION public.f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "pg_type": "CREATE DOMAIN public.d AS int CHECK (VALUE > 0)",
    "pg_operator": "CREATE OPERATOR public.=== (LEFTARG=int, RIGHTARG=int, FUNCTION=int4eq)",
    "pg_opclass": "CREATE OPERATOR FAMILY public.fam USING btree;"
    "CREATE OPERATOR CLASS public.c FOR TYPE int USING btree FAMILY public.fam "
    "AS FUNCTION 1 btint4cmp(int, int)",
    "pg_opfamily": "CREATE OPERATOR FAMILY public.fam USING hash",
    "pg_collation": 'CREATE COLLATION public.c FROM "C"',
    "pg_conversion": "CREATE CONVERSION public.c FOR 'LATIN1' TO 'UTF8' FROM iso8859_1_to_utf8",
    "pg_statistic_ext": "CREATE TABLE public.t (a int, b int); "
    "CREATE STATISTICS public.s ON a, b FROM public.t",
    "pg_ts_config": "CREATE TEXT SEARCH CONFIGURATION public.c (COPY=english)",
    "pg_ts_dict": "CREATE TEXT SEARCH DICTIONARY public.d (TEMPLATE=simple)",
    "pg_ts_parser": "CREATE TEXT SEARCH PARSER public.p (START=prsd_start, GETTOKEN=prsd_nexttoken,"
    "END=prsd_end, LEXTYPES=prsd_lextype)",
    "pg_ts_template": "CREATE TEXT SEARCH TEMPLATE public.t (LEXIZE=dsimple_lexize)",
    "pg_am": "CREATE ACCESS METHOD m TYPE TABLE HANDLER heap_tableam_handler",
    "pg_cast": "CREATE CAST (text AS int) WITH INOUT",
    "pg_default_acl": "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC",
    "pg_event_trigger": "CREATE FUNCTION public.e() RETURNS event_trigger LANGUAGE plpgsql "
    "AS 'BEGIN END'; CREATE EVENT TRIGGER e ON ddl_command_end EXECUTE FUNCTION public.e()",
    "pg_foreign_data_wrapper": "CREATE FOREIGN DATA WRAPPER w",
    "pg_foreign_server": "CREATE FOREIGN DATA WRAPPER w; CREATE SERVER s FOREIGN DATA WRAPPER w",
    "pg_language": "CREATE LANGUAGE l HANDLER plpgsql_call_handler",
    "pg_largeobject_metadata": "SELECT lo_create(0)",
    "pg_publication": "CREATE PUBLICATION p",
    "pg_transform": "CREATE TRANSFORM FOR int LANGUAGE sql "
    "(FROM SQL WITH FUNCTION prsd_lextype(internal))",
    "pg_user_mappings": "CREATE FOREIGN DATA WRAPPER w; CREATE SERVER s FOREIGN DATA WRAPPER w; "
    "CREATE USER MAPPING FOR PUBLIC SERVER s",
}


@pytest.fixture
def stored(
    postgres16: PostgresServer, a_database: AnyDatabase, tmp_path: Path
) -> tuple[Engine, BackupFacts, MemorySink]:
    database = a_database(postgres16)
    fill_small(postgres16, database)
    engine = an_engine(postgres16, database)
    sink = MemorySink()
    return engine, engine.create_backup(sink, a_context(tmp_path)), sink


@pytest.mark.parametrize("major", [16, 18])
def test_every_catalogue_that_holds_what_users_make_is_asked(
    request: pytest.FixtureRequest, major: int
) -> None:
    server: PostgresServer = request.getfixturevalue(f"postgres{major}")
    with server.connect() as connection:
        dumped = re.compile(rb"\bpg_catalog\.pg_\w+|\bFROM pg_\w+")
        program = (server.bin_dir / "pg_dump").read_bytes()
        read = {word.split(b" ")[-1].split(b".")[-1].decode() for word in dumped.findall(program)}
        with_oid = {
            name
            for (name,) in connection.execute(
                """
                SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
                WHERE c.relnamespace = 'pg_catalog'::regnamespace AND c.relkind = 'r'
                  AND NOT c.relisshared AND a.attname = 'oid'
                """
            )
        }
    of_another = {"pg_attrdef", "pg_constraint", "pg_enum", "pg_policy", "pg_rewrite", "pg_trigger"}
    of_another |= {"pg_amop", "pg_amproc", "pg_publication_rel", "pg_publication_namespace"}
    elsewhere = {"pg_namespace", "pg_extension"}  # is_bare; pg_user_mapping by its view

    asked = {name.replace("mappings", "mapping") for name, _oid, _schema in catalogue._MADE}

    assert len(read & with_oid) > 20
    assert (read & with_oid) - of_another - elsewhere <= asked
    assert set(MAKES) == {name for name, _oid, _schema in catalogue._MADE}


@pytest.mark.parametrize("made", MAKES)
def test_a_target_is_not_empty_whatever_a_person_made_in_it(
    postgres16: PostgresServer, a_database: AnyDatabase, made: str
) -> None:
    database = a_database(postgres16)
    with postgres16.connect(database) as connection:
        assert catalogue.is_empty(connection)
        assert catalogue.is_bare(connection)

        connection.execute(MAKES[made])

        assert not catalogue.is_empty(connection)
        if made == "pg_largeobject_metadata":
            connection.execute("SELECT lo_unlink(oid) FROM pg_largeobject_metadata")


@pytest.mark.parametrize("made", ["pg_ts_config", "pg_collation", "pg_default_acl"])
def test_a_target_that_holds_no_table_is_refused_and_not_dropped(
    postgres16: PostgresServer,
    a_database: AnyDatabase,
    tmp_path: Path,
    stored: tuple[Engine, BackupFacts, MemorySink],
    made: str,
) -> None:
    target = a_database(postgres16)
    with postgres16.connect(target) as connection:
        connection.execute(MAKES[made])
    engine, facts, sink = stored

    with pytest.raises(TargetExists, match="--replace"):
        engine.restore_backup(
            MemorySource(sink.streams), facts, a_context(tmp_path), target=Target(database=target)
        )

    with postgres16.connect(target) as connection:
        assert not catalogue.is_empty(connection)


@pytest.mark.parametrize("made", ["schema", "extension"])
def test_a_target_with_schemas_or_extensions_alone_is_used_and_kept(
    postgres16: PostgresServer,
    a_database: AnyDatabase,
    tmp_path: Path,
    stored: tuple[Engine, BackupFacts, MemorySink],
    made: str,
) -> None:
    target = a_database(postgres16)
    with postgres16.connect(target) as connection:
        if made == "schema":
            connection.execute("CREATE SCHEMA team")
        else:
            there = "SELECT name FROM pg_available_extensions WHERE name IN ('vector', 'hstore')"
            connection.execute(f"CREATE EXTENSION {connection.execute(there).fetchone()[0]}")
        assert catalogue.is_empty(connection)
        assert not catalogue.is_bare(connection)
    engine, facts, sink = stored

    restored: Restored = engine.restore_backup(
        MemorySource(sink.streams), facts, a_context(tmp_path), target=Target(database=target)
    )

    assert restored.kept_as is not None
    assert databases(postgres16, target) == sorted([target, restored.kept_as])
    assert restored.kept_as in " ".join(restored.warnings)
    with postgres16.connect(restored.kept_as) as connection:
        assert not catalogue.is_bare(connection)


def test_what_others_have_in_temporary_tables_is_not_in_the_way(
    postgres16: PostgresServer, a_database: AnyDatabase
) -> None:
    database = a_database(postgres16)
    with postgres16.connect(database) as other, postgres16.connect(database) as connection:
        other.execute("CREATE TEMPORARY TABLE t (id serial PRIMARY KEY, x text)")

        assert catalogue.is_empty(connection)


class TestWithoutCreatedb:
    """The restore into a database that is there commits before anything is compared."""

    @pytest.fixture
    def target(
        self, postgres16: PostgresServer, a_database: AnyDatabase, a_role: Callable[..., str]
    ) -> tuple[str, Engine]:
        role, target = a_role(), a_database(postgres16)
        with postgres16.connect(target) as connection:
            connection.execute(f"ALTER DATABASE {target} OWNER TO {role}")
            connection.execute(f"CREATE SCHEMA team AUTHORIZATION {role}")
        return target, an_engine(postgres16, target, user=role, password="pw")

    def test_what_was_there_before_is_no_difference(
        self,
        postgres16: PostgresServer,
        tmp_path: Path,
        stored: tuple[Engine, BackupFacts, MemorySink],
        target: tuple[str, Engine],
    ) -> None:
        _, facts, sink = stored
        database, engine = target

        restored = engine.restore_backup(
            MemorySource(sink.streams),
            facts,
            a_context(tmp_path),
            target=Target(database=database, owners=False),
        )

        assert restored.warnings == ()
        assert restored.counts == {**facts.counts, "schemas": facts.counts["schemas"] + 1}
        with postgres16.connect(database) as connection:
            assert connection.execute("SELECT count(*) FROM public.a").fetchone() == (2000,)

    def test_a_difference_and_a_cancel_after_the_commit_are_warnings(
        self,
        postgres16: PostgresServer,
        tmp_path: Path,
        stored: tuple[Engine, BackupFacts, MemorySink],
        target: tuple[str, Engine],
    ) -> None:
        _, facts, sink = stored
        database, engine = target
        cancelled = threading.Event()
        more = evolve(facts, counts={**facts.counts, "tables": facts.counts["tables"] + 1})

        def cancel(progress: Progress) -> None:
            if progress.stage == "analyze":
                cancelled.set()

        restored = engine.restore_backup(
            MemorySource(sink.streams),
            more,
            a_context(tmp_path),
            target=Target(database=database, owners=False),
        )

        assert "tables: 2 instead of 3" in " ".join(restored.warnings)

        with postgres16.connect(database) as connection:
            connection.execute("DROP TABLE public.a, public.b")
        restored = engine.restore_backup(
            MemorySource(sink.streams),
            facts,
            a_context(tmp_path, cancelled=cancelled, report=cancel),
            target=Target(database=database, owners=False),
        )

        assert "ANALYZE" in " ".join(restored.warnings)
        with postgres16.connect(database) as connection:
            assert connection.execute("SELECT count(*) FROM public.a").fetchone() == (2000,)
