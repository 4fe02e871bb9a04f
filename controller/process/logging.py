"""Log records: one JSON object a line, with fixed keys and without secrets.

``log.info("backup completed", extra=kv(backup_id=..., bytes=...))``: the message
is a constant, all that varies is a key. On a terminal the same comes as plain
text. Redaction happens on the values, before they are quoted for JSON, so that
a password with a quotation mark in it is found too.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TextIO, TypedDict, Unpack

import orjson

from controller.api.secrets import REDACTED

#: Shorter texts are left alone: blotting out every "a" hides the log, not the secret.
_SHORTEST_SECRET = 4
#: Lines of a certificate's key are looked for one by one, too.
_SHORTEST_LINE = 16

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


class Keys(TypedDict, total=False):
    """Every key that a record may have; mypy refuses others."""

    namespace: str
    name: str
    uid: str
    generation: int
    reconcile_id: str
    kind: str
    engine: str
    location: str
    backup_id: str
    object_key: str
    operation: str
    part: int
    stream: str
    job: str
    holder: str
    stage: str
    path: str
    address: str
    signal: str
    count: int
    bytes: int
    duration_s: float
    attempt: int
    requeue_after_s: float
    due_at: str
    reason: str
    reasons: Sequence[str]
    error: str
    error_class: str
    exit_status: int
    stderr: str
    thread: str


def kv(**keys: Unpack[Keys]) -> dict[str, object]:
    """Wrap keys for `extra`: records have a `name` of their own that must not be met."""
    return {"kv": keys}


_bound: ContextVar[Mapping[str, object]] = ContextVar("bound", default=MappingProxyType({}))


@contextlib.contextmanager
def bound(**keys: Unpack[Keys]) -> Iterator[None]:
    """Add keys to every record of this thread inside of the block.

    A thread that is started there has none of them: bind where the work is done.
    """
    token = _bound.set({**_bound.get(), **keys})
    try:
        yield
    finally:
        _bound.reset(token)


def _keys(record: logging.LogRecord) -> dict[str, object]:
    return {**_bound.get(), **getattr(record, "kv", {})}


class Redactor:
    """Replaces secret texts; `known` is asked each time, so that a rotated one counts at once."""

    def __init__(self, known: Callable[[], Iterable[str]] = tuple) -> None:
        self._known = known

    def __call__(self, text: str) -> str:
        # Longest first: a secret may be a part of another one.
        for secret in sorted(self._texts(), key=len, reverse=True):
            text = text.replace(secret, REDACTED)
        return text

    def _texts(self) -> set[str]:
        texts: set[str] = set()
        for secret in self._known():
            lines = secret.splitlines()
            if len(lines) > 1:
                texts.update(line for line in lines if len(line) >= _SHORTEST_LINE)
            if len(secret) >= _SHORTEST_SECRET:
                # As it is, and as it stands in a list's or an exception's repr, or in JSON.
                quoted = orjson.dumps(secret).decode()
                texts.update((secret, repr(secret)[1:-1], quoted[1:-1]))
        return texts


class JsonFormatter(logging.Formatter):
    """ts, level, logger, msg, then the keys of the process, the bound ones, the record's own."""

    def __init__(self, redact: Redactor, constant: Mapping[str, object]) -> None:
        super().__init__()
        self._redact = redact
        self._constant = dict(constant)

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "ts": _timestamp(record.created),
            "level": record.levelname,
            "logger": record.name,
            "msg": record.getMessage(),
            **self._constant,
            **_keys(record),
        }
        if record.exc_info:
            line["stack"] = self.formatException(record.exc_info)
        clean = {key: self._clean(value) for key, value in line.items()}
        return orjson.dumps(clean).decode()

    def _clean(self, value: object) -> object:
        if value is None or isinstance(value, bool | int | float):
            return value
        if isinstance(value, list | tuple):
            return [self._clean(item) for item in value]
        return _printable(self._redact(str(value)))


class PlainFormatter(logging.Formatter):
    """The same for eyes: time, level, message, key=value."""

    def __init__(self, redact: Redactor) -> None:
        super().__init__()
        self._redact = redact

    def format(self, record: logging.LogRecord) -> str:
        keys = _keys(record)
        words = [
            _timestamp(record.created),
            f"{record.levelname:<7}",
            record.getMessage(),
            *(f"{key}={value}" for key, value in keys.items()),
        ]
        text = " ".join(words)
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        return _printable(self._redact(text))


def configure(
    *,
    redact: Redactor | None = None,
    level: str | None = None,
    stream: TextIO | None = None,
    constant: Mapping[str, object] | None = None,
    is_json: bool | None = None,
) -> None:
    """Make the root logger write to `stream`, replacing what it did before.

    Args:
        redact: applied to every text of every record.
        level: one of LEVELS in any case; default LOG_LEVEL, then INFO. An
            unknown one counts as INFO and is warned about.
        stream: default stderr.
        constant: keys of every JSON line (namespace, name, engine).
        is_json: None: unless `stream` is a terminal.
    """
    redact = redact or Redactor()
    stream = stream or sys.stderr
    wanted = (level or os.environ.get("LOG_LEVEL") or "INFO").upper()
    handler = logging.StreamHandler(stream)
    if is_json is None:
        is_json = not stream.isatty()
    handler.setFormatter(
        JsonFormatter(redact, constant or {}) if is_json else PlainFormatter(redact)
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(wanted if wanted in LEVELS else "INFO")
    if wanted not in LEVELS:
        logging.getLogger(__name__).warning("unknown log level", extra=kv(reason="LOG_LEVEL"))


def _printable(text: str) -> str:
    """Escape lone surrogates, as undecodable bytes of a child's stderr become."""
    return text.encode("utf-8", "backslashreplace").decode()


def _timestamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"
