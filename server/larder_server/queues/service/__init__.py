"""What one can do with a queue. It does not know what a job is about."""

from larder_server.queues.service.leasing import (
    complete,
    expire,
    give_back,
    holder,
    lease,
    remember_agents,
    renew,
    worth_leasing,
)
from larder_server.queues.service.placing import ask_stop, change, check_fence, check_needs, move, put, put_back, remove
from larder_server.queues.service.seeing import (
    agents,
    drain_agent,
    every,
    forget,
    history,
    of_job,
    show,
    still_waiting,
    why,
)

__all__ = [
    "agents",
    "ask_stop",
    "change",
    "check_fence",
    "check_needs",
    "complete",
    "drain_agent",
    "every",
    "expire",
    "forget",
    "give_back",
    "history",
    "holder",
    "lease",
    "move",
    "of_job",
    "put",
    "put_back",
    "remember_agents",
    "remove",
    "renew",
    "show",
    "still_waiting",
    "why",
    "worth_leasing",
]
