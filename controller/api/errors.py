"""The errors that cross module borders, by what the caller can do about them.

BackupError                 something failed and nobody classified it    exit 70
  RetriableError            the same call may succeed later              exit 75
    StorageUnavailable      a location did not answer or answered 5xx
    DatabaseUnavailable     the database did not answer
    JobTimedOut             deadline passed, or no progress for too long
    JobLost                 the job's process died (kill -9, OOM killer)
    LocationsFailed         fewer locations hold the backup than required
    ApiUnavailable          the Kubernetes API does not answer, or with a 5xx
    ApiThrottled            the Kubernetes API asks for fewer requests (429)
    ApiConflict             somebody else wrote the object (409)
    ApiExpired              a resource version is too old to go on from (410)
  WaitingError              something this needs is not there yet        exit 75
    DependencyMissing       a Secret or its key, a storage class
  TerminalError             a person has to change something             exit 78
    InvalidSpec             the configuration is wrong: lists every problem
    UnknownEngine           no engine of that name
    ApiRefused              the Kubernetes API does not take the request (422)
    AccessDenied            credentials or rights are not enough
    ObjectNotFound          no such object, bucket or backup
    ObjectExists            a create-only write found the object there
    ForeignOwner            another cluster writes to this prefix
    DataRetained            stored data that is not ours to delete stays
    BeingDeleted            the object goes, and what is stored with it
    PreflightFailed         lists what to fix on the server, as commands
    TargetExists            a restore would write over existing data
    NotRestorable           no stored backup answers the request
    UsageError              the command line is wrong                    exit 64
  IntegrityError            stored data is not what was stored           exit 65
    TruncatedBackup         something is missing
    ChecksumMismatch        something is different
    FormatError             a file is not of the documented form
    NoKey                   no passphrase or identity opens it
  BusyError                 another job runs                             exit 69
  Cancelled                 a person or SIGTERM ended it                 exit 130

The exit codes are those of sysexits.h where one fits. The first line of each
docstring below is what the documentation's table shows.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from attrs import frozen


@frozen
class Problem:
    """One thing that is wrong and how to mend it.

    Args:
        path: where, as a person writes it: ``spec.retention.keepDaily``,
            ``backupLocations[1].storageBucket`` or a check's name. May be empty.
        message: what is wrong and the cure, without a secret's value.
    """

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


class BackupError(Exception):
    """Something failed that nobody classified: a defect of this program."""

    #: PascalCase, for conditions, events and ``--json``.
    reason: ClassVar[str] = "InternalError"
    #: Whether the same call may succeed later with nothing changed.
    retriable: ClassVar[bool] = False
    exit_code: ClassVar[int] = 70

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else self.reason


class RetriableError(BackupError):
    """A passing fault: the next try may succeed."""

    reason = "Retriable"
    retriable = True
    exit_code = 75


class StorageUnavailable(RetriableError):
    """A storage location does not answer, or answers with a server error."""

    reason = "StorageUnavailable"


class DatabaseUnavailable(RetriableError):
    """The database does not answer or refused a connection."""

    reason = "DatabaseUnavailable"


class JobTimedOut(RetriableError):
    """The job passed its deadline or made no progress for too long."""

    reason = "JobTimedOut"


class JobLost(RetriableError):
    """The job's process was killed from outside, for example out of memory."""

    reason = "JobLost"


class LocationsFailed(RetriableError):
    """Fewer locations hold the backup than `minSuccessfulLocations` asks for."""

    reason = "LocationsFailed"


class ApiUnavailable(RetriableError):
    """The Kubernetes API does not answer, or answers with a server error.

    Args:
        retry_after_s: how long the server asks to wait; None if it did not say.
    """

    reason = "ApiUnavailable"

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class ApiThrottled(RetriableError):
    """The Kubernetes API asks for fewer requests.

    Args:
        retry_after_s: how long the server asks to wait.
    """

    reason = "ApiThrottled"

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class ApiConflict(RetriableError):
    """Somebody else changed the object, or owns one of the fields."""

    reason = "ApiConflict"


class ApiExpired(RetriableError):
    """The resource version is too old to go on from; a new list is needed."""

    reason = "ApiExpired"


