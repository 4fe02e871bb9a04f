"""A restore: choose a backup, look before touching anything, restore, move on only for storage."""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from attrs import evolve, frozen

from controller.api.errors import (
    AccessDenied,
    BackupError,
    Cancelled,
    DatabaseUnavailable,
    IntegrityError,
    NotRestorable,
    PreflightFailed,
    RetriableError,
    TerminalError,
    TruncatedBackup,
    UsageError,
)
from engines.interface import Engine, Purpose, Restored, TakesBack, Target
from runner.jobs.collections import has_later_layers, to_read
from runner.jobs.environment import (
    JobEnvironment,
    JobFailure,
    failed_fate,
    moves_streams,
    stores_by_itself,
)
from runner.jobs.request import RestoreOptions
from runner.locations import Location, Locations, asked_id
from runner.outcome import JobOutcome, LocationFate
from runner.repository.index import Summary
from runner.repository.layout import BackupId
from runner.repository.manifest import Layer, Manifest
from runner.wording import age_text, bytes_text, time_text

#: A clock that is ahead of the caller's by less is not "the future".
_CLOCK_SKEW = timedelta(seconds=60)


@frozen(kw_only=True)
class Choice:
    """Which backup, and the locations that hold it, in the order to try them.

    Args:
        state_at: of its coverage, the time whose state is wanted.
    """

    backup: Summary
    locations: tuple[Location, ...]
    state_at: datetime


def run_restore(job: JobEnvironment) -> JobOutcome:
    """Restore one backup, or only say how.

    Raises: NotRestorable, UsageError, PreflightFailed; what the engine raises.
    """
    started_at = job.clock.now()
    options = job.request.restore
    if options is None:
        raise UsageError("a restore needs --at or --name")
    engine = job.engine()
    target = Target(
        database=job.target(),
        replace=options.replace,
        owners=options.owners,
        parallel=job.config.backup.spec.runner.parallelism,
        label=secrets.token_hex(4),
    )
    with job.locations() as locations:
        choice = choose(job, locations.chosen(options.location), options)
        restore = _Restore(
            job, engine, target, choice, started_at, accept_unencrypted=options.accept_unencrypted
        )
        return restore.run(dry_run=options.dry_run)


def choose(job: JobEnvironment, locations: Locations, options: RestoreOptions) -> Choice:
    """Find the backup that the request asks for.

    Raises: NotRestorable, which names the nearest possibilities.
    """
    job.events.stage("choose")
    holders: dict[BackupId, list[Location]] = {}
    backups: dict[BackupId, Summary] = {}
    for name, error in locations.failed:
        job.events.warning(f"location {name} is not usable: {error}")
    errors: list[BackupError] = []
    distrusted: list[str] = []
    answers = job.ask("choose", locations.opened, lambda location: location.catalogue.list())
    for location in locations.opened:
        listing = answers[location.name]
        if isinstance(listing, BackupError):
            errors.append(listing)
            job.events.warning(
                f"location {location.name} cannot be listed, a newer backup in it is not "
                f"considered: {listing}"
            )
            continue
        for unreadable in listing.unreadable:
            job.events.warning(
                f"location {location.name}: {unreadable.id} is not readable: {unreadable.problem}"
            )
        for backup in listing.backups:
            if not options.accept_unencrypted and not location.is_trusted(backup.encryption):
                distrusted.append(f"{backup.id} in {location.name}")
                continue
            backups.setdefault(backup.id, backup)
            holders.setdefault(backup.id, []).append(location)
    if distrusted:
        job.events.warning(
            f"not considered, because they are not encrypted and their location's backups are: "
            f"{', '.join(distrusted)}. If they are yours, from before encryption was switched on, "
            "add --accept-unencrypted"
        )
    if len(errors) == len(locations.opened):
        raise errors[0] if errors else NotRestorable("no location is usable")
    found = (
        _by_name(options.name, backups)
        if options.name
        else newest_at_or_before(options.at, list(backups.values()), job.clock.now())
    )
    state_at = (found.reach(options.at) if options.at else None) or found.coverage_end
    return Choice(backup=found, locations=tuple(holders[found.id]), state_at=state_at)


