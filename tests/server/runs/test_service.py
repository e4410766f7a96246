"""A run is recorded exactly once, lives one life at a time, and belongs to one tenant."""

import math
import random
import struct
from dataclasses import replace

import pytest

from larder.contract.endpoint import Nothing
from larder.contract.errors import Conflict, Invalid, NotFound
from larder.contract.ids import new_id
from larder.contract.queues import GiveBack, Hold, LeaseRequest
from larder.contract.runs import (
    ArtifactFile,
    ArtifactQuery,
    Batch,
    Change,
    ChartQuery,
    Clone,
    ConsoleLine,
    ConsoleQuery,
    Ending,
    Enqueue,
    FileQuery,
    Finish,
    MetricQuery,
    NewArtifact,
    NewRun,
    Opening,
    Points,
    PointsBatch,
    RunQuery,
    RunStatus,
    Series,
    Start,
    Stop,
)
from larder_server.queues import service as queues
from larder_server.runs import jobs, service

NOTHING = Nothing()
TABLES = [
    "runs", "run_tags", "run_facts", "run_params", "metric_summaries", "metric_heads", "metric_blocks", "writers",
    "console_chunks", "artifacts", "jobs",
]  # fmt: skip


def series(name="loss", values=(0.5,), first=0) -> Series:
    count = len(values)
    steps = struct.pack(f"<{count}q", *range(first, first + count))
    return Series(name=name, steps=steps, times=steps, values=struct.pack(f"<{count}d", *values))


def opening(time=1_000, **more) -> Opening:
    return Opening(project="bakery", name="baseline", time=time, host="laptop", **more)


def opened(context, run_id=None, *, writer="main", attempt=0, **more) -> str:
    run_id = run_id or new_id()
    service.append(context, Batch(writer=writer, start=0, end=100, attempt=attempt, opening=opening(), **more), run_id)
    return run_id


def ended(context, run_id, status=RunStatus.COMPLETED, *, writer="main", start=100, attempt=0) -> None:
    ending = Ending(status=status, time=9_000, exit_status=0 if status is RunStatus.COMPLETED else 1, lost_records=2)
    service.append(context, Batch(writer=writer, start=start, end=start + 10, attempt=attempt, ending=ending), run_id)


def get(context, run_id):
    return service.get(context, NOTHING, run_id)


def values(context, run_id, name="loss"):
    found = service.read_metric(context, MetricQuery(name=name), run_id)
    return list(struct.unpack(f"<{len(found.values) // 8}d", found.values))


def names(context) -> list[str]:
    return [event.name for event in context.emitted]


def started(context, **draft) -> tuple[str, int]:
    """A run that an agent executes, with the lease's fence."""
    run = service.create(context, NewRun(project="bakery", **draft))
    service.enqueue(context, Enqueue(), run.id)
    return run.id, lease(context, run.id)


def lease(context, run_id, agent="a1") -> int:
    job = queues.lease(context, LeaseRequest(queues=["default"], agent=agent)).job
    assert job is not None and job.subject == run_id
    service.start(context, Start(fence=job.fence, agent=agent, host="worker"), run_id)
    return job.fence


# -- journals ------------------------------------------------------------------------------------------------------


