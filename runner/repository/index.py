"""The index: a cache of what listings need of each manifest.

Ten thousand entries are read in well under a second, so the JSON is taken
apart by hand here; an entry that does not fit is dropped and its manifest read.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from attrs import frozen

from controller.api.errors import FormatError
from runner.repository.layout import BackupId, parse_backup_id
from runner.repository.manifest import MAX_BACKUP_BYTES, YEARS, EncryptionKind, Layer, Manifest
from runner.retention.policy import BirthLabel
from runner.storage.base import ObjectInfo

_VERSION = 1


@frozen(kw_only=True)
class LayerSummary:
    """A backup's place in a chain; see `manifest.Layer`."""

    chain: BackupId
    number: int
    home: str

    @classmethod
    def of(cls, layer: Layer) -> LayerSummary:
        return cls(chain=layer.chain, number=layer.number, home=layer.home)


@frozen(kw_only=True)
class Summary:
    """What lists, retention and ``--at`` need to know of a backup."""

    id: BackupId
    started_at: datetime
    finished_at: datetime
    coverage_start: datetime
    coverage_end: datetime
    lineage: str
    engine: str
    server_version: str
    database: str
    plain_bytes: int
    stored_bytes: int
    encryption: EncryptionKind
    labels: tuple[BirthLabel, ...] | None
    layer: LayerSummary | None = None

    @classmethod
    def of(cls, manifest: Manifest) -> Summary:
        facts = manifest.facts
        return cls(
            id=manifest.id,
            started_at=manifest.started_at,
            finished_at=manifest.finished_at,
            coverage_start=facts.coverage.start,
            coverage_end=facts.coverage.end,
            lineage=facts.coverage.lineage,
            engine=facts.engine,
            server_version=facts.server_version,
            database=facts.database,
            plain_bytes=manifest.plain_bytes,
            stored_bytes=manifest.stored_bytes,
            encryption=manifest.encryption.kind,
            labels=manifest.labels,
            layer=LayerSummary.of(manifest.layer) if manifest.layer else None,
        )

    def reach(self, at: datetime) -> datetime | None:
        """The latest state not after `at` that this backup can be restored to; None if it has none.

        One that covers a span reaches every instant of it but its start, which is the end of the
        layer before.
        """
        is_span = self.coverage_start < self.coverage_end
        if at < self.coverage_start or (is_span and at == self.coverage_start):
            return None
        return min(at, self.coverage_end)


@frozen(kw_only=True)
class IndexEntry:
    """A summary, and which manifest object it was made from."""

    etag: str
    size_bytes: int
    summary: Summary

    @classmethod
    def of(cls, info: ObjectInfo, manifest: Manifest) -> IndexEntry:
        return cls(etag=info.etag, size_bytes=info.size_bytes, summary=Summary.of(manifest))

    def describes(self, info: ObjectInfo) -> bool:
        return self.etag == info.etag and self.size_bytes == info.size_bytes


class Index:
    """The index's file form."""

    @staticmethod
    def encode(entries: Mapping[BackupId, IndexEntry]) -> bytes:
        return orjson.dumps(
            {
                "version": _VERSION,
                "entries": {
                    backup_id: _to_json(entries[backup_id]) for backup_id in sorted(entries)
                },
            }
        )

    @staticmethod
    def decode(raw: bytes) -> dict[BackupId, IndexEntry]:
        """Read an index; entries that are not understood are left out.

        Raises: FormatError if it is no index at all, or a newer one.
        """
        try:
            document = orjson.loads(raw)
            version, rows = document["version"], document["entries"].items()
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise FormatError("the index is not readable") from error
        if version != _VERSION:
            raise FormatError(f"the index has version {version!r}")
        entries = {}
        for text, row in rows:
            try:
                entry = _from_json(parse_backup_id(text), row)
            except (ValueError, KeyError, TypeError, ArithmeticError, FormatError):
                continue  # ArithmeticError: a time or span beyond all bounds
            entries[entry.summary.id] = entry
        return entries


def _to_json(entry: IndexEntry) -> dict[str, Any]:
    summary = entry.summary
    layer = summary.layer
    placed = {} if layer is None else {"layer": [layer.chain, layer.number, layer.home]}
    return placed | {
        "etag": entry.etag,
        "size": entry.size_bytes,
        "startedAt": summary.started_at,
        "finishedAt": summary.finished_at,
        "coverage": [summary.coverage_start, summary.coverage_end, summary.lineage],
        "engine": summary.engine,
        "serverVersion": summary.server_version,
        "database": summary.database,
        "plainBytes": summary.plain_bytes,
        "storedBytes": summary.stored_bytes,
        "encryption": summary.encryption.value,
        "labels": None
        if summary.labels is None
        else [[label.format, label.name, label.hold.total_seconds()] for label in summary.labels],
    }


def _from_json(backup_id: BackupId, row: Any) -> IndexEntry:
    start, end, lineage = row["coverage"]
    return IndexEntry(
        etag=_text(row["etag"]),
        size_bytes=_number(row["size"]),
        summary=Summary(
            id=backup_id,
            started_at=_time(row["startedAt"]),
            finished_at=_time(row["finishedAt"]),
            coverage_start=_time(start),
            coverage_end=_time(end),
            lineage=_text(lineage),
            engine=_text(row["engine"]),
            server_version=_text(row["serverVersion"]),
            database=_text(row["database"]),
            plain_bytes=_number(row["plainBytes"]),
            stored_bytes=_number(row["storedBytes"]),
            encryption=EncryptionKind(row["encryption"]),
            labels=None
            if row["labels"] is None
            else tuple(
                BirthLabel(_text(fmt), _text(name), timedelta(seconds=hold))
                for fmt, name, hold in row["labels"]
            ),
            layer=_layer(row["layer"]) if "layer" in row else None,
        ),
    )


def _layer(row: Any) -> LayerSummary:
    chain, number, home = row
    return LayerSummary(
        chain=parse_backup_id(_text(chain)), number=_number(number), home=_text(home)
    )


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("expected text")
    return value


def _number(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= MAX_BACKUP_BYTES:
        raise TypeError("expected a count")
    return value


def _time(value: Any) -> datetime:
    time = datetime.fromisoformat(value)
    if time.tzinfo is None:
        raise ValueError("expected a time with its offset")
    utc = time.astimezone(UTC)
    if utc.year not in YEARS:
        raise ValueError("expected a time that every zone can write")
    return utc
