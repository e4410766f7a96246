"""A run is tried again as its policy says, continues from its checkpoint, and what was made public stays."""

import struct
from dataclasses import replace

import pytest

from larder.contract.endpoint import Nothing
from larder.contract.errors import Conflict, Denied, Invalid, NotFound
from larder.contract.ids import new_id
from larder.contract.queues import GiveBack, Hold, LeaseRequest, Needs
from larder.contract.runs import (
    ArtifactFile,
    ArtifactQuery,
    Batch,
    Cause,
    Change,
    Checkpoint,
    Clone,
    ConsoleLine,
    ConsoleQuery,
    Ending,
    Enqueue,
    Finish,
    MetricQuery,
    NewArtifact,
    NewRun,
    Opening,
    Points,
    PointsBatch,
    Retry,
    RunQuery,
    RunStatus,
    Series,
    Start,
    Stop,
)
from larder_server.queues import service as queues
from larder_server.runs import jobs, service
from larder_server.runs.rules import life

NOTHING = Nothing()


def series(name="loss", values=(), *, first=0) -> Series:
    count = len(values)
    steps = struct.pack(f"<{count}q", *range(first, first + count))
    return Series(name=name, steps=steps, times=steps, values=struct.pack(f"<{count}d", *values))


def opening(role="main", **more) -> Opening:
    return Opening(project="bakery", name="n", time=1_000, role=role, **more)


def say(context, run_id, writer, *, attempt=0, role="child", start=0, **more):
    first = {"opening": opening(role, **more.pop("says", {}))} if not start else {}
    batch = Batch(writer=writer, start=start, end=start + 100, attempt=attempt, **first, **more)
    return service.append(context, batch, run_id)


def get(context, run_id):
    return service.get(context, NOTHING, run_id)


def points(context, run_id, name="loss") -> list[tuple[int, float]]:
    found = service.read_metric(context, MetricQuery(name=name), run_id)
    count = len(found.values) // 8
    steps, values = struct.unpack(f"<{count}q", found.steps), struct.unpack(f"<{count}d", found.values)
    return list(zip(steps, values, strict=True))


def lines(context, run_id) -> list[str]:
    return [line.line.text for line in service.read_console(context, ConsoleQuery(), run_id).lines]


def logged(context, run_id) -> list[tuple[str, int]]:
    found = service.list_artifacts(context, ArtifactQuery(latest=False), run_id).artifacts
    return [(artifact.name, artifact.version) for artifact in found]


def artifact(context, name="checkpoint", *, step=None, kind="checkpoint", time=0) -> NewArtifact:
    hash = context.objects.put(context.tenant, b"state")
    file = ArtifactFile(path="state", hash=hash, size=5)
    return NewArtifact(name=name, kind=kind, format="file", files=[file], step=step, time=time)


def queued(context, **draft) -> str:
    run = service.create(context, NewRun(project="bakery", **draft))
    return service.enqueue(context, Enqueue(), run.id).id


def leased(context, agent="a1"):
    return queues.lease(context, LeaseRequest(queues=["default"], agent=agent)).job


def take(context, agent="a1", **question):
    return service.take(context, LeaseRequest(queues=["default"], agent=agent, host="box", **question))


def begin(context, run_id, agent="a1") -> int:
    job = leased(context, agent)
    assert job is not None and job.subject == run_id
    service.start(context, Start(fence=job.fence, agent=agent), run_id)
    return job.fence


def handle(context, name="queues.lease_expired") -> None:
    """What the server does with the newest event of a name."""
    event = [event for event in context.emitted if event.name == name][-1]
    jobs.HANDLERS[name](context, event)


def lose(context, clock) -> None:
    clock.forward(31)
    assert queues.expire(context) == 1
    handle(context)


def names(context) -> list[str]:
    return [event.name for event in context.emitted]


def inside(context, run_id):
    """A context in which the run's own token asks."""
    return replace(context, run=run_id)


# -- tried again ---------------------------------------------------------------------------------------------------


def test_a_lost_agents_run_goes_back_three_times_and_then_fails_with_the_reason(context, clock):
    run_id = queued(context)
    for tried in range(3):
        begin(context, run_id)
        lose(context, clock)
        run = get(context, run_id)
        assert (run.status, run.cause, run.retries, run.reason) == ("queued", "agent_lost", tried + 1, "agent lost")
    begin(context, run_id)
    lose(context, clock)
    run = get(context, run_id)
    assert (run.status, run.cause, run.retries) == ("failed", "agent_lost", 3)
    assert "3 of 3" in run.reason and run.ended == clock.now()
    assert leased(context) is None


