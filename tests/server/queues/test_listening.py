"""A lease does not run out while it is the server that could not hear."""

from dataclasses import replace

from larder.contract.queues import LeaseRequest
from larder_server.queues import service

SECOND = 1_000_000


def leased(context):
    service.put(context, "gpu", kind="run", subject="r1")
    return service.lease(context, LeaseRequest(queues=["gpu"], agent="a1")).job


def test_after_its_start_a_server_waits_a_whole_lease_before_any_expires(context, clock):
    job = leased(context)
    clock.time = job.lease_expires + 3600 * SECOND
    started = replace(context, listening_since=clock.now() - 29 * SECOND)
    assert service.expire(started) == 0
    clock.time += 2 * SECOND
    assert service.expire(started) == 1


def test_a_clock_that_was_set_back_does_not_make_a_lease_longer(context, clock):
    job = leased(context)
    clock.time = job.lease_expires - 7200 * SECOND
    assert service.expire(context) == 0
    clock.time += 31 * SECOND
    assert service.expire(context) == 1