def test_a_journal_makes_the_run_and_all_that_it_tells(context, clock):
    run_id = new_id()
    batch = Batch(
        writer="main", start=0, end=700, opening=opening(kind="eval"), series=[series(values=(3.0, 1.0, math.nan))],
        console=[ConsoleLine(time=1, text="hello")], params={"lr": 0.1, "deep": None, "on": True, "note": "a\n\"b\""},
        facts={"code": {"branch": "main", "commit": "abc"}, "machine": {"host": "x"}}, add_tags=["b", "a"], notes="n",
    )  # fmt: skip
    answer = service.append(context, batch, run_id)
    assert (answer.offset, answer.stop) == (700, False)
    run = get(context, run_id)
    assert (run.status, run.name, run.project, run.kind, run.user) == ("running", "baseline", "bakery", "eval", "alice")
    assert (run.created, run.started, run.heartbeat, run.ended) == (1_000, 1_000, clock.now(), None)
    assert (run.branch, run.commit, run.host, run.tags, run.notes) == ("main", "abc", "laptop", ["a", "b"], "n")
    assert run.params == {"deep": None, "lr": 0.1, "note": 'a\n"b"', "on": True}
    assert run.facts["code"]["commit"] == "abc"
    assert run.metrics["loss"].min_step == 1 and math.isnan(run.metrics["loss"].last)
    assert {"projects.created", "runs.created", "runs.started"} <= set(names(context))


def test_a_stretch_is_stored_once_however_often_it_comes(context):
    run_id = new_id()
    batch = Batch(
        writer="main", start=0, end=100, opening=opening(), series=[series()], console=[ConsoleLine(time=1, text="x")]
    )
    for _ in range(3):
        assert service.append(context, batch, run_id).offset == 100
    more = replace(batch, start=100, end=200, opening=None)
    for _ in range(2):
        assert service.append(context, more, run_id).offset == 200
    assert service.append(context, batch, run_id).offset == 200
    assert values(context, run_id) == [0.5, 0.5]
    assert service.read_console(context, ConsoleQuery(), run_id).total == 2
    assert service.append(context, Batch(writer="main", start=0, end=0), run_id).offset == 200


@pytest.mark.parametrize("start,end", [(150, 200), (50, 150)])
def test_a_gap_or_an_overlap_is_refused_and_tells_the_stored_offset(context, start, end):
    run_id = opened(context)
    with pytest.raises(Conflict, match="byte 100"):
        service.append(context, Batch(writer="main", start=start, end=end, series=[series()]), run_id)
    assert get(context, run_id).metrics == {}


def test_writers_of_one_run_do_not_disturb_each_other(context):
    run_id = opened(context, series=[series()])
    service.append(
        context,
        Batch(writer="child", start=0, end=50, opening=opening(role="child"), series=[series(values=(7.0,))]),
        run_id,
    )
    service.append(context, Batch(writer="main", start=100, end=150, series=[series(values=(8.0,), first=1)]), run_id)
    assert values(context, run_id) == [0.5, 7.0, 8.0]


def test_a_series_named_twice_in_a_batch_is_stored_in_order(context):
    run_id = opened(context, series=[series(values=(1.0,)), series("x"), series(values=(2.0,))])
    assert values(context, run_id) == [1.0, 2.0]


@pytest.mark.parametrize(
    "part,field",
    [
        ({"series": [series(), replace(series(), name="a\0b")]}, "series.1.name"),
        ({"series": [series(), replace(series(), steps=b"")]}, "series.1.values"),
        ({"series": [replace(series(), values=b"123")]}, "series.0.values"),
        ({"params": {"x" * 600: 1}}, "params"),
        ({"params": {"seed": 2**70}}, "params.seed"),
        ({"add_tags": ["\n"]}, "tags"),
        ({"name": "../../etc"}, "name"),
        ({"facts": {"f": {"x": b"bytes"}}}, "facts.f"),
        ({"ending": Ending(status=RunStatus.LOST, time=1)}, "ending.status"),
        (
            {
                "artifacts": [
                    NewArtifact(
                        name="a", kind="k", format="f", files=[ArtifactFile(path="../x", hash="0" * 64, size=1)]
                    )
                ]
            },
            "artifacts.0.files.0.path",
        ),
        ({"artifacts": [NewArtifact(name="/a", kind="k", format="f", files=[])]}, "artifacts.0.name"),
        ({"end": -1}, "end"),
        ({"writer": ""}, "writer"),
        ({"opening": replace(opening(), project="../x")}, "opening.project"),
    ],
)
def test_a_batch_half_of_which_is_bad_is_refused_whole(runtime, part, field):
    from tests.server.conftest import ALICE

    run_id = new_id()
    batch = replace(
        Batch(writer="main", start=0, end=100, opening=opening(), console=[ConsoleLine(time=1, text="x")]), **part
    )
    with pytest.raises(Invalid) as problem:
        runtime.transact(ALICE, lambda context: service.append(context, batch, run_id))
    assert problem.value.field == field
    with pytest.raises(NotFound):
        runtime.view(ALICE, lambda context: get(context, run_id))


