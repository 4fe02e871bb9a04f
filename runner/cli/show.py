"""`runner show`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from controller.api.errors import BackupError, NotRestorable
from runner.cli.context import CliContext, json_option, location_option, print_json, say

if TYPE_CHECKING:
    from engines.interface import Engine
    from runner.locations import Location
    from runner.repository.manifest import Layer, Manifest


@click.command()
@click.argument("backup_id", metavar="ID")
@location_option
@json_option
@click.pass_obj
def command(context: CliContext, *, backup_id: str, location: str, as_json: bool) -> None:
    """Show one backup, and how to restore it by hand with standard tools."""
    from controller.api import codec  # noqa: PLC0415 - --help needs none of it
    from runner.locations import find_manifest  # noqa: PLC0415 - as above

    with context.locations(location) as locations:
        found: list[tuple[Location, Manifest]] = []
        last: BackupError | None = None
        for one, manifest in find_manifest(locations.opened, backup_id):
            if isinstance(manifest, BackupError):
                last = manifest
                say(f"warning: {manifest}", err=True)
            else:
                found.append((one, manifest))
        if not found:
            raise last or NotRestorable(f"there is no backup {backup_id}: see `runner list`")
        if as_json:
            rows = {one.name: codec.encode(manifest) for one, manifest in found}
            print_json(rows)
            return
        engine = _engine(context)
        for number, (one, manifest) in enumerate(found):
            if number == 0:
                say("\n".join(_facts(manifest)))
            say("\n".join(_at(one, manifest)))
        one, manifest = found[0]
        tools = "the database" if manifest.layer else "age, zstd and the database's own tools"
        say(f"\nby hand, with {tools}:")
        for line in by_hand(one, manifest, engine.by_hand(manifest.facts)):
            say(f"  {line}")


def by_hand(location: Location, manifest: Manifest, engine_lines: Sequence[str]) -> list[str]:
    """Commands that restore a backup whose folder was copied to a local one."""
    from runner.repository.layout import KEY_FILE  # noqa: PLC0415 - --help needs none of it
    from runner.repository.manifest import EncryptionKind, WrapKind  # noqa: PLC0415 - as above

    if manifest.layer:
        return _layer_by_hand(location, manifest, manifest.layer, engine_lines)
    lines = [f"# copy {location.layout.backup_data(manifest.id)} from {location.name}, go there"]
    encrypted = manifest.encryption.kind is EncryptionKind.AGE
    if encrypted:
        how = "-i YOUR_IDENTITY" if manifest.encryption.wrap is WrapKind.RECIPIENTS else ""
        lines.append(" ".join(filter(None, ["age -d", how, "-o key.txt", KEY_FILE])))
    for stream in manifest.streams:
        names = " ".join(stored.name for stored in stream.objects)
        decrypt = "age -d -i key.txt | " if encrypted else ""
        lines.append(f"cat {names} | {decrypt}zstd -d -o {stream.name}")
    return [*lines, *engine_lines]


def _layer_by_hand(
    location: Location, manifest: Manifest, layer: Layer, engine_lines: Sequence[str]
) -> list[str]:
    """Statements for the database, which reads the location by itself."""
    from runner.repository.manifest import EncryptionKind  # noqa: PLC0415 - --help needs none of it

    folder = location.layout.backup_data(layer.chain).rstrip("/")
    lines = [f"-- URI: {location.spec.storage_bucket}/{folder} in {location.name}, as the database"]
    lines.append("-- writes it, with its scheme and credentials")
    if manifest.encryption.kind is EncryptionKind.ENGINE:
        use = f"{manifest.facts.engine}/{layer.chain}"
        derivation = "openssl kdf -binary -keylen 32 -kdfopt digest:SHA256 -kdfopt hexkey:$(xxd -p"
        derivation += f" -c 0 pass) -kdfopt info:{use} HKDF | basenc --base64url | tr -d ="
        lines += [
            "-- add encryption_passphrase = '...' to both options; pass holds the encryptionPass:",
            f"--   {derivation}",
        ]
    return [*lines, *engine_lines]


def _engine(context: CliContext) -> Engine:
    from runner.jobs.environment import build_engine  # noqa: PLC0415 - --help needs none of it

    return build_engine(context.load())


def _facts(manifest: Manifest) -> list[str]:
    from runner.wording import bytes_text, time_text  # noqa: PLC0415 - --help needs none of it

    facts = manifest.facts
    owner = f"{manifest.owner.namespace}/{manifest.owner.name} of cluster {manifest.cluster_id}"
    made = f"{time_text(manifest.started_at)} to {time_text(manifest.finished_at)}"
    rows: dict[str, object] = {
        "state of": time_text(facts.coverage.end),
        "made": f"{made} by runner {manifest.runner_version}",
        "owner": owner,
        "database": f"{facts.database} ({facts.engine} {facts.server_version})",
        "data": bytes_text(manifest.plain_bytes),
        **_place(manifest),
        **{what: count for what, count in sorted(facts.counts.items()) if count},
    }
    lines = [str(manifest.id), *(f"  {what:<18} {value}" for what, value in rows.items())]
    labels = manifest.labels or ()
    width = max((len(one.format) for one in labels), default=0)
    return [*lines, *(f"  label {one.format:<{width}}  {one.name}" for one in labels)]


def _place(manifest: Manifest) -> dict[str, object]:
    """Where a layer belongs, and what it covers."""
    from runner.wording import time_text  # noqa: PLC0415 - --help needs none of it

    if manifest.layer is None:
        return {}
    layer, coverage = manifest.layer, manifest.facts.coverage
    place = f"{layer.number} of {layer.chain}, which the database writes to {layer.home}"
    covers = {"back to": time_text(coverage.start)} if coverage.start < coverage.end else {}
    return {**covers, "layer": place}


def _at(location: Location, manifest: Manifest) -> list[str]:
    from runner.wording import bytes_text, count_text  # noqa: PLC0415 - --help needs none of it

    wrap = f", for {manifest.encryption.wrap.value}" if manifest.encryption.wrap else ""
    folder = manifest.layer.chain if manifest.layer else manifest.id
    lines = [
        f"  in {location.name}: {location.layout.backup_data(folder)}",
        f"    encryption {manifest.encryption.kind.value}{wrap}",
    ]
    return lines + [
        f"    {stream.name:<10} {bytes_text(stream.plain_bytes)}, stored "
        f"{bytes_text(stream.stored_bytes)} in {count_text(len(stream.objects), 'object')}"
        for stream in manifest.streams
    ]
