"""Foreign keys come back as they were, and act, whenever a restore makes them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pymysql
import pytest
from attrs import frozen

from engines.interface import Target
from tests.integration.mysql.conftest import a_backup, left_behind
from tests.integration.mysql.shapes import assert_sound, quoted, shapes
from tests.integration.mysql.test_parallel import dumped, of_tables
from tests.servers.mysql import MysqlServer
from tests.servers.mysql_engine import an_engine
from tests.servers.mysql_fixtures import NEWEST
from tests.servers.postgres_engine import a_context

MakeSchema = Callable[..., str]
pytestmark = pytest.mark.usefixtures("all_wait")
RULES = ("RESTRICT", "CASCADE", "SET NULL", "NO ACTION")
#: Of keys at columns that are not unique; MariaDB takes no notice of it.
LENIENT = "SET @x = 0 /*!80400 , SESSION restrict_fk_on_non_standard_key = OFF */"
UNCHECKED = "SET SESSION foreign_key_checks = 0"
PARENT = (
    (
        "CREATE TABLE parent (id INT PRIMARY KEY, p INT, q INT, KEY z (q), KEY pq (p, q),"
        " UNIQUE KEY qp (q, p))"
    ),
    "INSERT INTO parent VALUES (1, 1, 1), (2, 2, 2)",
)


@frozen(kw_only=True)
class Sample:
    """Tables with foreign keys, `child` among them; `{other}` is another schema with `far`.

    Args:
        refused: what no foreign key lets pass. acts: what one of them acts on.
        leaves: the rows of `child` after that.
    """

    id: str
    make: tuple[str, ...]
    refused: str
    acts: str
    leaves: tuple[tuple[object, ...], ...]
    family: str = ""


def sample(name: str, *make: str, **rest: object) -> Sample:
    return Sample(id=name, make=make, **rest)


def child(name: str, keys: str, *more: str, **rest: object) -> Sample:
    """A child of `parent` with the rows (1, 1, 1) and (2, 2, 2)."""
    made = f"CREATE TABLE child (id INT PRIMARY KEY, p INT, q INT, {keys})"
    rest = {
        "refused": "INSERT INTO child (id, p, q) VALUES (3, 99, 99)",
        "acts": "DELETE FROM parent WHERE id = 1",
        "leaves": ((2, 2, 2),),
        **rest,
    }
    filled = "INSERT INTO child (id, p, q) VALUES (1, 1, 1), (2, 2, 2)"
    return sample(name, LENIENT, *PARENT, made, filled, *more, **rest)


SAMPLES = (
    child("plain", "KEY p (p), FOREIGN KEY (p) REFERENCES parent (id) ON DELETE CASCADE"),
    child("without a key of its own", "FOREIGN KEY (p) REFERENCES parent (id) ON DELETE CASCADE"),
    child(
        "by one key for all",
        "KEY longer (p, q, id), KEY short (p), CONSTRAINT a FOREIGN KEY (p, q) REFERENCES parent"
        " (p, q) ON DELETE CASCADE, CONSTRAINT b FOREIGN KEY (p) REFERENCES parent (id) ON DELETE"
        " CASCADE",
    ),
    child(
        "by unique and primary keys",
        "UNIQUE KEY u (q, p), KEY k (q), CONSTRAINT a FOREIGN KEY (id) REFERENCES parent (id) ON"
        " DELETE CASCADE, CONSTRAINT b FOREIGN KEY (q, p) REFERENCES parent (q, p) ON DELETE"
        " CASCADE",
    ),
    child(
        "at a key that is not unique",
        "KEY p (p, q), KEY q (q), CONSTRAINT a FOREIGN KEY (p, q) REFERENCES parent (p, q) ON"
        " DELETE"
        " CASCADE, CONSTRAINT b FOREIGN KEY (q) REFERENCES parent (q) ON DELETE CASCADE",
    ),
    child(
        "at the first columns of a key",
        "KEY p (p), CONSTRAINT a FOREIGN KEY (p) REFERENCES parent (p) ON UPDATE CASCADE",
        acts="UPDATE parent SET p = 5 WHERE id = 1",
        leaves=((1, 5, 1), (2, 2, 2)),
    ),
    child(
        "several on the same columns",
        "KEY p (p), CONSTRAINT c FOREIGN KEY (p) REFERENCES parent (id) ON DELETE CASCADE,"
        " CONSTRAINT"
        " a FOREIGN KEY (p) REFERENCES parent (id) ON DELETE CASCADE ON UPDATE SET NULL,"
        " CONSTRAINT b"
        " FOREIGN KEY (p) REFERENCES parent (p)",
        acts="INSERT INTO child VALUES (3, NULL, 7)",
        leaves=((1, 1, 1), (2, 2, 2), (3, None, 7)),
    ),
    child(
        "with every pair of rules",
        ", ".join(f"{d[0]}{u[0]}{n} INT" for n, d in enumerate(RULES) for u in RULES)
        + "".join(
            f", KEY `{d} {u}` ({d[0]}{u[0]}{n}), CONSTRAINT `{u} {d} {n}` FOREIGN KEY"
            f" ({d[0]}{u[0]}{n}) REFERENCES parent (id) ON DELETE {d} ON UPDATE {u}"
            for n, d in enumerate(RULES)
            for u in RULES
        ),
        refused="UPDATE child SET CC1 = 99",
        acts="UPDATE child SET CC1 = 2 WHERE id = 1",
        leaves=((1, 1, 1, *[None] * 5, 2, *[None] * 10), (2, 2, 2, *[None] * 16)),
    ),
    child(
        "between checks",
        "CONSTRAINT a CHECK (p > 0), KEY p (p), CONSTRAINT b FOREIGN KEY (p) REFERENCES parent"
        " (id) ON"
        " DELETE CASCADE, CONSTRAINT c CHECK (CONCAT(q) <> 'CONSTRAINT `b` FOREIGN KEY (`q`)'),"
        " CHECK (q > 0)",
    ),
    child(
        "with gaps in their numbers",
        "KEY p (p), KEY q (q), FOREIGN KEY (q) REFERENCES parent (id), FOREIGN KEY (p) REFERENCES"
        " parent (id) ON DELETE CASCADE, CONSTRAINT parent_ibfk_1 FOREIGN KEY (q) REFERENCES parent"
        " (id) ON DELETE CASCADE",
        "ALTER TABLE child DROP FOREIGN KEY child_ibfk_1",
    ),
    child(
        "of tables with triggers",
        "KEY p (p), FOREIGN KEY (p) REFERENCES parent (id) ON DELETE CASCADE",
        "CREATE TRIGGER a BEFORE INSERT ON child FOR EACH ROW SET @x = NEW.id",
        "CREATE TRIGGER b BEFORE INSERT ON parent FOR EACH ROW SET @x = NEW.id",
    ),
    child(
        "of a column that others are made of",
        "v INT AS (p + 1) VIRTUAL, KEY v (v), KEY vp (v, p), KEY p (p), FOREIGN KEY (p) REFERENCES"
        " parent (id) ON DELETE SET NULL ON UPDATE CASCADE",
        acts="UPDATE parent SET id = 5 WHERE id = 1",
        leaves=((1, 5, 1, 6), (2, 2, 2, 3)),
    ),
    child(
        "of rows that were never looked at",
        "KEY p (p), FOREIGN KEY (p) REFERENCES parent (id) ON DELETE CASCADE",
        UNCHECKED,
        "INSERT INTO child VALUES (7, 77, 7)",
        leaves=((2, 2, 2), (7, 77, 7)),
    ),
    child(
        "of a table with a history",
        "KEY p (p), KEY q (q), FOREIGN KEY (p) REFERENCES parent (id) ON DELETE CASCADE",
        "ALTER TABLE child ADD SYSTEM VERSIONING",
        "UPDATE child SET q = 3 WHERE id = 2",
        leaves=((2, 2, 3),),
        family="mariadb",
    ),
    sample(
        "at itself",
        "CREATE TABLE child (id INT PRIMARY KEY, up INT, x INT, KEY x (x, up), KEY up (up),"
        " CONSTRAINT up FOREIGN KEY (up) REFERENCES child (id) ON DELETE CASCADE)",
        "INSERT INTO child VALUES (1, NULL, 1), (2, 1, 1), (3, 2, 1)",
        refused="INSERT INTO child VALUES (4, 99, 1)",
        acts="DELETE FROM child WHERE id = 2",
        leaves=((1, None, 1),),
    ),
    sample(
        "in circles, whatever comes first",
        UNCHECKED,
        "CREATE TABLE child (id INT PRIMARY KEY, z INT, m INT, KEY (z), KEY (m), FOREIGN KEY (z)"
        " REFERENCES zz (id) ON DELETE CASCADE, FOREIGN KEY (m) REFERENCES middle (m))",
        "CREATE TABLE zz (id INT PRIMARY KEY, c INT, KEY (c), FOREIGN KEY (c) REFERENCES child"
        " (id))",
        "CREATE TABLE middle (m INT PRIMARY KEY, z INT, KEY (z), FOREIGN KEY (z) REFERENCES zz"
        " (id))",
        "CREATE TABLE aa (id INT PRIMARY KEY, c INT, KEY (c), FOREIGN KEY (c) REFERENCES child"
        " (id))",
        "INSERT INTO zz VALUES (1, 2), (2, 1)",
        "INSERT INTO middle VALUES (1, 2)",
        "INSERT INTO child VALUES (1, 1, 1), (2, 2, 1)",
        "INSERT INTO aa VALUES (1, 1)",
        refused="DELETE FROM zz WHERE id = 1",
        acts="INSERT INTO child VALUES (3, NULL, NULL)",
        leaves=((1, 1, 1), (2, 2, 1), (3, None, None)),
    ),
    sample(
        "at another schema, and at nothing",
        UNCHECKED,
        "CREATE TABLE child (id INT PRIMARY KEY, f INT, n INT, KEY f (f), KEY n (n), CONSTRAINT f"
        " FOREIGN KEY (f) REFERENCES {other}.far (id) ON DELETE CASCADE ON UPDATE SET NULL,"
        " CONSTRAINT n FOREIGN KEY (n) REFERENCES `no\nsuch` (id) ON DELETE SET NULL)",
        "INSERT INTO child VALUES (1, 1, NULL), (2, 2, NULL)",
        refused="INSERT INTO child VALUES (3, 99, NULL)",
        acts="DELETE FROM {other}.far WHERE id = 1",
        leaves=((2, 2, None),),
    ),
)


@pytest.fixture
def other(mysql_server: MysqlServer, a_schema: MakeSchema) -> str:
    name = a_schema(mysql_server)
    mysql_server.run(
        "CREATE TABLE far (id INT PRIMARY KEY)", "INSERT INTO far VALUES (1), (2)", database=name
    )
    return quoted(name)


@pytest.mark.parametrize("streams", [1, 2])
@pytest.mark.parametrize(
    ("mysql_server", "sample"),
    [
        pytest.param((family, ""), one, id=f"{family}-{one.id}")
        for family in NEWEST
        for one in SAMPLES
        if one.family in ("", family)
    ],
    indirect=["mysql_server"],
)
def test_foreign_keys_are_as_they_were_and_act(
    mysql_server: MysqlServer,
    a_schema: MakeSchema,
    other: str,
    tmp_path: Path,
    sample: Sample,
    streams: int,
) -> None:
    database = a_schema(mysql_server)
    make = [one.replace("{other}", other) for one in sample.make]
    mysql_server.run(*make, database=database)
    before = shapes(mysql_server, database)
    backup, _, _ = dumped(mysql_server, database, tmp_path, parallel=streams)
    assert len(of_tables(backup.facts)) == min(streams, len(before))

    backup.restore(tmp_path, replace=True, parallel=2)

    assert shapes(mysql_server, database) == before
    assert_sound(mysql_server, database)
    with pytest.raises(pymysql.err.IntegrityError, match="foreign key constraint"):
        mysql_server.run(sample.refused, database=database)
    mysql_server.run(sample.acts.replace("{other}", other), database=database)
    left = mysql_server.run("SELECT * FROM child ORDER BY id", database=database)
    assert left == list(sample.leaves)
    assert_sound(mysql_server, database)
    assert left_behind(mysql_server) == []


#: Of tables that have two foreign keys each, into two directions: every one is in many circles.
MANY = 300


def test_hundreds_of_tables_that_refer_to_each_other(
    mysql_server: MysqlServer, a_schema: MakeSchema, tmp_path: Path
) -> None:
    database = a_schema(mysql_server)
    mysql_server.run(
        UNCHECKED,
        *(
            f"CREATE TABLE t{number} (id INT PRIMARY KEY, a INT, b INT, KEY b (b, a), KEY a (a),"
            f" FOREIGN KEY (a) REFERENCES t{(number + 1) % MANY} (id) ON DELETE CASCADE,"
            f" CONSTRAINT `b {number}` FOREIGN KEY (b) REFERENCES t{number * 7 % MANY} (id))"
            for number in range(MANY)
        ),
        *(f"INSERT INTO t{number} VALUES (1, 1, 1)" for number in range(MANY)),
        database=database,
    )
    before = shapes(mysql_server, database)
    backup, _, _ = dumped(mysql_server, database, tmp_path, parallel=2)
    copy = f"{database}_copy"

    backup.restore(tmp_path, database=copy, parallel=2)

    assert shapes(mysql_server, copy) == before
    with pytest.raises(pymysql.err.IntegrityError, match="foreign key constraint"):
        mysql_server.run("INSERT INTO t7 VALUES (2, 1, 99)", database=copy)


def test_an_account_of_no_more_rights_than_a_restore_has_needed_makes_them_too(
    mysql_server: MysqlServer,
    a_schema: MakeSchema,
    an_account: Callable[..., str],
    tmp_path: Path,
) -> None:
    database = a_schema(mysql_server)
    mysql_server.run(
        *PARENT,
        "CREATE TABLE child (id INT PRIMARY KEY, p INT, q INT, KEY q (q), KEY p (p), FOREIGN KEY"
        " (p)"
        " REFERENCES parent (id), FOREIGN KEY (q, p) REFERENCES parent (q, p) ON DELETE CASCADE)",
        "INSERT INTO child VALUES (1, 1, 1)",
        database=database,
    )
    before = shapes(mysql_server, database)
    backup = a_backup(mysql_server, database, tmp_path)
    user = an_account()
    for pattern in ("t\\_%", "dbb\\_restore\\_%"):
        mysql_server.run(f"GRANT ALL ON `{pattern}`.* TO {user}@'%'")
    copy = f"{database}_copy"

    an_engine(mysql_server, database, user=user, password="pw").restore_backup(
        backup.source(), backup.facts, a_context(tmp_path), target=Target(database=copy, parallel=2)
    )

    assert shapes(mysql_server, copy) == before
    assert left_behind(mysql_server) == []
