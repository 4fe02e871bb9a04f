"""What sessions begin with: no setting of a database or a role reaches their work."""

from __future__ import annotations

from collections.abc import Mapping

#: What would keep a session from its work.
_MAY_WORK = {
    "default_transaction_read_only": "off",
    "default_transaction_isolation": "read committed",  # a standby refuses serializable
    "exit_on_error": "off",
}
#: What would change what we read.
_READS_AS_EXPECTED = {
    "datestyle": "ISO, YMD",
    "intervalstyle": "postgres",
    "timezone": "UTC",
    "bytea_output": "hex",
    "quote_all_identifiers": "off",
    "array_nulls": "on",
    "transform_null_equals": "off",
}
#: A role's own limits would end a long job; a hostile search_path would change what names mean.
_NO_LIMITS = """
SELECT set_config('search_path', '', false),
       (SELECT count(set_config(name, '0', false)) FROM pg_catalog.pg_settings
        WHERE name IN ('statement_timeout', 'lock_timeout', 'transaction_timeout',
                       'idle_in_transaction_session_timeout', 'idle_session_timeout'))
"""
#: Statements for a session of ours. SET comes first: it works where no SELECT would.
AT_BEGIN = (
    "; ".join(
        f"SET {name} = '{value}'" for name, value in {**_MAY_WORK, **_READS_AS_EXPECTED}.items()
    ),
    _NO_LIMITS,
)


def options(settings: Mapping[str, str]) -> str:
    """PGOPTIONS for a tool, which sets for itself what it reads by.

    The server splits them at spaces.
    """
    escaped = {name: value.replace(" ", "\\ ") for name, value in {**_MAY_WORK, **settings}.items()}
    return " ".join(f"-c {name}={value}" for name, value in escaped.items())
