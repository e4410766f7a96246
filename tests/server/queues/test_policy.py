"""What a queue's policy, the needs of jobs and the room of agents make of the order; and what people are told."""

import threading

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from larder.contract.endpoint import Nothing
from larder.contract.errors import Conflict, Invalid, NotFound
from larder.contract.queues import (
    Capacity,
    ChangePolicy,
    GiveBack,
    Gpu,
    HistoryQuery,
    Hold,
    LeaseRequest,
    LineQuery,
    Load,
    Move,
    Needs,
    Priority,
    StaysQuery,
)
from larder_server.queues import events, service
from tests.server.conftest import ALICE, opened

GB = 10**9
SMALL = Capacity(slots=2, cpus=4, memory=16 * GB)
GPU = Capacity(slots=4, cpus=16, memory=64 * GB, gpus=[Gpu(index=0, memory=24 * GB), Gpu(index=1, memory=24 * GB)])


def put(context, subject, queue="default", **options):
    return service.put(context, queue, kind="run", subject=subject, **options)


def ask(agent="a1", *queues, capacity=None):
    return LeaseRequest(queues=list(queues) or ["default"], agent=agent, capacity=capacity)


def lease(context, agent="a1", *queues, capacity=None):
    job = service.lease(context, ask(agent, *queues, capacity=capacity)).job
    return None if job is None else job.subject


def shown(context, queue="default"):
    return [job.subject for job in service.show(context, Nothing(), queue).jobs if job.state == "waiting"]


def end(context, subject):
    assert service.remove(context, kind="run", subject=subject)


def test_people_go_before_machines(context):
    put(context, "search 1", priority=Priority.AUTOMATIC)
    put(context, "search 2", priority=Priority.AUTOMATIC)
    put(context, "mine")
    assert shown(context) == ["mine", "search 1", "search 2"]
    assert lease(context) == "mine"


def test_what_is_moved_by_hand_stays_where_it_was_put(context):
    jobs = {name: put(context, name, priority=Priority(kind)) for name, kind in
            [("h1", "human"), ("h2", "human"), ("a1", "automatic"), ("a2", "automatic")]}  # fmt: skip
    moved = service.move(context, Move(to="top"), jobs["a2"].id)
    assert moved.priority is Priority.HUMAN and shown(context) == ["a2", "h1", "h2", "a1"]
    put(context, "h3")
    assert shown(context)[0] == "a2"
    moved = service.move(context, Move(to="bottom"), jobs["h1"].id)
    assert moved.priority is Priority.AUTOMATIC and shown(context) == ["a2", "h2", "h3", "a1", "h1"]
    moved = service.move(context, Move(before=jobs["h2"].id), jobs["a1"].id)
    assert moved.priority is Priority.HUMAN and shown(context) == ["a2", "a1", "h2", "h3", "h1"]
    assert [lease(context) for _ in range(5)] == ["a2", "a1", "h2", "h3", "h1"]


def test_a_job_given_back_and_one_put_in_meanwhile_keep_apart(context):
    put(context, "r1")
    job = service.lease(context, ask()).job
    other = put(context, "r2")
    service.give_back(context, GiveBack(fence=job.fence), job.id)
    third = put(context, "r3")
    service.move(context, Move(before=other.id), third.id)
    assert shown(context) == ["r1", "r3", "r2"]


def test_an_agent_is_given_only_what_fits_beside_what_it_holds(context):
    put(context, "big", needs=Needs(memory=10 * GB))
    put(context, "bigger", needs=Needs(memory=12 * GB))
    put(context, "gpu", needs=Needs(gpus=1))
    put(context, "small", needs=Needs(memory=2 * GB))
    put(context, "free")
    assert [lease(context, capacity=SMALL) for _ in range(3)] == ["big", "small", None]  # two slots
    end(context, "big")
    assert lease(context, capacity=SMALL) == "bigger"
    assert service.lease(context, ask("g", capacity=GPU)).job.gpus == [0]