def test_a_journal_needs_an_opening_and_an_id(context):
    with pytest.raises(NotFound):
        service.append(context, Batch(writer="main", start=0, end=10), new_id())
    with pytest.raises(Invalid) as problem:
        service.append(context, Batch(writer="main", start=0, end=10, opening=opening()), "my-run")
    assert problem.value.field == "run_id"
    with pytest.raises(NotFound):
        service.append(context, Batch(writer="main", start=0, end=10, attempt=2, opening=opening()), new_id())


def test_the_end_of_a_run_is_told_once(context):
    run_id = opened(context)
    ended(context, run_id, RunStatus.FAILED)
    run = get(context, run_id)
    assert (run.status, run.ended, run.exit_status, run.lost_records) == ("failed", 9_000, 1, 2)
    ended(context, run_id, RunStatus.COMPLETED, start=110)
    assert get(context, run_id) == replace(run, heartbeat=get(context, run_id).heartbeat)
    assert names(context).count("runs.finished") == 1


def test_a_finished_run_takes_the_rest_of_its_journals_and_nothing_else(context):
    run_id = opened(context)
    service.append(context, Batch(writer="child", start=0, end=10, opening=opening(role="child")), run_id)
    ended(context, run_id)
    assert (
        service.append(context, Batch(writer="child", start=10, end=20, series=[series()], closed=True), run_id).offset
        == 20
    )
    assert values(context, run_id) == [0.5]
    for late in (
        Batch(writer="other", start=0, end=10, opening=opening(), series=[series()]),
        Batch(writer="child", start=20, end=30, series=[series()]),
        Batch(writer="other", start=0, end=10, series=[series()]),
    ):
        with pytest.raises(Conflict):
            service.append(context, late, run_id)
    with pytest.raises(Conflict):
        service.log_metrics(context, PointsBatch(metrics=[Points(name="loss", values=[1.0])]), run_id)
    assert get(context, run_id).status is RunStatus.COMPLETED


@pytest.mark.parametrize("status", [RunStatus.FAILED, RunStatus.STOPPED])
def test_a_run_that_did_not_complete_is_resumed(context, status):
    run_id = opened(context, series=[series()])
    ended(context, run_id, status)
    service.append(
        context, Batch(writer="again", start=0, end=10, opening=opening(resumed=True), series=[series(first=1)]), run_id
    )
    run = get(context, run_id)
    assert (run.status, run.ended, run.exit_status, run.started) == ("running", None, None, 1_000)
    assert len(values(context, run_id)) == 2 and "runs.resumed" in names(context)


def test_a_completed_run_is_not_resumed(context):
    run_id = opened(context)
    ended(context, run_id)
    with pytest.raises(Conflict):
        service.append(context, Batch(writer="again", start=0, end=10, opening=opening(resumed=True)), run_id)


def test_a_silent_run_is_lost_and_a_word_brings_it_back(context, clock):
    run_id = opened(context)
    executed, _ = started(context)
    clock.forward(599)
    assert service.mark_lost(context) == 0
    clock.forward(2)
    assert service.mark_lost(context) == 1
    assert get(context, run_id).status is RunStatus.LOST
    assert get(context, executed).status is RunStatus.RUNNING
    service.append(context, Batch(writer="main", start=100, end=110), run_id)
    run = get(context, run_id)
    assert (run.status, run.reason) == ("running", "")
    clock.forward(601)
    service.mark_lost(context)
    service.log_metrics(context, PointsBatch(metrics=[Points(name="loss", values=[1.0])]), run_id)
    assert get(context, run_id).status is RunStatus.RUNNING


