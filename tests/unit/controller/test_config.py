"""The environment, read once; every mistake is told at once by its variable."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from controller.api.errors import InvalidSpec
from controller.config import read
from controller.kube.throttle import Limit

DOCS = Path(__file__).parents[3] / "docs" / "controller.md"
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
                "RESCAN_INTERVAL": "hourly",
                "WORKERS": "0",
                "MAX_ROLLING": "many",
                "API_QPS": "-1",
            }
        )

    assert [problem.path for problem in refused.value.problems] == [
        "IMAGE_PREFIX",
        "IMAGE_PULL_SECRET",
        "JSON_LOG",
        "LISTEN",
        "RESCAN_INTERVAL",
        "WORKERS",
        "MAX_ROLLING",
        "API_QPS",
    ]


def test_a_resync_without_pause_is_refused() -> None:
    with pytest.raises(InvalidSpec, match="RESCAN_INTERVAL: must be a second or more"):
        read(PREFIX | {"RESCAN_INTERVAL": "0"})


def test_the_documentation_lists_every_variable() -> None:
    source = (Path(__file__).parents[3] / "controller" / "config.py").read_text()
    read_ones = set(re.findall(r'"([A-Z]+(?:_[A-Z]+)*)"', source)) - {"INFO"}
    documented = set(re.findall(r"^\| `([A-Z_]+)` \|", DOCS.read_text(), re.MULTILINE))

    assert documented == read_ones
