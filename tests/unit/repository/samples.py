"""Manifests in one call, and a storage that notes what is done to it."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from controller.api.errors import BackupError
from engines.interface import BackupFacts, Coverage, StreamName
from runner.repository.catalogue import Catalogue
from runner.repository.layout import BackupId, Layout
from runner.repository.manifest import (
    MAX_BACKUP_BYTES,
    Encryption,
    EncryptionKind,
    Layer,
    Manifest,
    ManifestObject,
    ManifestStream,
    Owner,
    WrapKind,
)
from runner.retention.policy import BirthLabel
from runner.storage.base import ObjectInfo, Properties, Storage, Upload

START = datetime(2026, 11, 23, 2, 0, tzinfo=UTC)
LAYOUT = Layout(prefix="p", namespace="db", name="shop")
_HASH = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"


def an_id(number: int = 0) -> BackupId:
    """Ids in ascending order, a minute apart."""
    moment = START + timedelta(minutes=number)
    return BackupId(f"{moment:%Y-%m-%dT%H-%M-%SZ}-{number % 65536:04x}")


def a_stream(name: str = "dump", **fields: Any) -> ManifestStream:
    defaults: dict[str, Any] = {
        "plain_bytes": 1000,
        "plain_sha256": _HASH,
        "objects": (ManifestObject(name=f"{name}.0000", size_bytes=300, sha256=_HASH),),
    }
    return ManifestStream(name=name, **(defaults | fields))


def facts_of(*streams: str, start: datetime = START, **fields: Any) -> BackupFacts:
    defaults: dict[str, Any] = {
        "engine": "postgres",
        "engine_version": "1",
        "server_version": "16.14",
        "tool_versions": {"pg_dump": "16.14"},
        "coverage": Coverage(start=start, end=start, lineage="7431820193488123456/1"),
        "streams": tuple(map(StreamName, streams)),
        "database": "shop",
        "counts": {"tables": 12},
    }
    return BackupFacts(**(defaults | fields))


def a_manifest(number: int = 0, **fields: Any) -> Manifest:
    """The backup `an_id(number)` of LAYOUT's owner, one stream, not encrypted."""
    started_at = fields.get("started_at", START + timedelta(minutes=number))
    defaults: dict[str, Any] = {
        "format_version": 1,
        "id": an_id(number),
        "owner": Owner(namespace=LAYOUT.namespace, name=LAYOUT.name),
        "cluster_id": "2f0b6e54-5f5c-4b1c-8f9d-000000000001",
        "runner_version": "1.0.0",
        "config_digest": "5f1d7a84db00d2fce00b31a7fc73224f",
        "started_at": started_at,
        "finished_at": started_at + timedelta(seconds=30),
        "facts": facts_of("dump", start=started_at),
        "streams": (a_stream(),),
        "encryption": Encryption(kind=EncryptionKind.NONE),
        "compression": "zstd",
    }
    return Manifest(**(defaults | fields))


def a_layer(chain: int, number: int, **fields: Any) -> Manifest:
    """Layer `number` of the chain that begins with the backup `an_id(chain)`, a minute a layer."""
    backup = chain + number
    end = START + timedelta(minutes=backup)
    start = end - timedelta(minutes=1) if number else end
    defaults: dict[str, Any] = {
        "format_version": 2,
        "facts": facts_of(
            engine="cockroach", coverage=Coverage(start=start, end=end, lineage="a-cluster")
        ),
        "streams": (),
        "compression": "engine",
        "encryption": Encryption(kind=EncryptionKind.ENGINE),
        "layer": Layer(
            chain=an_id(chain),
            number=number,
            home="first",
            plain_bytes=1000,
            stored_bytes=300,
            objects=5,
        ),
    }
    return a_manifest(backup, **(defaults | fields))


# -- what jobs leave in a location -------------------------------------------------


def put_data(catalogue: Catalogue, storage: Storage, number: int) -> None:
    for name in ("dump.0000", "key.age"):
        storage.put(catalogue.layout.data_object(an_id(number), name), b"data")


def commit(catalogue: Catalogue, storage: Storage, *numbers: int) -> None:
    """Backups with their data."""
    for number in numbers:
        put_data(catalogue, storage, number)
        catalogue.commit(a_manifest(number))


def keys(storage: Storage) -> set[str]:
    return {info.key for info in storage.list("")}


# -- strategies -----------------------------------------------------------------

