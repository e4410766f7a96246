"""Where jobs stand: put in, moved, taken out; and the policy by which a queue gives them away."""

import dataclasses

import msgspec

from larder.contract.errors import Conflict, Invalid
from larder.contract.ids import new_id
from larder.contract.queues import ChangePolicy, Job, Move, Needs, Priority, Queue
from larder_server.kernel.context import Context
from larder_server.queues import events, rules, store
from larder_server.queues.service import seeing
from larder_server.queues.service.endings import ended, found, release, waits

NOTHING = Needs()


def check_needs(needs: Needs) -> Needs:
    """What a job will need, in its plain form; Invalid when it makes no sense."""
    return rules.check_needs(needs)


def put(
    context: Context,
    queue: str,
    *,
    kind: str,
    subject: str,
    needs: Needs = NOTHING,
    priority: Priority | None = None,
    owner: str = "",
    team: str = "",
    expected: float | None = None,
    fence: int = 0,
) -> Job:
    """Put a job at the end of its class in a queue; its leases are counted on from `fence`.

    Unless said, the priority is that of who asks (a run: automatic), the owner who asks, and the team theirs.
    Conflict when the subject waits or is leased already, or the queue is draining; Invalid.
    """
    rules.queue_name(queue)
    needs = rules.check_needs(needs)
    if (present := store.by_subject(context, kind=kind, subject=subject)) is not None:
        raise Conflict(f"{kind} {subject} is in queue {present.queue} already ({present.state})")
    rules.check_open(queue, store.policy(context, queue))
    priority = priority or (Priority.AUTOMATIC if context.run else Priority.HUMAN)
    last = store.end_of(context, queue)
    job = Job(
        id=new_id(), queue=queue, kind=kind, subject=subject, state="waiting", fence=fence,
        position=0 if last is None else last + rules.GAP, created=context.clock.now(), priority=priority,
        owner=owner or context.user, team=team or ("" if owner and owner != context.user else context.team),
        needs=needs, expected=expected,
    )  # fmt: skip
    store.insert(context, job, rank=rules.rank(priority))
    context.emit(waits(job))
    return job


def put_back(context: Context, *, kind: str, subject: str, cause: str) -> bool:
    """Put the leased job of a subject back at its place, because its run is to be tried again; whether it was leased.

    Its holder loses the lease. Unlike when an agent gives it back, nobody is told that the lease has expired.
    """
    job = store.by_subject(context, kind=kind, subject=subject)
    if job is None or job.state != "leased":
        return False
    ended(context, job, cause=cause)
    store.put_back(context, job.id, now=context.clock.now(), cause=cause)
    context.emit(waits(job))
    return True


def remove(context: Context, *, kind: str, subject: str) -> bool:
    """Take the job of a subject out of its queue, leased or not; whether there was one."""
    job = store.by_subject(context, kind=kind, subject=subject)
    if job is not None:
        ended(context, job)
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


def move(context: Context, order: Move, job_id: str) -> Job:
    """Move a waiting job to the top, to the bottom or before another one, in its queue or another.

    It takes the class of its new neighbours. At the top, and where a queue has shares, it is pinned: it keeps its
    place whatever is put in later and whosever turn it is.
    """
    job = found(context, job_id)
    rules.check_movable(job)
    queue = rules.queue_name(order.queue or job.queue)
    if order.before:
        other = found(context, order.before, field="before")
        rules.check_movable(other)
        if order.queue and other.queue != order.queue:
            raise Invalid(f"job {other.id} waits in queue {other.queue}, not in {order.queue}", field="before")
        if other.id == job.id:
            return job
        queue = other.queue
        _check_open(context, job, queue)
        _place_before(context, job, other)
    elif order.to == "top":
        _check_open(context, job, queue)
        first = store.first_waiting(context, queue)
        position = rules.between(None, store.end_of(context, queue, first=True)) or 0
        priority = job.priority if first is None or first.id == job.id else first.priority
        store.place(context, job.id, queue=queue, position=position, rank=rules.PINNED, priority=priority)
    elif order.to == "bottom":
        _check_open(context, job, queue)
        _place_last(context, job, queue)
    else:
        raise Invalid(f"a job moves to 'top' or 'bottom', or 'before' another, not to {order.to!r}", field="to")
    context.emit(events.job_moved(job.id, queue=queue))
    moved = found(context, job.id)
    if queue != job.queue:
        store.enter(context, job.id, now=context.clock.now())
        context.emit(waits(moved))
    return moved


def _check_open(context: Context, job: Job, queue: str) -> None:
    """Whether the queue takes the job; where it leaves another, that stay has ended."""
    release(context, job)
    if queue != job.queue:
        rules.check_open(queue, store.policy(context, queue))
        store.log_stay(context, job, now=context.clock.now(), cause="moved")


def _place_last(context: Context, job: Job, queue: str) -> None:
    # the job itself must not be its own neighbour: it leaves first
    at = rules.between(store.end_of(context, queue), None) or 0
    last = max(
        (place for place in store.places(context, queue) if place.id != job.id),
        key=lambda place: place.key,
        default=None,
    )
    rank, priority = rules.rank(job.priority), job.priority
    if last is not None:
        rank, priority = last.rank, found(context, last.id).priority
    store.place(context, job.id, queue=queue, position=at, rank=rank, priority=priority)


def _place_before(context: Context, job: Job, other: Job) -> None:
    policy = store.policy(context, other.queue)
    if policy.shares and store.rank_of(context, other.id) != rules.PINNED:
        # whose turn it is changes with every lease; only pinned jobs stand still, so all that stand before it are pinned
        leased = {one.team: 0 for one in store.leased_counts(context, other.queue)}
        for one in store.leased_counts(context, other.queue):
            leased[one.team] += one.leased
        listed = [id for id in rules.order(store.places(context, other.queue), policy.shares, leased) if id != job.id]
        first = [*listed[: listed.index(other.id)], job.id]
        lowest = store.end_of(context, other.queue, first=True) or 0
        positions = [lowest - rules.GAP * (len(first) - index) for index in range(len(first))]
        store.place(context, job.id, queue=other.queue, position=0, rank=rules.PINNED, priority=other.priority)
        store.pin(context, first, positions=positions, rank=rules.PINNED)
        return
    rank = store.rank_of(context, other.id)
    position = rules.between(store.position_before(context, other, rank=rank), other.position)
    if position is None:
        store.spread(context, other.queue, gap=rules.GAP)
        other = found(context, other.id)
        position = rules.between(store.position_before(context, other, rank=rank), other.position)
        assert position is not None, "jobs were spread just now"
    store.place(context, job.id, queue=other.queue, position=position, rank=rank, priority=other.priority)


def change(context: Context, order: ChangePolicy, queue: str) -> Queue:
    """Change how a queue gives its jobs away. Invalid."""
    rules.queue_name(queue)
    before = store.policy(context, queue, lock=True)
    given = {name: value for name, value in vars(order).items() if value is not None}
    policy = rules.check_policy(dataclasses.replace(before, **given))
    if policy != before:
        store.set_policy(context, queue, policy)
        context.emit(events.policy_changed(queue, policy=msgspec.to_builtins(policy)))
        if not policy.paused:
            # what was passed over may be given away now, to as many agents as wait
            for job in store.waiting_in(context, queue):
                context.signal(waits(job))
    return next(one for one in seeing.every_with(context, queue).queues if one.name == queue)
