"""Which API server to speak to: what a pod finds in its files, or a person's kubeconfig.

The only importer of `kubernetes`, and of its kubeconfig loader alone: contexts,
merged files, inline certificates and exec plugins are more than is worth writing
again. A pod needs three files and two variables, which are read by hand: the
package costs tens of megabytes.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from controller.api.errors import InvalidSpec
from controller.api.secrets import Secret
from controller.kube.endpoint import Credentials, Endpoint, NoCredentials, TokenFile

#: Much less than what the loader renews a token ahead of its end.
_ASK_LOADER_S = 10.0
SERVICE_ACCOUNT_FOLDER = Path("/var/run/secrets/kubernetes.io/serviceaccount")


def load(
    *,
    kubeconfig: str | None = None,
    context: str | None = None,
    environment: Mapping[str, str] = os.environ,
) -> Endpoint:
    """The named kubeconfig; else the pod's own account; else the person's kubeconfig.

    Raises:
        InvalidSpec: there is neither, or it is not usable.
    """
    if kubeconfig is None and context is None and is_in_cluster(environment):
        return in_cluster(environment=environment)
    return from_kubeconfig(kubeconfig or environment.get("KUBECONFIG") or None, context)


def is_in_cluster(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether this is a pod, by what the kubelet sets in every one."""
    return bool(environment.get("KUBERNETES_SERVICE_HOST"))


def in_cluster(
    *,
    folder: Path = SERVICE_ACCOUNT_FOLDER,
    environment: Mapping[str, str] = os.environ,
) -> Endpoint:
    """The pod's ServiceAccount.

    Raises:
        InvalidSpec: a variable or a file is missing.
    """
    host = environment.get("KUBERNETES_SERVICE_HOST", "")
    port = environment.get("KUBERNETES_SERVICE_PORT", "")
    if not (host and port):
        raise InvalidSpec(
            "KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not both set; the kubelet"
            " sets them in every pod, elsewhere name a kubeconfig"
        )
    token_file = folder / "token"
    for file in (token_file, folder / "ca.crt"):
        if not file.is_file():
            raise InvalidSpec(
                f"{file} is missing; the pod needs a service account with"
                " automountServiceAccountToken: true"
            )
    namespace_file = folder / "namespace"
    return Endpoint(
        server=f"https://{f'[{host}]' if ':' in host else host}:{port}",
        ca_file=folder / "ca.crt",
        namespace=namespace_file.read_text().strip() if namespace_file.is_file() else "default",
        credentials=TokenFile(token_file),
    )


def from_kubeconfig(path: str | None = None, context: str | None = None) -> Endpoint:
    """A context of a kubeconfig.

    Args:
        path: one file, or several joined as in KUBECONFIG; None: ``~/.kube/config``.
        context: None: the current one.
    Raises:
        InvalidSpec: no such file or context, or it is not of the right form.
    """
    # Megabytes that a pod never needs, and that its image does not have.
    try:
        import yaml  # noqa: PLC0415
        from kubernetes.client import Configuration  # noqa: PLC0415
        from kubernetes.config import kube_config  # noqa: PLC0415
        from kubernetes.config.config_exception import ConfigException  # noqa: PLC0415
    except ImportError as error:
        raise InvalidSpec(
            f"reading a kubeconfig needs the Python package {error.name}, which is not here:"
            " install db-backup-controller[kubeconfig], or run in a pod of the cluster"
        ) from error

    where = path or kube_config.KUBE_CONFIG_DEFAULT_LOCATION
    # A file that is not there is left out without a word.
    if not any(Path(one).expanduser().is_file() for one in where.split(os.pathsep)):
        raise InvalidSpec(f"{where}: no such file; name a kubeconfig with KUBECONFIG")
    loaded = Configuration()
    # One of the environment is nothing that this reads.
    loaded.proxy = None
    loader: Any = kube_config  # has no types
    try:
        loader.load_kube_config(
            config_file=where, context=context, client_configuration=loaded, persist_config=False
        )
        contexts, current = loader.list_kube_config_contexts(config_file=where)
    except (ConfigException, yaml.YAMLError, OSError, ValueError, TypeError, KeyError) as error:
        # Its text may quote the file, and that has keys in it.
        why = str(error) if isinstance(error, ConfigException) else type(error).__name__
        raise InvalidSpec(f"{where}: {why}") from error
    if loaded.proxy:
        raise InvalidSpec(
            f"{where}: the cluster has a proxy-url, which is not supported; run where the API"
            " server is reached without a proxy, or in the cluster"
        )
    chosen = next((one for one in contexts if one["name"] == context), current)
    return Endpoint(
        server=loaded.host,
        ca_file=_path(loaded.ssl_ca_cert),
        client_certificate_file=_path(loaded.cert_file),
        client_key_file=_path(loaded.key_file),
        tls_server_name=loaded.tls_server_name or None,
        is_verified=bool(loaded.verify_ssl),
        namespace=chosen["context"].get("namespace") or "default",
        credentials=_LoadedCredentials(loaded) if loaded.api_key else NoCredentials(),
    )


class _LoadedCredentials(Credentials):
    """A token or password of a kubeconfig; the loader runs an exec plugin again when it expires."""

    def __init__(self, loaded: Any, monotonic: Callable[[], float] = time.monotonic) -> None:
        # The loader's own state is not made for threads.
        self._lock = threading.Lock()
        self._loaded = loaded
        self._monotonic = monotonic
        self._text = ""
        self._until_mono = float("-inf")

    def authorization(self) -> Secret | None:
        with self._lock:
            # Asking the loader is as dear as a request: it makes its configuration anew.
            if self._monotonic() >= self._until_mono:
                self._text = self._loaded.get_api_key_with_prefix("BearerToken") or ""
                self._until_mono = self._monotonic() + _ASK_LOADER_S
            return Secret(self._text) if self._text else None

    def renew(self) -> bool:
        return False


def _path(name: str | None) -> Path | None:
    return Path(name) if name else None
