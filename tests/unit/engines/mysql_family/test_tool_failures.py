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
