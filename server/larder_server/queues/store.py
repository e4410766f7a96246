"""Jobs, the policies of their queues, agents and the log of jobs in SQL."""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import msgspec
from sqlalchemy.engine import Row

from larder.contract.queues import Capacity, Job, LeaseRequest, Load, Needs, Policy, Priority
from larder.contract.queues import Stay as LeasedStay
from larder_server.kernel.context import Context
from larder_server.queues.rules import Held, Place, Stay

_COLUMNS = (
    "id, queue, kind, subject, state, position, fence, created, agent, lease_expires, stop, priority, rank, owner, team,"
    " needs, gpus, expected, entered, leased, reserved"
)


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """Of a waiting job what the choice depends on."""

    id: str
    kind: str
    subject: str
    owner: str
    needs: Needs
    needs_text: str
    entered: int
    reserved: str


@dataclass(frozen=True, kw_only=True)
class Known:
    """An agent as it was last heard."""

    name: str
    queues: list[str]
    capacity: Capacity | None
    load: Load
    host: str
    version: str
    started: int
    seen: int
    drain: bool


@dataclass(frozen=True, kw_only=True)
class Count:
    """How many jobs of one user of one team are leased from a queue."""

    owner: str
    team: str
    leased: int


@dataclass(frozen=True, kw_only=True)
class Length:
    """How many jobs a queue holds."""

    queue: str
    waiting: int
    leased: int


# -- jobs


def insert(context: Context, job: Job, *, rank: int) -> None:
    context.db.change(
        "insert into jobs (tenant, id, queue, kind, subject, state, position, fence, created, priority, rank, owner,"
        " team, needs, expected, entered) values (:tenant, :id, :queue, :kind, :subject, :state, :position, :fence,"
        " :created, :priority, :rank, :owner, :team, :needs, :expected, :created)",
        id=job.id, queue=job.queue, kind=job.kind, subject=job.subject, state=job.state, position=job.position,
        fence=job.fence, created=job.created, priority=job.priority.value, rank=rank, owner=job.owner, team=job.team,
        needs=needs_text(job.needs), expected=job.expected,
    )  # fmt: skip


def by_id(context: Context, id: str, *, lock: bool = True) -> Job | None:
    """A job; with `lock` it is kept as it is until the end of the transaction, without it is for a view."""
    end = context.db.for_update if lock else ""
    row = context.db.one(f"select {_COLUMNS} from jobs where tenant = :tenant and id = :id{end}", id=id)
    return None if row is None else _job(row)


def by_subject(context: Context, *, kind: str, subject: str, lock: bool = True) -> Job | None:
    """The job of a subject; `lock` as for `by_id`."""
    end = context.db.for_update if lock else ""
    row = context.db.one(
        f"select {_COLUMNS} from jobs where tenant = :tenant and kind = :kind and subject = :subject{end}",
        kind=kind,
        subject=subject,
    )
    return None if row is None else _job(row)


def stop_asked(context: Context, id: str) -> bool:
    return bool(_look(context, "stop", id))


def any_waiting(context: Context, queues: Sequence[str]) -> bool:
    """Whether anything waits in one of these queues."""
    names = {f"queue{number}": queue for number, queue in enumerate(queues)}
    return context.db.one(
        "select id from jobs where tenant = :tenant and state = 'waiting'"
        f" and queue in ({', '.join(f':{name}' for name in names)}) limit 1",
        **names,
    ) is not None  # fmt: skip


def is_waiting(context: Context, id: str) -> bool:
    return context.db.one(
        "select id from jobs where tenant = :tenant and id = :id and state = 'waiting'", id=id
    ) is not None  # fmt: skip


