"""`runner VERB`, and the short forms that `kubectl exec` is given."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import orjson

from controller.api.errors import BackupError, Cancelled, UsageError
from controller.api.version import version
from runner.cli.context import CliContext, failure, say

#: verb -> (module, one line of help); a module is loaded when its verb is used.
_VERBS = {
    "run": ("run", "Serve: schedule, control socket, metrics; the pod's process."),
    "backup-now": ("backup_now", "Back up at once and wait for the result."),
    "restore": ("restore", "Bring a backup back."),
    "list": ("list", "List the stored backups."),
    "show": ("show", "Show one backup, and how to restore it by hand."),
    "verify": ("verify", "Read a backup again and check every byte."),
    "prune": ("prune", "Apply the retention rules, and say why."),
    "unpack": ("unpack", "Write a backup's streams to files."),
    "status": ("status", "Show what the runner does, did and will do."),
    "cancel": ("cancel", "End the running job."),
    "doctor": ("doctor", "Check the configuration, the database and every location."),
    "adopt": ("adopt", "Take over backups that another cluster wrote."),
    "version": ("version", "Print the version of this build."),
}
#: The Go original's verbs.
_ALIASES = {"backup": "backup-now"}
_EXIT_CODES = (
    "Exit codes: 0 done; 64 wrong command line; 65 damaged data; 69 another job runs; "
    "75 passing fault, try again; 78 a person has to change something; 130 ended by a person."
)


class _NobodyReadsError(Exception):
    """Standard output was closed. click ends the process for a BrokenPipeError, with 1."""


class _Verbs(click.Group):
    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            raise _NobodyReadsError from error

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(_VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        name = _ALIASES.get(cmd_name, cmd_name)
        if name not in _VERBS:
            return None
        module = importlib.import_module(f"runner.cli.{_VERBS[name][0]}")
        command: click.Command = module.command
        command.name = name
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        with formatter.section("Verbs"):
            formatter.write_dl([(name, text) for name, (_, text) in _VERBS.items()])


@click.group(
    cls=_Verbs,
    subcommand_metavar="VERB [ARGUMENTS]",
    epilog=_EXIT_CODES,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    envvar="CONFIG_DIR",
    default=Path("/etc/db-backup"),
    show_default=True,
    help="Configuration directory, or one YAML file with both objects. [env: CONFIG_DIR]",
)
@click.version_option(version(), message="%(version)s", help="Print the version of this build.")
@click.pass_context
def cli(ctx: click.Context, config: Path) -> None:
    """Back up one database to several places, and bring it back."""
    ctx.obj = CliContext(config=config, environ=dict(os.environ))


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line and exit with the code of what happened."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    sys.exit(_run(arguments))


def backup_now() -> None:
    """`backup-now` is `runner backup-now`."""
    main(["backup-now", *sys.argv[1:]])


def restore() -> None:
    """`restore` is `runner restore`."""
    main(["restore", *sys.argv[1:]])


def _run(arguments: list[str]) -> int:
    as_json = "--json" in arguments  # also where the arguments cannot be read
    try:
        result: Any = cli.main(arguments, prog_name="runner", standalone_mode=False)
    except click.ClickException as error:
        if as_json:
            _tell(UsageError(error.format_message()), as_json=True)
        else:
            error.show()
        return UsageError.exit_code
    except (click.Abort, KeyboardInterrupt):
        if as_json:
            _tell(Cancelled("aborted"), as_json=True)
        else:
            say("aborted", err=True)
        return Cancelled.exit_code
    except BackupError as error:
        _tell(error, as_json=as_json)
        return error.exit_code
    except _NobodyReadsError:
        # `runner list | head`: nobody reads any more, and Python must not complain at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except Exception as error:  # noqa: BLE001 - process top
        traceback.print_exc()
        if as_json:
            _tell(BackupError(f"unexpected {type(error).__name__}: {error}"), as_json=True)
        return BackupError.exit_code
    return result if isinstance(result, int) else 0


def _tell(error: BackupError, *, as_json: bool) -> None:
    if as_json:
        event = {"event": "error", **failure(error)}
        click.echo(orjson.dumps(event).decode())
        return
    for number, line in enumerate(str(error).splitlines() or [error.reason]):
        say(f"error: {line}" if number == 0 else f"       {line}", err=True)


if __name__ == "__main__":
    main()
