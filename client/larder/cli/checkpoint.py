"""`larder checkpoint`: the states that a run has kept, to continue from."""

from pathlib import Path

import click

from larder import checkpoints
from larder.cli import output
from larder.runs import get


@click.group()
def checkpoint() -> None:
    """List and fetch the states that runs have kept."""


@checkpoint.command("ls")
@click.argument("run")
@output.as_json
def ls(run: str, as_json: bool) -> None:
    """List the checkpoints of RUN by step, with the metrics of that moment."""
    found = checkpoints.of(get(run))
    rows = [
        {
            "step": each.step,
            "name": each.name,
            "version": each.version,
            "format": each.artifact.format,
            "bytes": each.artifact.size,
            "created": each.artifact.record.created,
            "metrics": each.metrics,
        }
        for each in found
    ]
    if as_json:
        output.document(rows)
        return
    for row, each in zip(rows, found, strict=True):
        row["bytes"] = output.size(each.artifact.size)
        row["created"] = output.moment(each.artifact.record.created)
        row["metrics"] = " ".join(f"{name}={value:.6g}" for name, value in sorted(each.metrics.items()))
    output.table(rows, ("step", "name", "version", "format", "bytes", "created", "metrics"), heads={"bytes": "size"})
    if not found:
        output.say("The run has no checkpoints; run.log_checkpoint(state) keeps one.")


@checkpoint.command("get")
@click.argument("address")
@click.argument("folder", required=False, default=".", type=click.Path(file_okay=False, path_type=Path))
@output.as_json
def fetch(address: str, folder: Path, as_json: bool) -> None:
    """Fetch a checkpoint into FOLDER (by default here); prints the path of its file or folder.

    ADDRESS is RUN@last, RUN@120 (the step) or RUN@best:METRIC; RUN@lowest:METRIC and RUN@highest:METRIC where the name
    of the metric does not say which way is better.
    """
    found = checkpoints.find(address)
    with output.progress(found.artifact.size, found.name) as bar:
        path = found.artifact.download(folder, advance=bar.update)
    if as_json:
        output.document({"path": str(path), "run": found.run, "step": found.step, "metrics": found.metrics})
    else:
        click.echo(str(path))
    output.say(f"{found.name} of run {found.run[-8:]} after step {found.step}")
