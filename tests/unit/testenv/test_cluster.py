"""Which clusters are taken for ones that are there for trying out."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from testenv.__main__ import VERBS, main
from testenv.cluster import Cluster, Refused, current
from testenv.deploy import ENGINE_IMAGES, database_for


@pytest.mark.parametrize(
    ("context", "server", "is_local"),
    [
        ("kind-kind", "https://127.0.0.1:41235", True),
        ("minikube", "https://192.0.2.49:8443", True),
        ("docker-desktop", "https://kubernetes.docker.internal:6443", True),
        ("test", "https://10.89.0.2:6443", True),
        ("anything", "https://127.0.0.1:6443", False),
        ("production", "https://kubernetes.example.com", False),
        ("my-kind-of-cluster", "https://kubernetes.example.com", False),
    ],
)
def test_a_local_cluster_is_known_by_its_tool_or_its_address(
    context: str, server: str, *, is_local: bool
) -> None:
    assert Cluster(context=context, server=server).is_local is is_local


def test_the_database_is_cockroachdb_where_its_image_can_be_had() -> None:
    node = Cluster(context="test", server="https://10.89.0.2:6443")
    minikube = Cluster(context="minikube", server="https://192.0.2.49:8443")

    assert database_for(minikube, {}) == "cockroach"
    assert database_for(node, {}) == "postgres"
    for database in ENGINE_IMAGES:
        assert database_for(node, {"TESTENV_DATABASE": database}) == database


@pytest.fixture
def kubectl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is the only one of PATH, for a kubectl of the test."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.delenv("ANY_CONTEXT", raising=False)
    return tmp_path / "kubectl"


def _answer(program: Path, text: str) -> None:
    program.write_text(f"#!/bin/sh\n{text}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)


def _config(context: str, server: str) -> str:
    clusters = [{"name": "a", "cluster": {"server": server}}]
    return f"echo '{json.dumps({'current-context': context, 'clusters': clusters})}'"


def test_another_cluster_is_used_only_when_that_is_said(
    kubectl: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _answer(kubectl, _config("production", "https://kubernetes.example.com"))

    with pytest.raises(Refused, match=r"context is production .* say ANY_CONTEXT=yes"):
        current()
    monkeypatch.setenv("ANY_CONTEXT", "yes")

    assert current().context == "production"


@pytest.mark.parametrize("target", VERBS)
def test_each_target_refuses_another_cluster_before_it_does_anything(
    kubectl: Path, capsys: pytest.CaptureFixture[str], target: str
) -> None:
    asked = kubectl.with_name("asked")
    config = _config("production", "https://kubernetes.example.com")
    _answer(kubectl, f'echo "$@" >> {asked}\n{config}')

    assert main([target]) == 1

    said = capsys.readouterr()
    assert (said.out, said.err.count("say ANY_CONTEXT=yes")) == ("", 1)
    assert asked.read_text() == "config view --minify --output=json\n"


def test_without_a_context_it_says_how_to_get_a_cluster(kubectl: Path) -> None:
    _answer(kubectl, "echo current-context must exist >&2; exit 1")

    with pytest.raises(Refused, match=r"must exist\); `make cluster-up` starts one"):
        current()


def test_images_go_nowhere_where_nobody_knows_how() -> None:
    cluster = Cluster(context="colima", server="https://127.0.0.1:6443")

    with pytest.raises(Refused, match=r"LOCAL_IMAGE=localhost:5000/db-backup-controller"):
        cluster.give(["a:1"], is_registry=False)
    with pytest.raises(Refused, match=r"LOCAL_IMAGE=localhost:5000/db-backup-controller"):
        cluster.check_can_give(is_registry=False)
    cluster.check_can_give(is_registry=True)