def newest_at_or_before(at: datetime | None, backups: Sequence[Summary], now: datetime) -> Summary:
    """The backup that comes closest to `at`, and no state that is later.

    Of a dump that is its instant, of a layer of a chain every time within its coverage. Of those
    that come equally close it is the one that reads the fewest layers.

    Raises: UsageError for a time in the future; NotRestorable.
    """
    if at is None:
        raise UsageError("a restore needs --at or --name")
    ordered = sorted(backups, key=lambda backup: (backup.coverage_start, backup.id))
    if at > now + _CLOCK_SKEW:
        refusal = (
            f"--at {time_text(at)} is in the future (it is {time_text(now)}): leave out what "
            "has not happened, or check the offset"
        )
        if ordered:
            newest = max(ordered, key=lambda backup: (backup.coverage_end, backup.id))
            refusal += (
                f". The newest backup is {newest.id}, of {time_text(newest.coverage_end)}: "
                f"restore it with --at now or --name {newest.id}"
            )
        raise UsageError(refusal)
    if not ordered:
        raise NotRestorable("there is no backup here yet")
    found = [(reach, backup) for backup in ordered if (reach := backup.reach(at)) is not None]
    if not found:
        oldest = ordered[0]
        raise NotRestorable(
            f"no backup is as old as {time_text(at)}: the oldest is {oldest.id}, of "
            f"{time_text(oldest.coverage_start)}. Restore that one with --name {oldest.id}"
        )
    return max(found, key=lambda one: (one[0], -_layers_below(one[1]), one[1].id))[1]


def _layers_below(backup: Summary) -> int:
    return backup.layer.number if backup.layer else 0


def _by_name(text: str, backups: dict[BackupId, Summary]) -> Summary:
    backup_id = asked_id(text)
    if backup_id in backups:
        return backups[backup_id]
    nearest = sorted(backups, key=lambda other: (other > backup_id, other), reverse=True)[:3]
    nearby = ", ".join(sorted(nearest)) or "there are none"
    raise NotRestorable(f"there is no backup {backup_id}; the newest others: {nearby}")


