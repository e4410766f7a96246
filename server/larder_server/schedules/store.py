"""Event doors, and the events that came through them, in SQL."""

import json
from typing import Any

from sqlalchemy.engine import Row

from larder.contract.doors import CloudEvent, EventDoor, Received
from larder_server.kernel.context import Context

_DOOR = "name, type, source, action, arguments, actor, changed, received"
_RECEIVED = "id, source, type, door, time, run, '' as data"
_WITH_DATA = "id, source, type, door, time, run, data"


def doors(context: Context) -> list[EventDoor]:
    rows = context.db.execute(f"select {_DOOR} from event_doors where tenant = :tenant order by name")
    return [_door(row) for row in rows]


def door(context: Context, name: str) -> EventDoor | None:
    row = context.db.one(f"select {_DOOR} from event_doors where tenant = :tenant and name = :name", name=name)
    return None if row is None else _door(row)


def put(context: Context, one: EventDoor) -> None:
    context.db.change(
        "insert into event_doors (tenant, name, type, source, action, arguments, actor, changed, received)"
        " values (:tenant, :name, :type, :source, :action, :arguments, :actor, :changed, 0)"
        " on conflict (tenant, name) do update set type = excluded.type, source = excluded.source,"
        " action = excluded.action, arguments = excluded.arguments, actor = excluded.actor, changed = excluded.changed",
        name=one.name, type=one.type, source=one.source, action=one.action, arguments=json.dumps(one.arguments),
        actor=one.user, changed=one.changed,
    )  # fmt: skip


def drop(context: Context, name: str) -> bool:
    return bool(context.db.change("delete from event_doors where tenant = :tenant and name = :name", name=name))


def known(context: Context, key: str) -> Received | None:
    row = context.db.one(
        f"select {_RECEIVED} from received_events where tenant = :tenant and event = :event", event=key
    )
    return None if row is None else _received(row)


def claim(context: Context, key: str, given: CloudEvent, *, door: str, time: int, data: str) -> bool:
    """Write an event down; False when it is there. Waits for another who is writing the same."""
    return bool(
        context.db.change(
            "insert into received_events (tenant, event, id, source, type, door, time, actor, run, data)"
            " values (:tenant, :event, :id, :source, :type, :door, :time, :actor, '', :data)"
            " on conflict (tenant, event) do nothing",
            event=key, id=given.id, source=given.source, type=given.type, door=door, time=time, actor=context.user, data=data,
        )
    )  # fmt: skip


def done(context: Context, key: str, *, door: str, run: str) -> None:
    context.db.change(
        "update received_events set run = :run where tenant = :tenant and event = :event", event=key, run=run
    )
    context.db.change(
        "update event_doors set received = received + 1 where tenant = :tenant and name = :name", name=door
    )


def received(context: Context, *, door: str, since: int | None, data: bool, limit: int) -> list[Received]:
    rows = context.db.execute(
        f"select {_WITH_DATA if data else _RECEIVED} from received_events where tenant = :tenant"
        + (" and door = :door" if door else "")
        + (" order by time desc, event limit :limit" if since is None else
           " and time >= :since order by time, event limit :limit"),
        door=door, limit=limit, since=since,
    )  # fmt: skip
    return [_received(row) for row in rows]


def forget(context: Context, *, before: int) -> int:
    return context.db.change("delete from received_events where tenant = :tenant and time < :before", before=before)


def _door(row: Row[Any]) -> EventDoor:
    return EventDoor(name=row.name, type=row.type, source=row.source, action=row.action,
                     arguments=json.loads(row.arguments), user=row.actor, changed=row.changed, received=row.received)  # fmt: skip


def _received(row: Row[Any]) -> Received:
    return Received(id=row.id, source=row.source, type=row.type, door=row.door, time=row.time, run=row.run,
                    data=json.loads(row.data) if row.data else None)  # fmt: skip
