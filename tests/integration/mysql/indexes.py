"""Tables whose keys are hard to tell from the rest of a definition, and what those keys find."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from attrs import Factory, frozen

from tests.integration.mysql.shapes import quoted, text


@frozen(kw_only=True)
class Sample:
    """What makes a table, of which `{t}` is the quoted name.

    Args:
        finds: key -> a condition that this key is to answer, and that some rows meet.
        family, since: whose servers know it; empty: all.
    """

    id: str
    make: tuple[str, ...]
    finds: Mapping[str, str] = Factory(dict)
    family: str = ""
    since: tuple[int, int] = (0, 0)

    def statements(self, table: str) -> Iterator[str]:
        return (one.replace("{t}", quoted(table)) for one in self.make)


ATTRIBUTE = '{"x": "),\\n  KEY `y` (`b`)"}'
COLUMNS = "id INT PRIMARY KEY, a INT NOT NULL, b VARCHAR(50)"
ROWS = "INSERT INTO {t} (id, a, b) VALUES (1, 1, 'one'), (2, 2, 'two'), (3, 2, 'to'), (4, 3, NULL)"
BY_A, BY_B = "a = 2", "b = 'two'"


def keyed(
    name: str,
    keys: str,
    *rows: str,
    finds: Mapping[str, str],
    options: str = "",
    columns: str = COLUMNS,
    **fits: object,
) -> Sample:
    """A table with keys, or other things beside its columns."""
    made = f"CREATE TABLE {{t}} ({columns}, {keys}) {options}"
    return Sample(id=name, make=(made, *(rows or (ROWS,))), finds=finds, **fits)


KINDS = (
    keyed("plain", "KEY b (b), KEY a (a), KEY ba (b, a)", finds={"a": BY_A, "b": BY_B, "ba": BY_B}),
    keyed(
        "prefix",
        "c TEXT, d BLOB, KEY b (b(7)), KEY c (c(20), b(3)), KEY d (d(5)), KEY a (a, b(1))",
        ROWS,
        "UPDATE {t} SET c = REPEAT(b, 9), d = b",
        finds={"b": BY_B, "c": "c = 'oneoneoneoneoneoneoneoneone'", "d": "d = 'two'", "a": BY_A},
    ),
    keyed(
        "descending",
        "KEY c (a, b DESC), KEY a (a DESC), KEY b (b DESC, a, id DESC)",
        finds={"a": BY_A, "b": BY_B, "c": BY_A},
    ),
    keyed(
        "algorithms",
        "KEY a USING BTREE (a), KEY b (b) USING HASH, UNIQUE KEY c (a, id) USING BTREE",
        finds={"a": BY_A, "b": BY_B},
    ),
    keyed(
        "block sizes",
        "KEY b (b), KEY a (a) KEY_BLOCK_SIZE=8 COMMENT 'x' USING BTREE",
        options="ROW_FORMAT=COMPRESSED KEY_BLOCK_SIZE=4",
        finds={"a": BY_A, "b": BY_B},
    ),
    keyed(
        "the same columns again",
        "KEY c (a), KEY b (a), KEY a (a), KEY d (a, id)",
        finds={"c": BY_A},
    ),
    keyed(
        "as many as there may be",
        ", ".join(f"KEY k{(number * 37) % 63} (a, b({1 + number % 50}))" for number in range(63)),
        finds={"k0": BY_A, "k62": BY_A},
    ),
    keyed(
        "as many columns as there may be",
        ", ".join(f"c{number} TINYINT NOT NULL DEFAULT {number}" for number in range(14))
        + f", KEY wide (b, a, {', '.join(f'c{number}' for number in range(14))})",
        finds={"wide": BY_B},
    ),
    keyed(
        "unique among plain",
        "KEY z (a), UNIQUE KEY y (b), KEY x (b, a), UNIQUE KEY w (a, id), KEY v (a, b), UNIQUE"
        " KEY u"
        " (b(3), id), UNIQUE KEY t (id, a)",
        finds={"z": BY_A, "y": BY_B, "x": BY_B, "v": BY_A},
    ),
    keyed(
        "no primary key, unique",
        "KEY z (a), UNIQUE KEY y (id, a), UNIQUE KEY x (b), KEY w (b)",
        columns="id INT NOT NULL, a INT, b VARCHAR(50)",
        finds={"z": BY_A, "w": BY_B},
    ),
    keyed(
        "no key but a plain one",
        "KEY a (a)",
        columns="id INT, a INT, b VARCHAR(50)",
        finds={"a": BY_A},
    ),
    keyed(
        "auto-increment, by a plain key",
        "KEY z (a), KEY id (id), KEY y (a, id), KEY x (b)",
        columns="id INT AUTO_INCREMENT, a INT, b VARCHAR(50)",
        finds={"z": BY_A, "id": "id = 2", "y": BY_A, "x": BY_B},
    ),
    keyed(
        "auto-increment, by any of two",
        "KEY z (a), KEY y (id, a), UNIQUE KEY w (b), KEY x (id), KEY v (b)",
        columns="id INT NOT NULL AUTO_INCREMENT, a INT, b VARCHAR(50)",
        options="AUTO_INCREMENT=77",
        finds={"z": BY_A, "y": "id = 2", "x": "id = 2", "v": BY_B},
    ),
    keyed(
        "auto-increment, second in a key",
        "PRIMARY KEY (a, id), KEY z (b), KEY y (b, id), KEY x (id), KEY w (a)",
        "SET SESSION sql_mode = 'NO_AUTO_VALUE_ON_ZERO'",
        ROWS + ", (0, 9, 'zero')",
        columns="id INT NOT NULL AUTO_INCREMENT, a INT NOT NULL, b VARCHAR(50)",
        finds={"z": BY_B, "y": BY_B, "x": "id = 0", "w": BY_A},
    ),
    keyed(
        "full text among plain",
        "FULLTEXT KEY f (b), KEY z (a), FULLTEXT KEY e (b, c), KEY y (b), c TEXT, KEY x (c(9))",
        finds={"z": BY_A, "y": BY_B, "f": "MATCH (b) AGAINST ('two')"},
    ),
    keyed(
        "full text by a column of its own",
        "FTS_DOC_ID BIGINT UNSIGNED NOT NULL AUTO_INCREMENT, KEY z (a), FULLTEXT KEY f (b),"
        " KEY y (b), UNIQUE KEY FTS_DOC_ID_INDEX (FTS_DOC_ID)",
        finds={"z": BY_A, "y": BY_B, "f": "MATCH (b) AGAINST ('two')"},
    ),
    keyed(
        "spatial among plain",
        "g POINT NOT NULL, KEY z (a), SPATIAL KEY y (g), KEY x (b), SPATIAL KEY v (g), KEY u (a),"
        " FULLTEXT KEY t (b)",
        ROWS.replace("id, a, b)", "id, a, b, g)")
        .replace("),", ", POINT(1, 2)),")
        .replace("NULL)", "NULL, POINT(3, 4))"),
        finds={"z": BY_A, "x": BY_B, "u": BY_A},
    ),
    keyed(
        "generated columns",
        "v INT AS (a * 2) VIRTUAL, s INT AS (a + 1) STORED, KEY z (s), KEY y (v), KEY x (a, v, s),"
        " KEY w (v DESC)",
        finds={"z": "s = 3", "y": "v = 4", "x": BY_A, "w": "v = 4"},
    ),
    keyed(
        "hidden from the optimizer",
        "KEY z (a) INVISIBLE, KEY y (b) VISIBLE, UNIQUE KEY x (a, id) INVISIBLE, KEY w (b, a)"
        " COMMENT 'c' INVISIBLE",
        finds={"y": BY_B},
        family="mysql",
    ),
    keyed(
        "ignored by the optimizer",
        "KEY z (a) IGNORED, KEY y (b) NOT IGNORED, UNIQUE KEY x (a, id) IGNORED, KEY w (b, a)"
        " COMMENT 'c' IGNORED",
        finds={"y": BY_B},
        family="mariadb",
    ),
    keyed(
        "of expressions",
        "KEY z (a), KEY y ((LOWER(b))), KEY x (b, (a + id) DESC, a), UNIQUE KEY w ((a * id)),"
        " KEY v ((a + 1), (a + 2)), KEY u (b), UNIQUE KEY t (b)",
        finds={"z": BY_A, "y": "LOWER(b) = 'two'", "x": BY_B, "v": "a + 1 = 3", "u": BY_B},
        family="mysql",
    ),
    keyed(
        "of many values",
        "doc JSON, KEY z (a), KEY y ((CAST(doc->'$.z' AS UNSIGNED ARRAY))), KEY x (a,"
        " (CAST(doc->'$.n'"
        " AS CHAR(9) ARRAY)), b), KEY w (b)",
        ROWS,
        """UPDATE {t} SET doc = '{"z": [1, 2], "n": ["x", "y"]}'""",
        finds={"z": BY_A, "y": "1 MEMBER OF (doc->'$.z')", "w": BY_B},
        family="mysql",
    ),
    keyed(
        "full text by a parser",
        "KEY z (a), FULLTEXT KEY y (b) COMMENT 'c' WITH PARSER ngram, KEY x (b)",
        finds={"z": BY_A, "x": BY_B, "y": "MATCH (b) AGAINST ('tw')"},
        family="mysql",
    ),
    keyed(
        "an invisible primary key",
        "KEY z (a), KEY y (b), KEY x (id)",
        columns="my_row_id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT INVISIBLE, id INT, a INT,"
        " b VARCHAR(50), PRIMARY KEY (my_row_id)",
        finds={"z": BY_A, "y": BY_B, "x": "id = 2"},
        family="mysql",
    ),
    keyed(
        "for another engine's eyes",
        f"KEY z (a) SECONDARY_ENGINE_ATTRIBUTE {text(ATTRIBUTE)}, KEY y (b)",
        finds={"z": BY_A, "y": BY_B},
        family="mysql",
    ),
    keyed(
        "unique by a hash",
        "c TEXT, KEY z (a), UNIQUE KEY y (c), KEY x (b), UNIQUE KEY w (a, id), UNIQUE KEY v (c, b)"
        " USING HASH, KEY u (c(9))",
        finds={"z": BY_A, "x": BY_B},
        family="mariadb",
    ),
    keyed(
        "vector among plain",
        "v VECTOR(3) NOT NULL, KEY z (a), VECTOR KEY y (v) `M`=8 `DISTANCE`=cosine, KEY x (b),"
        " FULLTEXT KEY w (b)",
        ROWS.replace("id, a, b)", "id, a, b, v)")
        .replace("),", ", X'0000803F0000004000004040'),")
        .replace("NULL)", "NULL, X'0000803F0000004000004041')"),
        finds={"z": BY_A, "x": BY_B},
        family="mariadb",
        since=(11, 7),
    ),
)
TABLES = (
    keyed("compact", "KEY b (b(3)), KEY a (a)", options="ROW_FORMAT=REDUNDANT", finds={"a": BY_A}),
    keyed("without rows", "KEY b (b), FULLTEXT KEY c (b), KEY a (a)", "DO 0", finds={}),
    keyed(
        "with further options",
        "KEY b (b), KEY a (a)",
        options="STATS_PERSISTENT=1 STATS_AUTO_RECALC=0 STATS_SAMPLE_PAGES=9 CHECKSUM=1 PACK_KEYS=0"
        " MIN_ROWS=1 MAX_ROWS=999 AVG_ROW_LENGTH=99 DELAY_KEY_WRITE=1 COMMENT='x' CHARSET=latin1",
        finds={"a": BY_A, "b": BY_B},
    ),
    keyed(
        "in ranges",
        "PRIMARY KEY (id, a), KEY c (b, a), UNIQUE KEY d (a, b, id), KEY b (a), KEY a (a, id)",
        columns=COLUMNS.replace(" PRIMARY KEY", ""),
        options="PARTITION BY RANGE (a) (PARTITION `p` VALUES LESS THAN (2) COMMENT = 'x,',"
        " PARTITION `KEY ``x``` VALUES LESS THAN MAXVALUE)",
        finds={"a": BY_A, "b": BY_A, "c": BY_B},
    ),
    keyed(
        "in ranges of columns, with parts",
        "KEY c (b, a), KEY a (a)",
        columns="id INT, a INT, b VARCHAR(50)",
        options="PARTITION BY RANGE COLUMNS (b, a) SUBPARTITION BY HASH (a) SUBPARTITIONS 2"
        " (PARTITION p VALUES LESS THAN ('t', 2), PARTITION q VALUES LESS THAN (MAXVALUE,"
        " MAXVALUE))",
        finds={"a": BY_A, "c": BY_B},
    ),
    keyed(
        "in lists",
        "KEY c (b, a), KEY a (a)",
        columns="id INT NOT NULL AUTO_INCREMENT, a INT, b VARCHAR(50), KEY z (a, b), KEY id (id)",
        options="PARTITION BY LIST (a) (PARTITION p VALUES IN (1, NULL), PARTITION q VALUES IN (2,"
        " 3) COMMENT = ') ENGINE = InnoDB')",
        finds={"a": BY_A, "c": BY_B, "z": BY_A},
    ),
    keyed(
        "by a key",
        "KEY c (b, a), KEY a (a)",
        options="ROW_FORMAT=COMPRESSED PARTITION BY LINEAR KEY (id) PARTITIONS 3",
        finds={"a": BY_A, "c": BY_B},
    ),
    keyed(
        "compressed by page",
        "KEY b (b), KEY a (a)",
        options="PAGE_COMPRESSED=1 PAGE_COMPRESSION_LEVEL=4",
        finds={"a": BY_A},
        family="mariadb",
    ),
    keyed(
        "compressed by file system",
        "KEY b (b), KEY a (a)",
        options="COMPRESSION='zlib' AUTOEXTEND_SIZE=4M",
        finds={"a": BY_A},
        family="mysql",
    ),
    keyed(
        "with columns of every kind",
        "u UUID DEFAULT UUID(), i INET6, c TEXT COMPRESSED, d INT INVISIBLE DEFAULT 7, KEY u (u,"
        " i),"
        " KEY d (d), KEY a (a)",
        finds={"a": BY_A, "d": "d = 7"},
        family="mariadb",
    ),
    keyed(
        "with a history",
        "KEY b (b), v INT WITHOUT SYSTEM VERSIONING, KEY v (v), KEY a (a)",
        ROWS,
        "UPDATE {t} SET a = a + 1",
        "DELETE FROM {t} WHERE id = 1",
        options="WITH SYSTEM VERSIONING",
        finds={"a": "a = 3", "b": BY_B},
        family="mariadb",
    ),
    keyed(
        "with a history by name",
        "s TIMESTAMP(6) GENERATED ALWAYS AS ROW START, e TIMESTAMP(6) GENERATED ALWAYS AS ROW END,"
        " KEY e (e, a), PERIOD FOR SYSTEM_TIME (s, e), KEY b (b), KEY s (s), KEY a (a)",
        ROWS,
        "UPDATE {t} SET a = a + 1",
        options="WITH SYSTEM VERSIONING",
        finds={"a": "a = 3", "b": BY_B, "e": "e > NOW()"},
        family="mariadb",
    ),
    keyed(
        "with a history of its own",
        "KEY b (b), KEY a (a)",
        ROWS,
        "DELETE FROM {t} WHERE id = 1",
        options="WITH SYSTEM VERSIONING PARTITION BY SYSTEM_TIME"
        " (PARTITION p HISTORY, PARTITION now CURRENT)",
        finds={"a": BY_A},
        family="mariadb",
    ),
    keyed(
        "of periods",
        "f DATE, u DATE, KEY b (b), PERIOD FOR p (f, u), UNIQUE KEY x (a, b, p WITHOUT OVERLAPS),"
        " KEY f (f, u), UNIQUE KEY y (b), KEY a (a)",
        "INSERT INTO {t} VALUES (1, 2, 'two', '2026-01-01', '2026-02-01'),"
        " (2, 2, 'x', '2026-01-01', '2026-02-01')",
        finds={"a": BY_A, "b": BY_B, "f": "f = '2026-01-01'"},
        family="mariadb",
    ),
    Sample(
        id="of a sequence",
        make=(
            "CREATE SEQUENCE IF NOT EXISTS numbers",
            "CREATE TABLE {t} (id INT DEFAULT NEXTVAL(numbers), a INT, KEY a (a), KEY id (id))",
            "INSERT INTO {t} (a) VALUES (1), (2)",
            "CREATE TRIGGER told BEFORE INSERT ON {t} FOR EACH ROW SET @t = 1",
        ),
        finds={"a": BY_A},
        family="mariadb",
    ),
)
#: What no session that checks anything takes, and a table may hold nevertheless.
ODD_VALUES = Sample(
    id="values that nobody may write",
    make=(
        (
            "SET SESSION sql_mode = 'NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES', innodb_strict_mode"
            " = 0,"
            " time_zone = '+05:00'"
        ),
        (
            "CREATE TABLE {t} (id INT AUTO_INCREMENT PRIMARY KEY,"
            " d DATE NOT NULL DEFAULT '0000-00-00', t DATETIME NOT NULL DEFAULT"
            " '0000-00-00 00:00:00', s TIMESTAMP NOT NULL DEFAULT 0, e ENUM('x') NOT NULL, a INT,"
            " v INT AS (YEAR(d) + a) VIRTUAL, w INT AS (MONTH(d)) STORED, KEY d (d, s), KEY t (t),"
            " KEY s (s), KEY e (e), KEY v (v), KEY w (w), KEY a (a))"
        ),
        (
            "INSERT INTO {t} (id, d, t, s, e, a) VALUES"
            " (0, '2026-02-31', '2026-04-31 25:00:00', '2026-03-29 02:30:00', 'none such', 2),"
            " (7, '0000-00-00', '0000-00-00', 0, 0, 3), (8, '2026-00-00', '2026-00-12', 1, 'x', 2)"
        ),
    ),
    finds={"a": BY_A, "d": "d = 0", "t": "t = 0", "s": "s = 0", "e": "e = 0"},
)
