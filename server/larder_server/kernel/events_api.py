"""The outbox over HTTP: what happened in a tenant, by long poll or told while it happens."""

from larder.contract import events, live
from larder.contract.errors import Invalid
from larder_server.kernel import outbox
from larder_server.kernel.context import Context
from larder_server.kernel.outbox import Event
from larder_server.kernel.routing import From, Waiting, bind, bind_feed


def _read(context: Context, query: events.EventQuery) -> events.Events:
    return outbox.read(context.db, query)


def _wants(query: events.EventQuery, event: Event, _: dict[str, str]) -> bool:
    return not query.subject or event.subject == query.subject


def _from(query: live.LiveQuery) -> From:
    if not 0 <= query.since <= 60:
        raise Invalid("since is a number of seconds from 0 to 60", field="since")
    return From(after=query.after, ago=int(query.since * 1_000_000))


ROUTES = [
    bind(
        events.LIST,
        _read,
        waiting=Waiting(
            satisfied=lambda answer: bool(answer.events),
            seconds=lambda query: min(max(query.wait, 0.0), 60.0),
            wants=_wants,
            woken_is_enough=True,
        ),
    ),
    bind_feed(live.FOLLOW, _from),
]