def test_a_lease_quicker_than_the_word_of_the_lost_agent_counts_as_a_try(context, clock):
    run_id = queued(context, retry=Retry(times=1))
    begin(context, run_id)
    clock.forward(31)
    queues.expire(context)
    fence = begin(context, run_id, "a2")
    handle(context)  # the word comes late and changes nothing
    run = get(context, run_id)
    assert (run.status, run.attempt, run.retries) == ("running", fence, 1)
    clock.forward(31)
    queues.expire(context)
    job = leased(context, "a3")
    ended = service.start(context, Start(fence=job.fence), run_id)
    assert (ended.status, ended.cause, ended.attempt) == ("failed", "agent_lost", fence)
    handle(context)
    with pytest.raises(NotFound):
        queues.renew(context, Hold(fence=job.fence), job.id)


@pytest.mark.parametrize(("cause", "status", "retries"), [("", "running", 0), ("preempted", "failed", 0)])
def test_a_lease_quicker_than_the_word_of_a_job_given_back_goes_by_its_cause(context, cause, status, retries):
    run_id = queued(context, retry=Retry(causes=[Cause.AGENT_LOST]))
    taken = take(context)
    queues.give_back(context, GiveBack(fence=taken.lease.job.fence, cause=cause), taken.lease.job.id)
    again = take(context, agent="a2")
    assert (again.run is not None) == (status == "running")
    handle(context)  # the word comes late and changes nothing
    run = get(context, run_id)
    assert (run.status, run.retries) == (status, retries)


# -- a lease and a start in one ------------------------------------------------------------------------------------


def test_taking_leases_a_job_and_starts_its_run(context):
    run_id = queued(context, params={"lr": 0.1})
    taken = take(context)
    job, run = taken.lease.job, taken.run
    assert (job.subject, job.fence, taken.lease.seconds) == (run_id, 1, context.lease_seconds) and taken.lease.token
    assert (run.id, run.status, run.attempt, run.params, run.host) == (run_id, "running", 1, {"lr": 0.1}, "box")
    assert run == get(context, run_id)
    assert names(context)[-2:] == ["queues.job_leased", "runs.started"]
    assert take(context).run is None and take(context).lease.job is None


def test_a_job_whose_run_cannot_start_leaves_and_the_next_one_is_taken(context):
    unable, used_up, fine = queued(context), queued(context, retry=Retry(times=0)), queued(context)
    context.db.change("update runs set status = 'completed' where tenant = :tenant and id = :id", id=unable)
    context.db.change("update runs set status = 'running', attempt = 1 where tenant = :tenant and id = :id", id=used_up)
    context.db.change("update jobs set fence = 1 where tenant = :tenant and subject = :id", id=used_up)
    taken = take(context)
    assert (taken.run.id, taken.lease.job.subject) == (fine, fine)
    assert get(context, unable).status == "completed" and get(context, used_up).status == "failed"
    assert leased(context) is None and leased(context, "a2") is None


def test_a_question_whose_answer_was_lost_is_answered_with_the_same_job(context, clock):
    first, second = queued(context), queued(context)
    lost = take(context, ask="p.0")
    clock.forward(20)
    again = take(context, ask="p.0", repeated=True)
    assert (again.run.id, again.run.attempt, again.lease.job.fence) == (first, 1, 1)
    assert (again.lease.job.id, again.lease.token) == (lost.lease.job.id, lost.lease.token)
    clock.forward(20)
    assert queues.expire(context) == 0  # the agent has the whole time again
    assert take(context, ask="p.1", repeated=True).run.id == second
    assert names(context).count("runs.started") == 2


def test_a_repeated_question_is_given_nothing_that_others_hold_or_that_went_back(context, clock):
    run_id = queued(context)
    take(context, ask="p.0")
    for agent, ask in (("a2", "p.0"), ("a1", "p.1"), ("a1", "")):
        assert take(context, agent=agent, ask=ask, repeated=True).lease.job is None
    lose(context, clock)
    assert take(context, agent="a2", ask="q.0").run.attempt == 2
    assert take(context, ask="p.0", repeated=True).lease.job is None
    assert get(context, run_id).attempt == 2


@pytest.mark.parametrize("word", ["", "journal", "renewal", "asked again"])
def test_an_agent_that_never_said_a_word_of_the_run_is_no_try(context, clock, word):
    run_id = queued(context, retry=Retry(times=0))
    job = take(context, ask="p.0").lease.job
    if word == "journal":
        say(context, run_id, "w", attempt=1, role="agent")
    elif word == "renewal":
        queues.renew(context, Hold(fence=1), job.id)
    elif word == "asked again":
        take(context, ask="p.0", repeated=True)
    lose(context, clock)
    run = get(context, run_id)
    assert (run.status, run.cause) == (("failed", "agent_lost") if word else ("queued", ""))


