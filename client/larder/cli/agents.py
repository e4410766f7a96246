"""`larder agents`: who executes what."""

import time

import click

from larder.agents import drain, find
from larder.cli import output
from larder.contract.queues import Agent
from larder.runs import SHORT


@click.group()
def agents() -> None:
    """See who executes queued runs, and ask an agent to end."""


@agents.command("ls")
@output.as_json
def ls(as_json: bool) -> None:
    """List the agents with their load and the runs that they execute."""
    found = find()
    if as_json:
        output.document(found)
        return
    rows = [
        {
            "agent": agent.name,
            "state": agent.state,
            "queues": ",".join(agent.queues),
            "slots": f"{len(agent.jobs)}/{agent.capacity.slots}",
            "load": _load(agent),
            "runs": " ".join(job.subject[-SHORT:] for job in agent.jobs),
            "host": agent.host,
            "version": agent.version,
            "seen": output.duration(max(0.0, time.time() - agent.seen / 1e6)) + " ago",
        }
        for agent in found
    ]
    output.table(rows, ["agent", "state", "queues", "slots", "load", "runs", "host", "version", "seen"])
    if not rows:
        output.say("No agents yet. `larder agent start` makes this machine one.")


@agents.command("drain")
@click.argument("name")
def drain_agent(name: str) -> None:
    """Ask an agent to lease nothing more and to end after its work."""
    drain(name)
    output.say(f"{name} finishes what it executes, then ends.")


def _load(agent: Agent) -> str:
    """Share of the processors, then of each GPU, that is in use."""
    if agent.state == "gone":
        return ""
    gpus = [f"{share:.0%}" for share in agent.load.gpus]
    return f"cpu {agent.load.cpu:.0%}" + (f" gpu {' '.join(gpus)}" if gpus else "")
