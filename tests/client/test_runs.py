"""larder.runs: the SDK to find and re-run, over a server in memory."""

import sys
import types

import pytest

from larder.contract import errors, runs
from larder.contract.queues import Needs
from larder.contract.runs import RunStatus
from larder.runs import compare, find, get, lower_is_better
from tests.client.fake_server import FakeServer


@pytest.fixture
def server() -> FakeServer:
    return FakeServer()


def test_the_module_answers_when_called_like_a_function(server):
    server.add()
    assert isinstance(sys.modules["larder.runs"], types.ModuleType)
    assert len(sys.modules["larder.runs"](project="bakery", transport=server.transport)) == 1


def test_a_list_is_fetched_page_by_page(server):
    for number in range(450):
        server.add(name=f"run {number}")
    found = find("bakery", limit=420, transport=server.transport)
    assert len(found) == 420 and found.total == 450 and found[419].name == "run 419"
    assert [query.offset for query in server.queries] == [0, 200, 400]
    assert len(found[:3]) == 3


def test_a_table_has_a_row_a_run_and_a_column_a_parameter_and_metric(server):
    run = server.add(params={"lr": 0.1})
    server.add_metric(run, "val/mae", [3.0, 2.0])
    (row,) = find(transport=server.transport).table()
    assert row["id"] == run.id and row["params.lr"] == 0.1 and row["metrics.val/mae"] == 2.0
    frame = find(transport=server.transport).to_pandas()
    assert list(frame["metrics.val/mae"]) == [2.0]
    assert "<td>0.1</td>" in find(transport=server.transport)._repr_html_()


def test_a_run_is_found_by_its_id_its_end_its_beginning_and_its_address(server):
    run = server.add()
    for name in (run.id, run.id[-8:], run.id[-6:].upper(), run.id[:30], f"http://x/runs/{run.id}/"):
        assert get(name, transport=server.transport).id == run.id
    archived = server.add(archived=True)
    assert get(archived.id[-8:], transport=server.transport).id == archived.id


def test_an_end_that_several_runs_share_is_refused_with_their_ids(server):
    first = server.add(id="018f0000-0000-7000-8000-aaaaaa111111")
    second = server.add(id="018f0000-0000-7000-8000-bbbbbb111111")
    with pytest.raises(errors.Invalid, match=f"{first.id}, {second.id}"):
        get("111111", transport=server.transport)


@pytest.mark.parametrize("name", ["abc", "baseline", "ffffffff", "0' or true", ""])
def test_what_names_no_run_is_not_found(server, name):
    server.add(id="018f0000-0000-7000-8000-aaaaaa111111")
    with pytest.raises(errors.NotFound):
        get(name, transport=server.transport)


def test_metrics_are_summaries_and_called_the_series(server):
    record = server.add()
    server.add_metric(record, "loss", [3.0, float("nan"), 1.0])
    run = get(record.id, transport=server.transport)
    assert run.metrics["loss"].count == 3 and list(run.metrics) == ["loss"]
    series = run.metrics("loss")
    assert series.steps == [0, 1, 2] and series.values[0] == 3.0 and series.values[1] != series.values[1]
    assert len(run.metrics.chart("loss", 2)) == 2
    with pytest.raises(errors.NotFound):
        run.metrics("nothing")


def test_facts_of_a_listed_run_are_fetched_when_asked_for(server):
    server.add(facts={"code": {"kind": "git"}})
    (run,) = find(transport=server.transport)
    assert run.record.facts == {} and run.facts == {"code": {"kind": "git"}}


def test_an_artifact_is_downloaded_once_and_checked(server, tmp_path):
    record = server.add()
    server.add_artifact(record, "model", "folder", {"a/weights.bin": b"12345", "b.txt": b""})
    artifact = get(record.id, transport=server.transport).artifact("model")
    heard: list[int] = []
    assert artifact.download(tmp_path / "out", advance=heard.append) == tmp_path / "out"
    assert (tmp_path / "out/a/weights.bin").read_bytes() == b"12345" and sum(heard) == 5
    server.objects.clear()
    artifact.download(tmp_path / "out")  # nothing is asked again
    assert {path.name for path in (tmp_path / "out").rglob("*")} == {"a", "weights.bin", "b.txt"}


