"""What every verb gets: where the configuration is, loaded when it is needed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import click
import orjson
from attrs import frozen

from controller.api.errors import BackupError, InvalidSpec, Problem, UsageError
from runner.wording import printable

if TYPE_CHECKING:
    from runner.config import RunnerConfig
    from runner.control import ControlClient
    from runner.locations import Locations


@frozen(kw_only=True)
class CliContext:
    """One invocation."""

    config: Path
    environ: Mapping[str, str]

    def load(self) -> RunnerConfig:
        """Read the configuration, once; what is unknown in it is warned about by name.

        Raises: InvalidSpec, UsageError.
        """
        return self._config

    @cached_property
    def _config(self) -> RunnerConfig:
        from runner import config as runner_config  # noqa: PLC0415 - --help needs none of it
        from runner.jobs.environment import log_for  # noqa: PLC0415 - as above

        try:
            is_there = self.config.exists()
        except OSError as error:  # of a folder that this user may not enter
            raise UsageError(f"{self.config} cannot be read: {error.strerror}") from error
        if not is_there:
            raise UsageError(
                f"there is no configuration at {self.config}: name it with --config or CONFIG_DIR"
            )
        try:
            config = runner_config.load(self.config)
        except InvalidSpec as refused:
            _warn(refused.warnings)
            raise
        # What a command has to say it says itself; a log would only stand amid it.
        log_for(config, level=self.environ.get("LOG_LEVEL") or "ERROR")
        _warn(config.warnings)
        return config

    @property
    def is_in_cluster(self) -> bool:
        """Whether the controller made this pod: RUNNER_IN_CLUSTER.

        Not whether it is a pod: one that a person made to restore from has no
        Lease and no rights.
        """
        text = self.environ.get("RUNNER_IN_CLUSTER", "false")
        if text not in {"true", "false"}:
            raise InvalidSpec([Problem("RUNNER_IN_CLUSTER", "must be true or false")])
        return text == "true"

    @contextmanager
    def locations(self, name: str = "") -> Iterator[Locations]:
        """Open the locations, for verbs that only read.

        Raises: why, if not a single one can be opened: that is not "no backups".
        """
        from runner.locations import open_locations  # noqa: PLC0415 - as above

        with open_locations(self.load()) as locations:
            chosen = locations.chosen(name)
            for failed_name, error in chosen.failed:
                say(f"warning: location {failed_name}: {error}", err=True)
            if chosen.failed and not chosen.opened:
                raise chosen.failed[0][1]
            yield chosen

    def control(self) -> ControlClient:
        from runner.control import ControlClient  # noqa: PLC0415 - as above
        from runner.rundir import socket_path  # noqa: PLC0415 - as above

        return ControlClient(socket_path(self.config, self.environ))


def print_json(value: object) -> None:
    """Print the one document that a verb with --json answers."""
    click.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_UTC_Z).decode())


def say(text: str, *, err: bool = False) -> None:
    """Print lines for people; what they quote from a bucket or a server commands no terminal."""
    click.echo("\n".join(map(printable, text.split("\n"))), err=err)


def failure(error: BackupError) -> dict[str, object]:
    """What --json says of an error, in each verb the same."""
    return {"reason": error.reason, "message": str(error), "exitCode": error.exit_code}


def _warn(warnings: Sequence[str]) -> None:
    for warning in warnings:
        say(f"warning: {warning}", err=True)


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, errors too.")
no_wait_option = click.option(
    "--no-wait", is_flag=True, help="Fail (69) instead of waiting for a running job."
)
accept_unencrypted_option = click.option(
    "--accept-unencrypted",
    is_flag=True,
    help="Also a backup that is not encrypted, in a location whose backups are.",
)
location_option = click.option("--location", default="", metavar="NAME", help="Only this location.")
