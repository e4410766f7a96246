"""The click group behind `larder`: it imports a command when it is called, and turns refusals into sentences."""

import importlib
import importlib.metadata
import os
import sys

import click

from larder.cli import COMMANDS, overview
from larder.contract.errors import LarderError, Unavailable

ENTRY_POINTS = "larder.commands"
"""Entry-point group in which other distributions bring the commands that `COMMANDS` lists for them."""


class Refused(click.ClickException):
    """A refusal as one sentence and a hint on stderr."""

    def __init__(self, error: LarderError) -> None:
        super().__init__(str(error))
        vars(self)["exit_code"] = error.exit_code
        hint = error.hint
        if not hint and isinstance(error, Unavailable):
            hint = "`larder doctor` says what is wrong; `larder up` starts a server on this machine."
        self.hint = hint

    def show(self, file: object = None) -> None:
        """Say it on stderr."""
        click.secho("Error: ", fg="red", nl=False, err=True)
        click.echo(self.message, err=True)
        if self.hint:
            click.echo(f"  {self.hint}", err=True)


class Larder(click.Group):
    """Commands by name, loaded late."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every command, also those whose distribution is not installed."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command."""
        command = COMMANDS.get(cmd_name)
        if command is None:
            return None
        if command.home:
            module, _, name = command.home.partition(":")
            loaded = getattr(importlib.import_module(module), name)
        else:
            found = importlib.metadata.entry_points(group=ENTRY_POINTS, name=cmd_name)
            if not found:
                if ctx.resilient_parsing:
                    return None
                raise click.UsageError(
                    f"`larder {cmd_name}` needs {command.distribution}: pip install {command.distribution}"
                )
            loaded = next(iter(found)).load()
        if not isinstance(loaded, click.Command):
            raise TypeError(f"{cmd_name} is not a click command")
        return loaded

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The same words as `larder` alone, without importing every command for its summary."""
        formatter.write(overview())

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; a refusal becomes a sentence and an exit status, never a traceback."""
        try:
            return super().invoke(ctx)
        except LarderError as error:
            raise Refused(error) from error
        except BrokenPipeError:
            # Whoever read our output has read enough; the interpreter shall not complain when it flushes.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            ctx.exit(0)


@click.group(cls=Larder)
@click.version_option(package_name="larder", message="larder %(version)s")
def larder() -> None:
    """Record, find and re-run machine-learning experiments."""
