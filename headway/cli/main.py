"""The command line. Commands are read when they are run, so that `headway --help` imports none of them."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any, NamedTuple

import click

from headway.cli.invocation import Invocation, shared_options
from headway.errors import Conflict, Forbidden, HeadwayError, Invalid, NotFound, Refused, Unavailable

UNEXPECTED = 70
"""EX_SOFTWARE of sysexits.h."""
INTERRUPTED = 130
_EXIT_CODES: dict[type[HeadwayError], int] = {
    Refused: 1, Forbidden: 1, Invalid: 2, NotFound: 2, Conflict: 2, Unavailable: 3,
}  # fmt: skip


class Entry(NamedTuple):
    """A command that is not read yet: it is the object of its name in `headway.cli.<name>`."""

    section: str
    about: str
    where: str = ""
    """The object's name when the command's own is a word of Python."""


COMMANDS: dict[str, Entry] = {
    "init": Entry("Begin", "Write a new project."),
    "up": Entry("Begin", "Start the server for this project."),
    "serve": Entry("Begin", "Serve one model, without project or control plane."),
    "demo": Entry("Begin", "Play the whole story on real data."),
    "status": Entry("Begin", "Show what is going on, on one screen."),
    "sync": Entry("Begin", "Send what runs logged while the server was away."),
    "ship": Entry("Deliver", "Bring a model version to a deployment, through its gate."),
    "run": Entry("Deliver", "Run a pipeline, or look at runs."),
    "tune": Entry("Deliver", "Search for the params with which a pipeline does best."),
    "change": Entry("Deliver", "Open, approve and follow changes; the DORA figures."),
    "trigger": Entry("Deliver", "Fire, pause and backfill what opens changes."),
    "ci": Entry("Deliver", "Test a repository: its project, pipelines and models."),
    "experiment": Entry("Look and act", "Look at experiments, delete, restore and purge them."),
    "dataset": Entry("Look and act", "Add, compare and check out dataset versions."),
    "remote": Entry("Look and act", "Name the places that datasets are pushed to and fetched from."),
    "feature-view": Entry("Look and act", "Define features once, for training and for looking up.", "feature_view"),
    "model": Entry("Look and act", "Inspect models and where they come from."),
    "gate": Entry("Look and act", "Read verdicts and the evidence behind them."),
    "release": Entry("Look and act", "Read releases and check their signatures."),
    "deployment": Entry("Look and act", "Inspect endpoints: what serves, and what served when; pin callers."),
    "rollout": Entry("Look and act", "Start and follow rollouts, and roll back."),
    "batch": Entry("Look and act", "Score a Parquet file by what a deployment serves."),
    "replay": Entry("Look and act", "Make captured predictions again, also by another release."),
    "monitor": Entry("Look and act", "See what monitors have found."),
    "alert": Entry("Look and act", "Acknowledge and resolve alerts."),
    "ledger": Entry("Administer", "Read and verify who wrote what, when and why."),
    "gc": Entry("Administer", "Free the space of what nothing needs."),
    "token": Entry("Administer", "Give and revoke access."),
    "webhook": Entry("Administer", "Tell other systems of what happens."),
    "export": Entry("Administer", "Write the whole home to a folder, in an open layout."),
    "import": Entry("Administer", "Take over an MLflow server, or a home that was exported.", "imports"),
    "project": Entry("Administer", "Apply headway.toml to a running server."),
}


class CommandLine(click.Group):
    """The root command: finds commands by name, and turns errors into messages and exit codes."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        name = COMMANDS[cmd_name].where or cmd_name
        command: click.Command = getattr(import_module(f"headway.cli.{name}"), name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            from headway.kernel.naming import nearest  # noqa: PLC0415

            raise click.UsageError(f"there is no command {args[0]!r}{nearest(args[0], COMMANDS)}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for section in dict.fromkeys(entry.section for entry in COMMANDS.values()):
            with formatter.section(section):
                formatter.write_dl(
                    [(name, entry.about) for name, entry in COMMANDS.items() if entry.section == section]
                )

    def main(  # type: ignore[override]  # it always ends the process, whatever `standalone_mode` says
        self, args: Sequence[str] | None = None, prog_name: str | None = None, **extra: Any
    ) -> Any:
        """Run and exit: 0 done, 1 a rule said no, 2 bad input, 3 unavailable, 70 a fault of Headway."""
        invocation = extra.pop("obj", None) or Invocation(alone=args is None)
        try:
            extra["standalone_mode"] = False
            code = super().main(args, prog_name or "headway", obj=invocation, **extra)
            sys.exit(code if isinstance(code, int) else 0)
        except HeadwayError as error:
            invocation.complain(str(error), error.code, error.details)
            sys.exit(next((code for branch, code in _EXIT_CODES.items() if isinstance(error, branch)), UNEXPECTED))
        except click.exceptions.NoArgsIsHelpError as error:
            click.echo(error.format_message(), err=True)
            sys.exit(2)
        except click.ClickException as error:
            invocation.complain(_usage(error), "invalid", {})
            sys.exit(2)
        except (click.Abort, KeyboardInterrupt):
            click.echo("stopped", err=True)
            sys.exit(INTERRUPTED)
        except BrokenPipeError:
            # Whoever read the output has seen enough; the interpreter would complain when it flushes what is left.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(0)
        except Exception as error:
            if os.environ.get("HEADWAY_DEBUG"):
                raise
            invocation.complain(
                f"unexpected {type(error).__name__}: {error}; this is a fault of Headway: "
                "HEADWAY_DEBUG=1 shows where it happened",
                "internal",
                {},
            )
            sys.exit(UNEXPECTED)
        finally:
            invocation.close()


def _usage(error: click.ClickException) -> str:
    if isinstance(error, click.UsageError) and error.ctx:
        return f"{error.format_message()}\n       `{error.ctx.command_path} --help` shows how it is used"
    return error.format_message()


def _version(ctx: click.Context, parameter: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        from headway.kernel.version import VERSION  # noqa: PLC0415

        click.echo(f"headway {VERSION}")
        ctx.exit()


@click.command(cls=CommandLine, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Show the version.")
@shared_options
def main() -> None:
    """Take machine learning from data to production, and keep it healthy there.

    Without a running server, commands open the home of this project in their own process.
    """
