"""Jobs in SQL."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy.engine import Row

from larder.contract.queues import Job, Queue
from larder_server.kernel.context import Context

_COLUMNS = "id, queue, kind, subject, state, position, fence, created, agent, lease_expires, stop"


def insert(context: Context, job: Job) -> None:
    context.db.change(
        "insert into jobs (tenant, id, queue, kind, subject, state, position, fence, created)"
        " values (:tenant, :id, :queue, :kind, :subject, :state, :position, :fence, :created)",
        id=job.id, queue=job.queue, kind=job.kind, subject=job.subject, state=job.state, position=job.position,
        fence=job.fence, created=job.created,
    )  # fmt: skip


def by_id(context: Context, id: str) -> Job | None:
    row = context.db.one(
        f"select {_COLUMNS} from jobs where tenant = :tenant and id = :id{context.db.for_update}", id=id
    )
    return None if row is None else _job(row)


def by_subject(context: Context, *, kind: str, subject: str) -> Job | None:
    row = context.db.one(
        f"select {_COLUMNS} from jobs where tenant = :tenant and kind = :kind and subject = :subject"
        f"{context.db.for_update}",
        kind=kind,
        subject=subject,
    )
    return None if row is None else _job(row)


def stop_asked(context: Context, id: str) -> bool:
    row = context.db.one("select stop from jobs where tenant = :tenant and id = :id", id=id)
    return row is not None and bool(row.stop)


def take(context: Context, queue: str, *, agent: str, expires: int) -> Job | None:
    row = context.db.one(
        "select id from jobs where tenant = :tenant and queue = :queue and state = 'waiting'"
        f" order by position, created, id limit 1{context.db.skip_locked}",
        queue=queue,
    )
    if row is None:
        return None
    taken = context.db.one(
        "update jobs set state = 'leased', fence = fence + 1, agent = :agent, lease_expires = :expires, stop = 0"
        f" where tenant = :tenant and id = :id returning {_COLUMNS}",
        id=row.id,
        agent=agent,
        expires=expires,
    )
    return None if taken is None else _job(taken)


def renew(context: Context, id: str, *, expires: int) -> None:
    context.db.change(
        "update jobs set lease_expires = :expires where tenant = :tenant and id = :id", id=id, expires=expires
    )


def put_back(context: Context, id: str) -> None:
    context.db.change(
        "update jobs set state = 'waiting', agent = '', lease_expires = null where tenant = :tenant and id = :id", id=id
    )


def set_stop(context: Context, id: str) -> None:
    context.db.change("update jobs set stop = 1 where tenant = :tenant and id = :id", id=id)


def delete(context: Context, id: str) -> None:
    context.db.change("delete from jobs where tenant = :tenant and id = :id", id=id)


def expired(context: Context, *, now: int) -> Sequence[Job]:
    rows = context.db.execute(
        f"select {_COLUMNS} from jobs where tenant = :tenant and state = 'leased' and lease_expires < :now"
        f"{context.db.skip_locked}",
        now=now,
    )
    return [_job(row) for row in rows]


def in_queue(context: Context, queue: str) -> list[Job]:
    rows = context.db.execute(
        f"select {_COLUMNS} from jobs where tenant = :tenant and queue = :queue"
        " order by case state when 'leased' then 0 else 1 end, position, created, id limit 10000",
        queue=queue,
    )
    return [_job(row) for row in rows]


def queues(context: Context) -> list[Queue]:
    rows = context.db.execute(
        "select queue, sum(case state when 'waiting' then 1 else 0 end) as waiting,"
        " sum(case state when 'leased' then 1 else 0 end) as leased"
        " from jobs where tenant = :tenant group by queue order by queue"
    )
    return [Queue(name=row.queue, waiting=int(row.waiting), leased=int(row.leased)) for row in rows]


def last_position(context: Context, queue: str) -> int | None:
    row = context.db.one(
        "select max(position) as position from jobs where tenant = :tenant and queue = :queue and state = 'waiting'",
        queue=queue,
    )
    return None if row is None else row.position


def first_position(context: Context, queue: str) -> int | None:
    row = context.db.one(
        "select min(position) as position from jobs where tenant = :tenant and queue = :queue and state = 'waiting'",
        queue=queue,
    )
    return None if row is None else row.position


def position_before(context: Context, job: Job) -> int | None:
    row = context.db.one(
        "select max(position) as position from jobs where tenant = :tenant and queue = :queue"
        " and state = 'waiting' and position < :position",
        queue=job.queue,
        position=job.position,
    )
    return None if row is None else row.position


def spread(context: Context, queue: str, *, gap: int) -> None:
    rows = context.db.execute(
        "select id from jobs where tenant = :tenant and queue = :queue and state = 'waiting'"
        f" order by position, created, id{context.db.for_update}",
        queue=queue,
    )
    context.db.many(
        "update jobs set position = :position where tenant = :tenant and id = :id",
        [{"id": row.id, "position": (index + 1) * gap} for index, row in enumerate(rows)],
    )


def place(context: Context, id: str, *, queue: str, position: int) -> None:
    context.db.change(
        "update jobs set queue = :queue, position = :position where tenant = :tenant and id = :id",
        id=id,
        queue=queue,
        position=position,
    )


def _job(row: Row[Any]) -> Job:
    return Job(id=row.id, queue=row.queue, kind=row.kind, subject=row.subject, state=row.state, position=row.position,
               fence=row.fence, created=row.created, agent=row.agent, lease_expires=row.lease_expires)  # fmt: skip
