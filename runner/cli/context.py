"""What every verb gets: where the configuration is, loaded when it is needed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click
from attrs import frozen

from controller.api.errors import UsageError

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
        """Read the configuration; what is unknown in it is warned about by name.

        Raises: InvalidSpec, UsageError.
        """
        from runner import config as runner_config  # noqa: PLC0415 - --help needs none of it
        from runner.jobs.environment import log_for  # noqa: PLC0415 - as above

        if not self.config.exists():
            raise UsageError(
                f"there is no configuration at {self.config}: name it with --config or CONFIG_DIR"
            )
        config = runner_config.load(self.config)
        log_for(config)
        for warning in config.warnings:
            click.echo(f"warning: {warning}", err=True)
        return config

    @contextmanager
    def locations(self, name: str = "") -> Iterator[Locations]:
        """Open the locations, for verbs that only read.

        Raises: why, if not a single one can be opened: that is not "no backups".
        """
        from runner.locations import open_locations  # noqa: PLC0415 - as above

        with open_locations(self.load()) as locations:
            chosen = locations.chosen(name)
            for failed_name, error in chosen.failed:
                click.echo(f"warning: location {failed_name}: {error}", err=True)
            if chosen.failed and not chosen.opened:
                raise chosen.failed[0][1]
            yield chosen

    def control(self) -> ControlClient:
        from runner.control import ControlClient  # noqa: PLC0415 - as above
        from runner.rundir import socket_path  # noqa: PLC0415 - as above

        return ControlClient(socket_path(self.config, self.environ))


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
location_option = click.option("--location", default="", metavar="NAME", help="Only this location.")
