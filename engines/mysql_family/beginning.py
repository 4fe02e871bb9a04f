"""What every session is told at its beginning, ours and those of the tools.

A server gives its sessions settings, and `init_connect` may do so, too: none of them decides what
is in a backup, how long it may take, or what a restore may write.
"""

from __future__ import annotations

from collections.abc import Mapping

#: Of rows in an answer: all.
_NO_LIMIT = 2**64 - 1
#: A location that is slow for longer has been dropped long before.
_PATIENCE_S = 86_400

#: As a number, like all that needs no text.
_REPEATABLE_READ = 2

_BOTH: Mapping[str, object] = {
    "sql_mode": 0,
    # A server may take literals for another character set as yet.
    "time_zone": "_latin1'+00:00'",
    "autocommit": 1,
    "completion_type": 0,
    "sql_quote_show_create": 1,
    # With what stored columns that divide are computed anew while they are loaded.
    "div_precision_increment": 4,
    "sql_select_limit": _NO_LIMIT,
    "sql_big_selects": 1,
    "net_read_timeout": _PATIENCE_S,
    "net_write_timeout": _PATIENCE_S,
    # A session of ours is silent for as long as a tool loads or dumps beside it.
    "wait_timeout": 2_147_483,
}
_MARIADB: Mapping[str, object] = {
    "alter_algorithm": 0,
    "tx_isolation": _REPEATABLE_READ,
    "tx_read_only": 0,
    "max_statement_time": 0,
    "idle_transaction_timeout": 0,
    "idle_readonly_transaction_timeout": 0,
    "idle_write_transaction_timeout": 0,
}
#: Servers before 11.5 take it for a comment.
_MARIADB_11_5 = "/*M!110500 , SESSION max_tmp_session_space_usage = 0 */"
_MYSQL: Mapping[str, object] = {
    "old_alter_table": 0,
    "transaction_isolation": _REPEATABLE_READ,
    "transaction_read_only": 0,
    "max_execution_time": 0,
    "show_create_table_verbosity": 0,
}


def statement(*, is_mariadb: bool) -> str:
    """All in one, with the character set that the tools speak."""
    settings = {**_BOTH, **(_MARIADB if is_mariadb else _MYSQL)}
    given = ", ".join(f"SESSION {name} = {value}" for name, value in settings.items())
    return f"SET NAMES utf8mb4, {given}{_MARIADB_11_5 if is_mariadb else ''}"
