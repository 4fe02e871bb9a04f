"""A schema with one of everything that MySQL or MariaDB knows, and its fingerprint.

`fill` makes every kind of object that a backup has to bring back, under names
that break careless quoting; `fingerprint` is equal before and after.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from engines.mysql_family import versions
from tests.servers.mysql import MysqlServer

HOSTILE_NAMES = (
    "`; \\! touch x",
    "it's",
    'say "hi"',
    "with space",
    "new\nline",
    "new\n\\! touch x",
    "back\\slash",
    "dollar$1",
    "per%cent %s",
    "dotted.name",
    "star.*?+[a](b){c}|^",
    "UPPER",
    "# no comment",
    "-- none either",
    "grün 数据",
    "-t",
    "n" * 64,
)

_COMMON = (
    """CREATE TABLE person (
        id INT AUTO_INCREMENT PRIMARY KEY, email VARCHAR(190) NOT NULL, boss INT,
        mood ENUM('sad', 'it''s ok', 'ü') DEFAULT 'it''s ok', tags SET('a', 'b"c') COMMENT 'a
new line',
        born DATE CHECK (born > '1900-01-01'), twice INT GENERATED ALWAYS AS (id_copy * 2) STORED,
        id_copy INT NOT NULL DEFAULT 0, half INT AS (id_copy / 2) VIRTUAL,
        doc JSON, made TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP,
        UNIQUE KEY email (email), KEY half (half), FULLTEXT KEY words (email),
        CONSTRAINT boss_exists FOREIGN KEY (boss) REFERENCES person (id) ON DELETE SET NULL
    ) AUTO_INCREMENT = 100 COMMENT = 'it''s "quoted"; DROP TABLE x'""",
    """INSERT INTO person (email, mood, tags, born, id_copy, doc, made)
       SELECT CONCAT('p', seq, '@example.org'), ELT(1 + seq % 3, 'sad', 'it''s ok', 'ü'),
              IF(seq % 2, 'a', 'a,b"c'), DATE'1950-01-01' + INTERVAL seq DAY, seq,
              JSON_OBJECT('k', seq, 'quo"te', 'b\\\\s'), TIMESTAMP'2026-01-01 00:00:00'
       FROM numbers LIMIT 500""",
    "UPDATE person SET boss = 100 + id % 50, made = '2026-03-29 01:30:00'",
    """CREATE TABLE team (id INT PRIMARY KEY, lead_id INT, first_member INT,
        FOREIGN KEY (lead_id) REFERENCES person (id))""",
    "INSERT INTO team SELECT seq, 100 + seq, NULL FROM numbers WHERE seq <= 20",
    "ALTER TABLE person ADD team INT, ADD CONSTRAINT ours FOREIGN KEY (team) REFERENCES team (id)",
    "UPDATE person SET team = 1 + id % 20",
    """CREATE TABLE kinds (
        id INT PRIMARY KEY, bits BIT(64), tiny TINYINT UNSIGNED, big BIGINT UNSIGNED,
        exact DECIMAL(65, 30), approximate DOUBLE, at DATETIME(6), on_day DATE, hours TIME(6),
        a_year YEAR, fixed CHAR(5), bytes VARBINARY(300), blob_ LONGBLOB, text_ LONGTEXT,
        latin VARCHAR(100) CHARACTER SET latin1, place GEOMETRY, empty_ VARCHAR(10))""",
    """INSERT INTO kinds VALUES
        (1, b'1000000000000000000000000000000000000000000000000000000000000001', 255,
         18446744073709551615, 12345678901234567890123456789012345.123456789012345678901234567890,
         1.7976931348623157e308, '9999-12-31 23:59:59.999999', '0000-00-00', '-838:59:59.000000',
         1901, 'a', X'0001FF0A0D27225C1A', REPEAT(X'00FF1A0D0A5C27', 20000),
         CONCAT('🐘 it''s "x" \\\\ ', CHAR(10), CHAR(13), CHAR(26), 'end'), 'grün',
         ST_GeomFromText('POLYGON((0 0, 0 1, 1 1, 0 0))'), ''),
        (2, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
         NULL, NULL),
        (3, 0, 0, 0, 0, 2.2250738585072014e-308, '0000-00-00 00:00:00', '2026-00-00',
         '00:00:00.000001', 2155, '', '', '', 'DELIMITER ;;\\nUSE mysql;\\n\\\\! touch x\\n', '',
         NULL, 'null')""",
    """CREATE TABLE parts (at DATE NOT NULL, id INT NOT NULL, what TEXT, PRIMARY KEY (at, id))
       PARTITION BY RANGE (YEAR(at)) SUBPARTITION BY HASH (id) SUBPARTITIONS 2 (
         PARTITION p2025 VALUES LESS THAN (2026), PARTITION rest VALUES LESS THAN MAXVALUE)""",
    (
        "INSERT INTO parts SELECT DATE'2025-06-01' + INTERVAL seq DAY, seq, REPEAT('e', seq % 90)"
        " FROM numbers"
    ),
    "CREATE TABLE log (id INT AUTO_INCREMENT PRIMARY KEY, said VARCHAR(200)) ROW_FORMAT=DYNAMIC",
    "CREATE TABLE no_key (a INT, b INT INVISIBLE DEFAULT 7)",
    "INSERT INTO no_key (a, b) VALUES (1, 1), (1, 1), (0, 0)",
    "CREATE FUNCTION twice(i INT) RETURNS INT DETERMINISTIC COMMENT 'it''s' RETURN i * 2",
    (
        "CREATE PROCEDURE say(IN what VARCHAR(100), OUT size INT) MODIFIES SQL DATA"
        " SQL SECURITY INVOKER BEGIN INSERT INTO log (said) VALUES (CONCAT(';; ', what));"
        " SET size = LENGTH(what); END"
    ),
    "CREATE VIEW zero AS SELECT id, email FROM person WHERE mood <> 'sad' WITH CHECK OPTION",
    (
        "CREATE SQL SECURITY INVOKER VIEW above AS SELECT z.id, twice(z.id) AS doubled,"
        " '`{schema}`.`x`' AS text_ FROM `{schema}`.zero z"
    ),
    "CREATE VIEW a_chain AS SELECT a.doubled, `{schema}`.twice(1) AS two FROM above a",
    (
        "CREATE TRIGGER `{schema}`.team_log BEFORE INSERT ON `{schema}`.team FOR EACH ROW"
        " BEGIN INSERT INTO log (said) VALUES ('one'); END"
    ),
    (
        "CREATE TRIGGER team_log2 BEFORE INSERT ON team FOR EACH ROW FOLLOWS team_log"
        " INSERT INTO log (said) VALUES ('two -- ;')"
    ),
    "CREATE TRIGGER team_gone AFTER DELETE ON team FOR EACH ROW SET @gone = OLD.id",
    (
        "CREATE EVENT nightly ON SCHEDULE EVERY 1 DAY STARTS '2030-01-01 03:00:00'"
        " ON COMPLETION PRESERVE ENABLE COMMENT 'it''s' DO DELETE FROM log WHERE id < 0"
    ),
    (
        "CREATE EVENT once ON SCHEDULE AT '2037-01-01 00:00:00' DISABLE DO"
        " BEGIN DELETE FROM log; DELETE FROM no_key; END"
    ),
)
_MARIADB = (
    "CREATE SEQUENCE odd START WITH 3 INCREMENT BY 7 MAXVALUE 1000 CYCLE",
    "SELECT NEXTVAL(odd)",
    """CREATE TABLE from_sequence (id INT DEFAULT NEXTVAL(odd),
        odd_ INT DEFAULT (1 + NEXTVAL(odd)), address INET6, uid UUID)""",
    "INSERT INTO from_sequence (address, uid) VALUES ('2001:db8::1', UUID())",
    "CREATE TRIGGER of_sequence BEFORE INSERT ON from_sequence FOR EACH ROW SET @next = NEW.id",
    "CREATE TABLE history (id INT PRIMARY KEY, v INT) WITH SYSTEM VERSIONING",
    "INSERT INTO history VALUES (1, 1), (2, 2)",
    "UPDATE history SET v = 10 WHERE id = 1",
    "DELETE FROM history WHERE id = 2",
    (
        "CREATE TABLE booked (id INT, a DATE, b DATE, PERIOD FOR p (a, b),"
        " squeezed TEXT COMPRESSED, UNIQUE (id, p WITHOUT OVERLAPS))"
    ),
    "INSERT INTO booked VALUES (1, '2026-01-01', '2026-02-01', REPEAT('x', 5000))",
    "SET SESSION sql_mode = 'ORACLE'",
    "CREATE PACKAGE tools AS FUNCTION one RETURN INT; END",
    "CREATE PACKAGE BODY tools AS FUNCTION one RETURN INT AS BEGIN RETURN 1; END; END",
    "SET SESSION sql_mode = ''",
)
_MYSQL = (
    (
        "CREATE TABLE modern (id INT PRIMARY KEY, doc JSON, v INT CHECK (v > 0) NOT ENFORCED,"
        " made CHAR(36) DEFAULT (UUID()), spot POINT NOT NULL SRID 4326, SPATIAL KEY (spot),"
        " KEY zips ((CAST(doc->'$.z' AS UNSIGNED ARRAY))), KEY low ((LOWER(made))), KEY unseen (v)"
        " INVISIBLE)"
    ),
    (
        "INSERT INTO modern (id, doc, v, made, spot) VALUES"
        " (1, '{\"z\": [1, 2]}', -5, 'x', ST_GeomFromText('POINT(1 2)', 4326))"
    ),
)
#: From 9.0 on.
_VECTORS = (
    "CREATE TABLE vectors (id INT PRIMARY KEY, v VECTOR(3))",
    "INSERT INTO vectors VALUES (1, TO_VECTOR('[1, 2.5, -3]'))",
)
#: The end that never comes is another one from series to series.
_HISTORY = "*, row_start, IF(row_end < '2037-01-01', row_end, NULL)"
#: What `SELECT *` does not show, or the driver not read.
_SHOWN = {"no_key": "a, b", "vectors": "id, HEX(v)", "history": _HISTORY}


def fill(server: MysqlServer, schema: str) -> None:
    """One of everything; the schema exists and is empty."""
    with server.connect(schema) as connection, connection.cursor() as cursor:
        cursor.execute("SET SESSION sql_mode = '', time_zone = '+00:00'")
        cursor.execute("CREATE TABLE numbers (seq INT PRIMARY KEY)")
        values = ", ".join(f"({number})" for number in range(1, 1001))
        cursor.execute(f"INSERT INTO numbers VALUES {values}")
        for statement in (*_COMMON, *_of_its_own(server)):
            cursor.execute(statement.replace("{schema}", schema.replace("`", "``")))
            cursor.fetchall()
        for name in HOSTILE_NAMES:
            quoted = "`" + name.replace("`", "``") + "`"
            cursor.execute(f"CREATE TABLE {quoted} (id INT PRIMARY KEY, {quoted} INT)")
            cursor.execute(f"INSERT INTO {quoted} VALUES (1, 2)")
            short = "`" + name[:40].replace("`", "``") + " v`"
            cursor.execute(f"CREATE VIEW {short} AS SELECT {quoted} FROM {quoted}")
            cursor.execute(
                f"CREATE TRIGGER {short} BEFORE UPDATE ON {quoted} FOR EACH ROW SET NEW.id = 1"
            )
            cursor.execute(f"CREATE PROCEDURE {short}() SELECT * FROM {quoted}")


def _of_its_own(server: MysqlServer) -> Iterator[str]:
    """What other families and series do not know."""
    if server.family == "mariadb":
        yield from _MARIADB
        return
    yield from _MYSQL
    if versions.series_of(server.series) >= (9, 0):
        yield from _VECTORS


def fingerprint(server: MysqlServer, schema: str) -> dict[str, Any]:
    """Definitions and rows of all that is in a schema, whatever its name is."""
    found: dict[str, Any] = {}
    with server.connect(schema) as connection, connection.cursor() as cursor:

        def rows(query: str, *arguments: object) -> list[Any]:
            cursor.execute(query, arguments or None)
            return list(cursor.fetchall())

        cursor.execute("SET SESSION time_zone = '+00:00'")
        tables = rows("SHOW FULL TABLES")
        for name, kind, *_ in tables:
            quoted = "`" + name.replace("`", "``") + "`"
            found[f"{kind} {name}"] = _text(rows(f"SHOW CREATE TABLE {quoted}")[0][1], schema)
            versions = " FOR SYSTEM_TIME ALL" if kind == "SYSTEM VERSIONED" else ""
            columns = _SHOWN.get(name, "*")
            found[f"rows of {name}"] = sorted(
                map(repr, rows(f"SELECT {columns} FROM {quoted}{versions}"))
            )
        for source, prefix in (
            ("ROUTINES", "ROUTINE"),
            ("TRIGGERS", "TRIGGER"),
            ("EVENTS", "EVENT"),
        ):
            kind = "ROUTINE_TYPE" if prefix == "ROUTINE" else f"'{prefix}'"
            query = (
                f"SELECT {kind}, {prefix}_NAME FROM information_schema.{source}"
                f" WHERE {prefix}_SCHEMA = %s"
            )
            for kind, name in rows(query, schema):
                quoted = "`" + name.replace("`", "``") + "`"
                row = rows(f"SHOW CREATE {kind} {quoted}")[0]
                found[f"{kind} {name}"] = [
                    _text(part, schema) for part in row if isinstance(part, str)
                ]
        for table, name, timing, event, order in rows(
            "SELECT EVENT_OBJECT_TABLE, TRIGGER_NAME, ACTION_TIMING, EVENT_MANIPULATION,"
            " ACTION_ORDER FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = %s",
            schema,
        ):
            found[f"order of {name}"] = (table, timing, event, order)
        found["schema"] = _text(
            rows("SHOW CREATE DATABASE `" + schema.replace("`", "``") + "`")[0][1], schema
        )
    return found


def _text(text: str, schema: str) -> str:
    """Without the schema's own name, and a trigger's head as every server may write it."""
    # A text in a view goes on naming the schema that it was made in.
    plain = re.sub(r"`t_[0-9a-f]{8}`\.", "", text.replace(f"`{schema}`.", ""))
    plain = plain.replace(f"`{schema}`", "SCHEMA")
    head, row, body = plain.partition(" FOR EACH ROW")
    if not row:
        return plain
    return (
        head.replace("`", "").replace(f"{schema}.", "") + row + body.replace("FOLLOWS team_log", "")
    )