@pytest.mark.parametrize("quick", [True, False])
def test_a_run_that_fells_its_agents_at_once_comes_to_an_end(context, clock, quick):
    run_id = queued(context, retry=Retry(times=2))
    taken = take(context)
    attempts = 0
    while taken.run is not None and attempts < 100:
        attempts = taken.run.attempt
        clock.forward(31)
        queues.expire(context)
        if not quick:  # the word of it comes before the next lease, or after
            handle(context)
        taken = take(context)
    run = get(context, run_id)
    assert (run.status, run.cause, run.retries, attempts) == ("failed", "agent_lost", 2, life.NEVER_HEARD + 3)


def test_an_agent_that_shall_end_hears_so_with_what_it_was_given_already(context):
    queued(context)
    take(context, ask="p.0")
    queues.drain_agent(context, NOTHING, "a1")
    again = take(context, ask="p.0", repeated=True)
    assert again.lease.drain and again.run is not None


@pytest.mark.parametrize("by", ["finish", "journal"])
def test_a_cause_that_the_policy_names_puts_the_run_back_once_however_often_it_is_told(context, by):
    run_id = queued(context, retry=Retry(times=1, causes=[Cause.OUT_OF_MEMORY]))
    fence = begin(context, run_id)
    say(context, run_id, "agent", attempt=fence, role="agent")

    def end(fence, writer="agent"):
        if by == "finish":
            order = Finish(status=RunStatus.FAILED, attempt=fence, cause=Cause.OUT_OF_MEMORY, reason="peak 9 GB")
            service.finish(context, order, run_id)
        else:
            ending = Ending(status=RunStatus.FAILED, time=5, cause=Cause.OUT_OF_MEMORY, reason="peak 9 GB")
            batch = Batch(writer=writer, start=100, end=200, attempt=fence, ending=ending)
            service.append(context, batch, run_id)

    for _ in range(3):
        end(fence)
    run = get(context, run_id)
    assert (run.status, run.retries, run.cause, run.reason) == ("queued", 1, "out_of_memory", "peak 9 GB")
    assert names(context).count("runs.requeued") == 1
    # what the first attempt still had to say is taken; nothing new of it is
    rest = Batch(writer="agent", start=200 if by == "journal" else 100, end=300, attempt=fence, closed=True)
    assert service.append(context, rest, run_id).offset == 300
    with pytest.raises(Conflict):
        say(context, run_id, "new", attempt=fence)
    again = begin(context, run_id)
    assert again == fence + 1
    with pytest.raises(Conflict):
        end(fence)
    say(context, run_id, "agent2", attempt=again, role="agent")
    end(again, "agent2")
    run = get(context, run_id)
    assert (run.status, run.retries, run.cause, run.reason) == ("failed", 1, "out_of_memory", "peak 9 GB")


def test_a_cause_that_the_policy_does_not_name_ends_the_run(context):
    run_id = queued(context)
    fence = begin(context, run_id)
    done = service.finish(context, Finish(status=RunStatus.FAILED, attempt=fence), run_id)
    assert (done.status, done.cause, done.retries) == ("failed", "failed", 0)
    assert service.find(context, RunQuery(where="cause = failed and retries = 0")).total == 1


def test_a_preempted_run_goes_back_and_one_that_never_began_is_not_counted(context):
    run_id = queued(context, retry=Retry(times=1))
    for cause, retries in (("", 0), ("preempted", 1)):
        fence = begin(context, run_id)
        job = queues.check_fence(context, kind="run", subject=run_id, fence=fence)
        queues.give_back(context, GiveBack(fence=fence, cause=cause), job.id)
        handle(context)
        run = get(context, run_id)
        assert (run.status, run.retries, run.cause) == ("queued", retries, cause)


def test_a_run_that_somebody_stopped_is_not_tried_again(context):
    run_id = queued(context, retry=Retry(causes=[Cause.FAILED, Cause.PREEMPTED]))
    fence = begin(context, run_id)
    service.stop(context, Stop(), run_id)
    order = Finish(status=RunStatus.STOPPED, attempt=fence, cause=Cause.PREEMPTED)
    assert service.finish(context, order, run_id).status is RunStatus.STOPPED


def test_a_finish_by_hand_is_the_end_whatever_the_policy(context):
    run_id = queued(context, retry=Retry(causes=[Cause.FAILED]))
    begin(context, run_id)
    assert service.finish(context, Finish(status=RunStatus.FAILED), run_id).status is RunStatus.FAILED


def test_the_finish_of_an_agent_that_was_given_up_is_refused(context, clock):
    run_id = queued(context)
    fence = begin(context, run_id)
    lose(context, clock)
    with pytest.raises(Conflict, match="waits for an agent again"):
        service.finish(context, Finish(status=RunStatus.COMPLETED, attempt=fence), run_id)
    assert get(context, run_id).status is RunStatus.QUEUED


