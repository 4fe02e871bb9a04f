"""What the environment says: the controller's settings, checked once, at the start."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from attrs import frozen

from controller.api.bounds import DNS_LABEL, DNS_NAME
from controller.api.durations import parse_duration
from controller.api.errors import InvalidSpec, Problem
from controller.process.httpd import parse_listen
from controller.process.logging import LEVELS
from controller.throttle import Limit

#: What the engine, the database's version and the release are put behind.
_IMAGE_PREFIX = re.compile(
    r"((?:[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:]+\])(?::[0-9]{1,5})?/)?"
    r"[a-z0-9]+(?:[._-]+[a-z0-9]+)*(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)*"
)
#: Levels that the Go original knows besides ours.
_LEVELS = {level: level for level in LEVELS} | {
    "TRACE": "DEBUG",
    "WARN": "WARNING",
    "FATAL": "ERROR",
    "PANIC": "ERROR",
}
_TRUE, _FALSE = frozenset({"1", "true", "yes", "on"}), frozenset({"0", "false", "no", "off", ""})


@frozen(kw_only=True)
class Environment:
    """The controller's environment.

    Args:
        image_prefix: of the runners' images.
        image_pull_secret: name of the Secret with the credentials for their
            registry, beside those of the classes; empty: it asks for none.
        is_log_json: None: unless the log is a terminal.
        listen: where metrics and probes are served.
        rescan_interval_s: each object is looked at again once in so long.
        target_namespace: where Secrets of classes and the Lease are; None: the
            pod's own.
        workers: so many objects at once.
        max_rolling: so many runners are replaced at once.
        api_limit: of its requests to the API server; None: as many as its
            workers make, which the server's own fairness bounds.
        identity: the pod's name, for the Lease and events.
    """

    image_prefix: str
    image_pull_secret: str
    is_log_json: bool | None
    listen: str
    log_level: str
    rescan_interval_s: float
    target_namespace: str | None
    workers: int
    max_rolling: int
    api_limit: Limit | None
    identity: str


def read(environ: Mapping[str, str], *, is_in_cluster: bool) -> Environment:
    """Read the settings; an empty variable counts as one that is not set.

    Args:
        is_in_cluster: there is a pod with a namespace of its own.
    Raises: InvalidSpec with every problem.
    """
    given = {name: value.strip() for name, value in environ.items() if value.strip()}
    problems = [*_problems(given), *_namespace_problems(given, is_in_cluster=is_in_cluster)]
    if problems:
        raise InvalidSpec(problems)
    json_log = given.get("JSON_LOG")
    return Environment(
        image_prefix=given["IMAGE_PREFIX"],
        image_pull_secret=given.get("IMAGE_PULL_SECRET", ""),
        is_log_json=None if json_log is None else json_log.lower() in _TRUE,
        listen=given.get("LISTEN", ":3000"),
        log_level=_LEVELS[given.get("LOG_LEVEL", "INFO").upper()],
        rescan_interval_s=parse_duration(given.get("RESCAN_INTERVAL", "1h")).total_seconds(),
        target_namespace=given.get("TARGET_NAMESPACE"),
        workers=int(given.get("WORKERS", "8")),
        max_rolling=int(given.get("MAX_ROLLING", "3")),
        api_limit=_limit(given),
        identity=given.get("POD_NAME") or given.get("HOSTNAME") or "controller",
    )


def _problems(given: Mapping[str, str]) -> Iterator[Problem]:
    yield from _image_problems(given)
    if given.get("JSON_LOG", "").lower() not in _TRUE | _FALSE:
        yield Problem("JSON_LOG", "must be true or false")
    try:
        parse_listen(given.get("LISTEN", ":3000"))
    except InvalidSpec as error:
        yield from error.problems
    if given.get("LOG_LEVEL", "INFO").upper() not in _LEVELS:
        yield Problem("LOG_LEVEL", f"must be one of {', '.join(LEVELS)}")
    try:
        if parse_duration(given.get("RESCAN_INTERVAL", "1h")).total_seconds() < 1:
            yield Problem("RESCAN_INTERVAL", "must be a second or more")
    except InvalidSpec as error:
        yield Problem("RESCAN_INTERVAL", str(error))
    for name, most in (
        ("WORKERS", 256),
        ("MAX_ROLLING", 256),
        ("API_QPS", 10_000),
        ("API_BURST", 10_000),
    ):
        text = given.get(name, "1")
        if not (text.isascii() and text.isdigit() and 1 <= int(text) <= most):
            yield Problem(name, f"{text!r} must be a number from 1 to {most}")
    if "API_BURST" in given and "API_QPS" not in given:
        yield Problem("API_BURST", "means nothing without API_QPS; set both or none")


def _limit(given: Mapping[str, str]) -> Limit | None:
    if "API_QPS" not in given:
        return None
    qps = int(given["API_QPS"])
    return Limit(qps=qps, burst=int(given.get("API_BURST", qps * 2)))


def _image_problems(given: Mapping[str, str]) -> Iterator[Problem]:
    if "IMAGE_PREFIX" not in given:
        yield Problem(
            "IMAGE_PREFIX",
            "is required: the prefix of the runners' images, such as"
            " registry.example.com/db-backup-runner",
        )
    elif not _IMAGE_PREFIX.fullmatch(given["IMAGE_PREFIX"]):
        yield Problem(
            "IMAGE_PREFIX",
            "must be the beginning of an image's name without scheme, tag and / at the end, such as"
            " registry.example.com/db-backup-runner",
        )
    pull_secret = given.get("IMAGE_PULL_SECRET")
    if pull_secret and not re.fullmatch(DNS_NAME.pattern, pull_secret):
        yield Problem("IMAGE_PULL_SECRET", "must be the name of a Secret")


def _namespace_problems(given: Mapping[str, str], *, is_in_cluster: bool) -> Iterator[Problem]:
    """Without a pod's own namespace it has to be said.

    A kubeconfig's is whatever its owner looked at last: two who start a controller
    would elect in two namespaces, and both would lead.
    """
    namespace = given.get("TARGET_NAMESPACE")
    if namespace is None:
        if not is_in_cluster:
            yield Problem(
                "TARGET_NAMESPACE",
                "is required with a kubeconfig: the namespace where the Secrets of storage"
                " classes are, and the Lease of the controller of this cluster",
            )
    elif not re.fullmatch(DNS_LABEL.pattern, namespace):
        yield Problem("TARGET_NAMESPACE", "must be the name of a namespace")