def waiting(
    context: Context,
    queue: str,
    *,
    line: tuple[int, str | None] | None,
    without_needs: Collection[str] = (),
    without_owners: Collection[str] = (),
    without: Collection[str] = (),
) -> Candidate | None:
    """The first waiting job of a queue, or of one rank and team of it, that is none of those left out. Locks nothing."""
    db = context.db
    values: dict[str, Any] = {}

    def leaving_out(column: str, these: Collection[str]) -> str:
        names = [f"{column}{number}" for number in range(len(these))]
        values.update(zip(names, these, strict=True))
        # aside: these must not choose the index, whose order is the answer
        return f" and {db.aside}{column} not in ({', '.join(f':{name}' for name in names)})" if names else ""

    sql = (
        "select id, kind, subject, owner, needs, entered, reserved from jobs where tenant = :tenant and queue = :queue"
    )
    sql += " and state = 'waiting'"
    if line is not None:
        values["rank"], values["team"] = line
        sql += " and rank = :rank" + ("" if line[1] is None else " and team = :team")
    sql += leaving_out("needs", without_needs) + leaving_out("owner", without_owners) + leaving_out("id", without)
    row = db.one(f"{sql} order by rank, position, created, id limit 1", queue=queue, **values)
    if row is None:
        return None
    return Candidate(id=row.id, kind=row.kind, subject=row.subject, owner=row.owner, needs=read_needs(row.needs),
                     needs_text=row.needs, entered=row.entered, reserved=row.reserved)  # fmt: skip


def lock_waiting(context: Context, id: str, *, patient: bool) -> bool:
    """Keep a waiting job for this transaction; False when it waits no more, or, unless `patient`, another has it."""
    end = context.db.for_update if patient else context.db.skip_locked
    return context.db.one(
        f"select id from jobs where tenant = :tenant and id = :id and state = 'waiting'{end}", id=id
    ) is not None  # fmt: skip


def lease(context: Context, id: str, *, agent: str, ask: str, gpus: Sequence[int], now: int, expires: int) -> Job:
    row = context.db.one(
        "update jobs set state = 'leased', fence = fence + 1, agent = :agent, ask = :ask, gpus = :gpus, leased = :now,"
        " lease_expires = :expires, heard = 0, stop = 0, reserved = '' where tenant = :tenant and id = :id"
        f" returning {_COLUMNS}",
        id=id,
        agent=agent,
        ask=ask,
        gpus=json.dumps(list(gpus)),
        now=now,
        expires=expires,
    )
    assert row is not None, "the job was locked just now"
    return _job(row)


def given_for(context: Context, ask: str, *, agent: str, lock: bool) -> Job | None:
    """The job that an agent holds since this question; `lock` as for `by_id`."""
    end = context.db.for_update if lock else ""
    row = context.db.one(
        f"select {_COLUMNS} from jobs where tenant = :tenant and state = 'leased' and agent = :agent"
        f" and {context.db.aside}ask = :ask limit 1{end}",
        agent=agent,
        ask=ask,
    )
    return None if row is None else _job(row)


def reserve(context: Context, id: str, *, agent: str) -> None:
    context.db.change("update jobs set reserved = :agent where tenant = :tenant and id = :id", id=id, agent=agent)


def renew(context: Context, id: str, *, expires: int) -> None:
    context.db.change(
        "update jobs set lease_expires = :expires, heard = 1 where tenant = :tenant and id = :id",
        id=id,
        expires=expires,
    )


def hear(context: Context, id: str) -> None:
    """The holder has said a word."""
    context.db.change("update jobs set heard = 1 where tenant = :tenant and id = :id", id=id)


def was_heard(context: Context, id: str) -> bool:
    return bool(_look(context, "heard", id))


def put_back(context: Context, id: str, *, now: int, cause: str) -> None:
    context.db.change(
        "update jobs set state = 'waiting', agent = '', gpus = '[]', lease_expires = null, leased = null,"
        " entered = :now, stop = 0, cause = :cause where tenant = :tenant and id = :id",
        id=id,
        now=now,
        cause=cause,
    )


def cause_of(context: Context, id: str) -> str:
    """Why the lease before the present one ended."""
    return str(_look(context, "cause", id))


def set_stop(context: Context, id: str) -> None:
    context.db.change("update jobs set stop = 1 where tenant = :tenant and id = :id", id=id)