def test_a_run_held_by_an_agent_ends_by_the_agents_word(context):
    run_id = queued(context)
    fence = begin(context, run_id)
    say(context, run_id, "agent", attempt=fence, role="agent")
    early = Ending(status=RunStatus.COMPLETED, time=5, exit_status=0)
    say(context, run_id, "child", attempt=fence, ending=early)
    say(context, run_id, "main", attempt=fence, role="main", ending=early)
    assert get(context, run_id).status is RunStatus.RUNNING
    late = Batch(writer="agent", start=100, end=200, attempt=fence, ending=replace(early, exit_status=0, time=2**50))
    service.append(context, late, run_id)
    assert get(context, run_id).status is RunStatus.COMPLETED


# -- checkpoints ---------------------------------------------------------------------------------------------------


def first_attempt(context, clock, *, steps=10, at=(4, 8)) -> str:
    """A run whose agent was lost after `steps` steps, with checkpoints at some of them."""
    run_id = queued(context)
    fence = begin(context, run_id)
    say(context, run_id, "agent1", attempt=fence, role="agent", series=[series("system/cpu", [1.0] * 5)],
        console=[ConsoleLine(time=1, text="first")])  # fmt: skip
    say(context, run_id, "child1", attempt=fence, series=[series(values=[float(n) for n in range(steps)])],
        params={"lr": 1}, artifacts=[artifact(context, step=step, time=10**15 + step) for step in at])  # fmt: skip
    say(context, run_id, "child1", attempt=fence, start=100,
        artifacts=[artifact(context, "figure", step=step, kind="image") for step in (3, 9)])  # fmt: skip
    lose(context, clock)
    return run_id


def test_a_run_tells_its_newest_checkpoint(context, clock):
    run_id = first_attempt(context, clock)
    found = Checkpoint(run=run_id, name="checkpoint", version=2, step=8)
    assert get(context, run_id).checkpoint == found
    job = leased(context)
    assert service.start(context, Start(fence=job.fence), run_id).checkpoint == found
    assert service.find(context, RunQuery()).runs[0].checkpoint is None
    assert get(context, service.clone(context, Clone(), run_id).id).checkpoint is None


def test_a_new_attempt_that_continues_keeps_what_came_before_the_step(context, clock):
    run_id = first_attempt(context, clock)
    fence = begin(context, run_id)
    say(context, run_id, "agent2", attempt=fence, role="agent", series=[series("system/cpu", [2.0], first=5)])
    assert len(points(context, run_id)) == 10  # nothing is decided yet
    more = {"attempt": fence, "says": {"continued": 8}, "series": [series(values=[-9.0, -10.0], first=9)]}
    for _ in range(3):  # a stretch that is sent again decides nothing again
        say(context, run_id, "child2", **more)
    assert points(context, run_id) == [*((n, float(n)) for n in range(9)), (9, -9.0), (10, -10.0)]
    assert [value for _, value in points(context, run_id, "system/cpu")] == [1.0] * 5 + [2.0]
    summary = get(context, run_id).metrics["loss"]
    assert (summary.count, summary.max, summary.max_step, summary.last, summary.last_step) == (11, 8.0, 8, -10.0, 10)
    assert lines(context, run_id) == ["first", f"— attempt {fence} continues after step 8 —"]
    assert logged(context, run_id) == [("checkpoint", 1), ("checkpoint", 2), ("figure", 1)]
    # the other ranks of the attempt have nothing to decide
    say(context, run_id, "rank1", attempt=fence, role="rank", says={"continued": 4})
    say(context, run_id, "rank2", attempt=fence, role="rank")
    assert len(points(context, run_id)) == 11
    assert names(context).count("runs.continued") == 1 and "runs.restarted" not in names(context)


def test_a_new_attempt_may_continue_from_an_older_checkpoint(context, clock):
    run_id = first_attempt(context, clock)
    fence = begin(context, run_id)
    say(context, run_id, "child2", attempt=fence, says={"continued": 4})
    assert [step for step, _ in points(context, run_id)] == [0, 1, 2, 3, 4]
    assert get(context, run_id).checkpoint.step == 4
    assert logged(context, run_id) == [("checkpoint", 1), ("figure", 1)]


def test_a_new_attempt_that_begins_anew_keeps_only_its_own(context, clock):
    run_id = first_attempt(context, clock)
    fence = begin(context, run_id)
    say(context, run_id, "agent2", attempt=fence, role="agent", series=[series("system/cpu", [2.0, 3.0], first=5)],
        console=[ConsoleLine(time=2, text="second")], artifacts=[artifact(context, "lock", kind="text")])  # fmt: skip
    say(context, run_id, "child2", attempt=fence, series=[series(values=[7.0])])
    assert points(context, run_id) == [(0, 7.0)]
    assert [value for _, value in points(context, run_id, "system/cpu")] == [2.0, 3.0]
    run = get(context, run_id)
    assert (run.metrics["system/cpu"].count, run.metrics["system/cpu"].min, run.params) == (2, 2.0, {"lr": 1})
    assert lines(context, run_id) == ["second"] and logged(context, run_id) == [("lock", 1)]
    assert run.checkpoint is None
    told = [event for event in context.emitted if event.name == "runs.restarted"]
    assert [event.data["wiped"] for event in told] == [{"metrics": 2, "lines": 1, "artifacts": 4}]


