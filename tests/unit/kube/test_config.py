"""Where the server's address and the identity come from."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from controller.api.errors import AccessDenied, ApiRefused, InvalidSpec
from controller.api.secrets import Secret
from controller.kube import config
from controller.kube.endpoint import Endpoint, TokenFile
from tests.fakes.clock import FakeClock
from tests.servers.tls import Authority

IN_CLUSTER = {"KUBERNETES_SERVICE_HOST": "10.96.0.1", "KUBERNETES_SERVICE_PORT": "443"}


class _Time:
    now_s = 50.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def account(tmp_path: Path) -> Path:
    """A folder as the kubelet mounts it."""
    folder = tmp_path / "account"
    folder.mkdir()
    (folder / "token").write_text("first\n")
    (folder / "ca.crt").write_text(Authority().certificate_pem)
    (folder / "namespace").write_text("backup-system")
    return folder


def _kubeconfig(folder: Path, **changes: Any) -> str:
    document: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "near",
        "contexts": [
            {"name": "near", "context": {"cluster": "near", "user": "me"}},
            {"name": "far", "context": {"cluster": "far", "user": "you", "namespace": "shop"}},
        ],
        "clusters": [
            {"name": "near", "cluster": {"server": "https://near:6443"}},
            {
                "name": "far",
                "cluster": {
                    "server": "https://far/clusters/7",
                    "insecure-skip-tls-verify": True,
                    "tls-server-name": "far.example",
                },
            },
        ],
        "users": [
            {"name": "me", "user": {"token": "hunter2"}},
            {"name": "you", "user": {"username": "you", "password": "swordfish"}},
        ],
    }
    file = folder / "kubeconfig"
    file.write_text(json.dumps(document | changes))
    return str(file)


def _header(endpoint: Endpoint) -> str | None:
    authorization = endpoint.credentials.authorization()
    return authorization.reveal() if authorization else None


def test_a_pod_finds_its_account(account: Path) -> None:
    endpoint = config.in_cluster(folder=account, environment=IN_CLUSTER)

    assert endpoint.server == "https://10.96.0.1:443"
    assert endpoint.namespace == "backup-system"
    assert _header(endpoint) == "Bearer first"
    assert endpoint.tls() is not None


def test_an_address_of_version_6_is_bracketed(account: Path) -> None:
    environment = IN_CLUSTER | {"KUBERNETES_SERVICE_HOST": "fd00::1"}

    endpoint = config.in_cluster(folder=account, environment=environment)

    assert endpoint.server == "https://[fd00::1]:443"


@pytest.mark.parametrize("missing", ["token", "ca.crt"])
def test_a_missing_file_of_the_account_is_named_with_its_cure(account: Path, missing: str) -> None:
    (account / missing).unlink()

    with pytest.raises(InvalidSpec, match=rf"{missing} is missing.*automountServiceAccountToken"):
        config.in_cluster(folder=account, environment=IN_CLUSTER)


def test_outside_of_a_pod_the_variables_are_named(account: Path) -> None:
    with pytest.raises(InvalidSpec, match="KUBERNETES_SERVICE_HOST"):
        config.in_cluster(folder=account, environment={})


def test_a_pod_never_loads_the_kubernetes_package(account: Path) -> None:
    code = f"""
        import sys
        from pathlib import Path
        from controller.kube import config
        from controller.kube.client import Client
        Client(config.in_cluster(folder=Path({str(account)!r}), environment={IN_CLUSTER!r}))
        assert "urllib3" in sys.modules
        assert "kubernetes" not in sys.modules, "kubernetes is loaded"
    """

    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True, timeout=60)


def test_a_replaced_token_is_seen_within_a_minute(tmp_path: Path) -> None:
    time, file = _Time(), tmp_path / "token"
    file.write_text("first")
    token = TokenFile(file, time)
    assert token.authorization().reveal() == "Bearer first"

    file.write_text("second")
    time.now_s += 59

    assert token.authorization().reveal() == "Bearer first"
    time.now_s += 1
    assert token.authorization().reveal() == "Bearer second"


def test_a_refused_token_is_read_again_at_once(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("first")
    token = TokenFile(file, _Time())
    token.authorization()

    assert not token.renew()
    file.write_text("second")
    assert token.renew()
    assert token.authorization().reveal() == "Bearer second"


@pytest.mark.parametrize("damage", ["missing", "empty", "binary"])
def test_a_token_that_cannot_be_read_leaves_the_last_one(tmp_path: Path, damage: str) -> None:
    time, file = _Time(), tmp_path / "token"
    file.write_text("first")
    token = TokenFile(file, time)
    token.authorization()

    if damage == "missing":
        file.unlink()
    else:
        file.write_bytes(b"" if damage == "empty" else b"\xff\xfe")
    time.now_s += 60

    assert token.authorization().reveal() == "Bearer first"
    assert not token.renew()


def test_a_token_that_was_never_there_names_its_file(tmp_path: Path) -> None:
    with pytest.raises(AccessDenied, match="nowhere"):
        TokenFile(tmp_path / "nowhere").authorization()


def test_a_kubeconfig_gives_its_current_context(tmp_path: Path) -> None:
    endpoint = config.from_kubeconfig(_kubeconfig(tmp_path))

    assert endpoint.server == "https://near:6443"
    assert endpoint.namespace == "default"
    assert endpoint.is_verified
    assert _header(endpoint) == "Bearer hunter2"
    assert "hunter2" not in repr(endpoint)


def test_a_kubeconfig_gives_the_context_that_is_named(tmp_path: Path) -> None:
    endpoint = config.from_kubeconfig(_kubeconfig(tmp_path), "far")

    assert endpoint.server == "https://far/clusters/7"
    assert endpoint.namespace == "shop"
    assert endpoint.tls_server_name == "far.example"
    assert not endpoint.is_verified
    assert (_header(endpoint) or "").startswith("Basic ")


def test_an_exec_plugin_is_asked_for_a_token(tmp_path: Path) -> None:
    plugin = tmp_path / "plugin"
    credential = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "kind": "ExecCredential",
        "status": {"token": "from-plugin"},
    }
    plugin.write_text(f"#!/bin/sh\necho '{json.dumps(credential)}'\n")
    plugin.chmod(0o755)
    exec_plugin = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": str(plugin),
        "interactiveMode": "Never",
    }

    endpoint = config.from_kubeconfig(
        _kubeconfig(tmp_path, users=[{"name": "me", "user": {"exec": exec_plugin}}])
    )

    assert _header(endpoint) == "Bearer from-plugin"


def test_a_plugin_is_not_asked_at_every_request() -> None:
    calls = []

    class Loaded:
        def get_api_key_with_prefix(self, _name: str) -> str:
            calls.append(1)
            return f"Bearer {len(calls)}"

    clock = FakeClock()
    credentials = config._LoadedCredentials(Loaded(), clock.monotonic)

    for _ in range(3):
        assert credentials.authorization() == Secret("Bearer 1")
    clock.advance(10)
    assert credentials.authorization() == Secret("Bearer 2")


def test_a_kubeconfig_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidSpec, match="nowhere: no such file"):
        config.from_kubeconfig(str(tmp_path / "nowhere"))


@pytest.mark.parametrize("changes", [{"contexts": []}, {"clusters": None}, {"contexts": "hunter2"}])
def test_a_broken_kubeconfig_is_named_and_not_quoted(tmp_path: Path, changes: Any) -> None:
    with pytest.raises(InvalidSpec, match="kubeconfig: ") as raised:
        config.from_kubeconfig(_kubeconfig(tmp_path, **changes))

    assert "hunter2" not in str(raised.value)


def test_a_proxy_of_a_kubeconfig_is_refused_and_one_of_the_environment_ignored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is asked for in vain is told; what is there for other programs is not asked for."""
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    assert config.from_kubeconfig(_kubeconfig(tmp_path)).server == "https://near:6443"
    cluster = {"server": "https://near:6443", "proxy-url": "http://me:hunter2@proxy:3128"}

    with pytest.raises(InvalidSpec, match="proxy-url, which is not supported") as refused:
        config.from_kubeconfig(
            _kubeconfig(tmp_path, clusters=[{"name": "near", "cluster": cluster}])
        )

    assert "hunter2" not in str(refused.value)