def delete(context: Context, id: str) -> None:
    context.db.change("delete from jobs where tenant = :tenant and id = :id", id=id)


def shorten(context: Context, *, latest: int) -> None:
    """No lease ends later than `latest`."""
    context.db.change(
        "update jobs set lease_expires = :latest where tenant = :tenant and state = 'leased' and lease_expires > :latest",
        latest=latest,
    )


def expired(context: Context, *, now: int) -> Sequence[Job]:
    rows = context.db.execute(
        f"select {_COLUMNS} from jobs where tenant = :tenant and state = 'leased' and lease_expires < :now"
        f"{context.db.skip_locked}",
        now=now,
    )
    return [_job(row) for row in rows]


def leased_from(context: Context, queue: str) -> list[Job]:
    rows = context.db.execute(
        f"select {_COLUMNS} from jobs where tenant = :tenant and queue = :queue and state = 'leased'"
        " order by leased, id limit 10000",
        queue=queue,
    )
    return [_job(row) for row in rows]


def waiting_in(context: Context, queue: str) -> list[Job]:
    rows = context.db.execute(
        f"select {_COLUMNS} from jobs where tenant = :tenant and queue = :queue and state = 'waiting'"
        " order by rank, position, created, id limit 10000",
        queue=queue,
    )
    return [_job(row) for row in rows]


def places(context: Context, queue: str) -> list[Place]:
    rows = context.db.execute(
        "select id, rank, team, position, created from jobs where tenant = :tenant and queue = :queue"
        " and state = 'waiting' order by rank, position, created, id",
        queue=queue,
    )
    return [Place(id=row.id, rank=row.rank, team=row.team, position=row.position, created=row.created) for row in rows]


def durations(context: Context, ids: Iterable[str], queue: str) -> dict[str, float | None]:
    """How long each of these waiting jobs is expected to take."""
    wanted = set(ids)
    rows = context.db.execute(
        "select id, expected from jobs where tenant = :tenant and queue = :queue and state = 'waiting'", queue=queue
    )
    return {row.id: row.expected for row in rows if row.id in wanted}


def teams_waiting(context: Context, queue: str, *, rank: int) -> list[str]:
    """The teams with waiting jobs of a rank, the one whose first job stands foremost first."""
    rows = context.db.execute(
        "select team, min(position) as first from jobs where tenant = :tenant and queue = :queue"
        " and state = 'waiting' and rank = :rank group by team order by first",
        queue=queue,
        rank=rank,
    )
    return [row.team for row in rows]


def leased_counts(context: Context, queue: str) -> list[Count]:
    rows = context.db.execute(
        "select owner, team, count(*) as leased from jobs where tenant = :tenant and queue = :queue"
        " and state = 'leased' group by owner, team",
        queue=queue,
    )
    return [Count(owner=row.owner, team=row.team, leased=int(row.leased)) for row in rows]


def held_by(context: Context, agent: str) -> list[Held]:
    rows = context.db.execute(
        "select needs, gpus from jobs where tenant = :tenant and state = 'leased' and agent = :agent", agent=agent
    )
    return [Held(needs=read_needs(row.needs), gpus=tuple(json.loads(row.gpus))) for row in rows]


def leased(context: Context) -> list[Job]:
    rows = context.db.execute(
        f"select {_COLUMNS} from jobs where tenant = :tenant and state = 'leased' order by leased, id limit 10000"
    )
    return [_job(row) for row in rows]


def leased_since(context: Context, queue: str) -> dict[str, int]:
    """When each leased job of a queue was leased."""
    rows = context.db.execute(
        "select id, leased from jobs where tenant = :tenant and queue = :queue and state = 'leased'", queue=queue
    )
    return {row.id: row.leased for row in rows}


def lengths(context: Context) -> list[Length]:
    rows = context.db.execute(
        "select queue, sum(case state when 'waiting' then 1 else 0 end) as waiting,"
        " sum(case state when 'leased' then 1 else 0 end) as leased"
        " from jobs where tenant = :tenant group by queue"
    )
    return [Length(queue=row.queue, waiting=int(row.waiting), leased=int(row.leased)) for row in rows]