def test_two_jobs_that_do_not_fit_never_share_a_gpu(context):
    for name in ("a", "b", "c"):
        put(context, name, needs=Needs(gpu_memory=14 * GB))
    put(context, "small", needs=Needs(gpu_memory=8 * GB))
    given = [service.lease(context, ask(capacity=GPU)).job for _ in range(4)]
    assert [(job.subject, job.gpus) for job in given[:3]] == [("a", [0]), ("b", [1]), ("small", [0])]
    assert given[3] is None


def test_small_jobs_overtake_a_big_one_for_a_while_only(context, clock):
    one = Capacity(slots=2, memory=16 * GB)
    put(context, "long", needs=Needs(memory=8 * GB))
    assert lease(context, capacity=one) == "long"
    put(context, "big", needs=Needs(memory=16 * GB))
    put(context, "small 1")
    assert lease(context, capacity=one) == "small 1"
    end(context, "small 1")
    clock.forward(601)
    put(context, "small 2")
    assert lease(context, capacity=one) is None  # keeps itself free
    assert lease(context, capacity=one) is None
    assert lease(context, "a2", capacity=one) == "big"  # another one has room: nobody starves, nobody waits for long
    assert lease(context, capacity=one) == "small 2"


def test_an_agent_keeps_itself_free_and_the_others_do_not(context, clock):
    two = Capacity(slots=2, gpus=[Gpu(index=0, memory=GB), Gpu(index=1, memory=GB)])
    for agent in ("a1", "a2"):
        put(context, f"long {agent}", needs=Needs(gpus=1))
        assert lease(context, agent, capacity=two) == f"long {agent}"
    put(context, "big", needs=Needs(gpus=2))
    clock.forward(601)
    put(context, "small")
    assert lease(context, "a1", capacity=two) is None
    assert lease(context, "a2", capacity=two) == "small"
    end(context, "long a1")
    assert lease(context, "a1", capacity=two) == "big"


def test_a_paused_queue_gives_nothing_and_one_that_drains_takes_nothing(context):
    put(context, "r1")
    queue = service.change(context, ChangePolicy(paused=True), "default")
    assert queue.policy.paused and queue.waiting == 1
    assert lease(context) is None
    service.change(context, ChangePolicy(paused=False, draining=True), "default")
    with pytest.raises(Conflict, match="draining"):
        put(context, "r2")
    elsewhere = put(context, "r2", "gpu")
    with pytest.raises(Conflict, match="draining"):
        service.move(context, Move(queue="default"), elsewhere.id)
    assert lease(context) == "r1"
    end(context, "r1")
    service.change(context, ChangePolicy(draining=False), "default")
    put(context, "r3")


def test_a_user_has_at_most_the_limit(context):
    for name in ("e1", "e2", "e3"):
        put(context, name, owner="evi")
    put(context, "j1", owner="joe")
    service.change(context, ChangePolicy(limit_per_user=2), "default")
    assert [lease(context) for _ in range(4)] == ["e1", "e2", "j1", None]
    assert "2 of 2" in service.why(context, "run", "e3").reasons[0]
    context.emitted.clear()
    end(context, "e1")
    woken = [event for event in context.emitted if event.name == events.JOB_WAITING]
    assert [event.subject for event in woken] == [service.why(context, "run", "e3").job.id]
    assert lease(context) == "e3"


def test_teams_share_a_queue_by_their_weights(context):
    service.change(context, ChangePolicy(shares={"red": 2.0}), "default")
    for number in range(6):
        put(context, f"blue{number}", owner="b", team="blue")
    for number in range(6):
        put(context, f"red{number}", owner="r", team="red")
    expected = shown(context)
    leased = [lease(context) for _ in range(12)]
    assert leased == expected
    assert sum(name.startswith("red") for name in leased[:6]) == 4


