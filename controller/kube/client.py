"""The verbs of the Kubernetes API on raw objects.

Every method is one request, `list` apart. Where an object is passed, its own
metadata says where it goes.
"""

from __future__ import annotations

import builtins
import copy
import random
from collections.abc import Callable, Mapping
from typing import Any, Literal, Self

import orjson
from attrs import evolve, frozen

from controller.api.errors import ApiExpired, FormatError
from controller.kube.endpoint import Endpoint
from controller.kube.errors import Call
from controller.kube.events import Event
from controller.kube.resource import EVENTS, Resource
from controller.kube.transport import Options, Request, Transport
from controller.kube.watch import Items, Listing, WatchStream

Raw = dict[str, Any]
Subresource = Literal["", "status"]

#: A page of large objects stays below some megabytes.
_PAGE_OBJECTS = 500
# The server takes JSON for both, YAML being a superset.
_APPLY = "application/apply-patch+yaml"
_MERGE = "application/merge-patch+json"


@frozen(kw_only=True)
class Selection:
    """Which objects of a kind a list or watch is about.

    Args:
        namespace: None for all, or for a kind that is in none.
        labels, fields: selectors, as kubectl's ``-l`` and ``--field-selector``.
    """

    namespace: str | None = None
    labels: str = ""
    fields: str = ""

    def query(self) -> dict[str, str]:
        query = {"labelSelector": self.labels, "fieldSelector": self.fields}
        return {key: value for key, value in query.items() if value}


ALL = Selection()