# -- places


def end_of(context: Context, queue: str, *, first: bool = False) -> int | None:
    """The last, or first, position of all jobs of a queue, leased ones too: those may come back to their place."""
    row = context.db.one(
        f"select {'min' if first else 'max'}(position) as position from jobs where tenant = :tenant and queue = :queue",
        queue=queue,
    )
    return None if row is None else row.position


def position_before(context: Context, job: Job, *, rank: int) -> int | None:
    """The position of the waiting job of the same rank that stands before this one."""
    row = context.db.one(
        "select position from jobs where tenant = :tenant and queue = :queue and state = 'waiting' and rank = :rank"
        " and (position, created, id) < (:position, :created, :id) order by position desc, created desc, id desc limit 1",
        queue=job.queue,
        rank=rank,
        position=job.position,
        created=job.created,
        id=job.id,
    )
    return None if row is None else row.position


def rank_of(context: Context, id: str) -> int:
    return int(_look(context, "rank", id))


def reserved_by(context: Context, id: str) -> str:
    return str(_look(context, "reserved", id))


def first_waiting(context: Context, queue: str, *, owner: str = "") -> Job | None:
    """The foremost waiting job of a queue, or that of one owner."""
    row = context.db.one(
        f"select {_COLUMNS} from jobs where tenant = :tenant and queue = :queue and state = 'waiting'"
        + (f" and {context.db.aside}owner = :owner" if owner else "")
        + " order by rank, position, created, id limit 1",
        queue=queue,
        owner=owner,
    )
    return None if row is None else _job(row)


def spread(context: Context, queue: str, *, gap: int) -> None:
    """Give all jobs of a queue, in their order, positions with room between them."""
    rows = context.db.execute(
        "select id from jobs where tenant = :tenant and queue = :queue"
        f" order by position, created, id{context.db.for_update}",
        queue=queue,
    )
    context.db.many(
        "update jobs set position = :position where tenant = :tenant and id = :id",
        [{"id": row.id, "position": (index + 1) * gap} for index, row in enumerate(rows)],
    )


def place(context: Context, id: str, *, queue: str, position: int, rank: int, priority: Priority) -> None:
    context.db.change(
        "update jobs set queue = :queue, position = :position, rank = :rank, priority = :priority, reserved = ''"
        " where tenant = :tenant and id = :id",
        id=id,
        queue=queue,
        position=position,
        rank=rank,
        priority=priority.value,
    )


def pin(context: Context, ids: Sequence[str], *, positions: Sequence[int], rank: int) -> None:
    context.db.many(
        "update jobs set rank = :rank, position = :position where tenant = :tenant and id = :id",
        [{"id": id, "position": at, "rank": rank} for id, at in zip(ids, positions, strict=True)],
    )


def pinned_positions(context: Context, queue: str, *, rank: int) -> list[int]:
    rows = context.db.execute(
        "select position from jobs where tenant = :tenant and queue = :queue and state = 'waiting' and rank = :rank"
        " order by position",
        queue=queue,
        rank=rank,
    )
    return [row.position for row in rows]


def enter(context: Context, id: str, *, now: int) -> None:
    context.db.change("update jobs set entered = :now where tenant = :tenant and id = :id", id=id, now=now)


# -- policies


def policies(context: Context) -> dict[str, Policy]:
    rows = context.db.execute(
        "select queue, paused, draining, limit_per_user, shares from queue_policies where tenant = :tenant"
    )
    return {row.queue: _policy(row) for row in rows}


def policy(context: Context, queue: str, *, lock: bool = False) -> Policy:
    """The policy of a queue; with `lock` nobody else takes from or changes this queue before the transaction ends."""
    end = context.db.for_update if lock else ""
    row = context.db.one(
        "select queue, paused, draining, limit_per_user, shares from queue_policies where tenant = :tenant"
        f" and queue = :queue{end}",
        queue=queue,
    )
    return Policy() if row is None else _policy(row)