# -- drafts, queues, agents ----------------------------------------------------------------------------------------


def test_a_draft_is_enqueued_leased_started_and_finished(context, clock):
    run = service.create(context, NewRun(project="bakery", params={"lr": 1}))
    assert run.status is RunStatus.DRAFT and run.name
    queued = service.enqueue(context, Enqueue(queue="gpu"), run.id)
    assert (queued.status, queued.queue) == ("queued", "gpu")
    with pytest.raises(Conflict):
        service.enqueue(context, Enqueue(), run.id)
    with pytest.raises(Conflict):
        service.start(context, Start(fence=1), run.id)
    job = queues.lease(context, LeaseRequest(queues=["gpu"], agent="a1")).job
    with pytest.raises(Conflict):
        service.start(context, Start(fence=job.fence + 1), run.id)
    running = service.start(context, Start(fence=job.fence, agent="a1", host="worker"), run.id)
    assert (running.status, running.attempt, running.host, running.started) == ("running", 1, "worker", clock.now())
    assert service.start(context, Start(fence=job.fence), run.id) == running
    opened(context, run.id, attempt=1, params={"lr": 1, "depth": 3})
    assert get(context, run.id).name == run.name
    with pytest.raises(Conflict):
        service.append(context, Batch(writer="main", start=100, end=110, attempt=0), run.id)
    with pytest.raises(Conflict):
        service.finish(context, Finish(status=RunStatus.COMPLETED, attempt=9), run.id)
    done = service.finish(context, Finish(status=RunStatus.COMPLETED, attempt=1, exit_status=0), run.id)
    assert (done.status, done.exit_status, done.ended) == ("completed", 0, clock.now())
    assert service.finish(context, Finish(status=RunStatus.FAILED, attempt=1), run.id) == done
    with pytest.raises(NotFound):  # the lease has ended with the run: nobody is offered the job again
        queues.complete(context, Hold(fence=job.fence), job.id)
    with pytest.raises(Conflict) as problem:
        service.enqueue(context, Enqueue(), run.id)
    assert "clone" in problem.value.hint


def test_a_lost_agents_run_is_executed_anew_and_the_zombie_is_refused(context, clock):
    run_id, fence = started(context, params={"lr": 1})
    opened(
        context, run_id, attempt=fence, series=[series()], console=[ConsoleLine(time=1, text="x")], params={"depth": 2}
    )
    clock.forward(31)
    assert queues.expire(context) == 1
    event = next(event for event in context.emitted if event.name == "queues.lease_expired")
    jobs.HANDLERS[event.name](context, event)
    waiting = get(context, run_id)
    assert (waiting.status, waiting.reason) == ("queued", "agent lost")
    for zombie in (
        Batch(writer="main", start=100, end=110, attempt=fence, series=[series()]),
        Batch(writer="main2", start=0, end=110, attempt=fence, opening=opening()),
    ):
        with pytest.raises(Conflict):
            service.append(context, zombie, run_id)
    again = lease(context, run_id, agent="a2")
    run = get(context, run_id)
    assert (run.status, run.attempt, run.reason, run.metrics) == ("running", again, "", {})
    assert run.params == {"depth": 2, "lr": 1}
    assert service.read_console(context, ConsoleQuery(), run_id).total == 0
    told = next(event for event in context.emitted if event.name == "runs.restarted")
    assert told.data["wiped"] == {"journals": 1, "metrics": 1, "lines": 1, "artifacts": 0}
    with pytest.raises(Conflict):
        service.append(context, Batch(writer="main", start=100, end=110, attempt=fence), run_id)
    jobs.HANDLERS[event.name](context, event)  # the old event again: nothing happens to the new attempt
    assert get(context, run_id).status is RunStatus.RUNNING
    opened(context, run_id, attempt=again, series=[series(values=(9.0,))])
    assert values(context, run_id) == [9.0]


