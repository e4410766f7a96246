"""What one can do with a queue. It does not know what a job is about."""

from larder.contract.endpoint import Nothing
from larder.contract.errors import Conflict, Invalid, NotFound
from larder.contract.ids import is_id, new_id
from larder.contract.queues import Hold, Job, Jobs, Lease, LeaseRequest, Move, Queues, Renewal
from larder_server.kernel.context import Context
from larder_server.queues import events, rules, store


def put(context: Context, queue: str, *, kind: str, subject: str) -> Job:
    """Put a job at the end of a queue; Conflict when the subject waits or is leased already."""
    rules.queue_name(queue)
    if (present := store.by_subject(context, kind=kind, subject=subject)) is not None:
        raise Conflict(f"{kind} {subject} is in queue {present.queue} already ({present.state})")
    last = store.last_position(context, queue)
    job = Job(id=new_id(), queue=queue, kind=kind, subject=subject, state="waiting", fence=0,
              position=0 if last is None else last + rules.GAP, created=context.clock.now())  # fmt: skip
    store.insert(context, job)
    context.emit(events.job_waiting(job.id, queue=queue))
    return job


def remove(context: Context, *, kind: str, subject: str) -> bool:
    """Take the job of a subject out of its queue, leased or not; whether there was one."""
    job = store.by_subject(context, kind=kind, subject=subject)
    if job is not None:
        store.delete(context, job.id)
    return job is not None


def check_fence(context: Context, *, kind: str, subject: str, fence: int) -> Job:
    """The leased job of a subject; Conflict unless `fence` is that of its living lease."""
    job = store.by_subject(context, kind=kind, subject=subject)
    if job is None:
        raise Conflict(f"{kind} {subject} is leased to nobody", hint="lease a job first")
    rules.check_holder(job, fence)
    return job


def ask_stop(context: Context, *, kind: str, subject: str) -> bool:
    """Ask the holder of a subject's job to stop; it hears so at its next renewal. Whether there is a holder."""
    job = store.by_subject(context, kind=kind, subject=subject)
    if job is None or job.state != "leased":
        return False
    store.set_stop(context, job.id)
    return True


def lease(context: Context, order: LeaseRequest) -> Lease:
    """Lease the first job of the first queue that has one; an empty lease when all are empty."""
    if not order.queues or len(order.queues) > 100:
        raise Invalid("an agent names 1 to 100 queues", field="queues")
    agent = rules.agent_name(order.agent)
    expires = context.clock.now() + int(rules.LEASE_SECONDS * 1_000_000)
    for queue in [rules.queue_name(queue) for queue in order.queues]:
        job = store.take(context, queue, agent=agent, expires=expires)
        if job is not None:
            context.emit(events.job_leased(job.id, queue=queue, agent=agent, fence=job.fence))
            return Lease(job=job, seconds=rules.LEASE_SECONDS)
    return Lease(seconds=rules.LEASE_SECONDS)


def renew(context: Context, hold: Hold, job_id: str) -> Renewal:
    """Prolong a lease; Conflict when it has been given to another agent, NotFound when its job is gone."""
    job = _held(context, job_id, hold)
    expires = context.clock.now() + int(rules.LEASE_SECONDS * 1_000_000)
    store.renew(context, job.id, expires=expires)
    return Renewal(expires=expires, stop=store.stop_asked(context, job.id))


def complete(context: Context, hold: Hold, job_id: str) -> Nothing:
    """End a leased job; it leaves the queue."""
    store.delete(context, _held(context, job_id, hold).id)
    return Nothing()


def give_back(context: Context, hold: Hold, job_id: str) -> Nothing:
    """Put a leased job back at its place; it can be leased again at once."""
    job = _held(context, job_id, hold)
    store.put_back(context, job.id)
    context.emit(events.lease_expired(job.subject, kind=job.kind, fence=job.fence, agent=job.agent))
    context.emit(events.job_waiting(job.id, queue=job.queue))
    return Nothing()


def expire(context: Context) -> int:
    """Put back every job whose agent has been silent for too long; how many."""
    jobs = store.expired(context, now=context.clock.now())
    for job in jobs:
        store.put_back(context, job.id)
        context.emit(events.lease_expired(job.subject, kind=job.kind, fence=job.fence, agent=job.agent))
        context.emit(events.job_waiting(job.id, queue=job.queue))
    return len(jobs)


def every(context: Context, _: Nothing) -> Queues:
    """All queues that hold jobs."""
    return Queues(queues=store.queues(context))


def show(context: Context, _: Nothing, queue: str) -> Jobs:
    """The jobs of a queue: leased ones, then waiting ones in order."""
    return Jobs(jobs=store.in_queue(context, rules.queue_name(queue)))


def move(context: Context, order: Move, job_id: str) -> Job:
    """Move a waiting job to the top, to the bottom or before another one, in its queue or another."""
    job = _found(context, job_id)
    rules.check_movable(job)
    queue = rules.queue_name(order.queue or job.queue)
    if order.before:
        other = _found(context, order.before, field="before")
        rules.check_movable(other)
        if order.queue and other.queue != order.queue:
            raise Invalid(f"job {other.id} waits in queue {other.queue}, not in {order.queue}", field="before")
        queue = other.queue
        if other.id == job.id:
            return job
        position = rules.between(store.position_before(context, other), other.position)
        if position is None:
            store.spread(context, queue, gap=rules.GAP)
            other = _found(context, order.before, field="before")
            position = rules.between(store.position_before(context, other), other.position)
            assert position is not None, "jobs were spread just now"
    elif order.to == "top":
        position = rules.between(None, store.first_position(context, queue)) or 0
    elif order.to == "bottom":
        position = rules.between(store.last_position(context, queue), None) or 0
    else:
        raise Invalid(f"a job moves to 'top' or 'bottom', or 'before' another, not to {order.to!r}", field="to")
    store.place(context, job.id, queue=queue, position=position)
    context.emit(events.job_moved(job.id, queue=queue))
    if queue != job.queue:
        context.emit(events.job_waiting(job.id, queue=queue))
    return _found(context, job.id)


def _found(context: Context, job_id: str, *, field: str = "") -> Job:
    job = store.by_id(context, job_id) if is_id(job_id) else None
    if job is None:
        raise NotFound(f"there is no job {job_id[:100]}", field=field)
    return job


def _held(context: Context, job_id: str, hold: Hold) -> Job:
    job = store.by_id(context, job_id) if is_id(job_id) else None
    if job is None:
        raise NotFound(f"there is no job {job_id[:100]}: it ended, or its run was stopped or deleted",
                       hint="end this work")  # fmt: skip
    rules.check_holder(job, hold.fence)
    return job
