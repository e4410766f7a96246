"""Who is given which job, for how long, and what becomes of it when its holder goes."""

from collections.abc import Callable
from dataclasses import dataclass

from larder.contract.endpoint import Nothing
from larder.contract.errors import Invalid, NotFound
from larder.contract.ids import is_id
from larder.contract.queues import Capacity, GiveBack, Hold, Job, Lease, LeaseRequest, Load, Policy, Renewal
from larder_server.kernel.context import Context
from larder_server.kernel.memory import Recollection
from larder_server.kernel.outbox import Event
from larder_server.queues import events, rules, store
from larder_server.queues.service.endings import ended, waits
from larder_server.tenants import service as tenants

_SEEN = "queues.agents_seen"
_EMPTY = "queues.empty"
_TOLD = "queues.agents_told"

_EMPTY_FOR, _TOLD_FOR = 5.0, 600.0
"""Seconds after which the database is asked again about what nobody has said to be otherwise."""


Keep = Callable[[str, str, bool], bool]
"""Locks what a job is about, told its kind, its subject, and whether to wait for another who has it; False when one has.

Whoever changes both locks the subject before the job: in one order, nobody waits for somebody who waits for him.
"""


@dataclass(frozen=True, kw_only=True)
class _Choice:
    """The job that is next for an agent, or, with `reserve`, the one for which it shall keep itself free."""

    job: store.Candidate
    gpus: tuple[int, ...] = ()
    reserve: bool = False


@dataclass(kw_only=True)
class _Told:
    """What an agent has said of itself, as it is written down, and when it was last heard."""

    queues: list[str]
    capacity: Capacity | None
    host: str
    version: str
    seen: int


def surely_idle(known: Recollection, order: LeaseRequest) -> bool:
    """Whether `worth_leasing` would say no, by what was found before: the agent says nothing new and its queues are
    empty. A queue that holds anything is looked at each time, since much may make its jobs this agent's. A sign of
    life goes into the notes."""
    told: _Told | None = known.recall(_TOLD, order.agent)
    now = known.clock.now()
    if told is None or order.repeated or _differs(told, order, now):
        return False
    if not all(known.recall(_EMPTY, queue) for queue in order.queues):
        return False
    if now - told.seen >= rules.SEEN_EVERY:
        told.seen = now
        known.note(_SEEN, order.agent, (now, order.load))
    return True


def empty_until(event: Event) -> tuple[str, str]:
    """The fact that ends when a job waits."""
    return _EMPTY, event.data["queue"]


def told_until(event: Event) -> tuple[str, str]:
    """The fact that ends when an agent is called: it may be asked to end."""
    return _TOLD, event.data["agent"]


def worth_leasing(context: Context, order: LeaseRequest) -> bool:
    """For a view: whether `lease` would change something. A sign of life goes into the notes."""
    _check(order)
    known = store.agent(context, order.agent)
    now = context.clock.now()
    if known is None or known.drain or order.repeated or _differs(known, order, now):
        return True
    seen = known.seen
    if now - seen >= rules.SEEN_EVERY:
        seen = now
        context.note(_SEEN, order.agent, (now, order.load))
    _remember_told(context, order, seen=seen)
    # most who ask find nothing at all: that must cost next to nothing
    if store.any_waiting(context, order.queues):
        return _next(context, order, without=set(), lock=False) is not None
    for queue in order.queues:
        context.remember(_EMPTY, queue, True, seconds=_EMPTY_FOR)
    return False


def lease(context: Context, order: LeaseRequest, *, keep: Keep | None = None) -> Lease:
    """Lease the first job that is to be had and for which the agent has room; an empty lease when there is none.

    To a repeated question the job that was given for it, if its lease still lives.
    """
    keep = keep or (lambda *_: True)
    _check(order)
    now = context.clock.now()
    known = store.agent(context, order.agent, lock=True)
    drain = known is not None and known.drain and now - known.seen < rules.DRAINED_AFTER
    if known is None or drain != known.drain or _differs(known, order, now) or now - known.seen >= rules.SEEN_EVERY:
        again = known is not None and now - known.seen < rules.SILENCE and drain == known.drain
        started = known.started if known is not None and again else now
        store.upsert_agent(context, order, now=now, started=started, drain=drain)
        context.signal(events.agent_seen(order.agent))
        if not drain:
            _remember_told(context, order, seen=now)
    if order.repeated and order.ask and (given := _given(context, order, keep)) is not None:
        store.renew(context, given.id, expires=now + int(context.lease_seconds * rules.SECOND))
        return _lease(context, given, drain=drain)
    if drain:
        return Lease(seconds=context.lease_seconds, drain=True)
    busy: set[str] = set()
    for patient in (False, True):
        tried = set() if patient else busy
        while (choice := _next(context, order, without=tried, lock=True)) is not None:
            if choice.reserve:
                store.reserve(context, choice.job.id, agent=order.agent)
                return Lease(seconds=context.lease_seconds)
            kept = keep(choice.job.kind, choice.job.subject, patient)
            if kept and store.lock_waiting(context, choice.job.id, patient=patient):
                return _give(context, order, choice)
            tried.add(choice.job.id)
        if not busy:
            break  # else somebody else had them in hand; whether that somebody took them is known after waiting
    return Lease(seconds=context.lease_seconds)