def test_a_drag_wins_over_shares(context):
    service.change(context, ChangePolicy(shares={"red": 1.0}), "default")
    jobs = {name: put(context, name, owner=name, team=name[:-1]) for name in
            ["blue1", "blue2", "red1", "red2", "blue3"]}  # fmt: skip
    before = shown(context)
    service.move(context, Move(to="top"), jobs["blue3"].id)
    assert shown(context)[0] == "blue3"
    service.move(context, Move(before=jobs["blue2"].id), jobs["red2"].id)
    now = shown(context)
    assert now.index("red2") + 1 == now.index("blue2")
    assert [lease(context) for _ in range(5)] == now
    assert sorted(before) == sorted(now)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_the_order_shown_is_the_order_of_lease(runtime, data):
    if not runtime.database.sqlite and data.draw(st.integers(0, 2)):
        return  # a third of the examples is enough for the slower one
    with opened(runtime) as context:
        shares = data.draw(st.dictionaries(st.sampled_from(["red", "blue", ""]), st.sampled_from([1.0, 2.0, 0.5])))
        service.change(context, ChangePolicy(shares=shares), "default")
        jobs = []
        for number in range(data.draw(st.integers(1, 8))):
            team = data.draw(st.sampled_from(["", "red", "blue"]))
            priority = data.draw(st.sampled_from(Priority))
            jobs.append(put(context, f"r{number}", priority=priority, owner="o", team=team))
        for _ in range(data.draw(st.integers(0, 5))):
            moved = data.draw(st.sampled_from(jobs))
            place = data.draw(st.sampled_from(["top", "bottom", "before"]))
            before = data.draw(st.sampled_from(jobs))
            order = Move(before=before.id) if place == "before" else Move(to=place)
            was = shown(context)
            service.move(context, order, moved.id)
            now = shown(context)
            if place == "top":
                assert now[0] == moved.subject
            elif place == "before" and moved.id != before.id:
                others = [subject for subject in was if subject != moved.subject]
                assert now[: now.index(moved.subject)] == others[: others.index(before.subject)]
            elif place == "bottom" and not shares:
                assert now[-1] == moved.subject
        expected = shown(context)
        assert [lease(context) for _ in range(len(expected))] == expected


# -- what people are told


def test_why_names_what_is_missing(context, clock):
    job = put(context, "r1", needs=Needs(gpu_memory=40 * GB))
    assert service.why(context, "run", "r1").reasons == ["No agent listens to queue default."]
    lease(context, "a", capacity=SMALL)
    lease(context, "g", capacity=GPU)
    told = service.of_job(context, Nothing(), job.id)
    assert told.reasons == [
        "2 agents listen to queue default, but none has what the job needs: agent a has no GPU; the job needs 1;"
        " agent g has 2 GPUs of 24 GB; the job needs 40 GB."
    ]
    assert told.starts is None and told.ahead == 0
    service.change(context, ChangePolicy(paused=True), "default")
    assert service.why(context, "run", "r1").reasons[0] == "Queue default is paused."
    clock.forward(181)
    assert service.why(context, "run", "r1").reasons[1] == "No agent listens to queue default."
    with pytest.raises(NotFound):
        service.why(context, "run", "r2")


def test_why_expects_a_start_from_how_long_such_jobs_took(context, clock):
    one = Capacity(slots=1)
    put(context, "r1", expected=100.0)
    assert lease(context, capacity=one) == "r1"
    put(context, "r2", expected=50.0)
    put(context, "r3")
    clock.forward(30)
    told = service.why(context, "run", "r3")
    assert told.ahead == 1 and told.reasons[0] == "1 job is ahead of it."
    assert told.starts == clock.now() + 120_000_000
    put(context, "r4")
    assert service.why(context, "run", "r4").starts is None  # how long r3 takes is not known
    assert service.why(context, "run", "r1").reasons == ["It does not wait: agent a1 has it."]


def test_why_is_silent_when_a_job_could_start_at_once(context, clock):
    lease(context, capacity=SMALL)
    put(context, "r1")
    told = service.why(context, "run", "r1")
    assert told.reasons == [] and told.starts == clock.now()


