"""Queues over HTTP."""

from larder.contract import queues
from larder.contract.queues import LeaseRequest
from larder_server.kernel.outbox import Event
from larder_server.kernel.routing import Waiting, bind
from larder_server.queues import events, rules, service


def _wants(order: LeaseRequest, event: Event, _: dict[str, str]) -> bool:
    return event.name == events.JOB_WAITING and event.data["queue"] in order.queues


ROUTES = [
    bind(queues.LIST, service.every),
    bind(queues.SHOW, service.show),
    bind(
        queues.LEASE,
        service.lease,
        waiting=Waiting(
            satisfied=lambda lease: lease.job is not None,
            seconds=lambda order: min(max(order.wait, 0.0), rules.LONGEST_WAIT),
            wants=_wants,
            alone=True,
        ),
    ),
    bind(queues.RENEW, service.renew),
    bind(queues.COMPLETE, service.complete),
    bind(queues.GIVE_BACK, service.give_back),
    bind(queues.MOVE, service.move),
]
