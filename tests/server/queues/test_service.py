"""A queue gives each job to one agent, in order, and gets back what an agent loses."""

import pytest

from larder.contract.endpoint import Nothing
from larder.contract.errors import Conflict, Invalid, NotFound
from larder.contract.queues import Hold, LeaseRequest, Move
from larder_server.queues import service

ASK = LeaseRequest(queues=["default"], agent="a1")


def test_jobs_are_leased_in_the_order_they_came(context):
    jobs = [service.put(context, "default", kind="run", subject=f"r{n}") for n in range(3)]
    leased = [service.lease(context, ASK).job for _ in range(3)]
    assert [job.id for job in leased] == [job.id for job in jobs]
    assert service.lease(context, ASK).job is None


def test_a_subject_waits_in_one_place_only(context):
    service.put(context, "default", kind="run", subject="r1")
    with pytest.raises(Conflict, match="already"):
        service.put(context, "other", kind="run", subject="r1")


def test_another_tenant_sees_no_job(context, other_context):
    job = service.put(context, "default", kind="run", subject="r1")
    assert service.lease(other_context, ASK).job is None
    with pytest.raises(NotFound):
        service.move(other_context, Move(), job.id)


def test_a_silent_agents_job_goes_back_and_its_fence_is_refused(context, clock):
    service.put(context, "default", kind="run", subject="r1")
    first = service.lease(context, ASK).job
    clock.forward(31)
    assert service.expire(context) == 1
    second = service.lease(context, LeaseRequest(queues=["default"], agent="a2")).job
    assert second.id == first.id and second.fence == first.fence + 1
    with pytest.raises(Conflict, match="lease"):
        service.renew(context, Hold(fence=first.fence), first.id)
    with pytest.raises(Conflict):
        service.complete(context, Hold(fence=first.fence), first.id)
    service.complete(context, Hold(fence=second.fence), second.id)
    assert service.expire(context) == 0


def test_renewing_keeps_a_lease_alive(context, clock):
    service.put(context, "default", kind="run", subject="r1")
    job = service.lease(context, ASK).job
    for _ in range(5):
        clock.forward(20)
        service.renew(context, Hold(fence=job.fence), job.id)
        assert service.expire(context) == 0


def test_a_holder_hears_that_it_shall_stop(context):
    service.put(context, "default", kind="run", subject="r1")
    assert not service.ask_stop(context, kind="run", subject="r1")
    job = service.lease(context, ASK).job
    assert not service.renew(context, Hold(fence=job.fence), job.id).stop
    assert service.ask_stop(context, kind="run", subject="r1")
    assert service.renew(context, Hold(fence=job.fence), job.id).stop


def test_a_job_moves_to_the_top_to_the_bottom_and_before_another(context):
    a, b, c = (service.put(context, "default", kind="run", subject=name) for name in "abc")

    def order():
        return [job.subject for job in service.show(context, Nothing(), "default").jobs]

    service.move(context, Move(to="top"), c.id)
    assert order() == ["c", "a", "b"]
    service.move(context, Move(to="bottom"), c.id)
    assert order() == ["a", "b", "c"]
    service.move(context, Move(before=b.id), c.id)
    assert order() == ["a", "c", "b"]


def test_moving_between_the_same_two_jobs_never_runs_out_of_room(context):
    a, b, c, d = (service.put(context, "default", kind="run", subject=name) for name in "abcd")
    for turn in range(60):
        service.move(context, Move(before=b.id), (c if turn % 2 else d).id)
    subjects = [job.subject for job in service.show(context, Nothing(), "default").jobs]
    assert subjects[0] == "a" and subjects[-1] == "b"


def test_a_job_moves_to_another_queue(context):
    job = service.put(context, "default", kind="run", subject="r1")
    assert service.move(context, Move(to="bottom", queue="gpu"), job.id).queue == "gpu"
    assert service.lease(context, ASK).job is None
    assert service.lease(context, LeaseRequest(queues=["default", "gpu"], agent="a")).job.id == job.id


def test_a_leased_job_does_not_move(context):
    job = service.put(context, "default", kind="run", subject="r1")
    service.lease(context, ASK)
    with pytest.raises(Conflict, match="leased"):
        service.move(context, Move(), job.id)


@pytest.mark.parametrize("name", ["", "a/b", "..", "x" * 101, "a\x00b", " a"])
def test_a_bad_queue_name_is_refused(context, name):
    with pytest.raises(Invalid) as caught:
        service.put(context, name, kind="run", subject="r1")
    assert caught.value.field == "queue"


def test_queues_are_counted(context):
    for n in range(3):
        service.put(context, "default", kind="run", subject=f"r{n}")
    service.lease(context, ASK)
    (queue,) = service.every(context, Nothing()).queues
    assert (queue.name, queue.waiting, queue.leased) == ("default", 2, 1)
