"""Events: what happened in this tenant, and what happens now."""

from collections.abc import Iterator

import msgspec

from larder import config
from larder.contract import events, live
from larder.transport import Transport


def find(*, after: int = 0, limit: int = 100, subject: str = "", transport: Transport | None = None) -> events.Events:
    """What happened after an event, the oldest first; with `subject`, to one thing only."""
    query = events.EventQuery(after=after, limit=limit, subject=subject)
    return (transport or config.connect()).call(events.LIST, query)


def follow(*, after: int | None = None, transport: Transport | None = None) -> Iterator[events.Event]:
    """What happens from now on, or after an event, while it happens; until the server ends.

    Notices that are not kept, such as `runs.logged`, have the sequence number 0. Where the server had to leave events
    out, one of the name `lost` stands in their place.
    """
    data, name = "", ""
    for line in _lines((transport or config.connect()).stream(live.FOLLOW, live.LiveQuery(after=after))):
        field, _, value = line.partition(": ")
        if field == "data":
            data = value
        elif field == "event":
            name = value
        elif not line:
            if name == "lost":
                yield events.Event(sequence=0, name="lost", subject="", time=0)
            elif not name and data:
                yield from msgspec.json.decode(data, type=list[events.Event])
            data, name = "", ""


def _lines(pieces: Iterator[bytes]) -> Iterator[str]:
    left = b""
    for piece in pieces:
        *lines, left = (left + piece).split(b"\n")
        yield from (line.decode() for line in lines)
