"""`larder agent`: execute queued runs on this machine."""

from pathlib import Path

import click

from larder import config, needs
from larder.agent import machine, workspace
from larder.agent.executors import Executor
from larder.agent.executors.container import ContainerExecutor
from larder.agent.executors.process import ProcessExecutor
from larder.agent.warm import WarmExecutor
from larder.agent.worker import MOST_PROCESSES, Agent
from larder.cli import output
from larder.contract import tenants
from larder.contract.endpoint import Nothing
from larder.contract.errors import Invalid, Unavailable


@click.group()
def agent() -> None:
    """Execute queued runs on this machine."""


@agent.command("start")
@click.option(
    "--queue", "-q", "queues", multiple=True, default=["default"], show_default=True, help="Queues, first ones first."
)
@click.option("--slots", default=1, show_default=True, type=click.IntRange(1, 64), help="Runs executed at a time.")
@click.option("--gpus", default=None, metavar="0,1", help="The GPUs to give to runs; all that nvidia-smi shows.")
@click.option("--cpu-only", is_flag=True, help="Give no GPU to runs.")
@click.option("--memory", default="", metavar="SIZE", help="Memory to give to runs, such as 16GB; all of the machine.")
@click.option(
    "--processes",
    default=MOST_PROCESSES,
    show_default=True,
    type=click.IntRange(1),
    help="Processes and threads that one run may have.",
)
@click.option("--labels", multiple=True, metavar="KEY=VALUE,…", help="What a run may ask for with `--needs label.KEY`.")
@click.option(
    "--executor",
    "wanted",
    type=click.Choice(["process", "container"]),
    default="process",
    show_default=True,
    help="How runs are executed that do not say it themselves.",
)
@click.option("--cold", is_flag=True, help="Start each run in a fresh interpreter.")
@click.option("--name", default="", help="Name of the agent; host and process unless given.")
@click.option("--grace", default=30.0, show_default=True, type=click.FloatRange(0), help="Seconds a run has to end.")
def start(
    queues: tuple[str, ...],
    slots: int,
    gpus: str | None,
    cpu_only: bool,
    memory: str,
    processes: int,
    labels: tuple[str, ...],
    wanted: str,
    cold: bool,
    name: str,
    grace: float,
) -> None:
    """Lease queued runs and execute them until stopped.

    SIGTERM or Ctrl-C: lease nothing more, finish what runs within --grace seconds, else give it back to its queue.
    A second one: give it back at once.
    """
    if cpu_only and gpus is not None:
        raise click.UsageError("--gpus and --cpu-only exclude one another.")
    settings = workspace.Settings.load(cold=cold)
    executors = _executors(wanted, cold=cold, home=settings.home, slots=slots)
    capacity = machine.capacity(
        slots=slots,
        gpus=[] if cpu_only else _indexes(gpus),
        memory=needs.size(memory, "--memory") if memory else 0,
        labels=_labels(labels),
        executors=[executor.name for executor in executors],
    )
    transport = config.connect()
    try:
        who = transport.call(tenants.WHOAMI, Nothing())  # a refused token is said now, not at the first run
        output.say(f"{transport.url} as {who.user} ({who.role})")
    except Unavailable as problem:  # it may be starting, too, as after a power cut
        output.say(f"{problem}; asking until it answers")
    try:
        Agent(
            transport,
            [part for each in queues for part in _parts(each)],
            executors=executors,
            name=name,
            capacity=capacity,
            grace=grace,
            settings=settings,
            processes=processes,
            say=output.say,
        ).run_forever()
    finally:
        for executor in executors:
            executor.close()


def _executors(wanted: str, *, cold: bool, home: Path, slots: int) -> list[Executor]:
    process: Executor = ProcessExecutor()
    if not cold:
        process = WarmExecutor(ahead=slots, stable=[home / "environments"], say=output.say)
    container = ContainerExecutor.find()
    if container is None:
        if wanted == "container":
            raise Invalid(
                "Neither podman nor docker works on this machine.",
                hint="Install podman, or start without --executor container.",
            )
        return [process]
    container.sweep()
    return [container, process] if wanted == "container" else [process, container]


def _indexes(text: str | None) -> list[int] | None:
    if text is None:
        return None
    try:
        return [int(part) for part in _parts(text)]
    except ValueError:
        raise click.UsageError(f"--gpus {text!r}: write the indexes of nvidia-smi, such as 0,1.") from None


def _labels(given: tuple[str, ...]) -> dict[str, str]:
    labels = {}
    for part in (part for each in given for part in _parts(each)):
        name, equals, value = part.partition("=")
        if not equals or not name:
            raise click.UsageError(f"--labels {part!r}: write site=lab.")
        labels[name] = value
    return labels


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]
