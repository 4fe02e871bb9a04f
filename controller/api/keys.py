"""How an object is named wherever only its name travels: in queues, stores, logs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from attrs import frozen

from controller.api.errors import FormatError


@frozen(order=True)
class ObjectKey:
    """Namespace and name of an object of a kind that goes without saying.

    A value, so that two events of one object are one key: queues deduplicate
    and stores index by it.

    Args:
        namespace: empty for kinds of the whole cluster.
    """

    namespace: str
    name: str

    @classmethod
    def of(cls, object_raw: Mapping[str, Any]) -> Self:
        """Read the key from an object's metadata.

        Raises: FormatError for what is no Kubernetes object.
        """
        match object_raw:
            case {"metadata": {"namespace": str(namespace), "name": str(name)}} if name:
                return cls(namespace, name)
            case {"metadata": {"name": str(name), **others}} if name and "namespace" not in others:
                return cls("", name)
        raise FormatError("an object without metadata.name, or one that is no text")

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name
