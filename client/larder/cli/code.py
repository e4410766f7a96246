"""`larder code`: bring back the code of a run."""

from pathlib import Path

import click

from larder.agent import workspace
from larder.cli import output
from larder.runs import get


@click.group()
def code() -> None:
    """Bring back the code of a run."""


@code.command("restore")
@click.argument("run")
@click.argument("folder", required=False, type=click.Path(file_okay=False, path_type=Path))
@output.as_json
def restore(run: str, folder: Path | None, as_json: bool) -> None:
    """Make a tree with the code of RUN, uncommitted changes and untracked files included; prints its path.

    FOLDER must be new or empty; it is named after the run unless given.
    """
    found = get(run)
    target = folder or Path(f"{found.name or 'run'}-{found.short}".replace("/", "-"))
    if target.exists() and any(target.iterdir()):
        raise click.UsageError(f"{target} is not empty; name another folder.")
    tree = workspace.restore(found, target.absolute())
    if as_json:
        output.document({"folder": str(target), "tree": tree})
    else:
        click.echo(str(target))
    if tree:
        output.say(f"The tree has the recorded hash {tree}.")
