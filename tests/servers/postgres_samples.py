"""A database with one of everything, and its fingerprint.

`fill` makes every kind of object that a dump has to bring back, under names
that break careless quoting; `fingerprint` is equal before and after.
"""

from __future__ import annotations

import re
import subprocess
from typing import Any

from tests.servers.postgres import PostgresServer

HOSTILE_NAMES = (
    '"; \\! touch x',
    "it's",
    'say "hi"',
    "with space",
    "new\nline",
    "back\\slash",
    "dollar$1",
    "per%cent %s",
    "star.*?+[a](b){c}|^",
    "UPPER",
    "grün 数据 🐘",
    "-t",
    "n" * 63,
)

_SCHEMA = r"""
CREATE SCHEMA "app.v1";
CREATE SCHEMA app;
CREATE TYPE app.mood AS ENUM ('sad', 'ok', 'happy');
CREATE DOMAIN app.email AS text CHECK (VALUE LIKE '%@%');
CREATE TYPE app.point3 AS (x float8, y float8, z float8);
CREATE FUNCTION app.twice(i int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT i * 2';
CREATE PROCEDURE app.nothing() LANGUAGE plpgsql AS 'BEGIN NULL; END';
CREATE AGGREGATE app.total(int) (SFUNC = int4pl, STYPE = int, INITCOND = '0');
CREATE SEQUENCE app.odd INCREMENT 7 START 3 MAXVALUE 1000 CYCLE;
SELECT nextval('app.odd') FROM generate_series(1, 5);
CREATE TABLE app.person (
    id int GENERATED ALWAYS AS IDENTITY (START 100) PRIMARY KEY,
    email app.email UNIQUE NOT NULL,
    mood app.mood DEFAULT 'ok',
    at_place app.point3,
    born date CHECK (born > '1900-01-01'),
    twice int GENERATED ALWAYS AS (app.twice(length(email::text))) STORED,
    boss int,
    tags text[] DEFAULT '{}',
    doc jsonb
);
INSERT INTO app.person (email, mood, at_place, born, tags, doc)
SELECT 'p' || i || '@example.org', (enum_range(NULL::app.mood))[1 + i % 3],
       ROW(i::float8, (i / 3.0)::float8, -i::float8)::app.point3,
       date '1950-01-01' + i, ARRAY['a' || i, NULL, 'quo"te'], jsonb_build_object('k', i)
FROM generate_series(1, 500) i;
UPDATE app.person SET boss = 100 + (id % 50);
CREATE TABLE app.team (id serial PRIMARY KEY, lead int NOT NULL, name text COLLATE "C");
INSERT INTO app.team (lead, name) SELECT 100 + i, 'team' || i FROM generate_series(1, 20) i;
ALTER TABLE app.person ADD team int REFERENCES app.team DEFERRABLE INITIALLY DEFERRED;
UPDATE app.person SET team = 1 + id % 20;
ALTER TABLE app.team ADD FOREIGN KEY (lead) REFERENCES app.person;
ALTER TABLE app.person ADD FOREIGN KEY (boss) REFERENCES app.person;
CREATE INDEX ON app.person (lower(email)) WHERE mood <> 'sad';
CREATE INDEX ON app.person USING gin (doc);
CREATE STATISTICS app.st (dependencies) ON mood, born FROM app.person;
CREATE TABLE app.event (
    at timestamptz NOT NULL, id bigint NOT NULL, what text, PRIMARY KEY (at, id)
) PARTITION BY RANGE (at);
CREATE TABLE app.event_2026 PARTITION OF app.event
    FOR VALUES FROM ('2026-01-01') TO ('2027-01-01') PARTITION BY HASH (id);
CREATE TABLE app.event_2026_0 PARTITION OF app.event_2026 FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE app.event_2026_1 PARTITION OF app.event_2026 FOR VALUES WITH (MODULUS 2, REMAINDER 1);
CREATE TABLE app.event_rest PARTITION OF app.event DEFAULT;
INSERT INTO app.event SELECT timestamptz '2025-12-01' + i * interval '1 hour', i, 'e' || i
FROM generate_series(1, 3000) i;
CREATE TABLE app.parent (a int); CREATE TABLE app.child (b int) INHERITS (app.parent);
INSERT INTO app.parent VALUES (1); INSERT INTO app.child VALUES (2, 3);
CREATE UNLOGGED TABLE app.scratch AS SELECT generate_series(1, 10) AS n;
CREATE TABLE app.blob (id int PRIMARY KEY, data bytea, wide text);
INSERT INTO app.blob SELECT i, decode(md5(i::text), 'hex'), repeat(md5(i::text), 500)
FROM generate_series(1, 400) i;
CREATE VIEW app.happy WITH (security_barrier) AS SELECT * FROM app.person WHERE mood = 'happy';
CREATE MATERIALIZED VIEW app.moods AS SELECT mood, count(*) FROM app.person GROUP BY mood;
CREATE UNIQUE INDEX ON app.moods (mood);
CREATE MATERIALIZED VIEW app.moods_again AS SELECT * FROM app.moods WHERE count > 1;
CREATE MATERIALIZED VIEW app.unfilled AS SELECT 1 AS one WITH NO DATA;
CREATE RULE no_delete AS ON DELETE TO app.team DO INSTEAD NOTHING;
CREATE FUNCTION app.stamp() RETURNS trigger LANGUAGE plpgsql AS
    $f$ BEGIN NEW.doc = coalesce(NEW.doc, '{}'); RETURN NEW; END $f$;
CREATE TRIGGER stamp BEFORE INSERT ON app.person FOR EACH ROW EXECUTE FUNCTION app.stamp();
ALTER TABLE app.person DISABLE TRIGGER stamp;
ALTER TABLE app.team ENABLE ROW LEVEL SECURITY;
ALTER TABLE app.team FORCE ROW LEVEL SECURITY;
CREATE POLICY own ON app.team USING (name <> 'team3');
CREATE PUBLICATION changes FOR TABLE app.team;
CREATE TABLE "app.v1"."Dotted.Table" AS SELECT 1 AS "a.b", 'x'::text AS "C""d";
COMMENT ON TABLE app.person IS E'people; \\! "quoted" ''text''\nsecond line';
COMMENT ON COLUMN app.person.email IS 'mail';
COMMENT ON SCHEMA app IS 'the app';
REVOKE ALL ON FUNCTION app.twice(int) FROM PUBLIC;
SELECT lo_from_bytea(0, convert_to(repeat('large ' || i, 5000), 'UTF8'))
FROM generate_series(1, 5) i;
COMMENT ON SCHEMA public IS 'changed';
"""


