"""`larder run`: run a command untouched and record it."""

import sys

import click

from larder import supervise
from larder.cli import output


@click.command("run", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option("--project", "-p", default="", help="Project of the run.")
@click.option("--name", default="", help="Name of the run.")
@click.option("--tag", "tags", multiple=True)
@click.option("--notes", default="")
@click.option("--param", "-P", "params", multiple=True, metavar="NAME=VALUE", help="A parameter to record beside.")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def run(
    project: str, name: str, tags: tuple[str, ...], notes: str, params: tuple[str, ...], command: tuple[str, ...]
) -> None:
    """Run COMMAND untouched and record its arguments, output, code, packages and how it ended.

    \b
    larder run -- python train.py --lr 1e-3

    The exit status is the command's. Nothing of Larder reaches stdout.
    """
    sys.exit(
        supervise.main(
            command,
            project=project,
            name=name,
            tags=tags,
            notes=notes,
            params=output.pairs(params, "--param"),
        )
    )
