"""The outbox over HTTP: what happened in a tenant, by long poll."""

from larder.contract import events
from larder_server.kernel import outbox
from larder_server.kernel.context import Context
from larder_server.kernel.outbox import Event
from larder_server.kernel.routing import Waiting, bind


def _read(context: Context, query: events.EventQuery) -> events.Events:
    return outbox.read(context.db, query)


def _wants(query: events.EventQuery, event: Event, _: dict[str, str]) -> bool:
    return not query.subject or event.subject == query.subject


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
    )
]
