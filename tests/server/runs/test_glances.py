"""Projects at a glance, and everything found by its name."""

import math

import pytest

from larder.contract.errors import Invalid
from larder.contract.home import LookUpQuery, NamesQuery, OverviewQuery
from larder.contract.projects import NewProject
from larder.contract.queues import LeaseRequest
from larder.contract.runs import (
    ArtifactFile,
    Change,
    Enqueue,
    Finish,
    NewArtifact,
    NewRun,
    Points,
    PointsBatch,
    RunQuery,
    RunStatus,
    Start,
)
from larder_server.projects import service as projects
from larder_server.queues import service as queues
from larder_server.runs import service
from larder_server.runs.store import glances


def record(context, clock, name="one", project="bakery", status=RunStatus.COMPLETED, metrics=None, **options):
    clock.forward(60)
    run = service.create(context, NewRun(project=project, name=name, **options))
    if metrics:
        points = [Points(name=key, values=values) for key, values in metrics.items()]
        service.log_metrics(context, PointsBatch(metrics=points), run.id)
        service.finish(context, Finish(status=status), run.id)
    return run


def glance(context, **query):
    return {one.name: one for one in service.overview(context, OverviewQuery(**query)).projects}


def look_up(context, text, **query):
    found = {}
    for hit in service.look_up(context, LookUpQuery(text=text, **query)).hits:
        found.setdefault(hit.kind, []).append(hit)
    return found


def test_projects_are_told_with_their_counts_the_liveliest_first(context, clock):
    projects.create(context, NewProject(name="empty", description="nothing yet"))
    record(context, clock)
    queued = record(context, clock, "two")
    service.enqueue(context, Enqueue(), queued.id)
    hidden = record(context, clock, "three")
    service.change(context, Change(archived=True), hidden.id)
    last = record(context, clock, project="shelf")
    found = service.overview(context, OverviewQuery())
    assert [one.name for one in found.projects] == ["shelf", "bakery", "empty"] and found.total == 3
    bakery = found.projects[1]
    assert bakery.counts == {"draft": 1, "queued": 1} and bakery.runs == 2
    assert found.projects[0].active == last.created
    assert found.projects[2].best == [] and found.projects[2].description == "nothing yet"


def test_what_runs_is_listed(context, clock):
    run = record(context, clock)
    service.enqueue(context, Enqueue(), run.id)
    job = queues.lease(context, LeaseRequest(queues=["default"], agent="a1")).job
    service.start(context, Start(fence=job.fence, agent="a1"), run.id)
    bakery = glance(context)["bakery"]
    assert [one.id for one in bakery.running] == [run.id]
    assert bakery.active == clock.now()


@pytest.mark.parametrize("walked", [0, 5_000], ids=["over the index", "over the runs"])
def test_the_best_value_is_over_all_runs_and_knows_its_direction(context, clock, monkeypatch, walked):
    monkeypatch.setattr(glances, "WALKED", walked)
    good = record(context, clock, "good", metrics={"val/mae": [3.0, 1.5, 2.0], "val/acc": [0.1, 0.7]})
    for number in range(10):
        record(context, clock, f"later {number}", metrics={"val/mae": [4.0 + number], "train/mae": [0.1]})
    for _ in range(30):
        record(context, clock, "a draft says nothing yet")
    record(context, clock, "elsewhere", project="shelf", metrics={"val/mae": [0.5]})
    gone = record(context, clock, "archived", metrics={"val/mae": [0.1]})
    service.change(context, Change(archived=True), gone.id)
    best = glance(context)["bakery"].best
    assert [(one.metric, one.lower, one.value, one.run.id) for one in best] == [("val/mae", True, 1.5, good.id)]
    assert best[0].recent == [1.5, *[4.0 + number for number in range(10)]]


def test_values_that_are_no_numbers_are_no_best(context, clock):
    record(context, clock, metrics={"loss": [math.nan]})
    record(context, clock, "two", metrics={"acc": [math.inf]})
    assert glance(context)["bakery"].best == []
    record(context, clock, "three", metrics={"loss": [2.0, math.nan]})
    assert glance(context)["bakery"].best[0].value == 2.0


