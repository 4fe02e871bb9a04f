"""YAML documents from people and from outside, as JSON's types and nothing else.

YAML can do more than a manifest needs, and most of it is a trap: aliases that
grow a kilobyte to gigabytes, tags, a key given twice, nesting without end. All
of that is refused, with the line and without quoting what stands there: an
unquoted password that starts with ``*``, ``&`` or ``!`` would be all three.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import yaml

from controller.api.errors import InvalidSpec, Problem

MAX_BYTES = 1 << 20  # what a Secret or ConfigMap can hold
_MAX_DEPTH = 32
_MAX_EVENTS = 50_000
_TIMESTAMP = "tag:yaml.org,2002:timestamp"

# libyaml's parser where PyYAML was built with it: the same language, ten times as fast.
_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Base):  # type: ignore[misc]  # which of two is known at run time only
    """A safe loader whose mappings have text keys, each once, and whose dates are text."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML's own class attribute
        first: [(tag, pattern) for tag, pattern in rules if tag != _TIMESTAMP]
        for first, rules in _Base.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag != "tag:yaml.org,2002:str":
                raise InvalidSpec([_at(key.start_mark, "a key must be text: put it in quotes")])
            if key.value in seen:
                raise InvalidSpec([_at(key.start_mark, "this key is there twice")])
            seen.add(key.value)
        mapping: dict[Hashable, Any] = super().construct_mapping(node, deep=deep)
        return mapping


def read_documents(raw: bytes) -> list[Any]:
    """Read all documents of a file; empty ones are left out.

    Raises: InvalidSpec: no YAML, or more than a manifest needs. No message
        and no cause of it holds text from the file.
    """
    if len(raw) > MAX_BYTES:
        raise InvalidSpec(f"is larger than {MAX_BYTES} bytes")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InvalidSpec("is not UTF-8 text") from None
    try:
        _refuse_traps(text)
        documents = list(yaml.load_all(text, Loader=_Loader))
    except yaml.YAMLError as error:
        raise InvalidSpec([_syntax_problem(error)]) from None
    except (ValueError, TypeError, OverflowError):
        # An integer of 5000 digits, a float or a tag's text that is none.
        raise InvalidSpec("holds a number that cannot be read: put it in quotes") from None
    return [document for document in documents if document is not None]


def _refuse_traps(text: str) -> None:
    """Walk the parser's events, which are made one by one, before anything is built."""
    depth = 0
    for count, event in enumerate(yaml.parse(text, Loader=_Base)):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        trap = ""
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            trap = "aliases and anchors are not allowed: put text with & or * in quotes"
        elif getattr(event, "tag", None):
            trap = "tags are not allowed: put text with ! in quotes"
        elif depth > _MAX_DEPTH or count > _MAX_EVENTS:
            trap = "is nested too deeply or too long for a manifest"
        if trap:
            raise InvalidSpec([_at(event.start_mark, trap)])


def _syntax_problem(error: yaml.YAMLError) -> Problem:
    mark = getattr(error, "problem_mark", None)
    # libyaml's own words are constants; those with a quotation in them quote the file.
    words = getattr(error, "problem", None) or ""
    detail = f": {words}" if words and "'" not in words and '"' not in words else ""
    if mark is None:
        return Problem("", "is not valid YAML")
    return _at(mark, f"is not valid YAML{detail}")


def _at(mark: Any, message: str) -> Problem:
    return Problem(f"line {mark.line + 1}, column {mark.column + 1}", message)
