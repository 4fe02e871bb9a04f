"""Manifests as YAML that people read: the same objects are always the same text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

try:  # in C, as in its wheels: the same text in a quarter of the time
    from yaml import CSafeDumper as _Base
except ImportError:
    from yaml import SafeDumper as _Base  # type: ignore[assignment]


class _Dumper(_Base):
    """No anchors for what comes twice, and paragraphs as they are."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - the base class's signature
        return True


#: What a reader may take for the end of a line, or for none: only escapes keep them.
_BREAKS = set("\r\x85\u2028\u2029\ufeff")


def _text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    style = '"' if _BREAKS.intersection(text) else "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def to_yaml(manifest: Mapping[str, Any]) -> str:
    """Write one document; fields keep their order."""
    text: str = yaml.dump(
        dict(manifest), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100
    )
    return text
