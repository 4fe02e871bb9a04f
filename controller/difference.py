"""What has to be written so that an object is as desired; pure.

An API server fills in defaults, and others add fields of their own: an object
is right when the desired fields are among its fields *and* the fields that we
own by server-side apply are exactly the desired ones. The first finds what
somebody changed, the second what we do not want any more, and what somebody
took over from us. Of a list or map that is owned as a whole, such as the rules
of a Role, ownership does not tell what is in it: it has to be equal.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from functools import lru_cache
from typing import Any

import orjson

Raw = Mapping[str, Any]

#: Of these an apply says which object is meant; nobody owns them.
_NAMES = frozenset({"name", "namespace"})
_IDENTITY = frozenset({"apiVersion", "kind", *(f"metadata.{name}" for name in _NAMES)})
#: What a server fills in inside of what is owned as a whole.
_FILLED_IN = frozenset({"apiGroup", "apiVersion", "protocol"})
#: Below these stand quantities: "0.5" comes back as "500m".
_QUANTITIES = ("limits", "requests")
_QUANTITY_FIELDS = frozenset({"sizeLimit"})


def differences(desired: Raw, actual: Raw, *, field_manager: str) -> tuple[str, ...]:
    """Paths at which `actual` is not as desired, each once; empty: nothing to write.

    Args:
        actual: with its metadata.managedFields, at least those of `field_manager`.
    """
    owned = owned_fields(actual, field_manager)
    found = dict.fromkeys(_changed(desired, actual, owned or None, ""))
    found |= dict.fromkeys(_not_owned(desired, owned, ""))
    found |= dict.fromkeys(_not_wanted(desired, owned, ""))
    return tuple(found)


def owned_fields(actual: Raw, field_manager: str) -> Raw:
    """The fields that `field_manager` applied, as `fieldsV1` writes them; empty if it never did."""
    for entry in actual["metadata"].get("managedFields") or ():
        if (
            entry.get("manager") == field_manager
            and entry.get("operation") == "Apply"
            and not entry.get("subresource")
        ):
            fields: Raw = entry.get("fieldsV1") or {}
            return fields
    return {}


def _changed(desired: Any, actual: Any, owned: Raw | None, path: str) -> Iterator[str]:
    """What is not as desired.

    Args:
        owned: our fields below; None: the field is not ours, and others may have added to it.
            Empty: it is ours as a whole, with all that is in it.
    """
    if isinstance(desired, Mapping) and isinstance(actual, Mapping):
        for key, value in desired.items():
            at = _join(path, key)
            if key in actual:
                yield from _changed(value, actual[key], _below(owned, f"f:{key}"), at)
            elif not _is_empty(value):
                yield at
        if _is_whole(owned):
            more = actual.keys() - desired.keys() - _FILLED_IN
            yield from (_join(path, key) for key in sorted(more))
    elif isinstance(desired, list) and isinstance(actual, list):
        yield from _changed_list(desired, actual, owned, path)
    elif not _is_same(desired, actual, path):
        yield path


def _changed_list(
    desired: Sequence[Any], actual: Sequence[Any], owned: Raw | None, path: str
) -> Iterator[str]:
    """Items in any place, for which lists are maps the schema knows; in a whole, in theirs."""
    if desired == actual:
        return  # as most are
    if _is_whole(owned):
        for item, other in zip(desired, actual, strict=False):
            yield from _changed(item, other, owned, f"{path}[{_named(item)}]")
        longer = desired if len(desired) > len(actual) else actual
        yield from (f"{path}[{_named(one)}]" for one in longer[min(len(desired), len(actual)) :])
        return
    for item in desired:
        below = next((fields for key, fields in (owned or {}).items() if _names(key, item)), None)
        if not any(next(_changed(item, one, below, path), None) is None for one in actual):
            yield f"{path}[{_named(item)}]"


def _is_whole(owned: Raw | None) -> bool:
    return owned is not None and not owned


def _below(owned: Raw | None, key: str) -> Raw | None:
    """Our fields below a field; of a whole everything is part of it."""
    return owned if not owned else owned.get(key)


def _not_owned(desired: Any, owned: Raw, path: str) -> Iterator[str]:
    if not owned and path:
        return  # a leaf, or a list or map that is owned as a whole
    if isinstance(desired, Mapping):
        for key, value in desired.items():
            at = _join(path, key)
            if at in _IDENTITY:
                continue
            if f"f:{key}" in owned:
                yield from _not_owned(value, owned[f"f:{key}"], at)
            elif not (_is_nothing(value) or (at == "metadata" and value.keys() <= _NAMES)):
                yield at
    elif isinstance(desired, list):
        for item in desired:
            below = next((fields for key, fields in owned.items() if _names(key, item)), None)
            at = f"{path}[{_named(item)}]"
            if below is None:
                yield at
            else:
                yield from _not_owned(item, below, at)


def _not_wanted(desired: Any, owned: Raw, path: str) -> Iterator[str]:
    for key, below in owned.items():
        kind, _, name = key.partition(":")
        if kind == "f":
            at = _join(path, name)
            if not isinstance(desired, Mapping) or name not in desired:
                yield at
            else:
                yield from _not_wanted(desired[name], below, at)
        elif kind in {"k", "v"}:
            items = desired if isinstance(desired, list) else ()
            item = next((one for one in items if _names(key, one)), None)
            if item is None:
                yield f"{path}[{name}]"
            else:
                yield from _not_wanted(item, below, f"{path}[{_named(item)}]")


def _names(key: str, item: Any) -> bool:
    """Whether ``k:{"name":"x"}`` or ``v:"x"`` is this item of a list.

    What the item does not say, such as the protocol of a port, the server filled in.
    """
    kind, _, text = key.partition(":")
    if kind == "v":
        return bool(_parsed(text) == item)
    if kind != "k" or not isinstance(item, Mapping):
        return False
    keys = _parsed(text)
    return any(name in item for name in keys) and all(
        item[name] == value for name, value in keys.items() if name in item
    )


@lru_cache(maxsize=4096)
def _parsed(text: str) -> Any:
    """The same few words in all objects, in each of three passes over them."""
    return orjson.loads(text)


def _is_same(desired: Any, actual: Any, path: str) -> bool:
    if desired == actual:
        return isinstance(desired, bool) == isinstance(actual, bool)
    *_, above, last = ("", *path.split("."))
    if above in _QUANTITIES or last in _QUANTITY_FIELDS:
        wanted = _quantity(desired)
        return wanted is not None and wanted == _quantity(actual)
    return False


_SUFFIXES = {
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    "": Decimal(1),
    **{unit: Decimal(10) ** (3 * power) for power, unit in enumerate("kMGTPE", 1)},
    **{f"{unit}i": Decimal(1 << (10 * power)) for power, unit in enumerate("KMGTPE", 1)},
}
_QUANTITY = re.compile(r"([+-]?[0-9]*\.?[0-9]+|[+-]?[0-9]+\.)([eE][+-]?[0-9]+)?([a-zA-Z]{0,2})")


def _quantity(value: object) -> Decimal | None:
    """The number that a Kubernetes quantity means."""
    found = _QUANTITY.fullmatch(str(value))
    if found is None or isinstance(value, bool):
        return None
    number, exponent, suffix = found.groups()
    factor = _SUFFIXES.get(suffix)
    return None if factor is None else Decimal(number + (exponent or "")) * factor


def _is_empty(value: object) -> bool:
    """Whether a Go server may leave it out of what it sends."""
    return value in (False, 0) or _is_nothing(value)


def _is_nothing(value: object) -> bool:
    """Whether the server may note no owner of it; of what is false or 0 it does."""
    return value in (None, "", {}, [])


def _named(item: object) -> str:
    """What a person calls an item of a list; values may be secret, names are not."""
    if isinstance(item, Mapping):
        for key in ("name", "mountPath", "containerPort", "key", "uid"):
            if key in item:
                return str(item[key])
    return "..."


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key
