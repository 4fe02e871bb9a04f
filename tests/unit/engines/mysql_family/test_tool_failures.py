"""What the last words of a client tool mean."""

from __future__ import annotations

import pytest

from engines.mysql_family import tool_failures
from engines.process import ProcessFailed


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("ERROR 1114 (HY000) at line 5259: The table 'large' is full", 1114),
        ("ERROR 42 (HY000) at line 48: Global temporary space limit reached", 42),
        ("mysqldump: Error 2013: Lost connection to MySQL server during query", 2013),
        ("mysqldump: Got error: 1045: Access denied for user 'a' (using password: YES)", 1045),
        ("mysqldump: Couldn't execute 'SELECT (123)': SELECT command denied (1142)", 1142),
        ("Couldn't execute 'SHOW FIELDS': Local temporary space limit reached (201)\n", 201),
        ("mysqldump: a VARCHAR(64) is no number of the server's", 0),
    ],
)
def test_the_server_s_number_is_found_in_a_tool_s_last_words(said: str, code: int) -> None:
    failed = ProcessFailed("mysqldump", 2, said)

    assert tool_failures.server_code(failed) == code


@pytest.mark.parametrize(
    ("said", "is_of_a_change"),
    [
        ("mysqldump: Error 1412: Table definition has changed, please retry transaction", True),
        ("Couldn't execute 'show create table `a`': Table 'a' doesn't exist (1146)", True),
        ("mysqldump: Got error: 1049: Unknown database 'a' when selecting the database", True),
        ("mysqldump: Error in field count for table: `a` ! Aborting.", True),
        ("Couldn't execute 'SELECT * FROM `a`': Deadlock found (1213)", True),
        ("mysqldump: Error 2013: Lost connection when dumping table `a_1412` at row: 1213", False),
        ("Couldn't execute 'SELECT * FROM `a`': Lock wait timeout exceeded (1205)", False),
    ],
)
def test_a_dump_that_meets_an_alteration_says_so(said: str, is_of_a_change: bool) -> None:
    assert tool_failures.is_of_a_change(ProcessFailed("mysqldump", 2, said)) is is_of_a_change