def test_the_job_of_a_run_that_ended_does_not_wait_for_ever(context, clock):
    run_id, fence = started(context)
    service.append(
        context, Batch(writer="main", start=0, end=100, attempt=fence, opening=opening(role="agent")), run_id
    )
    ended(context, run_id, attempt=fence)
    clock.forward(31)
    queues.expire(context)
    service.lease_expired(context, run_id=run_id, fence=fence)
    assert queues.lease(context, LeaseRequest(queues=["default"], agent="a2")).job is None
    assert get(context, run_id).status is RunStatus.COMPLETED


def test_stopping(context):
    draft = service.create(context, NewRun(project="bakery"))
    with pytest.raises(Conflict):
        service.stop(context, Stop(), draft.id)
    service.enqueue(context, Enqueue(), draft.id)
    stopped = service.stop(context, Stop(reason="enough"), draft.id)
    assert (stopped.status, stopped.reason) == ("stopped", "enough")
    assert queues.lease(context, LeaseRequest(queues=["default"], agent="a")).job is None
    assert service.stop(context, Stop(), draft.id) == stopped

    run_id, fence = started(context)
    opened(context, run_id, attempt=fence)
    service.stop(context, Stop(), run_id)
    assert "runs.stop_asked" in names(context)
    assert service.append(context, Batch(writer="main", start=100, end=110, attempt=fence), run_id).stop
    job = queues.check_fence(context, kind="run", subject=run_id, fence=fence)
    assert queues.renew(context, Hold(fence=fence), job.id).stop


def test_a_stopped_run_whose_agent_dies_is_not_executed_again(context, clock):
    run_id, fence = started(context)
    service.stop(context, Stop(), run_id)
    clock.forward(31)
    queues.expire(context)
    service.lease_expired(context, run_id=run_id, fence=fence)
    assert get(context, run_id).status is RunStatus.STOPPED
    assert queues.lease(context, LeaseRequest(queues=["default"], agent="a2")).job is None


def test_a_queued_run_that_is_opened_by_hand_leaves_the_queue(context):
    run = service.create(context, NewRun(project="bakery"))
    service.enqueue(context, Enqueue(), run.id)
    opened(context, run.id)
    assert get(context, run.id).status is RunStatus.RUNNING
    assert queues.lease(context, LeaseRequest(queues=["default"], agent="a")).job is None


def test_a_clone_keeps_the_code_and_tells_what_differs(context):
    hash = context.objects.put(context.tenant, b"diff")
    patch = NewArtifact(
        name="code/patch", kind="code", format="patch", files=[ArtifactFile(path="p", hash=hash, size=4)]
    )
    facts = {"command": {"argv": ["a.py"]}, "code": {"commit": "c"}, "machine": {"host": "h"}}
    run_id = opened(context, params={"lr": 0.1, "depth": 4}, facts=facts, artifacts=[patch], add_tags=["best"])
    copy = service.clone(context, Clone(params={"lr": 0.05, "new": None}, tags=["try"]), run_id)
    assert (copy.status, copy.parent, copy.project, copy.name) == ("draft", run_id, "bakery", "baseline")
    assert (copy.params, copy.tags, copy.commit) == ({"lr": 0.05, "depth": 4, "new": None}, ["try"], "c")
    assert set(copy.facts) == {"command", "code", "overrides"}
    assert copy.facts["overrides"] == {"lr": 0.05, "new": None}
    second = service.clone(context, Clone(params={"depth": 8}, name="deep"), copy.id)
    assert second.facts["overrides"] == {"lr": 0.05, "new": None, "depth": 8} and second.name == "deep"
    [artifact] = service.list_artifacts(context, ArtifactQuery(), copy.id).artifacts
    assert artifact.name == "code/patch"
    with pytest.raises(Invalid):
        service.clone(context, Clone(params={"a\n": 1}), run_id)

    # a second attempt of the clone still has the code that it came with, not what the first attempt logged
    service.enqueue(context, Enqueue(), copy.id)
    fence = lease(context, copy.id)
    opened(context, copy.id, attempt=fence, artifacts=[replace(patch, name="model"), patch])
    assert len(service.list_artifacts(context, ArtifactQuery(latest=False), copy.id).artifacts) == 3
    job = queues.check_fence(context, kind="run", subject=copy.id, fence=fence)
    queues.give_back(context, GiveBack(fence=fence), job.id)
    service.lease_expired(context, run_id=copy.id, fence=fence)
    lease(context, copy.id)
    assert [
        (a.name, a.version) for a in service.list_artifacts(context, ArtifactQuery(latest=False), copy.id).artifacts
    ] == [("code/patch", 1)]


