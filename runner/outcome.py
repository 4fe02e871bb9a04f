"""What a job did and how a location is: values for status, metrics and clients.

A job's process makes a JobOutcome, the parent reads it from a pipe; both kinds
of value are also kept in the best-effort state object. So the JSON form is
read from other versions of this program and from a bucket: unknown fields are
ignored, a wrong type is a FormatError. No field carries a secret.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar, get_args, get_origin

import attrs
import orjson
from attrs import field, frozen
from cattrs import Converter, transform_error
from cattrs.errors import BaseValidationError

from controller.api.errors import FormatError

_T = TypeVar("_T")
_Value = TypeVar("_Value", "JobOutcome", "LocationState")


class JobKind(enum.Enum):
    """What a job is for; the `job_type` of metrics and status."""

    BACKUP = "backup"
    RESTORE = "restore"
    VERIFY = "verify"
    PRUNE = "prune"
    UNPACK = "unpack"
    INSPECT = "inspect"


class Result(enum.Enum):
    """How a job ended. Cancelled is nobody's fault: it raises no alert."""

    SUCCESS = "success"
    FAILURE = "failure"
    CANCELLED = "cancelled"


class Direction(enum.Enum):
    """Which way the bytes of a storage operation went."""

    READ = "read"
    WRITTEN = "written"


def _to_utc(moment: datetime | None) -> datetime | None:
    if moment is None:
        return None
    if moment.tzinfo is None:
        raise ValueError("a time needs an offset")
    return moment.astimezone(UTC)


def _not_negative(_: object, attribute: attrs.Attribute[Any], value: float) -> None:
    if not value >= 0:
        raise ValueError(f"{attribute.name} must be >= 0")


@frozen(kw_only=True)
class LocationFate:
    """What became of one location during one job.

    Args:
        name: of the location.
        ok: it holds what the job was to put there, or was verified whole.
        reason: PascalCase, of the error; empty if ok.
        message: for people; what to do about it.
        stored_bytes: what the job wrote there and kept.
    """

    name: str
    ok: bool
    reason: str = ""
    message: str = ""
    stored_bytes: int = field(default=0, validator=_not_negative)


@frozen(kw_only=True)
class StageTiming:
    """How long one stage of a pipeline was at work, and on how many bytes.

    Waiting for a neighbour is not work: the stage with the most seconds is
    the bottleneck.
    """

    stage: str
    seconds: float = field(validator=_not_negative)
    bytes: int = field(default=0, validator=_not_negative)


@frozen(kw_only=True)
class StorageUse:
    """Operations of one sort against one location, counted."""

    location: str
    operation: str
    ok: int = field(default=0, validator=_not_negative)
    failed: int = field(default=0, validator=_not_negative)
    bytes: int = field(default=0, validator=_not_negative)
    direction: Direction = Direction.WRITTEN


@frozen(kw_only=True)
class JobOutcome:
    """What one job did, whole: the last line that a job's process reports.

    Args:
        started_at, finished_at: aware; kept in UTC.
        reason: PascalCase; empty on success, "Cancelled" if a person or
            SIGTERM ended it.
        message: for people; empty on success.
        backup_id: of the backup that was made, restored or verified; empty if
            the job did not get that far.
        fates: one per location that took part, in the order of the class.
        plain_bytes: what the engine wrote or was given.
    """

    kind: JobKind
    started_at: datetime = field(converter=_to_utc)
    finished_at: datetime = field(converter=_to_utc)
    success: bool
    reason: str = ""
    message: str = ""
    backup_id: str = ""
    fates: tuple[LocationFate, ...] = ()
    plain_bytes: int = field(default=0, validator=_not_negative)
    stages: tuple[StageTiming, ...] = ()
    storage: tuple[StorageUse, ...] = ()

    @property
    def result(self) -> Result:
        if self.success:
            return Result.SUCCESS
        return Result.CANCELLED if self.reason == "Cancelled" else Result.FAILURE

    @property
    def duration_s(self) -> float:
        """Seconds by the wall clock; 0 if that was set back meanwhile."""
        return max(0.0, (self.finished_at - self.started_at).total_seconds())