def test_an_attempt_that_never_decides_leaves_the_checkpoint_to_the_next(context, clock):
    run_id = first_attempt(context, clock)
    begin(context, run_id)
    lose(context, clock)
    fence = begin(context, run_id)
    assert get(context, run_id).checkpoint.step == 8
    say(context, run_id, "child3", attempt=fence, says={"continued": 8})
    assert len(points(context, run_id)) == 9


def test_cutting_goes_through_sealed_blocks(context, clock):
    values = [float(n % 977) for n in range(12_500)]
    run_id = queued(context)
    fence = begin(context, run_id)
    say(context, run_id, "c", attempt=fence, series=[series(values=values), series("short", [1.0])],
        artifacts=[artifact(context, step=5_499)])  # fmt: skip
    say(context, run_id, "c", attempt=fence, start=100, series=[series(values=[1.0, 2.0], first=12_500)])
    lose(context, clock)
    fence = begin(context, run_id)
    say(context, run_id, "d", attempt=fence, says={"continued": 5_499}, series=[series(values=[-1.0], first=5_500)])
    assert points(context, run_id) == [*enumerate(values[:5_500]), (5_500, -1.0)]
    summary = get(context, run_id).metrics["loss"]
    assert (summary.count, summary.min_step, summary.max, summary.last_step) == (5_501, 5_500, 976.0, 5_500)
    assert summary.mean == pytest.approx((sum(values[:5_500]) - 1.0) / 5_501)
    assert len(points(context, run_id, "short")) == 1
    service.tidy(context, run_id=run_id)
    assert len(points(context, run_id)) == 5_501


def test_without_a_checkpoint_a_new_attempt_wipes_at_its_start(context, clock):
    run_id = first_attempt(context, clock, at=())
    fence = begin(context, run_id)
    assert get(context, run_id).metrics == {} and lines(context, run_id) == [] and logged(context, run_id) == []
    say(context, run_id, "child2", attempt=fence, says={"continued": 3}, series=[series(values=[1.0], first=4)])
    assert points(context, run_id) == [(4, 1.0)] and lines(context, run_id) == []


def test_a_run_resumed_without_an_agent_drops_the_steps_that_it_repeats(context):
    run_id = new_id()
    ended = Ending(status=RunStatus.FAILED, time=9_000)
    say(context, run_id, "m1", role="main", series=[series(values=[0.0, 1.0, 2.0, 3.0])],
        artifacts=[artifact(context, step=1)], ending=ended)  # fmt: skip
    more = {"role": "main", "says": {"resumed": True, "continued": 1}, "series": [series(values=[-2.0], first=2)]}
    for _ in range(2):
        say(context, run_id, "m2", **more)
    assert points(context, run_id) == [(0, 0.0), (1, 1.0), (2, -2.0)]
    assert lines(context, run_id) == ["— continues after step 1 —"]


def test_ranks_that_are_started_again_within_an_attempt_repeat_no_step(context):
    run_id = queued(context)
    fence = begin(context, run_id)
    say(context, run_id, "agent", attempt=fence, role="agent")
    for rank, role in enumerate(("child", "rank")):
        say(context, run_id, f"first{rank}", attempt=fence, role=role)
    say(context, run_id, "first0", attempt=fence, start=100, series=[series(values=[0.0, 1.0, 2.0, 3.0])],
        artifacts=[artifact(context, step=1)])  # fmt: skip
    again = {"attempt": fence, "says": {"resumed": True, "continued": 1}}
    say(context, run_id, "again0", series=[series(values=[-2.0], first=2)], **again)
    say(context, run_id, "again1", attempt=fence, role="rank", says={"continued": 1})
    assert points(context, run_id) == [(0, 0.0), (1, 1.0), (2, -2.0)]
    assert get(context, run_id).status is RunStatus.RUNNING


# -- moved, reset, published ---------------------------------------------------------------------------------------