def test_importing_a_run_that_ended_elsewhere(context, clock):
    run = service.create(
        context, NewRun(project="bakery", status=RunStatus.COMPLETED, started=5, ended=9, params={"a": 1})
    )
    assert (run.status, run.started, run.ended, run.created) == ("completed", 5, 9, 5)
    bare = service.create(context, NewRun(project="bakery", status=RunStatus.FAILED))
    assert bare.started == bare.ended == clock.now()
    for bad in ({"status": RunStatus.RUNNING}, {"status": RunStatus.FAILED, "started": 9, "ended": 5}, {"started": 5},
                {"id": "x"}, {"name": "../x"}, {"name": "x" * 10_000_000}, {"tags": [""]}):  # fmt: skip
        with pytest.raises(Invalid) as problem:
            service.create(context, NewRun(project="bakery", **bad))
        assert problem.value.field
    with pytest.raises(Conflict):
        service.create(context, NewRun(project="bakery", id=run.id))
    with pytest.raises(NotFound):
        service.create(context, NewRun(project="bakery", parent=new_id()))


# -- changes and reading -------------------------------------------------------------------------------------------


def test_names_and_marks_change_at_any_time(context):
    run_id = opened(context, add_tags=["a", "b"])
    ended(context, run_id)
    run = service.change(
        context, Change(name="Best", notes="fine", add_tags=["c", "c"], remove_tags=["a", "zz"], archived=True), run_id
    )
    assert (run.name, run.notes, run.tags, run.archived, run.status) == ("Best", "fine", ["b", "c"], True, "completed")
    assert service.find(context, RunQuery(text="best", archived=True)).runs[0].id == run_id
    assert service.find(context, RunQuery(text="best")).total == 0
    with pytest.raises(Invalid):
        service.change(context, Change(name="a\nb"), run_id)


def test_a_page_of_runs_comes_with_its_numbers(context):
    ids = [opened(context, series=[series(values=(float(n),))], params={"n": n}, facts={"f": n}) for n in range(3)]
    page = service.find(
        context, RunQuery(project="bakery", where="metrics.loss > 0", order_by="metrics.loss", descending=False)
    )
    assert [run.id for run in page.runs] == ids[1:] and page.total == 2
    assert [(run.params, run.metrics["loss"].last, run.facts) for run in page.runs] == [
        ({"n": 1}, 1.0, {}),
        ({"n": 2}, 2.0, {}),
    ]
    assert service.find(context, RunQuery(facts=True)).runs[0].facts