class WaitingError(BackupError):
    """Something that this needs is not there yet."""

    reason = "Waiting"
    retriable = True
    exit_code = 75

    def __init__(self, message: str, *, retry_after_s: float = 60.0) -> None:
        """`retry_after_s`: look again after so many seconds, should no event come first."""
        super().__init__(message)
        self.retry_after_s = retry_after_s


class DependencyMissing(WaitingError):
    """A Secret, one of its keys or a storage class does not exist yet."""

    reason = "DependencyMissing"


class TerminalError(BackupError):
    """Trying again changes nothing: a person has to change something."""

    reason = "Terminal"
    exit_code = 78


class InvalidSpec(TerminalError):
    """The configuration is wrong; all problems are listed by their path.

    Args:
        warnings: about what is no error, such as unknown fields. A misspelt
            name is often the reason of the problem beside it.
    """

    reason = "InvalidSpec"

    def __init__(self, problems: Iterable[Problem] | str, warnings: Iterable[str] = ()) -> None:
        if isinstance(problems, str):
            problems = [Problem("", problems)]
        self.problems: tuple[Problem, ...] = tuple(problems)
        self.warnings: tuple[str, ...] = tuple(warnings)
        super().__init__("\n".join(map(str, self.problems)))

    def anew(self) -> InvalidSpec:
        """Give another one that says the same: what is raised again keeps every traceback."""
        return InvalidSpec(self.problems, self.warnings)


class UnknownEngine(TerminalError):
    """The `databaseType` names an engine that this build does not have."""

    reason = "UnknownEngine"


class ApiRefused(TerminalError):
    """The Kubernetes API does not take the request as it is."""

    reason = "ApiRefused"


class AccessDenied(TerminalError):
    """The credentials are wrong, or right and not allowed to do this."""

    reason = "AccessDenied"


class ObjectNotFound(TerminalError):
    """The object, bucket or backup does not exist."""

    reason = "ObjectNotFound"


class ObjectExists(TerminalError):
    """A create-only write found that the object is there already."""

    reason = "ObjectExists"


class ForeignOwner(TerminalError):
    """Another cluster writes here; `runner adopt` takes it over."""

    reason = "ForeignOwner"


class DataRetained(TerminalError):
    """What is not this object's to delete, or cannot be read, was not deleted; it is named."""

    reason = "DataRetained"


class BeingDeleted(TerminalError):
    """The object is being deleted, and its backups with it: no job begins any more."""

    reason = "BeingDeleted"


class ClockWrong(TerminalError):
    """The clocks of this machine and of a location differ: nothing is deleted by them."""

    reason = "ClockWrong"


class PreflightFailed(TerminalError):
    """The server is not ready for this; each problem names its cure."""

    reason = "PreflightFailed"

    def __init__(self, problems: Iterable[Problem] | str) -> None:
        if isinstance(problems, str):
            problems = [Problem("", problems)]
        self.problems: tuple[Problem, ...] = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


class TargetExists(TerminalError):
    """The target of a restore exists and holds data, or a file of `unpack` is there."""

    reason = "TargetExists"


class NotRestorable(TerminalError):
    """No stored backup answers the request; the nearest ones are named."""

    reason = "NotRestorable"


class UsageError(TerminalError):
    """The command line is wrong."""

    reason = "UsageError"
    exit_code = 64


class IntegrityError(BackupError):
    """Stored data is not what was stored."""

    reason = "IntegrityError"
    exit_code = 65


class TruncatedBackup(IntegrityError):
    """A part of a backup is missing."""

    reason = "TruncatedBackup"


class ChecksumMismatch(IntegrityError):
    """A part of a backup differs from what was written."""

    reason = "ChecksumMismatch"


class FormatError(IntegrityError):
    """A file is not of its documented form."""

    reason = "FormatError"


class NoKey(IntegrityError):
    """No configured passphrase or identity opens this backup."""

    reason = "NoKey"


class BusyError(BackupError):
    """Another job runs, or another runner acts; it is named."""

    reason = "Busy"
    retriable = True
    exit_code = 69


class Cancelled(BackupError):
    """The job was ended by `runner cancel`, by SIGTERM or by Ctrl-C."""

    reason = "Cancelled"
    exit_code = 130
