"""JSON schemas of manifests that refuse a field nobody knows, from what an API server publishes.

An API server says of its own kinds what they are by OpenAPI 2, and of custom resources by their
definitions. Both leave open what an object may have beside its fields; these schemas do not.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

#: How kubeconform finds the schema of a kind. The core group has no name but that of its version.
NAME = "{{.Group}}_{{.ResourceAPIVersion}}_{{.ResourceKind}}.json"
#: Of all kinds of the API server: they refer to each other.
_DEFINITIONS = "definitions.json"
_METADATA = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
#: Kubernetes' own; a custom resource comes by its definition, whatever the server makes of that.
_OWN = "io.k8s."


def write(folder: Path, openapi: Mapping[str, Any], crds: Iterable[Mapping[str, Any]]) -> None:
    """Write the schema of each kind of an API server, and of each kind of the definitions.

    Args:
        folder: an empty one.
        openapi: what the server answers at /openapi/v2.
    """
    definitions = {
        name: schema for name, schema in openapi["definitions"].items() if name.startswith(_OWN)
    }
    closed = {name: _closed(schema) for name, schema in definitions.items()}
    (folder / _DEFINITIONS).write_text(json.dumps({"definitions": closed}))
    for name, schema in definitions.items():
        for kind in schema.get("x-kubernetes-group-version-kind", ()):
            _write(folder, kind["group"], kind["version"], kind["kind"], _reference(name))
    for crd in crds:
        spec = crd["spec"]
        for version in spec["versions"]:
            schema = _closed(version["schema"]["openAPIV3Schema"])
            # A definition leaves it to Kubernetes, which takes no other field there, too.
            schema["properties"] |= {"metadata": _reference(_METADATA)}
            _write(folder, spec["group"], version["name"], spec["names"]["kind"], schema)


def _write(folder: Path, group: str, version: str, kind: str, schema: Mapping[str, Any]) -> None:
    name = f"{group or version}_{version}_{kind.lower()}.json"
    (folder / name).write_text(json.dumps(schema))


def _reference(name: str) -> dict[str, Any]:
    return {"$ref": f"{_DEFINITIONS}#/definitions/{name}"}


def _closed(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A schema of the same values, but without fields that it does not name.

    Not within anyOf, not and their like: what they name is of the object around them.
    """
    # Half of the text is for people.
    closed = {keyword: said for keyword, said in schema.items() if keyword != "description"}
    if schema.get("format") == "int-or-string" or schema.get("x-kubernetes-int-or-string"):
        closed["type"] = ["integer", "string"]
        closed.pop("format", None)
    if "properties" in schema:
        closed["properties"] = {
            name: _closed(inner) for name, inner in schema["properties"].items()
        }
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            closed.setdefault("additionalProperties", False)
    for inside in ("items", "additionalProperties"):
        if isinstance(schema.get(inside), Mapping):
            closed[inside] = _closed(schema[inside])
    return closed
