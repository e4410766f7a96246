"""What follows when a job waits or ends: the log, and who is woken."""

import msgspec

from larder.contract.errors import NotFound
from larder.contract.ids import is_id
from larder.contract.queues import Job
from larder_server.kernel.context import Context
from larder_server.kernel.outbox import Event
from larder_server.queues import events, store


def waits(job: Job) -> Event:
    """That a job waits; wakes one agent that could hold it."""
    needs = {name: value for name, value in msgspec.to_builtins(job.needs).items() if value}
    return events.job_waiting(job.id, queue=job.queue, needs=needs)


def ended(context: Context, job: Job, *, cause: str = "") -> None:
    """A job's stay has ended, before its row changes: write the log, wake those for whom there is room now."""
    store.log_stay(context, job, now=context.clock.now(), cause=cause)
    release(context, job)
    if job.state != "leased":
        return
    context.emit(events.job_ended(job.id, queue=job.queue, agent=job.agent))
    if job.owner and store.policy(context, job.queue).limit_per_user:
        # the user's next job was passed over so far, perhaps by agents that have nothing to do
        following = store.first_waiting(context, job.queue, owner=job.owner)
        if following is not None:
            context.signal(waits(following))


def release(context: Context, job: Job) -> None:
    """The agent that takes nothing else before this job is free to do so."""
    reserved = store.reserved_by(context, job.id) if job.state == "waiting" else ""
    if reserved:
        context.signal(events.agent_called(reserved, why="reserved"))


def found(context: Context, job_id: str, *, field: str = "") -> Job:
    """The job, kept as it is until the end of the transaction; NotFound."""
    job = store.by_id(context, job_id) if is_id(job_id) else None
    if job is None:
        raise NotFound(f"there is no job {job_id[:100]}", field=field)
    return job
