"""What one can do with event doors."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from larder.contract.doors import (
    CloudEvent,
    EventDoor,
    EventDoors,
    NewEventDoor,
    Received,
    ReceivedEvents,
    ReceivedQuery,
)
from larder.contract.endpoint import Nothing
from larder.contract.errors import NotFound
from larder_server.kernel.actions import Actions
from larder_server.kernel.context import Context
from larder_server.schedules import events, rules, store


def every(context: Context, _: Nothing) -> EventDoors:
    """The doors by name."""
    return EventDoors(doors=store.doors(context))


def put(context: Context, order: NewEventDoor, door: str, *, actions: Actions) -> EventDoor:
    """Make or change a door. Invalid: a part of it cannot be. NotFound: there is no such action."""
    rules.door(door)
    rules.check_arguments(order.arguments)
    actions.check(order.action, order.arguments)
    had = store.door(context, door)
    made = EventDoor(
        name=door, type=rules.text(order.type, "type"), source=rules.text(order.source, "source", needed=False),
        action=order.action, arguments=order.arguments, user=context.user, changed=context.clock.now(),
        received=had.received if had is not None else 0,
    )  # fmt: skip
    store.put(context, made)
    context.emit(events.door_set(door, type=made.type, action=made.action))
    return made


def close(context: Context, _: Nothing, door: str) -> Nothing:
    """Close a door; what it has received stays known. NotFound."""
    if not store.drop(context, door):
        raise NotFound(f"there is no event door {door[:100]}")
    context.emit(events.door_closed(door))
    return Nothing()


def receive(context: Context, order: CloudEvent, *, actions: Actions) -> Received:
    """Perform the action of the door that takes the event, unless the event is known.

    Invalid: it is no CloudEvent 1.0, or does not say what the door asks for. NotFound: no door takes it. What the action
    refuses is refused here, and the event stays unknown, so that its sender may send it again.
    """
    given = rules.event(order)
    key = rules.key(given)
    if (had := store.known(context, key)) is not None:
        return replace(had, again=True)
    door = rules.taking(store.doors(context), given)
    now = context.clock.now()
    data = rules.kept(given) if door.action == rules.KEEP else ""
    if not store.claim(context, key, given, door=door.name, time=now, data=data):
        had = store.known(context, key)
        assert had is not None, "the insert met a row of that event"
        return replace(had, again=True)
    result = actions.perform(context, door.action, **rules.filled(door.arguments, given))
    run = str(result.get("run", "")) if isinstance(result, Mapping) else ""
    store.done(context, key, door=door.name, run=run)
    context.emit(
        events.received(door.name, id=given.id, source=given.source, type=given.type, action=door.action, run=run)
    )
    return Received(id=given.id, source=given.source, type=given.type, door=door.name, time=now, run=run)


def received(context: Context, query: ReceivedQuery) -> ReceivedEvents:
    """Events received."""
    limit = min(max(query.limit, 1), 1_000)
    return ReceivedEvents(
        events=store.received(context, door=query.door, since=query.since, data=query.data, limit=limit)
    )


def forget(context: Context) -> Any:
    """Forget events of long ago."""
    return store.forget(context, before=context.clock.now() - rules.KEPT)
