"""What queues announce."""

from typing import Any

from larder_server.kernel.outbox import Event

JOB_WAITING = "queues.job_waiting"
JOB_ENDED = "queues.job_ended"
UNHEARD = "unheard"
"""The cause of a lease that expired without a word of its holder, who may never have heard of it."""

LEASE_EXPIRED = "queues.lease_expired"
AGENT_CALLED = "queues.agent_called"
AGENT_SEEN = "queues.agent_seen"


def job_waiting(job_id: str, *, queue: str, needs: dict[str, Any]) -> Event:
    return Event(name=JOB_WAITING, subject=job_id, data={"queue": queue, "needs": needs})


def job_leased(job_id: str, *, queue: str, agent: str, fence: int) -> Event:
    return Event(name="queues.job_leased", subject=job_id, data={"queue": queue, "agent": agent, "fence": fence})


def job_ended(job_id: str, *, queue: str, agent: str) -> Event:
    return Event(name=JOB_ENDED, subject=job_id, data={"queue": queue, "agent": agent})


def lease_expired(subject: str, *, kind: str, fence: int, agent: str, cause: str) -> Event:
    """`cause`: `agent_lost`, `preempted`, UNHEARD, or empty for a job that never began."""
    return Event(
        name=LEASE_EXPIRED, subject=subject, data={"kind": kind, "fence": fence, "agent": agent, "cause": cause}
    )


def job_moved(job_id: str, *, queue: str) -> Event:
    return Event(name="queues.job_moved", subject=job_id, data={"queue": queue})


def policy_changed(queue: str, *, policy: dict[str, Any]) -> Event:
    return Event(name="queues.policy_changed", subject=queue, data=policy)


def agent_called(agent: str, *, why: str) -> Event:
    """The agent shall ask again: it was asked to end, or what it waited for is gone."""
    return Event(name=AGENT_CALLED, subject=agent, data={"agent": agent, "why": why})


def agent_seen(agent: str) -> Event:
    """An agent gave a sign of life, with its load: a signal for those who look, never written down."""
    return Event(name=AGENT_SEEN, subject=agent, data={"agent": agent})
