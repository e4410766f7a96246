"""`larder agent`: execute queued runs on this machine."""

import functools

import click

from larder import config
from larder.agent.executors.process import ProcessExecutor
from larder.agent.worker import Agent
from larder.cli import output
from larder.contract import tenants
from larder.contract.endpoint import Nothing


@click.group()
def agent() -> None:
    """Execute queued runs on this machine."""


@agent.command("start")
@click.option("--queue", "-q", "queues", multiple=True, default=["default"], show_default=True, help="In order.")
@click.option("--slots", default=1, show_default=True, type=click.IntRange(1, 64), help="Runs executed at a time.")
@click.option("--name", default="", help="Name of the agent; host and process unless given.")
@click.option("--grace", default=30.0, show_default=True, type=click.FloatRange(0), help="Seconds a run has to end.")
def start(queues: tuple[str, ...], slots: int, name: str, grace: float) -> None:
    """Lease queued runs and execute them until stopped.

    SIGTERM or Ctrl-C: lease nothing more, finish what runs within --grace seconds, else give it back to its queue.
    """
    transport = config.connect()
    who = transport.call(tenants.WHOAMI, Nothing())  # a refused token is said now, not at the first run
    output.say(f"{transport.url} as {who.user} ({who.role})")
    Agent(
        transport,
        queues,
        name=name,
        executor=functools.partial(ProcessExecutor, grace=grace),
        slots=slots,
        grace=grace,
        say=output.say,
    ).run_forever()