@frozen(kw_only=True)
class LocationState:
    """What is known about one location, from its last listing and verification.

    Args:
        healthy: the last listing worked and nothing blocks writing there.
        reason, message: why not; empty if healthy.
        checked_at: when that was found out.
        stored_backups, stored_bytes: committed backups there; of an
            unreachable location, the last known ones.
        last_backup_at: start of the newest backup there.
        oldest_restorable_at, newest_restorable_at: the span of `--at`, by coverage.
        last_verified_at, last_verification_ok: None before the first one.
    """

    name: str
    healthy: bool
    checked_at: datetime = field(converter=_to_utc)
    reason: str = ""
    message: str = ""
    stored_backups: int = field(default=0, validator=_not_negative)
    stored_bytes: int = field(default=0, validator=_not_negative)
    last_backup_at: datetime | None = field(default=None, converter=_to_utc)
    oldest_restorable_at: datetime | None = field(default=None, converter=_to_utc)
    newest_restorable_at: datetime | None = field(default=None, converter=_to_utc)
    last_verified_at: datetime | None = field(default=None, converter=_to_utc)
    last_verification_ok: bool | None = None


def _strict(kind: type[_T]) -> Callable[[object, object], _T]:
    """Take a `kind` as it is; the library's own hooks would convert almost anything."""

    def take(raw: object, _: object) -> _T:
        if type(raw) is not kind:
            raise TypeError(f"expected {kind.__name__}, got {type(raw).__name__}")
        return raw

    return take


def _take_float(raw: object, _: object) -> float:
    if isinstance(raw, bool) or not isinstance(raw, int | float):
        raise TypeError(f"expected a number, got {type(raw).__name__}")
    return float(raw)


def _take_time(raw: object, _: object) -> datetime:
    if not isinstance(raw, str):
        raise TypeError(f"expected a time, got {type(raw).__name__}")
    return datetime.fromisoformat(raw)


def _is_tuple(kind: object) -> bool:
    return get_origin(kind) is tuple


def _build_converter() -> Converter:
    converter = Converter()
    for kind in (str, int, bool):
        converter.register_structure_hook(kind, _strict(kind))
    converter.register_structure_hook(float, _take_float)
    converter.register_structure_hook(datetime, _take_time)
    converter.register_unstructure_hook(datetime, lambda moment: moment.isoformat())

    @converter.register_structure_hook_factory(_is_tuple)
    def _(kind: type[tuple[Any, ...]]) -> Callable[[object, object], tuple[Any, ...]]:
        item = get_args(kind)[0]

        def take(raw: object, _: object) -> tuple[Any, ...]:
            if not isinstance(raw, list | tuple):
                raise TypeError(f"expected a list, got {type(raw).__name__}")
            return tuple(converter.structure(one, item) for one in raw)

        return take

    return converter


class OutcomeCodec:
    """JobOutcome and LocationState to JSON and back; strict about types.

    Made once and handed on. Thread-safe.
    """

    def __init__(self) -> None:
        self._converter = _build_converter()

    def to_dict(self, value: JobOutcome | LocationState) -> dict[str, Any]:
        """Plain values only: times are RFC 3339 in UTC, names as in Python."""
        plain: dict[str, Any] = self._converter.unstructure(value)
        return plain

    def to_json(self, value: JobOutcome | LocationState) -> bytes:
        """One line without its end."""
        return orjson.dumps(self.to_dict(value))

    def outcome(self, raw: object) -> JobOutcome:
        """Read a JobOutcome from JSON text or from plain values. Raises FormatError."""
        return self._read(raw, JobOutcome)

    def location(self, raw: object) -> LocationState:
        """Read a LocationState from JSON text or from plain values. Raises FormatError."""
        return self._read(raw, LocationState)

    def _read(self, raw: object, kind: type[_Value]) -> _Value:
        try:
            plain = orjson.loads(raw) if isinstance(raw, bytes | str) else raw
            return self._converter.structure(plain, kind)
        except BaseValidationError as error:
            problems = "; ".join(transform_error(error, path=kind.__name__))
            raise FormatError(problems) from error
        except (ValueError, TypeError) as error:
            raise FormatError(f"{kind.__name__}: {error}") from error
