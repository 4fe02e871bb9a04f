"""What the environment says: the controller's settings, checked once, at the start."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from attrs import frozen

from controller.api.durations import parse_duration
from controller.api.errors import InvalidSpec, Problem
from controller.process.httpd import parse_listen

_TRUE, _FALSE = frozenset({"1", "true", "yes", "on"}), frozenset({"0", "false", "no", "off", ""})


@frozen(kw_only=True)
class Environment:
    """The controller's environment.

    Args:
        image_prefix: of the runners' images.
        is_log_json: None: unless the log is a terminal.
        listen: where metrics and probes are served.
        rescan_interval_s: each object is looked at again once in so long.
        target_namespace: where Secrets of classes and the Lease are; None: the
            pod's own.
        workers: so many objects at once.
        max_rolling: so many runners are replaced at once.
        identity: the pod's name, for the Lease and events.
    """

    image_prefix: str
    is_log_json: bool | None
    listen: str
    log_level: str
    rescan_interval_s: float
    target_namespace: str | None
    workers: int
    max_rolling: int
    identity: str


def read(environ: Mapping[str, str]) -> Environment:
    """Read the settings; an empty variable counts as one that is not set.

    Raises: InvalidSpec with every problem.
    """
    given = {name: value.strip() for name, value in environ.items() if value.strip()}
    problems = list(_problems(given))
    if problems:
        raise InvalidSpec(problems)
    json_log = given.get("JSON_LOG")
    return Environment(
        image_prefix=given["IMAGE_PREFIX"],
        is_log_json=None if json_log is None else json_log.lower() in _TRUE,
        listen=given.get("LISTEN", ":3000"),
        log_level=given.get("LOG_LEVEL", "INFO"),
        rescan_interval_s=parse_duration(given.get("RESCAN_INTERVAL", "1h")).total_seconds(),
        target_namespace=given.get("TARGET_NAMESPACE"),
        workers=int(given.get("WORKERS", "8")),
        max_rolling=int(given.get("MAX_ROLLING", "3")),
        identity=given.get("POD_NAME") or given.get("HOSTNAME") or "controller",
    )


def _problems(given: Mapping[str, str]) -> Iterator[Problem]:
    if "IMAGE_PREFIX" not in given:
        yield Problem(
            "IMAGE_PREFIX",
            "is required: the prefix of the runners' images, such as"
            " registry.example.com/db-backup-runner",
        )
    if given.get("JSON_LOG", "").lower() not in _TRUE | _FALSE:
        yield Problem("JSON_LOG", "must be true or false")
    try:
        parse_listen(given.get("LISTEN", ":3000"))
    except InvalidSpec as error:
        yield from error.problems
    try:
        if parse_duration(given.get("RESCAN_INTERVAL", "1h")).total_seconds() < 1:
            yield Problem("RESCAN_INTERVAL", "must be a second or more")
    except InvalidSpec as error:
        yield Problem("RESCAN_INTERVAL", str(error))
    for name in ("WORKERS", "MAX_ROLLING"):
        text = given.get(name, "1")
        if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 256):
            yield Problem(name, f"{text!r} must be a number from 1 to 256")
