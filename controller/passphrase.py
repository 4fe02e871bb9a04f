"""`controller passphrase`: the passphrase of a class, from where a person has it.

Never from an argument, which every user of the machine can read.
"""

from __future__ import annotations

from typing import BinaryIO

from controller.api.errors import InvalidSpec
from controller.api.keys import ObjectKey
from controller.api.secrets import Secret
from controller.kube import config
from controller.kube.client import Client
from controller.kube.resource import SECRETS
from controller.projections import project_secret

#: As large as a Secret may be.
_MAX_BYTES = 1 << 20


def from_cluster(
    where: ObjectKey, key: str, *, kubeconfig: str | None, context: str | None
) -> Secret:
    """Read a key of one Secret by its name: no right but `get` on that is needed.

    Raises:
        DependencyMissing: there is no such key, or it is no text; InvalidSpec
            of the kubeconfig, and the errors of `Client`.
    """
    with Client(config.load(kubeconfig=kubeconfig, context=context)) as client:
        found = client.get(SECRETS, where.name, namespace=where.namespace)
    return _without_newline(project_secret(found).text(key).reveal())


def from_file(file: BinaryIO) -> Secret:
    """Read all of a file or pipe; raises InvalidSpec."""
    content = file.read(_MAX_BYTES + 1)
    if len(content) > _MAX_BYTES:
        raise InvalidSpec("the passphrase has more than 1 MiB: is this the right file?")
    try:
        return _without_newline(content.decode())
    except UnicodeDecodeError:
        # Its text would quote what it could not decode.
        raise InvalidSpec("the passphrase is no text in UTF-8") from None


def _without_newline(text: str) -> Secret:
    """Drop one newline at the end, as the controller does with what is in a Secret."""
    return Secret(text.removesuffix("\n"))
