"""What is known of empty queues and idle agents holds until anything makes a job wait or calls the agent."""

import pytest

from larder.contract.endpoint import Nothing
from larder.contract.queues import Capacity, ChangePolicy, GiveBack, LeaseRequest, Load, Move, Needs
from larder_server.kernel.memory import Memory
from larder_server.queues import jobs, rules, service
from tests.server.conftest import ALICE

ORDER = LeaseRequest(queues=["gpu", "cpu"], agent="a1", capacity=Capacity(slots=2), host="h", version="1")
OTHER = LeaseRequest(queues=["other"], agent="a2")


@pytest.fixture
def runtime(runtime):
    runtime.memory = Memory(jobs.FORGETS)
    return runtime


@pytest.fixture
def act(runtime):
    """Performs a use case in a transaction."""
    return lambda use, *given, **named: runtime.transact(ALICE, lambda context: use(context, *given, **named))


@pytest.fixture
def idle(runtime):
    """Whether an agent is known to be idle without a look."""
    return lambda order=ORDER: service.surely_idle(runtime.recollection("acme"), order)


@pytest.fixture
def look(runtime, act):
    """Lets an agent ask as the edge does: what it is given, None without a transaction."""

    def look(order=ORDER):
        worth = runtime.view(ALICE, lambda context: service.worth_leasing(context, order))
        return act(service.lease, order) if worth else None

    return look


def until_idle(look):
    """The first question says who asks, the second finds nothing."""
    look()
    assert look() is None


def put(act, subject="r1", queue="gpu", **named):
    return act(service.put, queue, kind="run", subject=subject, **named)


def test_an_agent_is_idle_once_it_was_told_that_all_its_queues_are_empty(look, idle):
    assert not idle()
    assert look().job is None
    assert look() is None
    assert idle()
    other = ORDER.__class__(**{**vars(ORDER), "agent": "a3"})
    assert not idle(other)  # nothing is written down of it yet


def leased(act, queue, subject="r1"):
    put(act, subject, queue)
    return act(service.lease, LeaseRequest(queues=[queue], agent="holder")).job


def test_a_job_that_is_put_in_ends_it(act, look, idle):
    until_idle(look)
    put(act, queue="other")
    assert idle()
    put(act, "r2", queue="cpu")
    assert not idle()
    assert look().job.subject == "r2"


def test_a_job_that_is_given_back_ends_it(act, look, idle):
    job = leased(act, "gpu")
    until_idle(look)
    assert idle()
    act(service.give_back, GiveBack(fence=job.fence), job.id)
    assert not idle()
    assert look().job.id == job.id


def test_a_job_whose_holder_is_silent_ends_it(act, look, idle, clock):
    job = leased(act, "gpu")
    until_idle(look)
    clock.forward(31)
    assert idle()
    assert act(service.expire) == 1
    assert not idle()
    assert look().job.id == job.id


def test_a_job_that_is_tried_again_ends_it(act, look, idle):
    job = leased(act, "gpu")
    until_idle(look)
    assert act(service.put_back, kind="run", subject=job.subject, cause="")
    assert not idle()
    assert look().job.id == job.id


@pytest.mark.parametrize("to", ["top", "bottom"])
def test_a_job_that_is_moved_into_its_queue_ends_it(act, look, idle, to):
    job = put(act, queue="other")
    until_idle(look)
    assert idle()
    act(service.move, Move(queue="cpu", to=to), job.id)
    assert not idle()
    assert look().job.id == job.id


def test_a_queue_that_holds_what_is_not_for_the_agent_is_looked_at_each_time(act, look, idle):
    look()
    put(act, needs=Needs(gpus=1))
    for _ in range(3):
        assert look() is None
        assert not idle()
    act(service.change, ChangePolicy(paused=True), "cpu")
    act(service.remove, kind="run", subject="r1")
    put(act, "r2", queue="cpu")
    assert look() is None
    assert not idle()
    act(service.change, ChangePolicy(paused=False), "cpu")
    assert look().job.subject == "r2"


def test_an_agent_that_is_asked_to_end_hears_it(act, look, idle):
    until_idle(look)
    act(service.drain_agent, Nothing(), "a1")
    assert not idle()
    assert look().drain


def test_an_agent_that_says_something_new_is_listened_to(act, look, idle, clock):
    until_idle(look)
    said = vars(ORDER)
    for news in ({"queues": ["gpu"]}, {"capacity": Capacity(slots=3)}, {"host": "i"}, {"version": "2"}):
        assert not idle(LeaseRequest(**{**said, **news}))
    assert not idle(LeaseRequest(**{**said, "ask": "q1", "repeated": True}))
    assert idle()
    clock.forward(rules.SILENCE / rules.SECOND)
    assert not idle()


def test_the_signs_of_life_of_an_idle_agent_are_written_down(runtime, act, look, idle, clock):
    def seen():
        act(service.remember_agents)
        return runtime.view(ALICE, lambda context: service.agents(context, Nothing()).agents[0])

    until_idle(look)
    for _ in range(10):
        clock.forward(55)
        assert idle(LeaseRequest(**{**vars(ORDER), "load": Load(cpu=0.5)}))
        assert seen().seen == clock.now()
    assert seen().load.cpu == 0.5
    assert seen().started == clock.now() - 550 * rules.SECOND