def test_a_run_moves_from_here_to_an_agent_and_the_process_here_writes_no_more(context):
    run_id = new_id()
    code = artifact(context, "code/patch", kind="code")
    say(context, run_id, "m1", role="main", series=[series(values=[0.0, 1.0])], artifacts=[code])
    with pytest.raises(Conflict, match="draft"):
        service.enqueue(context, Enqueue(), run_id)
    moved = service.enqueue(context, Enqueue(move=True, needs=Needs(gpus=1)), run_id)
    assert (moved.status, moved.queue, moved.needs.gpus) == ("queued", "default", 1)
    for late in (
        Batch(writer="m1", start=100, end=200),
        Batch(writer="m2", start=0, end=100, opening=opening("child")),
        Batch(writer="m3", start=0, end=100, opening=opening("main")),
        Batch(writer="m1", start=100, end=200, ending=Ending(status=RunStatus.COMPLETED, time=5)),
    ):
        with pytest.raises(Conflict):
            service.append(context, late, run_id)
    with pytest.raises(Conflict):
        service.enqueue(context, Enqueue(move=True), run_id)
    fence = begin(context, run_id)
    run = get(context, run_id)
    assert (run.status, run.attempt, run.metrics) == ("running", fence, {})
    assert logged(context, run_id) == [("code/patch", 1)]  # it came with no other code
    with pytest.raises(Conflict):
        service.append(context, Batch(writer="m1", start=100, end=200), run_id)
    with pytest.raises(Conflict, match="agent executes"):
        service.enqueue(context, Enqueue(move=True), run_id)


def test_a_moved_run_continues_from_its_checkpoint(context):
    run_id = new_id()
    say(
        context,
        run_id,
        "m1",
        role="main",
        series=[series(values=[0.0, 1.0, 2.0])],
        artifacts=[artifact(context, step=1)],
    )
    assert service.enqueue(context, Enqueue(move=True), run_id).checkpoint.step == 1
    fence = begin(context, run_id)
    assert len(points(context, run_id)) == 3
    say(context, run_id, "c", attempt=fence, says={"continued": 1}, series=[series(values=[5.0], first=2)])
    assert points(context, run_id) == [(0, 0.0), (1, 1.0), (2, 5.0)]


def test_resetting_makes_a_draft_of_an_ended_run_and_its_zombies_stay_out(context, clock):
    run_id = queued(context, params={"lr": 1})
    fence = begin(context, run_id)
    with pytest.raises(Conflict, match="has ended can be reset"):
        service.reset(context, NOTHING, run_id)
    say(context, run_id, "child", attempt=fence, series=[series(values=[1.0])], params={"depth": 2},
        artifacts=[artifact(context, "code/patch", kind="code"), artifact(context, step=3)],
        console=[ConsoleLine(time=1, text="x")])  # fmt: skip
    service.finish(context, Finish(status=RunStatus.FAILED, attempt=fence, exit_status=3), run_id)
    run = service.reset(context, NOTHING, run_id)
    assert (run.status, run.exit_status, run.started, run.ended, run.cause) == ("draft", None, None, None, "")
    assert (run.metrics, run.checkpoint, run.params) == ({}, None, {"depth": 2, "lr": 1})
    assert lines(context, run_id) == [] and logged(context, run_id) == [("code/patch", 1)]
    for zombie in (
        Batch(writer="child", start=100, end=200, attempt=fence),
        Batch(writer="late", start=0, end=100, attempt=fence, opening=opening("child")),
    ):
        with pytest.raises(Conflict):
            service.append(context, zombie, run_id)
    assert leased(context) is None
    service.enqueue(context, Enqueue(), run_id)
    again = begin(context, run_id)
    assert again > fence
    with pytest.raises(Conflict):
        service.append(context, Batch(writer="child", start=100, end=200, attempt=fence), run_id)
    say(context, run_id, "child2", attempt=again, series=[series(values=[2.0])])
    assert points(context, run_id) == [(0, 2.0)]


@pytest.mark.parametrize("status", ["draft", "queued"])
def test_only_an_ended_run_is_reset_or_published(context, status):
    run_id = service.create(context, NewRun(project="bakery")).id if status == "draft" else queued(context)
    for refused in (service.reset, service.publish):
        with pytest.raises(Conflict, match=status):
            refused(context, NOTHING, run_id)


def test_a_lost_run_is_reset(context, clock):
    run_id = new_id()
    say(context, run_id, "m", role="main")
    clock.forward(601)
    service.mark_lost(context)
    assert service.reset(context, NOTHING, run_id).status is RunStatus.DRAFT


def test_a_published_run_stays_as_it_is(context):
    run_id = new_id()
    say(context, run_id, "m", role="main", series=[series(values=[1.0])],
        ending=Ending(status=RunStatus.FAILED, time=5_000))  # fmt: skip
    for _ in range(2):
        run = service.publish(context, NOTHING, run_id)
    assert run.published and names(context).count("runs.published") == 1
    for refused in (
        lambda: service.change(context, Change(name="x"), run_id),
        lambda: service.change(context, Change(archived=True), run_id),
        lambda: service.change(context, Change(add_tags=["x"]), run_id),
        lambda: service.delete(context, NOTHING, run_id),
        lambda: service.reset(context, NOTHING, run_id),
        lambda: say(context, run_id, "m", start=100, series=[series(values=[2.0], first=1)]),
        lambda: say(context, run_id, "c", role="child"),
        lambda: say(context, run_id, "again", role="main", says={"resumed": True}),
    ):
        with pytest.raises(Conflict, match="published"):
            refused()
    with pytest.raises(Conflict):
        service.log_metrics(context, PointsBatch(metrics=[Points(name="loss", values=[1.0])]), run_id)
    assert say(context, run_id, "m", role="main").offset == 100  # what is stored is answered
    assert get(context, run_id) == run
    assert service.finish(context, Finish(status=RunStatus.COMPLETED), run_id) == run
    assert service.clone(context, Clone(), run_id).status is RunStatus.DRAFT
    assert service.find(context, RunQuery(where="published = true")).total == 1