def fill(server: PostgresServer, database: str, *, owner: str | None = None) -> None:
    """One of everything; `owner` is a role that then owns and is granted some of it."""
    with server.connect(database) as connection:
        connection.execute("SET search_path = public")
        # One by one: some of them may not follow others within a transaction.
        for statement in re.split(r";\n(?=[A-Z])", _SCHEMA):
            connection.execute(statement)
        for number, name in enumerate(HOSTILE_NAMES):
            table = _identifier(name)
            connection.execute(
                f"CREATE TABLE {table} ({table} int PRIMARY KEY, t text DEFAULT {_literal(name)})"
            )
            connection.execute(
                f"INSERT INTO {table} SELECT i FROM generate_series(1, {50 + number * 300}) i"
            )
            if number < 4:
                connection.execute(f"CREATE SCHEMA {table}")
                connection.execute(f"CREATE TABLE {table}.{table} AS SELECT 1 AS {table}")
                connection.execute(f"COMMENT ON TABLE {table}.{table} IS {_literal(name)}")
        available = {
            row[0] for row in connection.execute("SELECT name FROM pg_available_extensions")
        }
        if "vector" in available:
            connection.execute(
                "CREATE EXTENSION vector; CREATE TABLE app.v (e public.vector(3));"
                "INSERT INTO app.v VALUES ('[1,2,3]'), ('[4,5,6]')"
            )
        if "hstore" in available:
            connection.execute(
                "CREATE SCHEMA ext; CREATE EXTENSION hstore SCHEMA ext; CREATE EXTENSION citext;"
                "CREATE TABLE app.h (h ext.hstore, c public.citext);"
                "INSERT INTO app.h VALUES ('a=>1', 'Word')"
            )
        if owner is not None:
            name = _identifier(owner)
            connection.execute(
                f"ALTER TABLE app.blob OWNER TO {name}; GRANT USAGE ON SCHEMA app TO {name};"
                f"GRANT SELECT (email), UPDATE (mood) ON app.person TO {name} WITH GRANT OPTION;"
                f"ALTER DEFAULT PRIVILEGES IN SCHEMA app GRANT SELECT ON TABLES TO {name};"
                f"CREATE POLICY theirs ON app.team TO {name} USING (true)"
            )


