"""`larder run`: run a command untouched and record it, here or on the machine of an agent."""

import functools
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click

from larder import ranks, supervise
from larder.cli import output
from larder.contract.runs import Cause
from larder.ranks import Group
from larder.recording import dry

_REMOTE = (
    "needs", "image", "retry", "retry_on", "priority", "environment", "requirements", "dry_steps", "wait", "follow",
    "as_json",
)  # fmt: skip
"""What is said of a run that an agent executes, and means nothing without a queue."""


@click.command("run", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option("--project", "-p", default="", help="Project of the run.")
@click.option("--name", default="", help="Name of the run.")
@click.option("--tag", "tags", multiple=True)
@click.option("--notes", default="")
@click.option("--param", "-P", "params", multiple=True, metavar="NAME=VALUE", help="A parameter to record beside.")
@click.option("--nproc-per-node", "processes", type=click.IntRange(1), metavar="N", help="Start N ranks with torchrun.")
@click.option("--max-restarts", "restarts", type=click.IntRange(0), default=0, help="Of all ranks, when one is lost.")
@click.option(
    "--data",
    "pins",
    multiple=True,
    metavar="ADDRESS[=FOLDER]",
    help="Pin it to this data version: brought here, or the folder is checked; LARDER_DATA_NAME says where it lies.",
)
@click.option("--queue", "-q", metavar="QUEUE", help="Put it into this queue instead, for an agent to execute.")
@click.option("--needs", metavar="NEEDS", help="What it needs of a machine, as gpus=1,memory=8GB,time=2h.")
@click.option("--image", help="Container image to execute it in.")
@click.option(
    "--env", "environment", metavar="ENV", help="Its packages: recorded, inherit, or a path of an interpreter."
)
@click.option(
    "--add-requirement",
    "--with",
    "requirements",
    multiple=True,
    metavar="REQUIREMENT",
    help="A package to add, as lightgbm>=4.",
)
@click.option(
    "--retry", type=click.IntRange(0), metavar="N", help="How often it is tried again by itself.  [default: 3]"
)
@click.option(
    "--retry-on",
    multiple=True,
    type=click.Choice([cause.value for cause in Cause if cause]),
    help="For which causes.  [default: agent_lost, preempted]",
)
@click.option("--priority", type=click.Choice(["human", "automatic"]), help="Its class in the queue.")
@click.option("--dry-steps", type=click.IntRange(1), metavar="N", help="Run N steps here first, and compare them.")
@click.option(
    "--tolerance", type=click.FloatRange(0), default=0.001, show_default=True, help="Relative, with --dry-steps."
)
@click.option(
    "--compare", "only", multiple=True, metavar="METRIC", help="Only these metrics, with --dry-steps; * fits all."
)
@click.option("--wait", is_flag=True, help="Wait until it has ended; exit with 1 unless it completed.")
@click.option("--follow", "-f", is_flag=True, help="Print its console until it has ended, as --wait.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of the id.")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@click.pass_context
def run(context: click.Context, /, command: tuple[str, ...], **options: Any) -> None:
    """Run COMMAND untouched and record its arguments, output, code, packages and how it ended.

    \b
    larder run -- python train.py --lr 1e-3
    larder run --queue gpu --needs gpus=1,memory=8GB -- python train.py --lr 1e-3

    Here, the exit status is the command's, and nothing of Larder reaches stdout. Into a queue go the command and the
    code of this folder as they are now, and the id of the run is printed.
    """
    group = None
    if options["processes"] is not None:
        group = Group(processes=options["processes"], restarts=options["restarts"])
    elif options["restarts"]:
        raise click.UsageError("--max-restarts needs --nproc-per-node: it is torchrun that starts them again.")
    params = output.pairs(options["params"], "--param")
    if options["pins"] and options["queue"] is not None:
        raise click.UsageError("--data pins a run that starts here; for an agent, call larder.data.get in the script.")
    if options["queue"] is None:
        for parameter in context.command.params:
            if parameter.name in _REMOTE and options[parameter.name]:
                raise click.UsageError(f"{parameter.opts[0]} needs --queue: here the command runs as it is.")
        sys.exit(_here(command, group, params, tags=options["tags"], options=options).exit_status)
    from larder.cli import submitting  # not on top: a command that runs here does not wait for what a queue takes

    def rehearse(steps: int) -> supervise.Recorded:
        return _here(command, group, params, tags=[*options["tags"], "dry"], options=options, steps=steps)

    submitting.submit(command, group, params, options, rehearse=rehearse)


def _here(
    command: Sequence[str],
    group: Group | None,
    params: Mapping[str, Any],
    *,
    tags: Sequence[str],
    options: Mapping[str, Any],
    steps: int = 0,
) -> supervise.Recorded:
    if group is not None:
        from larder import submission  # as in `run`

        ranks.launched(command, group)
        submission.needs_torch(submission.installed_for(command[0]), (), command[0])
    env = {dry.STEPS: str(steps)} if steps else {}
    begun: Callable[[str], None] = _nothing
    if options["pins"]:
        from larder.data import pinning  # as in `run`

        # Refused before there is a run: what was altered, or cannot be brought, starts nothing.
        pinned = pinning.pin(options["pins"], project=options["project"])
        env |= {each.variable: str(each.path) for each in pinned}

        begun = functools.partial(pinning.record, pinned)

    return supervise.main(
        command,
        project=options["project"],
        name=options["name"],
        tags=tags,
        notes=options["notes"],
        params=params,
        group=group,
        env=env,
        begun=begun,
        # Beside an id on stdout nobody looks for the lines of a rehearsal.
        output=2 if steps else 1,
    )


def _nothing(run: str) -> None:
    """What there is to say of a run without pinned data."""
