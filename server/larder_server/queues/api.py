"""Queues over HTTP."""

import msgspec

from larder.contract import queues
from larder.contract.queues import Lease, LeaseRequest, Needs
from larder_server.kernel.outbox import Event
from larder_server.kernel.routing import Waiting, bind
from larder_server.queues import events, rules, service


def _wants(order: LeaseRequest, event: Event, _: dict[str, str]) -> bool:
    if event.name != events.JOB_WAITING:
        return bool(event.data["agent"] == order.agent)
    if event.data["queue"] not in order.queues:
        return False
    needs = event.data["needs"]
    return not needs or order.capacity is None or not rules.lacks(msgspec.convert(needs, Needs), order.capacity)


LEASING = Waiting(
    satisfied=lambda lease: lease.job is not None or lease.drain,
    seconds=lambda order: min(max(order.wait, 0.0), rules.LONGEST_WAIT),
    wants=_wants,
    names=frozenset({events.JOB_WAITING, events.JOB_ENDED, events.AGENT_CALLED}),
    alone=True,
    idle=service.surely_idle,
    worth=service.worth_leasing,
    nothing=lambda _: Lease(),
    still=service.still_waiting,
)
"""How an agent waits for a job. Sound as long as every way in which a job comes to wait emits `events.JOB_WAITING`."""

ROUTES = [
    bind(queues.LIST, service.every),
    bind(queues.SHOW, service.show),
    bind(queues.LINE, service.line),
    bind(queues.CHANGE, service.change),
    bind(queues.HISTORY, service.history),
    bind(
        queues.LEASE,
        service.lease,
        waiting=LEASING,
    ),
    bind(queues.RENEW, service.renew),
    bind(queues.COMPLETE, service.complete),
    bind(queues.GIVE_BACK, service.give_back),
    bind(queues.MOVE, service.move),
    bind(queues.WHY, service.of_job),
    bind(queues.AGENTS, service.agents),
    bind(queues.DRAIN_AGENT, service.drain_agent),
    bind(queues.AGENT_HISTORY, service.agent_history),
]