def set_policy(context: Context, queue: str, policy: Policy) -> None:
    context.db.change(
        "insert into queue_policies (tenant, queue, paused, draining, limit_per_user, shares)"
        " values (:tenant, :queue, :paused, :draining, :limit_per_user, :shares) on conflict (tenant, queue) do update"
        " set paused = excluded.paused, draining = excluded.draining, limit_per_user = excluded.limit_per_user,"
        " shares = excluded.shares",
        queue=queue,
        paused=int(policy.paused),
        draining=int(policy.draining),
        limit_per_user=policy.limit_per_user,
        shares=json.dumps(policy.shares, sort_keys=True),
    )


# -- agents

_AGENT = "name, queues, host, version, capacity, load, started, seen, drain"


def agent(context: Context, name: str, *, lock: bool = False) -> Known | None:
    """An agent; with `lock` nobody else gives it anything before the transaction ends."""
    end = context.db.for_update if lock else ""
    row = context.db.one(f"select {_AGENT} from agents where tenant = :tenant and name = :name{end}", name=name)
    return None if row is None else _known(row)


def agents(context: Context, *, seen_since: int = 0) -> list[Known]:
    rows = context.db.execute(
        f"select {_AGENT} from agents where tenant = :tenant and seen >= :since order by name", since=seen_since
    )
    return [_known(row) for row in rows]


def listeners(context: Context, *, seen_since: int) -> dict[str, int]:
    """How many living agents listen to each queue."""
    counts: dict[str, int] = {}
    for row in context.db.execute(
        "select queues, count(*) as agents from agents where tenant = :tenant and seen >= :since and drain = 0"
        " group by queues",
        since=seen_since,
    ):
        for queue in json.loads(row.queues):
            counts[queue] = counts.get(queue, 0) + int(row.agents)
    return counts


def upsert_agent(context: Context, order: LeaseRequest, *, now: int, started: int, drain: bool) -> None:
    context.db.change(
        "insert into agents (tenant, name, queues, host, version, capacity, load, started, seen, drain) values (:tenant,"
        " :name, :queues, :host, :version, :capacity, :load, :started, :now, :drain) on conflict (tenant, name)"
        " do update set queues = excluded.queues, host = excluded.host, version = excluded.version,"
        " capacity = excluded.capacity, load = excluded.load, started = excluded.started, seen = excluded.seen,"
        " drain = excluded.drain",
        name=order.agent, queues=json.dumps(order.queues), host=order.host, version=order.version,
        capacity="" if order.capacity is None else _text(order.capacity), load=_text(order.load or Load()),
        started=started, now=now, drain=int(drain),
    )  # fmt: skip


def see(context: Context, name: str, *, now: int, load: Load | None) -> None:
    context.db.change(
        "update agents set seen = :now" + ("" if load is None else ", load = :load")
        + " where tenant = :tenant and name = :name and seen < :now",
        name=name, now=now, load=None if load is None else _text(load),
    )  # fmt: skip


def see_all(context: Context, seen: Mapping[str, tuple[int, Load | None]]) -> None:
    """Write down the signs of life of many agents."""
    context.db.many(
        "update agents set seen = :now, load = coalesce(cast(:load as text), load)"
        " where tenant = :tenant and name = :name and seen < :now",
        [
            {"name": name, "now": now, "load": None if load is None else _text(load)}
            for name, (now, load) in sorted(seen.items())
        ],
    )


def drain_agent(context: Context, name: str) -> bool:
    return bool(context.db.change("update agents set drain = 1 where tenant = :tenant and name = :name", name=name))


def forget_agents(context: Context, *, before: int) -> int:
    return context.db.change("delete from agents where tenant = :tenant and seen < :before", before=before)


# -- the log of jobs


