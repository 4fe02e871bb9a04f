"""Comments of routines and events, which the server writes as other texts than they are."""

from __future__ import annotations

import pytest

from engines.mysql_family import comments

HEAD = "CREATE DEFINER=`a`@`%` PROCEDURE `p`()\n    DETERMINISTIC\n"
BODY = "\nSELECT '\n    COMMENT ''x'''"


@pytest.mark.parametrize("shown", ["'Ã¼ it''s'", "'瑾?"])
def test_a_routine_s_comment_is_the_catalogue_s(shown: str) -> None:
    statement = f"{HEAD}    COMMENT {shown}{BODY}"

    found = comments.of_routine(statement, "ü it's", "ANSI_QUOTES")

    assert found == f"{HEAD}    COMMENT 'ü it\\'s'{BODY}"


def test_a_package_s_comment_follows_its_name() -> None:
    head, body = (
        'CREATE DEFINER="a"@"%" PACKAGE "k"    COMMENT ',
        "\n AS FUNCTION f RETURN INT; END",
    )

    assert comments.of_routine(f"{head}'Ã¼'{body}", "ü", "ORACLE") == f"{head}'ü'{body}"


def test_a_backslash_that_stands_for_itself_is_one() -> None:
    found = comments.of_routine(
        f"{HEAD}    COMMENT 'C:\\\\t''\\n'{BODY}", "C:\\t'\n", "NO_BACKSLASH_ESCAPES"
    )

    assert found == f"{HEAD}    COMMENT 'C:\\t''\n'{BODY}"


@pytest.mark.parametrize(
    ("statement", "comment"),
    [
        (f"{HEAD}    COMMENT 'C:\\\\t'{BODY}", "C:\\t"),
        (f"{HEAD}{BODY}", ""),
        ("CREATE PROCEDURE `p`(/*\n    COMMENT 'x' */)\n    COMMENT 'Ã¼'\nSELECT 1", "ü"),
    ],
)
def test_what_is_right_or_cannot_be_told_stays(statement: str, comment: str) -> None:
    assert comments.of_routine(statement, comment, "") == statement


@pytest.mark.parametrize(
    ("shown", "comment"),
    [("'Ã¼ DO it''s'", "ü DO it's"), ("'瑾?", "誠"), ("'ü \\' DO '", "ü ' DO ")],
)
def test_an_event_s_comment_ends_before_its_body(shown: str, comment: str) -> None:
    head, body = "CREATE EVENT `e` ON SCHEDULE EVERY 1 DAY ENABLE", " DO SELECT ' DO ', '誠'"

    found = comments.of_event(f"{head} COMMENT {shown}{body}", comment, "", at=len(head))

    written = comment.replace("'", "\\'")
    assert found == f"{head} COMMENT '{written}'{body}"
    for other in (body, " COMMENT 'Ã¼' DO", " COMMENT 'Ã¼"):
        statement = head + other
        assert comments.of_event(statement, comment, "", at=len(head)) == statement