def test_projects_are_paged_and_filtered(context, clock):
    for name in ("a", "b", "ab"):
        record(context, clock, project=name)
    assert list(glance(context, limit=1, offset=1)) == ["b"]
    assert list(glance(context, text="A")) == ["ab", "a"]
    for query in ({"limit": 0}, {"limit": 201}, {"offset": -1}):
        with pytest.raises(Invalid):
            glance(context, **query)


def test_everything_of_a_name_is_found(context, clock):
    run = record(
        context, clock, "resnet baseline", params={"arch": "resnet50", "resnet.depth": 50, "note's": 'resnet "x"'},
        tags=["resnet"], metrics={"resnet/loss": [1.0]},
    )  # fmt: skip
    other = record(context, clock, project="resnet-shelf")
    service.enqueue(context, Enqueue(queue="resnet-gpu"), other.id)
    queues.lease(context, LeaseRequest(queues=["other"], agent="agent-resnet"))
    found = look_up(context, "ResNet")
    assert {kind: {hit.title for hit in hits} for kind, hits in found.items()} == {
        "run": {"resnet baseline"},
        "project": {"resnet-shelf"},
        "param": {'note\'s = resnet "x"', "arch = resnet50", "resnet.depth"},
        "metric": {"resnet/loss"},
        "tag": {"resnet"},
        "queue": {"resnet-gpu"},
        "agent": {"agent-resnet"},
    }
    for kind in ("param", "metric", "tag"):
        for hit in found[kind]:
            assert [one.id for one in service.find(context, RunQuery(where=hit.where)).runs] == [run.id], hit.where


def test_an_artifact_is_found_by_its_name(context, clock):
    digest = context.objects.put(context.tenant, b"weights")
    file = ArtifactFile(path="model.bin", hash=digest, size=7)
    run = record(
        context, clock, artifacts=[NewArtifact(name="models/resnet_final", kind="model", format="file", files=[file])]
    )
    hit = look_up(context, "net_fin")["artifact"][0]
    assert (hit.id, hit.artifact, hit.detail) == (run.id, "models/resnet_final", "model · one")
    assert "artifact" not in look_up(context, "net%fin")


def test_a_run_is_found_by_the_end_of_its_id_and_by_a_number(context, clock):
    run = record(context, clock, metrics={"loss": [0.913]})
    record(context, clock, "other")
    assert [hit.id for hit in look_up(context, run.id[-8:])["run"]] == [run.id]
    assert [hit.id for hit in look_up(context, "0.913")["run"]] == [run.id]
    assert {hit.title for hit in look_up(context, "")["run"]} == {"one", "other"}


@pytest.mark.parametrize(
    "text", ["%", "_", "'", '"', "\\", "a' or 1=1 --", "(", "metrics.x <", "∑", "x" * 500, "\ud800"]
)
def test_any_text_can_be_looked_up(context, clock, text):
    record(context, clock)
    look_up(context, text)


def test_too_long_a_text_is_refused(context):
    with pytest.raises(Invalid):
        look_up(context, "x" * 501)
    with pytest.raises(Invalid):
        look_up(context, "x", limit=0)


def test_runs_are_named_by_their_ids(context, clock, other_context):
    run = record(context, clock)
    found = service.run_names(context, NamesQuery(ids=[run.id, "no id", run.id[:-1] + "0"])).runs
    assert found[run.id].name == "one" and run.id in found
    assert service.run_names(other_context, NamesQuery(ids=[run.id])).runs == {}
    with pytest.raises(Invalid):
        service.run_names(context, NamesQuery(ids=["x"] * 501))


def test_nothing_of_another_tenant_is_seen(context, other_context, clock):
    record(context, clock, "resnet", params={"arch": "resnet"}, tags=["resnet"], metrics={"resnet": [1.0]})
    assert look_up(other_context, "resnet") == {}
    assert service.overview(other_context, OverviewQuery()).projects == []