# -- what a draft is told ------------------------------------------------------------------------------------------


def test_a_draft_is_edited_and_nothing_else_is(context):
    run = service.create(context, NewRun(project="bakery", params={"lr": 1, "depth": 2}))
    order = Change(params={"lr": 3}, needs=Needs(gpus=2, memory=7), retry=Retry(times=0))
    edited = service.change(context, order, run.id)
    assert (edited.params, edited.facts["overrides"]) == ({"lr": 3, "depth": 2}, {"lr": 3})
    assert (edited.needs, edited.retry) == (Needs(gpus=2, memory=7), Retry(times=0))
    edited = service.change(context, Change(params={"new": None}), run.id)
    assert edited.facts["overrides"] == {"lr": 3, "new": None} and edited.needs.gpus == 2
    for bad in (Change(params={"a\n": 1}), Change(needs=Needs(cpus=-1)), Change(retry=Retry(times=-1))):
        with pytest.raises(Invalid):
            service.change(context, bad, run.id)
    service.enqueue(context, Enqueue(), run.id)
    for order in (Change(params={"lr": 4}), Change(needs=Needs()), Change(retry=Retry())):
        with pytest.raises(Conflict, match="draft"):
            service.change(context, order, run.id)


def test_a_draft_comes_with_its_code(context, clock):
    code = artifact(context, "code/patch", kind="code")
    run = service.create(context, NewRun(project="bakery", artifacts=[code], needs=Needs(image="r/x:1")))
    assert logged(context, run.id) == [("code/patch", 1)] and run.needs.executor == "container"
    with pytest.raises(Conflict, match="not in the store"):
        missing = replace(code, files=[ArtifactFile(path="p", hash="0" * 64, size=1)])
        service.create(context, NewRun(project="bakery", artifacts=[missing]))
    service.enqueue(context, Enqueue(), run.id)
    fence = begin(context, run.id)
    say(context, run.id, "c", attempt=fence, artifacts=[code, artifact(context, "model", kind="model")])
    lose(context, clock)
    begin(context, run.id)
    assert logged(context, run.id) == [("code/patch", 1)]


def test_a_clone_is_given_requirements_an_environment_and_needs(context):
    facts = {
        "command": {"script": "/x/train.py"}, "imports": ["numpy"], "machine": {"host": "h"},
        "environment": {"from": "recorded", "requirements": ["lightgbm==3", "polars"], "lock": "…", "hash": "abc"},
    }  # fmt: skip
    source = service.create(context, NewRun(project="bakery", facts=facts, needs=Needs(gpus=1), retry=Retry(times=9)))
    same = service.clone(context, Clone(), source.id)
    assert same.facts["environment"] == facts["environment"] and same.facts["imports"] == ["numpy"]
    assert (same.needs, same.retry) == (Needs(gpus=1), Retry(times=9))
    order = Clone(requirements=["LightGBM >=4"], needs=Needs(cpus=2))
    more = service.clone(context, order, same.id)
    assert more.facts["environment"] == {"from": "recorded", "requirements": ["polars", "LightGBM >=4"]}
    assert (more.needs, more.retry) == (Needs(cpus=2), Retry(times=9))
    given = service.clone(context, Clone(environment="/usr/bin/python3"), more.id)
    assert given.facts["environment"] == {
        "from": "/usr/bin/python3", "requirements": ["polars", "LightGBM >=4"]
    }  # fmt: skip


@pytest.mark.parametrize(
    "bad",
    [
        {"requirements": ["-r /etc/passwd"]},
        {"requirements": ["--index-url=https://x"]},
        {"requirements": ["x @ https://user:secret@host/x.whl"]},
        {"requirements": ["a\nb"]},
        {"requirements": [""]},
        {"environment": "python3"},
        {"environment": "/a\nb"},
        {"needs": Needs(gpus=-1)},
        {"needs": Needs(cpus=float("nan"))},
        {"needs": Needs(executor="magic")},
        {"needs": Needs(image="-v/:/host")},
    ],
)
def test_what_no_agent_should_be_asked_for_is_refused(context, bad):
    run = service.create(context, NewRun(project="bakery"))
    with pytest.raises(Invalid) as problem:
        service.clone(context, Clone(**bad), run.id)
    assert problem.value.field