def test_a_damaged_file_is_refused_and_not_kept(server, tmp_path):
    record = server.add()
    artifact = server.add_artifact(record, "model", "file", {"weights.bin": b"12345"})
    server.objects[artifact.files[0].hash] = b"54321"
    with pytest.raises(errors.Conflict, match="damaged"):
        get(record.id, transport=server.transport).artifact("model").download(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", ["../out.txt", "/etc/out.txt", "a/../../out.txt", "."])
def test_an_artifact_cannot_write_outside_of_its_folder(server, tmp_path, path):
    record = server.add()
    server.add_artifact(record, "evil", "file", {path: b"x"})
    with pytest.raises(errors.Invalid, match="outside"):
        get(record.id, transport=server.transport).artifact("evil").download(tmp_path / "in")
    assert list(tmp_path.rglob("*.txt")) == []


def test_an_artifact_loads_by_its_format(server):
    record = server.add()
    server.add_artifact(record, "report", "text", {"report.txt": "grüße".encode()})
    server.add_artifact(record, "numbers", "json", {"numbers.json": b'{"a": 1}'})
    server.add_artifact(record, "thing", "something else", {"thing.bin": b"x"})
    run = get(record.id, transport=server.transport)
    assert run.artifact("report").load() == "grüße"
    assert run.artifact("numbers").load() == {"a": 1}
    assert run.artifact("thing").load().read_bytes() == b"x"
    with pytest.raises(errors.NotFound, match="no artifact 'model'"):
        run.artifact("model")


def test_a_clone_is_enqueued_and_waited_for(server):
    run = get(server.add(params={"lr": 0.1, "depth": 4}).id, transport=server.transport)
    copy = run.clone(params={"lr": 0.05}, name="slower").enqueue("gpu")
    assert copy.params == {"lr": 0.05, "depth": 4} and copy.status == "queued" and copy.queue == "gpu"
    assert copy.parent == run.id
    with pytest.raises(TimeoutError):
        copy.wait(timeout=0.05)
    server.put(copy.id, status=RunStatus.COMPLETED)
    assert copy.wait(timeout=1).status == "completed"


def test_what_a_copy_needs_travels_with_it(server):
    run = get(server.add().id, transport=server.transport)
    copy = run.clone(requirements=["lightgbm>=4"], environment="inherit", needs="gpus=1,memory=8GB")
    assert copy.facts["environment"] == {"from": "inherit", "requirements": ["lightgbm>=4"]}
    assert copy.needs == Needs(gpus=1, memory=8 * 10**9)
    copy.edit(params={"lr": 3}, needs={"cpus": 2, "labels": {"site": "lab, north"}}, retry=1)
    assert (copy.params, copy.needs) == ({"lr": 3}, Needs(cpus=2.0, labels={"site": "lab, north"}))
    assert copy.retry == runs.Retry(times=1)
    copy.enqueue("gpu", priority="automatic", needs=Needs(gpus=2), retry=runs.Retry(times=5, causes=[]))
    (job,) = server.jobs.values()
    assert (job.priority, copy.needs, copy.retry) == ("automatic", Needs(gpus=2), runs.Retry(times=5, causes=[]))
    assert copy.why().ahead == 2
    with pytest.raises(errors.Invalid):
        run.clone(needs="gpus=many")


def test_an_ended_run_tells_why_and_becomes_a_draft_or_stays_for_good(server):
    point = runs.Checkpoint(run="r", name="checkpoint", version=2, step=8)
    record = server.add(
        status=RunStatus.FAILED, cause=runs.Cause.OUT_OF_MEMORY, retries=2, checkpoint=point, needs=Needs(gpus=1)
    )
    run = get(record.id, transport=server.transport)
    assert (run.cause, run.retries, run.checkpoint, run.published) == ("out_of_memory", 2, point, False)
    card = run.card()
    assert (card["cause"], card["retries"], card["needs"]) == ("out_of_memory", "2 of 3", "gpus=1")
    assert card["checkpoint"] == "checkpoint version 2, step 8"
    assert run.reset().status is RunStatus.DRAFT
    with pytest.raises(errors.Conflict):
        run.publish()
    other = get(server.add().id, transport=server.transport).publish()
    assert other.published and other.card()["published"]
    with pytest.raises(errors.Conflict):
        other.reset()


def test_marks_change_and_the_rest_does_not(server):
    run = get(server.add(tags=["old"]).id, transport=server.transport)
    run.set_tags("good", "old").remove_tags("old").set_notes("a note").set_name("other").archive()
    assert (run.tags, run.notes, run.name, run.archived) == (["good"], "a note", "other", True)
    run.delete()
    assert server.runs == {}


def test_console_is_read_to_its_end(server):
    record = server.add()
    server.lines[record.id] = [runs.ConsoleLine(time=n, text=f"line {n}") for n in range(2500)]
    run = get(record.id, transport=server.transport)
    assert [line.text for line in run.console()] == [f"line {n}" for n in range(2500)]
    assert run.logs(tail=2) == "line 2498\nline 2499"
    assert len(list(run.console(follow=True))) == 2500


def test_a_comparison_shows_what_differs_and_all_metrics(server):
    first = server.add(params={"lr": 0.1, "depth": 4}, facts={"packages": {"numpy": "2.0", "pandas": "2.2"}})
    second = server.add(
        params={"lr": 0.2, "depth": 4, "extra": None}, facts={"packages": {"numpy": "2.1", "pandas": "2.2"}}
    )
    server.add_metric(first, "val/mae", [2.0])
    server.add_metric(second, "val/mae", [1.0])
    server.add_metric(second, "accuracy", [0.5])
    found = compare(first.id, second.id, transport=server.transport)
    assert found.params == {"lr": [0.1, 0.2], "extra": [None, None]}
    assert found.facts == {"packages.numpy": ["2.0", "2.1"]}
    assert found.best("val/mae") == 1 and found.best("accuracy") is None
    assert {row["what"] for row in found.table()} == {
        "params.lr", "params.extra", "facts.packages.numpy", "metrics.val/mae", "metrics.accuracy",
    }  # fmt: skip
    with pytest.raises(errors.Invalid):
        compare(first.id, transport=server.transport)


def test_the_name_of_a_metric_says_which_way_is_better():
    assert [lower_is_better(name) for name in ("val/mae", "train_loss", "val_acc", "map@50", "beta")] == [
        True, True, False, None, None,
    ]  # fmt: skip