_text = st.text(st.characters(codec="utf-8"), max_size=20)
_hashes = st.text("0123456789abcdef", min_size=64, max_size=64)
_sizes = st.integers(0, MAX_BACKUP_BYTES // 100)
_times = st.datetimes(datetime(1970, 1, 2), datetime(9998, 12, 30), timezones=st.just(UTC))
_stream_names = st.from_regex(r"\A[a-z0-9][a-z0-9._-]{0,62}\Z")


@st.composite
def _streams(draw: st.DrawFn, name: str) -> ManifestStream:
    return ManifestStream(
        name=name,
        plain_bytes=draw(_sizes),
        plain_sha256=draw(_hashes),
        objects=tuple(
            ManifestObject(name=f"{name}.{number:04d}", size_bytes=size, sha256=draw(_hashes))
            for number, size in enumerate(draw(st.lists(_sizes, min_size=1, max_size=3)))
        ),
    )


_encryptions = st.one_of(
    st.just(Encryption(kind=EncryptionKind.NONE)),
    st.builds(
        Encryption,
        kind=st.just(EncryptionKind.AGE),
        wrap=st.just(WrapKind.PASSPHRASE),
        key_sha256=st.just("") | _hashes,
    ),
    st.builds(
        Encryption,
        kind=st.just(EncryptionKind.AGE),
        wrap=st.just(WrapKind.RECIPIENTS),
        recipients=st.lists(_text, min_size=1, max_size=2).map(tuple),
    ),
)
_labels = st.none() | st.lists(
    st.builds(BirthLabel, _text, _text, st.timedeltas(timedelta(0), timedelta(days=4000))),
    max_size=3,
).map(tuple)


@st.composite
def _layers(draw: st.DrawFn) -> Manifest:
    chain, number = draw(st.integers(0, 10_000)), draw(st.integers(0, 48))
    layer = Layer(
        chain=an_id(chain),
        number=number,
        home=draw(_text),
        plain_bytes=draw(_sizes),
        stored_bytes=draw(_sizes),
        objects=draw(st.integers(0, 10**6)),
    )
    kind = draw(st.sampled_from([EncryptionKind.NONE, EncryptionKind.ENGINE]))
    return a_layer(
        chain, number, layer=layer, encryption=Encryption(kind=kind), labels=draw(_labels)
    )


@st.composite
def _streamed(draw: st.DrawFn) -> Manifest:
    names = draw(st.lists(_stream_names, min_size=1, max_size=3, unique=True))
    start, end = sorted([draw(_times), draw(_times)])
    return a_manifest(
        draw(st.integers(0, 10_000)),
        started_at=draw(_times),
        finished_at=draw(_times),
        runner_version=draw(_text),
        facts=facts_of(
            *draw(st.permutations(names)),
            coverage=Coverage(start=start, end=end, lineage=draw(_text)),
            database=draw(_text),
            counts=draw(st.dictionaries(_text, st.integers(0, 2**63 - 1), max_size=2)),
            needs=draw(st.dictionaries(_text, _text, max_size=2)),
            position=draw(st.dictionaries(_text, _text, max_size=2)),
        ),
        streams=tuple(draw(_streams(name)) for name in names),
        encryption=draw(_encryptions),
        labels=draw(_labels),
    )


def manifests() -> st.SearchStrategy[Manifest]:
    """Everything that a writer of ours may write."""
    return st.one_of(_streamed(), _layers())


# -- a storage that notes its calls ----------------------------------------------


class RecordingStorage:
    """Passes every call on and notes it; `failing` names keys whose calls fail instead."""

    def __init__(self, inner: Storage) -> None:
        self._inner = inner
        self.calls: list[tuple[str, str]] = []
        self.failing: dict[str, BackupError] = {}

    def keys(self, operation: str) -> list[str]:
        """The keys of all calls of one operation, in their order."""
        return [key for name, key in self.calls if name == operation]

    @property
    def properties(self) -> Properties:
        return self._inner.properties

    def create_upload(self, key: str, /) -> Upload:
        self._note("create_upload", key)
        return self._inner.create_upload(key)

    def put_new(self, key: str, data: bytes, /) -> ObjectInfo:
        self._note("put_new", key)
        return self._inner.put_new(key, data)

    def put(self, key: str, data: bytes, /) -> ObjectInfo:
        self._note("put", key)
        return self._inner.put(key, data)

    def open_stream(self, key: str, /, *, offset: int = 0) -> Generator[bytes, None, None]:
        self._note("open_stream", key)
        return self._inner.open_stream(key, offset=offset)

    def stat(self, key: str, /) -> ObjectInfo:
        self._note("stat", key)
        return self._inner.stat(key)

    def list(self, prefix: str, /) -> Iterator[ObjectInfo]:
        self._note("list", prefix)
        return self._inner.list(prefix)

    def delete(self, keys: Iterable[str], /) -> None:
        for key in keys:
            self._note("delete", key)
            self._inner.delete([key])

    def abort_stale_uploads(self, prefix: str, /, *, begun_before: datetime | None = None) -> int:
        self._note("abort_stale_uploads", prefix)
        return self._inner.abort_stale_uploads(prefix, begun_before=begun_before)

    def close(self) -> None:
        self._inner.close()

    def _note(self, operation: str, key: str) -> None:
        self.calls.append((operation, key))
        if key in self.failing:
            raise self.failing[key]