def test_points_without_a_journal(context):
    draft = service.create(context, NewRun(project="bakery"))
    service.log_metrics(
        context,
        PointsBatch(
            metrics=[Points(name="loss", values=[3.0, 2.0]), Points(name="x", values=[1.0], steps=[7], times=[8])]
        ),
        draft.id,
    )
    service.log_metrics(context, PointsBatch(metrics=[Points(name="loss", values=[1.0])]), draft.id)
    found = service.read_metric(context, MetricQuery(name="loss"), draft.id)
    assert struct.unpack("<3q", found.steps) == (0, 1, 2)
    chart = service.chart(context, ChartQuery(name="x"), draft.id)
    assert (chart.steps, chart.times, chart.values, chart.total) == ([7], [8], [1.0], 1)
    for bad in (
        Points(name="y", values=[1.0], steps=[1, 2]),
        Points(name="y", values=[1.0], steps=[2**64]),
        Points(name="", values=[1.0]),
    ):
        with pytest.raises(Invalid):
            service.log_metrics(context, PointsBatch(metrics=[Points(name="z", values=[1.0]), bad]), draft.id)
    assert list(service.list_metrics(context, NOTHING, draft.id).metrics) == ["loss", "x"]
    for points in (3, 20_001):
        with pytest.raises(Invalid):
            service.chart(context, ChartQuery(name="x", points=points), draft.id)
    with pytest.raises(NotFound):
        service.read_metric(context, MetricQuery(name="nope"), draft.id)


def test_console_lines_are_numbered_paged_and_searched(context):
    run_id = opened(context, console=[ConsoleLine(time=n, text=f"line {n}") for n in range(1, 2_501)])
    service.append(
        context,
        Batch(
            writer="main", start=100, end=110, console=[ConsoleLine(time=1, text="Error: \0 й", stream="err", rank=3)]
        ),
        run_id,
    )
    page = service.read_console(context, ConsoleQuery(after=999, limit=3), run_id)
    assert [(line.number, line.line.text) for line in page.lines] == [
        (1000, "line 1000"),
        (1001, "line 1001"),
        (1002, "line 1002"),
    ]
    assert (page.last, page.total) == (1002, 2501)
    end = service.read_console(context, ConsoleQuery(tail=2), run_id)
    assert [line.number for line in end.lines] == [2500, 2501] and end.last == 2501
    assert end.lines[-1].line == ConsoleLine(time=1, text="Error: \0 й", stream="err", rank=3)
    found = service.read_console(context, ConsoleQuery(search="error"), run_id)
    assert [line.number for line in found.lines] == [2501]
    assert [
        line.number for line in service.read_console(context, ConsoleQuery(search="line 24", tail=2), run_id).lines
    ] == [2498, 2499]
    nothing = service.read_console(context, ConsoleQuery(after=2501), run_id)
    assert (nothing.lines, nothing.last, nothing.total) == ([], 2501, 2501)


def test_artifacts_have_versions_and_their_bytes_are_there(context):
    hash = context.objects.put(context.tenant, b"model")
    file = ArtifactFile(path="sub/model.bin", hash=hash, size=5)
    new = NewArtifact(name="model", kind="model", format="file", files=[file], metadata={"a": 1}, step=3)
    run_id = opened(
        context, artifacts=[new, replace(new, name="other"), replace(new, files=[file, replace(file, path="b")])]
    )
    found = service.list_artifacts(context, ArtifactQuery(), run_id).artifacts
    assert [(artifact.name, artifact.version, artifact.size) for artifact in found] == [
        ("model", 2, 10),
        ("other", 1, 5),
    ]
    download = service.read_file(context, FileQuery(name="model", version=1), run_id)
    assert (download.hash, download.size, download.name) == (hash, 5, "model.bin")
    with pytest.raises(Invalid):
        service.read_file(context, FileQuery(name="model"), run_id)
    for query in (FileQuery(name="no"), FileQuery(name="model", path="c"), FileQuery(name="model", version=3)):
        with pytest.raises(NotFound):
            service.read_file(context, query, run_id)
    missing = replace(new, files=[replace(file, hash="0" * 64)])
    with pytest.raises(Conflict, match="not in the store"):
        service.append(context, Batch(writer="main", start=100, end=110, artifacts=[missing]), run_id)
    with pytest.raises(Invalid):
        service.append(
            context,
            Batch(writer="main", start=100, end=110, artifacts=[replace(new, files=[replace(file, size=6)])]),
            run_id,
        )