def renew(context: Context, hold: Hold, job_id: str) -> Renewal:
    """Prolong a lease; Conflict when it has been given to another agent, NotFound when its job is gone."""
    job = _held(context, job_id, hold.fence)
    now = context.clock.now()
    expires = now + int(context.lease_seconds * rules.SECOND)
    store.renew(context, job.id, expires=expires)
    known = store.agent(context, job.agent)
    if known is not None and now - known.seen >= rules.SEEN_EVERY:
        store.see(context, job.agent, now=now, load=hold.load)
        context.signal(events.agent_seen(job.agent))
    return Renewal(
        expires=expires, stop=store.stop_asked(context, job.id), drain=known is not None and known.drain
    )  # fmt: skip


def complete(context: Context, hold: Hold, job_id: str) -> Nothing:
    """End a leased job; it leaves the queue."""
    job = _held(context, job_id, hold.fence)
    ended(context, job)
    store.delete(context, job.id)
    return Nothing()


def give_back(context: Context, order: GiveBack, job_id: str) -> Nothing:
    """Put a leased job back at its place; it can be leased again at once."""
    if order.cause not in rules.CAUSES:
        raise Invalid(f"a job is given back as 'agent_lost', 'preempted' or '', not {order.cause[:100]!r}",
                      field="cause")  # fmt: skip
    _return(context, _held(context, job_id, order.fence), cause=order.cause)
    return Nothing()


def expire(context: Context) -> int:
    """Put back every job whose agent has been silent for too long; how many.

    None while this server itself may have been the one that did not hear: after its start, a jump of its clock, a
    database that was away. A clock that was set back must not make a lease last for hours either.
    """
    now, lease = context.clock.now(), int(context.lease_seconds * rules.SECOND)
    store.shorten(context, latest=now + lease)
    if now - context.listening_since < lease:
        return 0
    jobs = store.expired(context, now=now)
    for job in jobs:
        _return(context, job, cause="agent_lost" if store.was_heard(context, job.id) else events.UNHEARD)
    return len(jobs)


def holder(context: Context, *, kind: str, subject: str, fence: int) -> Job | None:
    """For a view: the job of a subject while the lease with this fence lives."""
    job = store.by_subject(context, kind=kind, subject=subject, lock=False)
    return job if job is not None and job.state == "leased" and job.fence == fence else None


def came_back(context: Context, job: Job) -> str:
    """Why a leased job that was put back before was: one of the causes of the event `lease_expired`."""
    return store.cause_of(context, job.id)


def hear(context: Context, job: Job) -> None:
    """The holder of a job has said a word."""
    store.hear(context, job.id)


def remember_agents(context: Context) -> int:
    """Write down the signs of life that were noted since the last time; of how many agents."""
    seen: dict[str, tuple[int, Load | None]] = context.take_notes(_SEEN)
    store.see_all(context, seen)
    for agent in seen:
        context.signal(events.agent_seen(agent))
    return len(seen)


def _check(order: LeaseRequest) -> None:
    if not order.queues or len(order.queues) > 100:
        raise Invalid("an agent names 1 to 100 queues", field="queues")
    for queue in order.queues:
        rules.queue_name(queue)
    rules.agent_name(order.agent)
    if order.capacity is not None:
        rules.check_capacity(order.capacity)
    if len(order.host) > 500 or len(order.version) > 100 or len(order.ask) > 100:
        raise Invalid("a host has at most 500 characters, a version and an ask 100", field="host")


def _differs(known: store.Known | _Told, order: LeaseRequest, now: int) -> bool:
    """Whether the agent says something about itself that is not known yet."""
    return now - known.seen >= rules.SILENCE or (known.queues, known.capacity, known.host, known.version) != (
        order.queues, order.capacity, order.host, order.version,
    )  # fmt: skip


def _remember_told(context: Context, order: LeaseRequest, *, seen: int) -> None:
    told = _Told(queues=order.queues, capacity=order.capacity, host=order.host, version=order.version, seen=seen)
    context.remember(_TOLD, order.agent, told, seconds=_TOLD_FOR)


