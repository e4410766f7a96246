"""Every change is an event, written in the transaction that made it, handed out after it."""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from larder.contract import events as contract
from larder_server.kernel.database import Statements

log = logging.getLogger(__name__)

PATIENCE = 5
"""How often a handler may fail on one event before the event is put aside."""

DONE, ASIDE = 1, 2


@dataclass(frozen=True, kw_only=True)
class Event:
    """What a slice announces: `name` is `slice.what_happened`, `subject` the id it happened to."""

    name: str
    subject: str
    data: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Unhandled:
    """An event that waits for its handlers; `failures` so far."""

    sequence: int
    tenant: str
    event: Event
    failures: int


def write(db: Statements, event: Event, *, time: int, actor: str, awaited: bool) -> None:
    """Write an event beside the change it tells of; `awaited` when a handler has to see it."""
    db.change(
        "insert into events (tenant, name, subject, time, actor, data, handled)"
        " values (:tenant, :name, :subject, :time, :actor, :data, :handled)",
        name=event.name,
        subject=event.subject,
        time=time,
        actor=actor,
        data=json.dumps(event.data),
        handled=0 if awaited else DONE,
    )


def read(db: Statements, query: contract.EventQuery) -> contract.Events:
    """Events of the tenant after a sequence number; none, and the newest number, when `after` is negative."""
    if query.after < 0:
        row = db.one("select max(seq) as last from events where tenant = :tenant")
        return contract.Events(events=[], last=(row.last if row is not None else None) or 0)
    rows = db.execute(
        "select seq, name, subject, time, actor, data from events where tenant = :tenant and seq > :after"
        + (" and subject = :subject" if query.subject else "")
        + " order by seq limit :limit",
        after=query.after,
        subject=query.subject,
        limit=min(max(query.limit, 1), 1000),
    )
    events = [
        contract.Event(sequence=row.seq, name=row.name, subject=row.subject, time=row.time, user=row.actor,
                       data=json.loads(row.data))
        for row in rows
    ]  # fmt: skip
    return contract.Events(events=events, last=events[-1].sequence if events else query.after)


def unhandled(db: Statements, limit: int = 100) -> Sequence[Unhandled]:
    """Events of all tenants that wait for a handler, oldest first."""
    # aside: SQLite would go through all events that ever were, in their order, to find the few that wait
    rows = db.execute("select seq, tenant, name, subject, data, handled from events where handled <= 0"
                      f" order by {db.aside}seq limit :limit", limit=limit)  # fmt: skip
    return [
        Unhandled(sequence=row.seq, tenant=row.tenant, failures=-row.handled,
                  event=Event(name=row.name, subject=row.subject, data=json.loads(row.data)))
        for row in rows
    ]  # fmt: skip


def newest(db: Statements) -> int:
    """The greatest sequence number of all tenants."""
    row = db.one("select coalesce(max(seq), 0) as last from events")
    return 0 if row is None else int(row.last)


def since(db: Statements, sequence: int, limit: int = 1000) -> Sequence[Unhandled]:
    """Events of all tenants after a sequence number, in order."""
    rows = db.execute(
        "select seq, tenant, name, subject, data, handled from events where seq > :seq order by seq limit :limit",
        seq=sequence, limit=limit,
    )  # fmt: skip
    return [
        Unhandled(sequence=row.seq, tenant=row.tenant, failures=-row.handled,
                  event=Event(name=row.name, subject=row.subject, data=json.loads(row.data)))
        for row in rows
    ]  # fmt: skip


def claim(db: Statements, sequence: int) -> bool:
    """Take an unhandled event for this transaction; False when another server has it or it is done."""
    return db.one("select seq from events where seq = :seq and tenant = :tenant and handled <= 0" + db.skip_locked,
                  seq=sequence) is not None  # fmt: skip


def settle(db: Statements, sequence: int, handled: int) -> None:
    """Write how far an event got: `DONE`, `ASIDE`, or minus the number of failures."""
    db.change(
        "update events set handled = :handled where seq = :seq and tenant = :tenant", seq=sequence, handled=handled
    )


Handler = Callable[[Any, Event], None]
Handlers = Mapping[str, Sequence[Handler]]