def test_a_deleted_run_leaves_nothing(context):
    hash = context.objects.put(context.tenant, b"model")
    new = NewArtifact(name="model", kind="model", format="file", files=[ArtifactFile(path="m", hash=hash, size=5)])
    run_id, fence = started(context, params={"a": 1})
    opened(context, run_id, attempt=fence, series=[series(), series("long", [1.0] * 2_000)], console=[ConsoleLine(time=1, text="x")],
           params={"a": 1}, facts={"f": 1}, add_tags=["t"], artifacts=[new])  # fmt: skip
    service.delete(context, NOTHING, run_id)
    for table in TABLES:
        assert context.db.one(f"select count(*) as n from {table} where tenant = :tenant").n == 0, table
    with pytest.raises(NotFound):
        get(context, run_id)
    with pytest.raises(NotFound):
        service.append(context, Batch(writer="main", start=100, end=110, attempt=fence), run_id)


def test_another_tenant_finds_nothing(context, other_context):
    run_id = opened(context, series=[series()])
    for call in (
        lambda: get(other_context, run_id),
        lambda: service.change(other_context, Change(name="x"), run_id),
        lambda: service.delete(other_context, NOTHING, run_id),
        lambda: service.clone(other_context, Clone(), run_id),
        lambda: service.enqueue(other_context, Enqueue(), run_id),
        lambda: service.start(other_context, Start(fence=1), run_id),
        lambda: service.stop(other_context, Stop(), run_id),
        lambda: service.reset(other_context, NOTHING, run_id),
        lambda: service.publish(other_context, NOTHING, run_id),
        lambda: service.why(other_context, NOTHING, run_id),
        lambda: service.finish(other_context, Finish(status=RunStatus.FAILED), run_id),
        lambda: service.append(other_context, Batch(writer="main", start=100, end=110), run_id),
        lambda: service.log_metrics(other_context, PointsBatch(metrics=[]), run_id),
        lambda: service.list_metrics(other_context, NOTHING, run_id),
        lambda: service.read_metric(other_context, MetricQuery(name="loss"), run_id),
        lambda: service.chart(other_context, ChartQuery(name="loss"), run_id),
        lambda: service.read_console(other_context, ConsoleQuery(), run_id),
        lambda: service.list_artifacts(other_context, ArtifactQuery(), run_id),
        lambda: service.read_file(other_context, FileQuery(name="x"), run_id),
    ):
        with pytest.raises(NotFound):
            call()
    assert service.find(other_context, RunQuery()).total == 0


def test_tidying_after_the_end_goes_on_until_all_is_packed(context):
    run_id = opened(context, series=[series(values=[1.0] * 10)])
    ended(context, run_id)
    for _ in range(2):
        event = [event for event in context.emitted if event.name == "runs.tidy_due"][-1]
        jobs.HANDLERS["runs.tidy_due"](context, event)
    assert context.db.one("select count(*) as n from metric_heads where tenant = :tenant").n == 0
    assert len(values(context, run_id)) == 10


def test_a_run_without_points_leaves_nothing_to_tidy(context):
    ended(context, opened(context))
    names = [event.name for event in context.emitted]
    assert "runs.finished" in names and "runs.tidy_due" not in names


def test_a_long_parameter_is_kept_whole(context):
    text = "".join(random.Random(1).choices('abcdefghijklmnopqrstuvwxyzäöü"\\…', k=50_000))
    run_id = opened(context, params={"prompt": text, "short": "…"})
    run = get(context, run_id)
    assert run.params == {"prompt": text, "short": "…"} and run.facts == {}
    assert service.clone(context, Clone(), run_id).params["prompt"] == text
    service.append(context, Batch(writer="main", start=100, end=110, params={"prompt": "now short"}), run_id)
    assert get(context, run_id).params["prompt"] == "now short"