def _next(context: Context, order: LeaseRequest, *, without: set[str], lock: bool) -> _Choice | None:
    """The job that is next for this agent. With `lock`, counts that decide stay as they are until the transaction ends."""
    room = None
    if order.capacity is not None:
        room = rules.room(order.capacity, store.held_by(context, order.agent))
        if room.slots < 1:
            return None
    policies = store.policies(context)
    unfit: set[str] = set()
    for queue in dict.fromkeys(order.queues):
        policy = policies.get(queue, _PLAIN)
        if policy.paused:
            continue
        lines: list[tuple[int, str | None] | None] = [None]
        over: set[str] = set()
        if policy.limit_per_user or policy.shares:
            if lock:
                policy = store.policy(context, queue, lock=True)
            by_owner, by_team = _counts(context, queue)
            limit = policy.limit_per_user
            over = {owner for owner, leased in by_owner.items() if owner and limit and leased >= limit}
            if policy.shares:
                lines = _lines(context, queue, policy, by_team)
        for line in lines:
            while True:
                found = store.waiting(
                    context, queue, line=line, without_needs=unfit, without_owners=over, without=without
                )
                if found is None:
                    break
                gpus = () if room is None else rules.fit(found.needs, room)
                if gpus is not None:
                    return _Choice(job=found, gpus=gpus)
                if _starves(context, order, found):
                    if found.reserved == order.agent:
                        return None
                    if not found.reserved or _is_gone(context, found.reserved):
                        return _Choice(job=found, reserve=True)
                unfit.add(found.needs_text)
    return None


_PLAIN = Policy()


def _counts(context: Context, queue: str) -> tuple[dict[str, int], dict[str, int]]:
    by_owner: dict[str, int] = {}
    by_team: dict[str, int] = {}
    for count in store.leased_counts(context, queue):
        by_owner[count.owner] = by_owner.get(count.owner, 0) + count.leased
        by_team[count.team] = by_team.get(count.team, 0) + count.leased
    return by_owner, by_team


def _lines(context: Context, queue: str, policy: Policy, leased: dict[str, int]) -> list[tuple[int, str | None] | None]:
    """The parts of a queue with shares, in the order in which they are looked through."""
    lines: list[tuple[int, str | None] | None] = [(rules.PINNED, None)]
    for rank in (rules.HUMAN, rules.AUTOMATIC):
        # sorting keeps equals in their order: the team whose first job stands foremost
        teams = store.teams_waiting(context, queue, rank=rank)
        teams.sort(key=lambda team: rules.burden(team, leased, policy.shares))
        lines += [(rank, team) for team in teams]
    return lines


def _starves(context: Context, order: LeaseRequest, found: store.Candidate) -> bool:
    return (
        order.capacity is not None
        and context.clock.now() - found.entered >= rules.PATIENCE
        and not rules.lacks(found.needs, order.capacity)
    )


def _is_gone(context: Context, agent: str) -> bool:
    known = store.agent(context, agent)
    return known is None or known.drain or context.clock.now() - known.seen >= rules.SILENCE


def _given(context: Context, order: LeaseRequest, keep: Keep) -> Job | None:
    """The job that was given for this question before, kept as it is."""
    given = store.given_for(context, order.ask, agent=order.agent, lock=False)
    if given is None:
        return None
    keep(given.kind, given.subject, True)
    return store.given_for(context, order.ask, agent=order.agent, lock=True)


def _give(context: Context, order: LeaseRequest, choice: _Choice) -> Lease:
    now = context.clock.now()
    expires = now + int(context.lease_seconds * rules.SECOND)
    job = store.lease(
        context, choice.job.id, agent=order.agent, ask=order.ask, gpus=choice.gpus, now=now, expires=expires
    )  # fmt: skip
    context.emit(events.job_leased(job.id, queue=job.queue, agent=job.agent, fence=job.fence))
    if choice.job.reserved and choice.job.reserved != order.agent:
        context.signal(events.agent_called(choice.job.reserved, why="reserved"))
    return _lease(context, job)


def _lease(context: Context, job: Job, *, drain: bool = False) -> Lease:
    token = tenants.run_token(context, run=job.subject, fence=job.fence)
    return Lease(job=job, seconds=context.lease_seconds, token=token, drain=drain)


def _return(context: Context, job: Job, *, cause: str) -> None:
    ended(context, job, cause="agent_lost" if cause == events.UNHEARD else cause)
    store.put_back(context, job.id, now=context.clock.now(), cause=cause)
    context.emit(
        events.lease_expired(job.subject, kind=job.kind, fence=job.fence, agent=job.agent, cause=cause)
    )  # fmt: skip
    context.emit(waits(job))


def _held(context: Context, job_id: str, fence: int) -> Job:
    job = store.by_id(context, job_id) if is_id(job_id) else None
    if job is None:
        raise NotFound(f"there is no job {job_id[:100]}: it ended, or its run was stopped or deleted",
                       hint="end this work")  # fmt: skip
    rules.check_holder(job, fence)
    return job