def test_a_line_tells_for_each_job_why_it_waits_and_when_it_starts(context, clock):
    one = Capacity(slots=1)
    put(context, "r1", expected=100.0)
    assert lease(context, capacity=one) == "r1"
    put(context, "r2", expected=50.0)
    put(context, "r3", expected=7.0)
    put(context, "big", needs=Needs(gpus=1))
    line = service.line(context, LineQuery(), "default")
    assert [job.subject for job in line.leased] == ["r1"]
    assert (line.queue.waiting, line.queue.leased, line.queue.agents) == (3, 1, 1)
    now = clock.now()
    assert [(one.job.subject, one.ahead, one.starts) for one in line.waiting] == [
        ("r2", 0, now + 100_000_000), ("r3", 1, now + 150_000_000), ("big", 2, None),
    ]  # fmt: skip
    assert "no room" in line.waiting[0].reason and "1 job is ahead" in line.waiting[1].reason
    assert "has no GPU" in line.waiting[2].reason
    for one in line.waiting:
        told = service.of_job(context, Nothing(), one.job.id)
        assert (told.ahead, told.starts, told.reasons[0]) == (one.ahead, one.starts, one.reason)
    part = service.line(context, LineQuery(limit=1, offset=1), "default").waiting
    assert [one.job.subject for one in part] == ["r3"]
    service.change(context, ChangePolicy(paused=True), "default")
    assert {one.starts for one in service.line(context, LineQuery(), "default").waiting} == {None}
    for query in (LineQuery(limit=0), LineQuery(offset=-1)):
        with pytest.raises(Invalid):
            service.line(context, query, "default")


def test_the_line_of_an_unknown_queue_is_empty_and_another_tenants_is_not_seen(context, other_context):
    put(context, "r1")
    assert service.line(other_context, LineQuery(), "default").waiting == []
    assert service.agent_history(other_context, StaysQuery(), "a1").stays == []


def test_an_agents_history_names_what_it_executed(context, clock):
    put(context, "r1")
    assert lease(context) == "r1"
    clock.forward(60)
    end(context, "r1")
    put(context, "r2")
    assert lease(context) == "r2"
    stays = service.agent_history(context, StaysQuery(), "a1").stays
    assert [(stay.subject, stay.queue, stay.ended is None) for stay in stays] == [
        ("r2", "default", True), ("r1", "default", False),
    ]  # fmt: skip
    assert stays[1].ended - stays[1].leased == 60_000_000
    assert len(service.agent_history(context, StaysQuery(limit=1), "a1").stays) == 1
    with pytest.raises(Invalid):
        service.agent_history(context, StaysQuery(limit=501), "a1")


def test_history_tells_lengths_and_waits(context, clock):
    clock.forward(3600)
    put(context, "r1")
    put(context, "r2")
    clock.forward(60)
    assert lease(context) == "r1"
    clock.forward(600)
    end(context, "r1")
    found = service.history(context, HistoryQuery(hours=1, points=6), "default")
    assert found.waiting[-2:] == [2, 1] and found.leased[-2:] == [1, 1]
    assert found.waits[-2:] == [60.0, None]
    with pytest.raises(Invalid):
        service.history(context, HistoryQuery(points=0), "default")


def test_the_log_and_silent_agents_are_forgotten(context, clock):
    put(context, "r1")
    assert lease(context) == "r1"
    end(context, "r1")
    clock.forward(91 * 86_400)
    assert service.forget(context) == 2
    assert service.agents(context, Nothing()).agents == []