class Client:
    """One identity at one API server. Thread-safe; a context manager that closes.

    Every method raises:
        ApiUnavailable, ApiThrottled: retriable; whether a write took effect is
            not known after the first.
        AccessDenied, ApiRefused, ObjectNotFound: terminal until somebody
            changes something.
    """

    def __init__(self, endpoint: Endpoint, options: Options | None = None) -> None:
        self._transport = Transport(endpoint, options or Options())
        self._may_write: Callable[[], None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc_info: object) -> None:
        self.close()

    def guarded(self, may_write: Callable[[], None]) -> Self:
        """Give a client over the same connections that asks before each request which writes.

        Not before its turn has come: with a limit that may be long after it was wanted.

        Args:
            may_write: raises when it must not be sent.
        """
        guarded = copy.copy(self)
        guarded._may_write = may_write  # noqa: SLF001 - of its own class
        return guarded

    def close(self) -> None:
        """Let requests that wait for their turn fail, and close idle connections."""
        self._transport.close()

    def get(self, resource: Resource, name: str, *, namespace: str | None = None) -> Raw:
        """Read one object."""
        call = Call("get", resource, namespace, name)
        return self._ask(call, "GET")

    def list(self, resource: Resource, selection: Selection = ALL) -> Listing:
        """Read all objects of a kind, as they were at one moment.

        In pages, which are of that moment as long as the server remembers it.
        When it forgets before the last page, the whole is read again at once:
        that is more than a page at a time, and cannot expire.

        No resource version is asked for, so what is read is the newest: with
        "0" the server answers from its cache, and takes no notice of pages.
        """
        try:
            return self._list(resource, selection, page_objects=_PAGE_OBJECTS)
        except ApiExpired:
            return self._list(resource, selection, page_objects=0)

    def watch(
        self, resource: Resource, resource_version: str, selection: Selection = ALL
    ) -> WatchStream:
        """Open the stream of what happens after a resource version.

        Raises: as reading the stream does; servers differ in when they say that
            a version is expired.
        """
        options = self._transport.options
        timeout_s = random.randint(*options.watch_timeout_s)  # noqa: S311 - spreads load, hides nothing
        call = Call("watch", resource, selection.namespace)
        request = Request(
            call=call,
            method="GET",
            path=resource.path(selection.namespace),
            query=selection.query()
            | {
                "watch": "true",
                "allowWatchBookmarks": "true",
                "resourceVersion": resource_version,
                "timeoutSeconds": str(timeout_s),
            },
        )
        return WatchStream(call, self._transport.open(request), options.line_bytes)

    def create(self, resource: Resource, raw: Raw, *, is_strict: bool = False) -> Raw:
        """Create an object.

        Args:
            is_strict: unknown and duplicate fields are refused, not dropped.
        Raises:
            ObjectExists: there is one of that name.
        """
        namespace, name = _where(raw)
        call = Call("create", resource, namespace, name)
        query = {"fieldValidation": "Strict"} if is_strict else {}
        return self._ask(call, "POST", query=query, body=raw, path=resource.path(namespace))

    def create_event(self, event: Event) -> Raw:
        """Tell people something about an object."""
        return self.create(EVENTS, event.to_raw())

    def replace(self, resource: Resource, raw: Raw, *, subresource: Subresource = "") -> Raw:
        """Write a whole object over the one it was read as.

        Raises:
            ApiConflict: it was written since; read it again.
        """
        namespace, name = _where(raw)
        if not raw["metadata"].get("resourceVersion"):
            raise ValueError("without metadata.resourceVersion a replace loses others' writes")
        call = Call("update", resource, namespace, name)
        return self._ask(call, "PUT", body=raw, subresource=subresource)

    def apply(
        self,
        resource: Resource,
        raw: Raw,
        *,
        field_manager: str,
        force: bool = False,
        subresource: Subresource = "",
    ) -> Raw:
        """Server-side apply: what `raw` holds becomes so and is this manager's.

        Fields that the manager applied before and that are missing now go. An
        apply that changes nothing writes nothing: the resource version stays.

        Args:
            force: takes fields over from other managers.
        Raises:
            ApiConflict: other managers own fields that differ, and `force` is off.
        """
        namespace, name = _where(raw)
        query = {"fieldManager": field_manager} | ({"force": "true"} if force else {})
        return self._ask(
            Call("patch", resource, namespace, name),
            "PATCH",
            query=query,
            body=raw,
            content_type=_APPLY,
            subresource=subresource,
        )

    def apply_status(
        self, resource: Resource, raw: Raw, *, field_manager: str, force: bool = False
    ) -> Raw:
        """Apply to the status alone; what `raw` has beside it and its identity has no effect."""
        return self.apply(
            resource, raw, field_manager=field_manager, force=force, subresource="status"
        )

    def patch(
        self,
        resource: Resource,
        name: str,
        raw: Raw,
        *,
        namespace: str | None = None,
        field_manager: str = "",
        subresource: Subresource = "",
    ) -> Raw:
        """JSON merge patch: lists are replaced as a whole, null removes.

        With `metadata.resourceVersion` in the patch it is conditional.

        Raises:
            ApiConflict: the object has another resource version.
        """
        return self._ask(
            Call("patch", resource, namespace, name),
            "PATCH",
            query={"fieldManager": field_manager} if field_manager else {},
            body=raw,
            content_type=_MERGE,
            subresource=subresource,
        )

    def delete(
        self,
        resource: Resource,
        name: str,
        *,
        namespace: str | None = None,
        uid: str = "",
        resource_version: str = "",
        propagation: Literal["Background", "Foreground", "Orphan"] = "Background",
    ) -> None:
        """Delete an object; one with finalizers is there until the last of them is gone.

        Args:
            uid, resource_version: only if the object has them.
        Raises:
            ApiConflict: it has others.
        """
        wanted = {"uid": uid, "resourceVersion": resource_version}
        body: Raw = {"propagationPolicy": propagation}
        if preconditions := {key: value for key, value in wanted.items() if value}:
            body["preconditions"] = preconditions
        self._ask(Call("delete", resource, namespace, name), "DELETE", body=body)

    def _list(self, resource: Resource, selection: Selection, *, page_objects: int) -> Listing:
        call = Call("list", resource, selection.namespace)
        query = selection.query()
        if page_objects:
            query["limit"] = str(page_objects)
        pages: builtins.list[bytes] = []
        count = 0
        while True:
            page, text = self._transport.ask_with_text(self._request(call, "GET", query=query))
            metadata, found = page.get("metadata"), page.get("items")
            # An empty list of Go may be null.
            if not isinstance(metadata, dict) or not isinstance(found, list | None):
                raise FormatError(f"{call}: the answer is no list")
            pages.append(Items.pack(text))
            count += len(found or ())
            if not (token := metadata.get("continue")):
                items = Items(resource, tuple(pages), count)
                return Listing(items, str(metadata.get("resourceVersion") or ""))
            query["continue"] = token

    def _ask(self, call: Call, method: str, **content: Any) -> Raw:
        return self._transport.ask(self._request(call, method, **content))

    def _request(
        self,
        call: Call,
        method: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Raw | None = None,
        content_type: str = "application/json",
        path: str = "",
        subresource: Subresource = "",
    ) -> Request:
        request = Request(
            call=call,
            method=method,
            path=path or call.resource.path(call.namespace, call.name, subresource),
            query=query or {},
            body=None if body is None else orjson.dumps(body),
            content_type=content_type,
        )
        if self._may_write is not None and method != "GET":
            return evolve(request, may_send=self._may_write)
        return request


class ListerWatcher:
    """List and watch of one kind, as a reflector wants them."""

    def __init__(self, client: Client, resource: Resource, selection: Selection = ALL) -> None:
        self.resource = resource
        self._client = client
        self._selection = selection

    def list(self) -> Listing:
        return self._client.list(self.resource, self._selection)

    def watch(self, resource_version: str) -> WatchStream:
        return self._client.watch(self.resource, resource_version, self._selection)


def _where(raw: Mapping[str, Any]) -> tuple[str | None, str]:
    metadata = raw["metadata"]
    return metadata.get("namespace") or None, metadata["name"]
