"""Agents: see who executes what, and ask one to end."""

from larder import config
from larder.contract import queues
from larder.contract.endpoint import Nothing
from larder.transport import Transport


def find(*, transport: Transport | None = None) -> list[queues.Agent]:
    """The agents that were heard within a day, with their load and what they execute."""
    return (transport or config.connect()).call(queues.AGENTS, Nothing()).agents


def history(name: str, *, limit: int = 50, transport: Transport | None = None) -> list[queues.Stay]:
    """What an agent executes and has executed, the newest first."""
    query = queues.StaysQuery(limit=limit)
    return (transport or config.connect()).call(queues.AGENT_HISTORY, query, agent=name).stays


def drain(name: str, *, transport: Transport | None = None) -> None:
    """Ask an agent to lease nothing more and to end after its work."""
    (transport or config.connect()).call(queues.DRAIN_AGENT, Nothing(), agent=name)
