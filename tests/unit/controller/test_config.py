"""The environment, read once; every mistake is told at once by its variable."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from controller import config
from controller.api.errors import InvalidSpec
from controller.config import Environment
from controller.throttle import Limit

DOCS = Path(__file__).parents[3] / "docs" / "controller.md"


def read(environ: Mapping[str, str]) -> Environment:
    """As in a pod."""
    return config.read(environ, is_in_cluster=True)


PREFIX = {"IMAGE_PREFIX": "registry.example.com/runner"}


def test_everything_but_the_image_prefix_has_a_default() -> None:
    environment = read(PREFIX)

    assert environment.image_prefix == "registry.example.com/runner"
    assert environment.listen == ":3000"
    assert environment.rescan_interval_s == 3600
    assert environment.is_log_json is None
    assert environment.target_namespace is None
    assert environment.image_pull_secret == ""
    assert (environment.workers, environment.max_rolling) == (8, 3)
    assert environment.api_limit is None


def test_what_is_given_is_read() -> None:
    environment = read(
        PREFIX
        | {
            "JSON_LOG": "true",
            "LISTEN": "127.0.0.1:0",
            "LOG_LEVEL": "DEBUG",
            "RESCAN_INTERVAL": "10m",
            "TARGET_NAMESPACE": "backups",
            "WORKERS": "16",
            "MAX_ROLLING": "1",
            "IMAGE_PULL_SECRET": "registry",
            "API_QPS": "50",
            "API_BURST": "60",
            "POD_NAME": "controller-1",
        }
    )

    assert environment.is_log_json is True
    assert (environment.listen, environment.log_level) == ("127.0.0.1:0", "DEBUG")
    assert environment.rescan_interval_s == 600
    assert environment.target_namespace == "backups"
    assert (environment.workers, environment.max_rolling) == (16, 1)
    assert environment.identity == "controller-1"
    assert environment.image_pull_secret == "registry"
    assert environment.api_limit == Limit(qps=50, burst=60)


def test_a_limit_of_requests_has_a_burst_of_two_seconds() -> None:
    assert read(PREFIX | {"API_QPS": "50"}).api_limit == Limit(qps=50, burst=100)
    with pytest.raises(InvalidSpec, match="API_BURST: means nothing without API_QPS"):
        read(PREFIX | {"API_BURST": "50"})


def test_an_empty_variable_is_none() -> None:
    assert read(PREFIX | {"LISTEN": "", "TARGET_NAMESPACE": " "}) == read(PREFIX)


def test_every_mistake_is_told_at_once() -> None:
    with pytest.raises(InvalidSpec) as refused:
        read(
            {
                "IMAGE_PULL_SECRET": "my registry",
                "JSON_LOG": "perhaps",
                "LISTEN": "3000",
                "LOG_LEVEL": "loud",
                "RESCAN_INTERVAL": "hourly",
                "WORKERS": "0",
                "MAX_ROLLING": "many",
                "API_QPS": "-1",
                "TARGET_NAMESPACE": "My",
            }
        )

    assert [problem.path for problem in refused.value.problems] == [
        "IMAGE_PREFIX",
        "IMAGE_PULL_SECRET",
        "JSON_LOG",
        "LISTEN",
        "LOG_LEVEL",
        "RESCAN_INTERVAL",
        "WORKERS",
        "MAX_ROLLING",
        "API_QPS",
        "TARGET_NAMESPACE",
    ]


@pytest.mark.parametrize(
    ("given", "level"),
    [("debug", "DEBUG"), ("Warn", "WARNING"), ("trace", "DEBUG"), ("panic", "ERROR"), ("", "INFO")],
)
def test_the_go_originals_log_levels_are_read(given: str, level: str) -> None:
    assert read(PREFIX | {"LOG_LEVEL": given}).log_level == level


@pytest.mark.parametrize(
    "prefix", ["runner", "localhost:5000/runner", "[::1]:5000/a/b", "r.example.com/a_b/c--d.e"]
)
def test_a_prefix_of_an_image_is_taken(prefix: str) -> None:
    assert read({"IMAGE_PREFIX": prefix}).image_prefix == prefix


@pytest.mark.parametrize(
    "prefix",
    [
        "https://registry.example.com/runner",
        "registry.example.com/runner:1",
        "registry.example.com/runner@sha256:0",
        "registry.example.com/runner/",
        "registry.example.com/Runner",
        "registry.example.com/my runner",
        "/runner",
        "runner-",
    ],
)
def test_what_no_image_can_begin_with_is_refused(prefix: str) -> None:
    with pytest.raises(InvalidSpec) as refused:
        read({"IMAGE_PREFIX": prefix})

    assert [problem.path for problem in refused.value.problems] == ["IMAGE_PREFIX"]


def test_without_a_pod_the_namespace_is_required_beside_all_else() -> None:
    with pytest.raises(InvalidSpec) as refused:
        config.read({}, is_in_cluster=False)

    assert [problem.path for problem in refused.value.problems] == [
        "IMAGE_PREFIX",
        "TARGET_NAMESPACE",
    ]


def test_a_resync_without_pause_is_refused() -> None:
    with pytest.raises(InvalidSpec, match="RESCAN_INTERVAL: must be a second or more"):
        read(PREFIX | {"RESCAN_INTERVAL": "0"})


#: Texts of the source that are no variables.
_LEVELS = {"INFO", "DEBUG", "WARNING", "ERROR", "TRACE", "WARN", "FATAL", "PANIC"}


def test_the_documentation_lists_every_variable() -> None:
    source = (Path(__file__).parents[3] / "controller" / "config.py").read_text()
    read_ones = set(re.findall(r'"([A-Z]+(?:_[A-Z]+)*)"', source)) - _LEVELS
    documented = set(re.findall(r"^\| `([A-Z_]+)` \|", DOCS.read_text(), re.MULTILINE))

    assert documented == read_ones
