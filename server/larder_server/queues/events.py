"""What queues announce."""

from larder_server.kernel.outbox import Event

JOB_WAITING = "queues.job_waiting"
LEASE_EXPIRED = "queues.lease_expired"


def job_waiting(job_id: str, *, queue: str) -> Event:
    return Event(name=JOB_WAITING, subject=job_id, data={"queue": queue})


def job_leased(job_id: str, *, queue: str, agent: str, fence: int) -> Event:
    return Event(name="queues.job_leased", subject=job_id, data={"queue": queue, "agent": agent, "fence": fence})


def lease_expired(subject: str, *, kind: str, fence: int, agent: str) -> Event:
    return Event(name=LEASE_EXPIRED, subject=subject, data={"kind": kind, "fence": fence, "agent": agent})


def job_moved(job_id: str, *, queue: str) -> Event:
    return Event(name="queues.job_moved", subject=job_id, data={"queue": queue})