def fingerprint(server: PostgresServer, database: str) -> dict[str, Any]:
    """Rows of every table and sequence, large objects, and the definitions as pg_dump has them."""
    found: dict[str, Any] = {}
    with server.connect(database) as connection:
        connection.execute("SET extra_float_digits = 1; SET row_security = off")
        relations = connection.execute(
            """
            SELECT n.nspname, c.relname, c.relkind::text FROM pg_class c
            JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE c.relkind IN ('r', 'm', 'S') AND n.nspname !~ '^pg_'
              AND n.nspname <> 'information_schema' AND (c.relkind <> 'm' OR c.relispopulated)
            """
        ).fetchall()
        for schema, name, kind in relations:
            relation = f"{_identifier(schema)}.{_identifier(name)}"
            query = (
                f"SELECT last_value, is_called FROM {relation}"
                if kind == "S"
                else f"SELECT count(*), sum(hashtextextended(t::text, 0)) FROM ONLY {relation} t"
            )
            found[f"{schema}.{name}"] = connection.execute(query.replace("%", "%%"), ()).fetchone()
        found["large objects"] = connection.execute(
            "SELECT oid, md5(lo_get(oid)) FROM pg_largeobject_metadata ORDER BY oid"
        ).fetchall()
    found["definitions"] = _definitions(server, database)
    return found


def database_properties(server: PostgresServer, database: str) -> object:
    with server.connect() as connection:
        return connection.execute(
            """
            SELECT pg_get_userbyid(datdba),
                   (SELECT array_agg(a::text ORDER BY a::text) FROM unnest(datacl) a),
                   pg_encoding_to_char(encoding), datcollate,
                   shobj_description(d.oid, 'pg_database'),
                   (SELECT array_agg((s.setrole = 0)::text || ' ' || t ORDER BY s.setrole, t)
                    FROM pg_db_role_setting s, unnest(s.setconfig) t WHERE s.setdatabase = d.oid)
            FROM pg_database d WHERE datname = %s
            """,
            (database,),
        ).fetchone()


def leftovers(server: PostgresServer) -> list[str]:
    """Databases, and sessions of ours, that should not be there."""
    with server.connect() as connection:
        rows = connection.execute(
            """
            SELECT datname FROM pg_database WHERE datname LIKE 'dbb\\_%'
            UNION ALL
            SELECT application_name FROM pg_stat_activity WHERE application_name LIKE 'db-backup %'
            """
        ).fetchall()
    return [name for (name,) in rows]


def _definitions(server: PostgresServer, database: str) -> str:
    environment = {**server.environment(), "PGDATABASE": database}
    text = subprocess.run(
        [server.bin_dir / "pg_dump", "--schema-only"],
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return re.sub(r"^\\(un)?restrict .*$", "", text, flags=re.MULTILINE)


def _identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(text: str) -> str:
    return "E'" + text.replace("\\", "\\\\").replace("'", "''") + "'"