class _Restore:
    """One chosen backup into one target."""

    def __init__(
        self,
        job: JobEnvironment,
        engine: Engine,
        target: Target,
        choice: Choice,
        started_at: datetime,
        *,
        accept_unencrypted: bool,
    ) -> None:
        self._accept_unencrypted = accept_unencrypted
        self._job = job
        self._engine = engine
        self._target = target
        self._choice = choice
        self._started_at = started_at
        self._told: set[str] = set()
        self._fates: dict[str, LocationFate] = {}
        # To try, in this order; with what is false the database does not look for all files first.
        self._sources = deque((location, True) for location in choice.locations)

    def run(self, *, dry_run: bool) -> JobOutcome:
        """Try the locations in turn until one gave everything.

        Only a fault in reading moves on: the engine's contract is that the
        target is then as it was. An error of the engine itself ends it.
        """
        last: BackupError | None = None
        while self._sources:
            location, check_files = self._sources.popleft()
            try:
                return self._from(location, check_files=check_files, dry_run=dry_run)
            except _SourceFailed as failure:
                last = failure.error
                self._fates[location.name] = failed_fate(location.name, last)
                self._job.events.warning(f"reading from {location.name} failed: {last}")
        raise JobFailure(
            last or NotRestorable("no location holds the backup"), self._outcome(location=None)
        )

    def _from(self, location: Location, *, check_files: bool, dry_run: bool) -> JobOutcome:
        manifest = self._manifest(location)
        engine = self._job.config.backup.spec.database_type
        if manifest.facts.engine != engine:
            raise TerminalError(
                f"backup {manifest.id} is of {manifest.facts.engine}, this object is of {engine}"
            )
        load = self._open(location, manifest, check_files=check_files)
        self._job.events.report("plan", self._plan(location, manifest))
        if not dry_run:
            self._take_back()
        self._job.events.stage("preflight")
        problems = self._engine.preflight(
            self._job.context,
            purpose=Purpose.RESTORE,
            facts=manifest.facts,
            target=self._target,
        )
        if problems:
            raise PreflightFailed(problems)
        if dry_run:
            return self._outcome(location)
        self._job.events.started("restore", backupId=manifest.id, location=location.name)
        self._tell(load())
        return self._outcome(location, manifest=manifest)

    def _take_back(self) -> None:
        """What a killed restore left goes first, also if this one is refused then."""
        if isinstance(self._engine, TakesBack):
            self._job.events.stage("take back")
            self._warn(self._engine.take_back(self._job.context, target=self._target))

    def _warn(self, warnings: Sequence[str]) -> None:
        """Each of them once: what could not be taken back is tried again by the restore."""
        for warning in warnings:
            if warning not in self._told:
                self._told.add(warning)
                self._job.events.warning(warning)

    def _manifest(self, location: Location) -> Manifest:
        """The manifest is read anew: what was listed may have come from the index."""
        try:
            manifest = location.catalogue.manifest(self._choice.backup.id)
            location.check_trusted(manifest, accept_unencrypted=self._accept_unencrypted)
        except (RetriableError, IntegrityError, TerminalError) as error:
            raise _SourceFailed(error) from error
        return manifest

    def _open(
        self, location: Location, manifest: Manifest, *, check_files: bool
    ) -> Callable[[], Restored]:
        """Open one location's copy; returns what restores it."""
        if manifest.layer is not None:
            return self._open_layer(location, manifest, manifest.layer, check_files=check_files)
        return self._open_streams(location, manifest)

    def _open_layer(
        self, location: Location, manifest: Manifest, layer: Layer, *, check_files: bool
    ) -> Callable[[], Restored]:
        """The database reads it by itself, and has looked for every file before it begins.

        It looks for those of the whole chain. What is missing may be of a later layer, which this
        one does without: a chain that is not whole is tried, after all that may be.
        """
        engine, context = stores_by_itself(self._engine), self._job.context
        try:
            collection = to_read(
                location, manifest, layer, engine, context, check_files=check_files
            )
        except (DatabaseUnavailable, AccessDenied, Cancelled):
            raise
        except BackupError as error:
            lacks_files = check_files and isinstance(error, TruncatedBackup)
            if lacks_files and has_later_layers(location, layer):
                self._sources.append((location, False))
            raise _SourceFailed(error) from error
        if not check_files:
            self._job.events.warning(
                f"the chain in {location.name} is not whole, and what is missing may be of a later "
                f"layer than {manifest.id}: the database reads what this one needs, and tells if "
                "that is damaged too"
            )

        def load() -> Restored:
            try:
                return engine.restore_layer(
                    collection,
                    manifest.facts,
                    context,
                    at=self._choice.state_at,
                    target=self._target,
                )
            except IntegrityError as error:
                raise _SourceFailed(error) from error

        return load

    def _open_streams(self, location: Location, manifest: Manifest) -> Callable[[], Restored]:
        engine, context = moves_streams(self._engine), self._job.context
        read = 0

        def count(size: int) -> None:
            nonlocal read
            read += size

        try:
            source = location.source(manifest, on_bytes=count)
        except (RetriableError, IntegrityError, TerminalError) as error:
            raise _SourceFailed(error) from error
        self._job.events.count(lambda: {"plainBytes": read, "totalBytes": manifest.plain_bytes})

        def load() -> Restored:
            try:
                return engine.restore_backup(source, manifest.facts, context, target=self._target)
            except BackupError as error:
                if source.error is not None and not context.cancelled.is_set():
                    raise _SourceFailed(source.error) from error
                raise

        return load

    def _plan(self, location: Location, manifest: Manifest) -> list[dict[str, object]]:
        facts = manifest.facts
        now, state_at = self._job.clock.now(), self._choice.state_at
        into = self._target.database
        if self._target.replace:
            into += " (the existing one is kept under a dated name)"
        rows = {
            "backup": manifest.id,
            "state of": f"{time_text(state_at)}, {age_text(now - state_at)} ago",
            "database": f"{facts.database} ({facts.engine} {facts.server_version})",
            "from": location.name,
            "into": into,
            "data": f"{bytes_text(manifest.plain_bytes)}, {bytes_text(manifest.stored_bytes)} "
            "to download",
        }
        return [{"what": what, "value": value} for what, value in rows.items()]

    def _tell(self, restored: Restored) -> None:
        rows: list[dict[str, object]] = [{"what": "restored", "value": restored.database}]
        if restored.kept_as:
            rows.append({"what": "former database kept as", "value": restored.kept_as})
        rows += [
            {"what": what, "value": count}
            for what, count in sorted(restored.counts.items())
            if count
        ]
        self._job.events.report("restored", rows)
        self._warn(restored.warnings)

    def _outcome(self, location: Location | None, manifest: Manifest | None = None) -> JobOutcome:
        fates = dict(self._fates)
        if location is not None:
            fates[location.name] = LocationFate(name=location.name, ok=True)
        outcome = self._job.outcome(
            self._started_at, backup_id=self._choice.backup.id, fates=tuple(fates.values())
        )
        return evolve(outcome, plain_bytes=manifest.plain_bytes) if manifest else outcome


class _SourceFailed(Exception):
    """Reading this location's copy failed; another one may be whole."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(str(error))
        self.error = (
            error if isinstance(error, BackupError) else BackupError(f"unexpected: {error}")
        )