def test_a_kubeconfig_that_is_no_yaml_is_named_and_not_quoted(tmp_path: Path) -> None:
    file = tmp_path / "kubeconfig"
    file.write_text("token: {hunter2")

    with pytest.raises(InvalidSpec, match="kubeconfig: ") as raised:
        config.from_kubeconfig(str(file))

    assert "hunter2" not in str(raised.value)


def test_what_is_named_wins_over_the_pod(account: Path, tmp_path: Path) -> None:
    named = config.load(kubeconfig=_kubeconfig(tmp_path), environment=IN_CLUSTER)
    by_variable = config.load(environment={"KUBECONFIG": _kubeconfig(tmp_path)})

    assert named.server == by_variable.server == "https://near:6443"


def test_unusable_certificates_name_their_file(tmp_path: Path) -> None:
    file = tmp_path / "ca.crt"
    file.write_text("not PEM")

    with pytest.raises(ApiRefused, match=r"ca\.crt"):
        Endpoint(server="https://x", ca_file=file).tls()


def test_without_the_loader_of_kubeconfigs_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in the image of the controller, which is made for pods."""
    monkeypatch.setitem(sys.modules, "kubernetes.client", None)

    with pytest.raises(InvalidSpec, match=r"db-backup-controller\[kubeconfig\]"):
        config.from_kubeconfig(_kubeconfig(tmp_path))
