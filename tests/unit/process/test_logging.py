"""Log lines: fixed form, and no secret in any of them."""

from __future__ import annotations

import io
import json
import logging
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from controller.process.logging import Redactor, bound, configure, kv

log = logging.getLogger("runner.test")
KEY = "-----BEGIN KEY-----\ncanary-line-of-a-private-key\n-----END KEY-----\n"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _root_logger_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_record_is_one_json_object_with_its_keys() -> None:
    stream = io.StringIO()
    configure(stream=stream, constant={"namespace": "db", "engine": "postgres"})

    log.info("backup completed", extra=kv(backup_id="b-1", bytes=5, name="shop", reasons=["a"]))

    (line,) = lines(stream)
    assert line.pop("ts").endswith("Z")
    assert line == {
        "level": "INFO",
        "logger": "runner.test",
        "msg": "backup completed",
        "namespace": "db",
        "engine": "postgres",
        "backup_id": "b-1",
        "bytes": 5,
        "name": "shop",
        "reasons": ["a"],
    }


def test_lines_stay_one_line_and_bear_undecodable_bytes() -> None:
    stream = io.StringIO()
    configure(stream=stream)

    log.warning("child ended", extra=kv(stderr="a\nb \udcff"))

    (line,) = lines(stream)
    assert line["stderr"] == "a\nb \\udcff"


def test_secrets_are_redacted_wherever_they_stand() -> None:
    secrets = {'can"ary\\quoted', "canary-plain", "canary-plain-longer", KEY}
    for stream in (io.StringIO(), Terminal()):
        configure(stream=stream, redact=Redactor(lambda: secrets))
        for secret in ('can"ary\\quoted', "canary-plain", "canary-plain-longer", KEY):
            log.error("failed for %s", secret, extra=kv(error=f"x{secret}x", reasons=[secret]))
        log.error("key", extra=kv(error="at canary-line-of-a-private-key"))
        try:
            raise ValueError("canary-plain")
        except ValueError:
            log.exception("unexpected")

        assert "can" not in stream.getvalue()
        assert stream.getvalue().count("<redacted>") >= 13
        assert "longer" not in stream.getvalue()


def test_a_secret_learned_later_counts() -> None:
    stream, secrets = io.StringIO(), set[str]()
    configure(stream=stream, redact=Redactor(lambda: secrets))

    secrets.add("canary-late")
    log.error("failed", extra=kv(error="canary-late"))

    assert "canary" not in stream.getvalue()


def test_short_secrets_do_not_blot_out_the_log() -> None:
    assert Redactor(lambda: ["a", ""])("a bad day") == "a bad day"


def test_a_terminal_gets_plain_text() -> None:
    stream = Terminal()
    configure(stream=stream)

    log.info("backup completed", extra=kv(location="here"))

    assert stream.getvalue().endswith("Z INFO    backup completed location=here\n")


@pytest.mark.parametrize(
    ("variable", "shown"),
    [("debug", 4), ("INFO", 3), ("warning", 2), ("error", 1), ("", 3)],
)
def test_log_level_comes_from_the_environment(
    variable: str, shown: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = io.StringIO()
    monkeypatch.setenv("LOG_LEVEL", variable)
    configure(stream=stream)

    for level in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR):
        log.log(level, "message")

    assert len(lines(stream)) == shown


def test_an_unknown_level_is_warned_about_and_counts_as_info() -> None:
    stream = io.StringIO()
    configure(stream=stream, level="loud")

    log.info("message")

    assert [line["msg"] for line in lines(stream)] == ["unknown log level", "message"]


def test_bound_keys_are_on_every_record_of_the_block_and_on_no_other() -> None:
    stream = io.StringIO()
    configure(stream=stream)

    with bound(namespace="db", name="shop"):
        with bound(name="till", reconcile_id="r-1"):
            log.info("inner", extra=kv(count=1))
        log.info("outer")
    log.info("after")

    inner, outer, after = lines(stream)
    assert (inner["namespace"], inner["name"], inner["reconcile_id"]) == ("db", "till", "r-1")
    assert inner["count"] == 1
    assert (outer["name"], "reconcile_id" in outer) == ("shop", False)
    assert not {"namespace", "name"} & set(after)


def test_bound_keys_end_with_the_block_that_fails() -> None:
    stream = io.StringIO()
    configure(stream=stream)

    with pytest.raises(ZeroDivisionError), bound(name="shop"):
        raise ZeroDivisionError
    log.info("after")

    (after,) = lines(stream)
    assert "name" not in after


def test_bound_keys_are_of_one_thread() -> None:
    stream = io.StringIO()
    configure(stream=stream)

    with bound(name="shop"):
        thread = threading.Thread(target=log.info, args=("elsewhere",))
        thread.start()
        thread.join()

    (elsewhere,) = lines(stream)
    assert "name" not in elsewhere


def test_bound_keys_are_redacted_and_shown_on_a_terminal() -> None:
    stream = Terminal()
    configure(stream=stream, redact=Redactor(lambda: ["canary"]))

    with bound(name="a canary"):
        log.info("told")

    assert "name=a <redacted>" in stream.getvalue()
