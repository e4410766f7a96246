"""What people see of queues: what waits, why, for how long, and who works."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from larder.contract.endpoint import Nothing
from larder.contract.errors import NotFound
from larder.contract.ids import is_id
from larder.contract.queues import (
    Agent,
    Agents,
    Capacity,
    History,
    HistoryQuery,
    InLine,
    Job,
    Jobs,
    Line,
    LineQuery,
    Needs,
    Policy,
    Queue,
    Queues,
    Stay,
    Stays,
    StaysQuery,
    Why,
)
from larder_server.kernel.context import Context
from larder_server.kernel.outbox import Event
from larder_server.queues import events, rules, store

MOST_STAYS = 200_000
"""Stays that a history looks at: the newest of them."""


def every(context: Context, _: Nothing) -> Queues:
    """All queues that hold jobs, have a policy, or have an agent that listens."""
    return every_with(context)


def every_with(context: Context, *also: str) -> Queues:
    """All queues, and those named even when there is nothing to say about them."""
    lengths = {one.queue: one for one in store.lengths(context)}
    policies = store.policies(context)
    listeners = store.listeners(context, seen_since=context.clock.now() - rules.SILENCE)
    queues = []
    for name in sorted({*lengths, *policies, *listeners, *also}):
        length = lengths.get(name)
        queues.append(
            Queue(
                name=name,
                waiting=length.waiting if length else 0,
                leased=length.leased if length else 0,
                policy=policies.get(name, Policy()),
                agents=listeners.get(name, 0),
            )
        )
    return Queues(queues=queues)


def show(context: Context, _: Nothing, queue: str) -> Jobs:
    """The jobs of a queue: leased ones, then waiting ones in the order in which they would be leased."""
    rules.queue_name(queue)
    leased, waiting = store.leased_from(context, queue), store.waiting_in(context, queue)
    if store.policy(context, queue).shares:
        at = {id: index for index, id in enumerate(_order(context, queue))}
        waiting.sort(key=lambda job: at.get(job.id, len(at)))
    return Jobs(jobs=leased + waiting)


def line(context: Context, query: LineQuery, queue: str) -> Line:
    """A queue as people look at it: each waiting job with the first reason of its waiting and its expected start."""
    rules.check_line(query)
    jobs = show(context, Nothing(), queue).jobs
    waiting = [job for job in jobs if job.state == "waiting"]
    scene = _scene(context, queue)
    ahead = [job.expected for job in waiting]
    able: dict[str, list[store.Known]] = {}
    starts: dict[str, list[int | None]] = {}
    placed = []
    for index, job in list(enumerate(waiting))[query.offset : query.offset + query.limit]:
        needs = store.needs_text(job.needs)
        if needs not in able:
            able[needs] = scene.able(job.needs)
            starts[needs] = scene.starts(able[needs], ahead) if able[needs] and not scene.policy.paused else []
        reasons = _reasons(scene, job, able[needs], ahead=index)
        placed.append(
            InLine(
                job=job,
                ahead=index,
                reason=reasons[0] if reasons else "",
                starts=starts[needs][index] if starts[needs] else None,
            )
        )
    about = next(one for one in every_with(context, queue).queues if one.name == queue)
    return Line(queue=about, leased=[job for job in jobs if job.state == "leased"], waiting=placed)


def of_job(context: Context, _: Nothing, job_id: str) -> Why:
    """Why a job waits. NotFound."""
    job = store.by_id(context, job_id, lock=False) if is_id(job_id) else None
    if job is None:
        raise NotFound(f"there is no job {job_id[:100]}: it ended, or it never was")
    return _why(context, job)


def why(context: Context, kind: str, subject: str) -> Why:
    """Why the job of a subject waits. NotFound when it has none."""
    job = store.by_subject(context, kind=kind, subject=subject, lock=False)
    if job is None:
        raise NotFound(f"{kind} {subject[:100]} is in no queue")
    return _why(context, job)


def still_waiting(context: Context, event: Event) -> bool:
    """For a view: whether the job that an event tells of still waits, so that another agent may want it."""
    return event.name == events.JOB_WAITING and store.is_waiting(context, event.subject)


def history(context: Context, query: HistoryQuery, queue: str) -> History:
    """The lengths and waits of a queue over time."""
    rules.queue_name(queue)
    rules.check_history(query)
    now = context.clock.now()
    since = now - int(query.hours * 3600 * rules.SECOND)
    stays = store.stays(context, queue, since=since, limit=MOST_STAYS)
    return rules.history(stays, now=now, hours=query.hours, points=query.points)


def agents(context: Context, _: Nothing) -> Agents:
    """The agents that were heard within a day, with what they execute."""
    now = context.clock.now()
    jobs: dict[str, list[Job]] = {}
    for job in store.leased(context):
        jobs.setdefault(job.agent, []).append(job)
    found = []
    for known in store.agents(context):
        held = jobs.get(known.name, [])
        state = "draining" if known.drain else "busy" if held else "idle"
        if now - known.seen >= rules.SILENCE:
            state = "gone"
        found.append(
            Agent(
                name=known.name, state=state, queues=known.queues, seen=known.seen, started=known.started,
                host=known.host, version=known.version, capacity=known.capacity or Capacity(), load=known.load,
                jobs=held,
            )
        )  # fmt: skip
    return Agents(agents=found)


def agent_history(context: Context, query: StaysQuery, agent: str) -> Stays:
    """What an agent executes and has executed, the newest first. Empty for one that was never heard of."""
    rules.check_stays(query)
    rules.agent_name(agent)
    held = [job for job in store.leased(context) if job.agent == agent]
    since: dict[str, int] = {}
    for queue in {job.queue for job in held}:
        since |= store.leased_since(context, queue)
    present = [
        Stay(job=job.id, kind=job.kind, subject=job.subject, queue=job.queue, leased=since[job.id])
        for job in held
        if since.get(job.id) is not None
    ]
    present.sort(key=lambda stay: -stay.leased)
    return Stays(stays=[*present, *store.past_stays(context, agent, limit=query.limit)][: query.limit])


def drain_agent(context: Context, _: Nothing, agent: str) -> Nothing:
    """Ask an agent to end after its work; it hears so at once. NotFound."""
    if not store.drain_agent(context, agent):
        raise NotFound(f"there is no agent {agent[:100]!r}", hint="`larder agents ls` lists them")
    context.emit(events.agent_called(agent, why="drain"))
    return Nothing()


def forget(context: Context) -> int:
    """Let go of agents that have been silent for a day and of the log of jobs older than 90 days; how many rows."""
    now = context.clock.now()
    return store.forget_agents(context, before=now - rules.FORGET_AGENT_AFTER) + store.forget_log(
        context, before=now - rules.KEEP_LOG
    )


def _order(context: Context, queue: str) -> list[str]:
    leased: dict[str, int] = {}
    for count in store.leased_counts(context, queue):
        leased[count.team] = leased.get(count.team, 0) + count.leased
    return rules.order(store.places(context, queue), store.policy(context, queue).shares, leased)


@dataclass(frozen=True, kw_only=True)
class _Scene:
    """What decides why the jobs of one queue wait."""

    queue: str
    now: int
    policy: Policy
    listening: list[store.Known]
    held: dict[str, list[rules.Held]]
    leased: list[Job]
    since: dict[str, int]
    usual: float | None

    def able(self, needs: Needs) -> list[store.Known]:
        """The agents that have what a job needs, busy or not."""
        return [one for one in self.listening if one.capacity is None or not rules.lacks(needs, one.capacity)]

    def starts(self, able: list[store.Known], ahead: Sequence[float | None]) -> list[int | None]:
        """When jobs are expected to start: as if each able agent gave its slots to this queue in order."""
        names = {one.name for one in able}
        running: list[float | None] = []
        for one in self.leased:
            if one.agent in names:
                whole = one.expected if one.expected is not None else self.usual
                past = (self.now - self.since.get(one.id, self.now)) / rules.SECOND
                running.append(None if whole is None else whole - past)
        slots = sum(one.capacity.slots if one.capacity else 1 for one in able)
        before = [self.usual if seconds is None else seconds for seconds in ahead]
        return rules.expected_starts(self.now, slots=slots, running=running, ahead=before)


def _scene(context: Context, queue: str) -> _Scene:
    now = context.clock.now()
    held: dict[str, list[rules.Held]] = {}
    for job in store.leased(context):
        held.setdefault(job.agent, []).append(rules.Held(needs=job.needs, gpus=tuple(job.gpus)))
    recent = store.recent_durations(context, queue, limit=50)
    return _Scene(
        queue=queue,
        now=now,
        policy=store.policy(context, queue),
        listening=[
            one
            for one in store.agents(context, seen_since=now - rules.SILENCE)
            if queue in one.queues and not one.drain
        ],
        held=held,
        leased=store.leased_from(context, queue),
        since=store.leased_since(context, queue),
        usual=median(recent) if recent else None,
    )


def _why(context: Context, job: Job) -> Why:
    if job.state == "leased":
        return Why(job=job, reasons=[f"It does not wait: agent {job.agent} has it."])
    scene = _scene(context, job.queue)
    order = _order(context, job.queue)
    ahead = order[: order.index(job.id)] if job.id in order else order
    able = scene.able(job.needs)
    reasons = _reasons(scene, job, able, ahead=len(ahead))
    if scene.policy.shares and (behind := _behind(context, job, scene.policy)):
        reasons.append(behind)
    starts = None
    if able and not scene.policy.paused:
        known = store.durations(context, ahead, job.queue)
        starts = scene.starts(able, [known.get(id) for id in ahead])[-1]
    return Why(job=job, reasons=reasons, ahead=len(ahead), starts=starts)


def _reasons(scene: _Scene, job: Job, able: list[store.Known], *, ahead: int) -> list[str]:
    """Why a job waits, in sentences, the most important first."""
    queue, policy, reasons = scene.queue, scene.policy, []
    if policy.paused:
        reasons.append(f"Queue {queue} is paused.")
    if not scene.listening:
        reasons.append(f"No agent listens to queue {queue}.")
    elif not able:
        reasons.append(_none_able(job, scene.listening))
    of_owner = sum(1 for one in scene.leased if one.owner == job.owner)
    if policy.limit_per_user and job.owner and of_owner >= policy.limit_per_user:
        reasons.append(
            f"{job.owner} has {of_owner} of {policy.limit_per_user} jobs that a user may have leased from {queue}."
        )
    if ahead:
        reasons.append("1 job is ahead of it." if ahead == 1 else f"{ahead} jobs are ahead of it.")
    roomy = [
        one
        for one in able
        if one.capacity is None
        or rules.fit(job.needs, rules.room(one.capacity, scene.held.get(one.name, []))) is not None
    ]
    if able and not roomy:
        reasons.append(_all_busy(able, scene.held))
    return reasons


def _none_able(job: Job, listening: list[store.Known]) -> str:
    told = [f"agent {one.name} {rules.lacks(job.needs, one.capacity)}" for one in listening[:3] if one.capacity]
    more = f"; and {len(listening) - 3} more" if len(listening) > 3 else ""
    many = "1 agent listens" if len(listening) == 1 else f"{len(listening)} agents listen"
    return f"{many} to queue {job.queue}, but none has what the job needs: {'; '.join(told)}{more}."


def _all_busy(able: list[store.Known], held: dict[str, list[rules.Held]]) -> str:
    told = [f"{one.name} executes {len(held.get(one.name, []))}" for one in able[:3]]
    more = f" and {len(able) - 3} more" if len(able) > 3 else ""
    return f"The agents that could take it have no room now: {', '.join(told)}{more}."


def _behind(context: Context, job: Job, policy: Policy) -> str:
    leased: dict[str, int] = {}
    for count in store.leased_counts(context, job.queue):
        leased[count.team] = leased.get(count.team, 0) + count.leased
    teams = {place.team for place in store.places(context, job.queue)} - {job.team}
    mine = rules.burden(job.team, leased, policy.shares)
    first = [team for team in sorted(teams) if rules.burden(team, leased, policy.shares) < mine]
    if not first:
        return ""
    share = f"{policy.shares.get(job.team, 1.0):g}"
    name = f"Team {job.team}" if job.team else "Who has no team"
    others = ", ".join(team or "who has no team" for team in first[:3])
    return f"{name} has {leased.get(job.team, 0)} leased with a share of {share}; {others} comes first."