# -- queues --------------------------------------------------------------------------------------------------------


def completed(context, *, seconds, script="/a/train.py", facts=None, project="bakery", at=10**12) -> None:
    order = NewRun(
        project=project, status=RunStatus.COMPLETED, started=at, ended=at + int(seconds * 1e6),
        facts={"command": {"script": script}, **(facts or {})},
    )  # fmt: skip
    service.create(context, order)


def test_a_job_knows_how_long_such_runs_took_and_how_much_memory(context):
    completed(context, seconds=900, script="/a/other.py", facts={"execution": {"peak_memory": 7}}, at=10**12 + 9)
    for number, seconds in enumerate((100, 10, 30)):
        peak = {"execution": {"peak_memory": 1_000 * (number + 1)}}
        completed(context, seconds=seconds, script=f"/m{number}/train.py", facts=peak, at=10**12 + number)
    facts = {"command": {"script": "/here/train.py"}}
    declared = service.create(context, NewRun(project="bakery", facts=facts))
    service.enqueue(context, Enqueue(needs=Needs(memory=5, gpus=1)), declared.id)
    job = leased(context)
    assert (job.expected, job.needs) == (30.0, Needs(memory=5, gpus=1))
    measured = service.create(context, NewRun(project="bakery", facts=facts))
    assert service.enqueue(context, Enqueue(), measured.id).needs == Needs()
    assert leased(context).needs.memory == 3_300
    unknown = service.create(context, NewRun(project="bakery", facts={"command": {"script": "new.py"}}))
    service.enqueue(context, Enqueue(), unknown.id)
    job = leased(context)
    assert (job.expected, job.needs.memory) == (65.0, 0)
    queued(context)
    first = service.create(context, NewRun(project="elsewhere"))
    service.enqueue(context, Enqueue(queue="gpu"), first.id)
    assert queues.lease(context, LeaseRequest(queues=["gpu"], agent="a")).job.expected is None


def test_people_go_before_what_a_run_has_put_in(context):
    parent = service.create(context, NewRun(project="bakery"))
    search = inside(context, parent.id)
    child = service.create(search, NewRun(project="bakery"))
    service.enqueue(search, Enqueue(), child.id)
    person = queued(context)
    assert [leased(context).subject for _ in range(2)] == [person, child.id]
    one = service.create(context, NewRun(project="bakery"))
    with pytest.raises(Invalid) as problem:
        service.enqueue(context, Enqueue(priority="urgent"), one.id)
    assert problem.value.field == "priority"
    service.enqueue(context, Enqueue(priority="automatic", retry=Retry(times=1)), one.id)
    assert (leased(context).priority, get(context, one.id).retry) == ("automatic", Retry(times=1))


def test_why_a_run_waits_is_told_while_it_waits(context):
    run_id = queued(context)
    assert service.why(context, NOTHING, run_id).job.subject == run_id
    begin(context, run_id)
    with pytest.raises(Conflict, match="running"):
        service.why(context, NOTHING, run_id)


# -- the token of a run --------------------------------------------------------------------------------------------


def test_a_runs_token_changes_that_run_and_what_it_has_made(context):
    stranger = new_id()
    say(context, stranger, "m", role="main", series=[series(values=[1.0])])
    run_id = queued(context)
    fence = begin(context, run_id)
    own = inside(context, run_id)
    say(own, run_id, "c", attempt=fence, series=[series(values=[1.0])])
    service.change(own, Change(add_tags=["x"]), run_id)
    made = [service.clone(own, Clone(), stranger).id, service.create(own, NewRun(project="bakery")).id, new_id()]
    say(own, made[2], "m", role="main")
    for each in made:
        service.change(own, Change(name="mine"), each)
    service.enqueue(own, Enqueue(), made[0])
    service.stop(own, Stop(), made[0])
    assert get(own, stranger).metrics["loss"].count == 1
    for refused in (
        lambda: service.change(own, Change(name="x"), stranger),
        lambda: service.delete(own, NOTHING, stranger),
        lambda: service.enqueue(own, Enqueue(move=True), stranger),
        lambda: service.stop(own, Stop(), stranger),
        lambda: service.reset(own, NOTHING, stranger),
        lambda: service.publish(own, NOTHING, stranger),
        lambda: service.finish(own, Finish(status=RunStatus.FAILED), stranger),
        lambda: service.start(own, Start(fence=1), stranger),
        lambda: service.log_metrics(own, PointsBatch(metrics=[]), stranger),
        lambda: say(own, stranger, "m", start=100),
        lambda: say(own, stranger, "c", role="child"),
        lambda: say(inside(context, made[0]), run_id, "c2", attempt=fence),
    ):
        with pytest.raises(Denied):
            refused()