def log_stay(context: Context, job: Job, *, now: int, cause: str) -> None:
    """Write down that a job's stay in its queue has ended; reads from the job's row what only stands there."""
    context.db.change(
        "insert into job_log (tenant, job, kind, subject, queue, agent, owner, team, entered, leased, ended, cause)"
        " select tenant, id, kind, subject, queue, agent, owner, team, entered, leased, :now, :cause"
        " from jobs where tenant = :tenant and id = :id",
        id=job.id,
        now=now,
        cause=cause,
    )


def stays(context: Context, queue: str, *, since: int, limit: int) -> list[Stay]:
    """The stays in a queue that had not ended before a time: the newest `limit` that have ended, and the present ones."""
    rows = [
        *context.db.execute(
            "select entered, leased, ended from job_log where tenant = :tenant and queue = :queue"
            " and ended >= :since order by ended desc limit :limit",
            queue=queue,
            since=since,
            limit=limit,
        ),
        *context.db.execute(
            "select entered, leased, null as ended from jobs where tenant = :tenant and queue = :queue", queue=queue
        ),
    ]
    return [Stay(entered=row.entered, leased=row.leased, ended=row.ended) for row in rows]


def past_stays(context: Context, agent: str, *, limit: int) -> list[LeasedStay]:
    """The newest leases of an agent that have ended."""
    rows = context.db.execute(
        "select job, kind, subject, queue, leased, ended, cause from job_log where tenant = :tenant and agent = :agent"
        " and leased is not null order by ended desc limit :limit",
        agent=agent,
        limit=limit,
    )
    return [
        LeasedStay(job=row.job, kind=row.kind, subject=row.subject, queue=row.queue, leased=row.leased, ended=row.ended,
                   cause=row.cause)
        for row in rows
    ]  # fmt: skip


def recent_durations(context: Context, queue: str, *, limit: int) -> list[float]:
    """Seconds that the jobs leased last from a queue took."""
    rows = context.db.execute(
        "select leased, ended from job_log where tenant = :tenant and queue = :queue and leased is not null"
        " and cause = '' order by ended desc limit :limit",
        queue=queue,
        limit=limit,
    )
    return [(row.ended - row.leased) / 1e6 for row in rows]


def forget_log(context: Context, *, before: int) -> int:
    return context.db.change("delete from job_log where tenant = :tenant and ended < :before", before=before)


# -- rows


def _look(context: Context, column: str, id: str) -> Any:
    """One column of a job that the caller has."""
    row = context.db.one(f"select {column} as value from jobs where tenant = :tenant and id = :id", id=id)
    assert row is not None, "the caller has the job"
    return row.value


def needs_text(needs: Needs) -> str:
    """Needs as they are stored: equal needs have equal texts."""
    found = {name: value for name, value in msgspec.to_builtins(needs).items() if value}
    return json.dumps(found, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


@lru_cache(maxsize=1000)
def read_needs(text: str) -> Needs:
    return msgspec.json.decode(text, type=Needs)


def _text(value: Any) -> str:
    return msgspec.json.encode(value).decode()


@lru_cache(maxsize=4000)
def _capacity(text: str) -> Capacity | None:
    return msgspec.json.decode(text, type=Capacity) if text else None


def _known(row: Row[Any]) -> Known:
    return Known(name=row.name, queues=json.loads(row.queues), host=row.host, version=row.version,
                 capacity=_capacity(row.capacity), load=msgspec.json.decode(row.load, type=Load), started=row.started,
                 seen=row.seen, drain=bool(row.drain))  # fmt: skip


def _policy(row: Row[Any]) -> Policy:
    return Policy(paused=bool(row.paused), draining=bool(row.draining), limit_per_user=row.limit_per_user,
                  shares=json.loads(row.shares))  # fmt: skip


def _job(row: Row[Any]) -> Job:
    return Job(id=row.id, queue=row.queue, kind=row.kind, subject=row.subject, state=row.state, position=row.position,
               fence=row.fence, created=row.created, agent=row.agent, lease_expires=row.lease_expires,
               priority=Priority(row.priority), owner=row.owner, team=row.team, needs=read_needs(row.needs),
               gpus=json.loads(row.gpus), expected=row.expected)  # fmt: skip