def test_a_job_goes_back_with_a_cause_and_both_are_told(context, clock):
    put(context, "r1")
    job = service.lease(context, ask()).job
    service.give_back(context, GiveBack(fence=job.fence, cause=""), job.id)
    service.lease(context, ask())
    clock.forward(31)
    service.expire(context)
    job = service.lease(context, ask()).job
    service.renew(context, Hold(fence=job.fence), job.id)
    clock.forward(31)
    service.expire(context)
    causes = [event.data["cause"] for event in context.emitted if event.name == events.LEASE_EXPIRED]
    assert causes == ["", "unheard", "agent_lost"]
    job = service.lease(context, ask()).job
    with pytest.raises(Invalid):
        service.give_back(context, GiveBack(fence=job.fence, cause="tired"), job.id)
    assert service.put_back(context, kind="run", subject="r1", cause="out_of_memory")
    assert not service.put_back(context, kind="run", subject="r1", cause="out_of_memory")
    with pytest.raises(Conflict):
        service.renew(context, Hold(fence=job.fence), job.id)


# -- agents


def test_agents_are_listed_with_what_they_execute(context, clock):
    put(context, "r1")
    order = LeaseRequest(queues=["default"], agent="a1", capacity=SMALL, host="box", version="1", load=Load(cpu=0.5))
    service.lease(context, order)
    service.lease(context, ask("b1", "other"))
    one, other = service.agents(context, Nothing()).agents
    assert (one.name, one.state, one.host, one.load.cpu, one.capacity) == ("a1", "busy", "box", 0.5, SMALL)
    assert [job.subject for job in one.jobs] == ["r1"] and (other.state, other.queues) == ("idle", ["other"])
    assert {queue.name: queue.agents for queue in service.every(context, Nothing()).queues} == {
        "default": 1,
        "other": 1,
    }
    clock.forward(181)
    assert [agent.state for agent in service.agents(context, Nothing()).agents] == ["gone", "gone"]


def test_signs_of_life_are_noted_without_writing_and_written_together(context, clock):
    service.lease(context, ask("idle"))
    clock.forward(170)
    assert not service.worth_leasing(context, ask("idle"))
    clock.forward(20)
    assert service.remember_agents(context) == 1
    assert service.agents(context, Nothing()).agents[0].state == "idle"
    assert service.remember_agents(context) == 0
    assert service.worth_leasing(context, ask("idle", "other queue"))  # says something new
    put(context, "r1")
    assert service.worth_leasing(context, ask("idle"))


def test_an_agent_hears_that_it_shall_drain(context, clock):
    put(context, "r1")
    job = service.lease(context, ask("a1")).job
    put(context, "r2")
    service.drain_agent(context, Nothing(), "a1")
    assert service.renew(context, Hold(fence=job.fence), job.id).drain
    answer = service.lease(context, ask("a1"))
    assert answer.drain and answer.job is None
    assert service.agents(context, Nothing()).agents[0].state == "draining"
    clock.forward(61)  # it has ended; what comes now under its name is a new one
    assert service.lease(context, ask("a1")).job.subject == "r2"
    with pytest.raises(NotFound):
        service.drain_agent(context, Nothing(), "a2")


@pytest.mark.parametrize("agents", [4])
def test_agents_that_race_get_each_job_once(runtime, agents):
    def put_all(context):
        for number in range(40):
            put(context, f"r{number}", owner=f"user{number % 3}", team=f"team{number % 2}")
        service.change(context, ChangePolicy(shares={"team1": 2.0}, limit_per_user=5), "default")

    runtime.transact(ALICE, put_all)
    given: list[tuple[str, int]] = []
    most: list[int] = []

    def work(name):
        while True:
            job = runtime.transact(ALICE, lambda context: service.lease(context, ask(name))).job
            if job is None:
                return
            given.append((job.subject, job.fence))
            counts = runtime.view(ALICE, lambda context: [
                job.owner for job in service.show(context, Nothing(), "default").jobs if job.state == "leased"
            ])  # fmt: skip
            most.append(max((counts.count(owner) for owner in set(counts)), default=0))
            runtime.transact(ALICE, lambda context: service.remove(context, kind="run", subject=job.subject))

    threads = [threading.Thread(target=work, args=(f"a{number}",)) for number in range(agents)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(given) == sorted((f"r{number}", 1) for number in range(40))
    assert max(most) <= 5
