"""What event doors announce; the subject is the door's name."""

from larder_server.kernel.outbox import Event


def door_set(door: str, *, type: str, action: str) -> Event:
    return Event(name="schedules.door_set", subject=door, data={"type": type, "action": action})


def door_closed(door: str) -> Event:
    return Event(name="schedules.door_closed", subject=door)


def received(door: str, *, id: str, source: str, type: str, action: str, run: str) -> Event:
    data = {"id": id, "source": source, "type": type, "action": action, "run": run}
    return Event(name="schedules.event_received", subject=door, data=data)
