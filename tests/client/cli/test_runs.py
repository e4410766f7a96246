"""`larder runs`: data on stdout, talk on stderr, the exit status says what kind of trouble it was."""

import csv
import io
import json
from datetime import datetime

import pytest

from larder.cli import COMMANDS, overview
from larder.contract import comparisons, runs
from larder.contract.runs import RunStatus


def test_a_list_shows_short_ids_and_the_metrics(call, server):
    run = server.add(params={"lr": 0.1})
    server.add_metric(run, "val/mae", [2.0, 1.25])
    result = call("runs", "ls")
    head, row = result.stdout.splitlines()
    assert head.split() == ["id", "name", "project", "status", "created", "took", "metrics.val/mae"]
    assert run.id[-8:] in row and "1.25" in row and result.stderr == ""


def test_a_list_without_runs_says_so_on_stderr(call, server):
    result = call("runs", "ls")
    assert result.exit_code == 0 and result.stdout == "" and "No runs yet" in result.stderr


def test_a_long_list_says_how_many_there_are(call, server):
    for _ in range(5):
        server.add()
    assert "2 of 5 runs" in call("runs", "ls", "-n", "2").stderr


def test_a_table_fits_the_terminal(call, server):
    server.add(name="a very long name " * 20, tags=["one", "two"])
    result = call("runs", "ls", env={"COLUMNS": "70"})
    assert all(len(line) <= 70 for line in result.stdout.splitlines()) and "…" in result.stdout
    assert "…" not in call("runs", "ls").stdout


def test_options_become_the_question(call, server):
    call("runs", "ls", "-p", "bakery", "-w", "metrics.loss < 3", "-s", "metrics.loss", "--asc", "0.913")
    (query,) = server.queries
    assert (query.project, query.where, query.order_by, query.descending, query.text) == (
        "bakery", "metrics.loss < 3", "metrics.loss", False, "0.913",
    )  # fmt: skip


def test_chosen_columns_are_shown(call, server):
    server.add_metric(server.add(params={"lr": 0.1}), "loss", [3.0, 1.0, 2.0])
    result = call("runs", "ls", "-c", "params.lr,metrics.loss.min")
    assert result.stdout.splitlines()[1].split()[1:] == ["0.1", "1"]


def test_json_is_the_contract(call, server):
    run = server.add(params={"lr": 0.1})
    server.add_metric(run, "loss", [float("nan"), float("nan")])
    (found,) = json.loads(call("runs", "ls", "--json").stdout)
    assert found["id"] == run.id and found["params"] == {"lr": 0.1} and found["metrics"]["loss"]["last"] is None


@pytest.mark.parametrize("form", ["python", "cli", "curl"])
def test_a_list_can_be_asked_for_in_other_languages(call, server, form):
    result = call("runs", "ls", "-p", "bakery", "-w", "tags has 'good'", "--as", form)
    assert "bakery" in result.stdout and "good" in result.stdout and server.asked == []
    if form == "python":
        found: dict[str, object] = {}
        exec(result.stdout.strip().replace("larder.runs(", "found.update("), {"found": found})
        assert found == {"project": "bakery", "where": "tags has 'good'", "limit": 20}


def test_a_run_is_shown(call, server):
    run = server.add(
        params={"lr": 0.1}, facts={"command": {"argv": ["python", "my train.py"]}, "sources": {"git": "off"}}
    )
    server.add_artifact(run, "model", "file", {"model.txt": b"x" * 2000})
    result = call("runs", "show", run.id[-8:])
    assert run.id in result.stdout and "python 'my train.py'" in result.stdout and "2.0 kB" in result.stdout
    assert "git (off)" in result.stdout
    assert json.loads(call("runs", "show", run.id, "--json").stdout)["facts"]["sources"] == {"git": "off"}


def test_logs_are_printed_as_they_are(call, server):
    run = server.add()
    server.lines[run.id] = [runs.ConsoleLine(time=1, text="  one"), runs.ConsoleLine(time=2, text="two")]
    assert call("runs", "logs", run.id).stdout == "  one\ntwo\n"
    assert call("runs", "logs", run.id, "--tail", "1", "--follow").stdout == "two\n"
    assert json.loads(call("runs", "logs", run.id, "--json").stdout)[0]["text"] == "  one"


def test_metrics_are_summaries_or_points(call, server):
    run = server.add()
    server.add_metric(run, "loss", [3.0, 1.0, 2.0])
    assert call("runs", "metrics", run.id).stdout.splitlines()[1].split() == ["loss", "2", "1", "1", "3", "0", "2", "3"]
    assert call("runs", "metrics", run.id, "loss").stdout.split() == ["step", "value", "0", "3", "1", "1", "2", "2"]
    assert json.loads(call("runs", "metrics", run.id, "loss", "--json").stdout)["values"] == [3.0, 1.0, 2.0]
    assert call("runs", "metrics", run.id, "nothing").exit_code == 4


def test_a_comparison_marks_the_best(call, server):
    first, second = server.add(name="a", params={"lr": 0.1}), server.add(name="b", params={"lr": 0.2})
    server.add_metric(first, "mae", [2.0])
    server.add_metric(second, "mae", [1.0])
    result = call("runs", "compare", first.id, second.id)
    lines = [line.split() for line in result.stdout.splitlines()]
    assert lines[1:] == [["name", "a", "b"], ["params.lr", "0.1", "0.2"], ["metrics.mae", "2", "1", "*"]]
    rows = list(csv.reader(io.StringIO(call("runs", "compare", first.id, second.id, "--csv").stdout)))
    assert rows[0] == ["what", first.id[-8:], second.id[-8:]] and rows[-1] == ["metrics.mae", "2.0", "1.0"]
    assert call("runs", "compare", first.id).exit_code == 2 and result.stderr == ""
    server.mismatches = [comparisons.Mismatch(about="data", name="data", sentence="Other data.", values=[1, 2])]
    assert call("runs", "compare", first.id, second.id).stderr == "Other data.\n"
    assert json.loads(call("runs", "compare", first.id, second.id, "--json").stdout)["warnings"] == ["Other data."]


def test_a_clone_prints_its_id_alone_on_stdout(call, server):
    run = server.add(params={"lr": 0.1})
    result = call("runs", "clone", run.id, "-P", "lr=0.05", "-P", "name=x", "--name", "slower", "--tag", "try")
    copy = server.runs[result.stdout.strip()]
    assert copy.params == {"lr": 0.05, "name": "x"} and copy.status == "draft" and copy.tags == ["try"]
    assert "no parameter name:" in result.stderr and "parameter lr" not in result.stderr
    assert call("runs", "enqueue", copy.id, "-q", "gpu").exit_code == 0
    assert call("runs", "enqueue", copy.id).exit_code == 1  # Conflict
    assert call("runs", "clone", run.id, "-P", "lr").exit_code == 2


def test_waiting_for_a_failed_run_fails(call, server):
    run = server.add(status=RunStatus.DRAFT)
    server.answers.insert(0, (runs.ENQUEUE, lambda _, run_id: server.put(run_id, status=RunStatus.FAILED, reason="oh")))
    result = call("runs", "enqueue", run.id, "--wait")
    assert result.exit_code == 1 and "failed, oh" in result.stderr


def test_several_runs_are_stopped_and_the_first_refusal_decides_the_exit_status(call, server):
    run = server.add(status=RunStatus.QUEUED)
    result = call("runs", "stop", "ffffffff", run.id)
    assert result.exit_code == 4 and result.stdout.strip() == run.id and "ffffffff" in result.stderr
    assert server.runs[run.id].status == "stopped"


def test_deleting_asks_first(call, server):
    run = server.add()
    refused = call("runs", "rm", run.id)
    assert refused.exit_code == 2 and "--yes" in refused.stderr and run.id in server.runs
    assert call("runs", "rm", run.id, "--yes").exit_code == 0 and server.runs == {}


def test_tags_and_the_archive(call, server):
    run = server.add(tags=["old"])
    assert call("runs", "tag", run.id, "good", "best").stdout.split() == ["old", "good", "best"]
    assert call("runs", "tag", run.id, "old", "--remove").stdout.split() == ["good", "best"]
    call("runs", "archive", run.id)
    assert server.runs[run.id].archived
    call("runs", "archive", run.id, "--undo")
    assert not server.runs[run.id].archived


def test_an_export_is_a_sheet_that_cannot_compute(call, server, tmp_path):
    server.add_metric(server.add(name="=1+1", params={"lr": 0.1}), "loss", [0.5])
    server.add(params={"depth": 4})
    rows = list(csv.DictReader(io.StringIO(call("runs", "export").stdout)))
    assert rows[0]["name"] == "'=1+1" and rows[0]["metrics.loss"] == "0.5" and rows[1]["params.depth"] == "4"
    assert rows[0]["created"].endswith("Z") and datetime.fromisoformat(rows[0]["created"]).year >= 1970
    call("runs", "export", "-o", str(tmp_path / "out.csv"))
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 3
    call("runs", "export", "--json", "-o", str(tmp_path / "out.json"))
    assert len(json.loads((tmp_path / "out.json").read_text())) == 2


def test_artifacts_are_listed_and_fetched(call, server, tmp_path):
    run = server.add()
    server.add_artifact(run, "model", "folder", {"a/b.txt": b"1", "c.txt": b"2"})
    assert call("runs", "artifacts", run.id).stdout.splitlines()[1].split()[:2] == ["model", "1"]
    result = call("runs", "download", run.id, "model", str(tmp_path))
    assert result.stdout.split() == [str(tmp_path / "a/b.txt"), str(tmp_path / "c.txt")]
    assert (tmp_path / "a/b.txt").read_bytes() == b"1"


@pytest.mark.parametrize(("what", "status"), [("down", 5), ("missing", 4), ("usage", 2)])
def test_refusals_are_one_sentence_and_a_status(call, server, what, status):
    server.down = what == "down"
    result = call("runs", "show", *([] if what == "usage" else ["0123456789"]))
    assert result.exit_code == status and result.stdout == "" and "Traceback" not in result.stderr
    if what != "usage":
        assert result.stderr.startswith("Error: ") and len(result.stderr.splitlines()) == 2


def test_the_page_of_a_run_is_printed(call, server):
    run = server.add()
    assert call("open", run.id, "--print").stdout.strip() == f"{server.url}/runs/{run.id}"
    assert call("open", "--print").stdout.strip() == server.url


def test_every_command_loads_and_explains_itself(call, server):
    for name, command in COMMANDS.items():
        assert name in overview()
        if command.home:
            result = call(name, "--help")
            assert result.exit_code == 0 and "Usage: larder" in result.stdout, name


def test_a_command_of_another_distribution_that_is_not_installed_says_how_to_get_it(call, server, monkeypatch):
    import importlib.metadata

    monkeypatch.setattr(importlib.metadata, "entry_points", lambda **_: ())
    result = call("up")
    assert result.exit_code == 2 and "pip install larder-server" in result.stderr


def test_an_unknown_command_is_a_usage_error(call, server):
    assert call("nonsense").exit_code == 2


def test_completion_knows_the_commands(call, server):
    for shell in ("bash", "zsh", "fish"):
        assert "_LARDER_COMPLETE" in call("completion", shell).stdout


def test_a_copy_says_what_it_needs(call, server):
    run = server.add()
    result = call(
        "runs", "clone", run.id, "--add-requirement", "lightgbm>=4", "--with", "polars", "--environment", "recorded",
        "--needs", "gpus=1,memory=8GB", "--retry", "5", "--retry-on", "out_of_memory",
    )  # fmt: skip
    copy = server.runs[result.stdout.strip()]
    assert copy.facts["environment"] == {"from": "recorded", "requirements": ["lightgbm>=4", "polars"]}
    assert (copy.needs.gpus, copy.needs.memory) == (1, 8 * 10**9)
    assert copy.retry == runs.Retry(times=5, causes=["agent_lost", "preempted", "out_of_memory"])
    assert call("runs", "edit", copy.id, "-P", "lr=3", "--needs", "cpus=2").exit_code == 0
    copy = server.runs[copy.id]
    assert (copy.params, copy.needs.cpus, copy.needs.gpus) == ({"lr": 3}, 2.0, 0)
    assert call("runs", "edit", copy.id).exit_code == 2
    assert call("runs", "clone", run.id, "--needs", "gpus=many").exit_code == 2
    assert call("runs", "enqueue", copy.id, "--priority", "automatic", "--retry", "0").exit_code == 0
    assert server.runs[copy.id].retry.times == 0
    why = call("runs", "why", copy.id)
    assert why.stdout == "no agent listens to it\n" and "2 before it" in why.stderr and "Expected" in why.stderr
    assert json.loads(call("runs", "why", copy.id, "--json").stdout)["ahead"] == 2


def test_resetting_and_publishing_ask_first(call, server):
    run = server.add()
    for verb in ("reset", "publish"):
        assert call("runs", verb, run.id).exit_code == 2
    assert server.runs[run.id].status is RunStatus.COMPLETED
    assert call("runs", "publish", run.id, "--yes").stdout.strip() == run.id
    assert call("runs", "reset", run.id, "--yes").exit_code == 1
    other = server.add()
    assert call("runs", "reset", other.id, "-y").exit_code == 0
    assert server.runs[other.id].status is RunStatus.DRAFT
    assert call("runs", "publish", other.id, "-y").exit_code == 1


def test_logs_have_a_name_of_their_own(call, server):
    run = server.add()
    server.lines[run.id] = [runs.ConsoleLine(time=1, text="one"), runs.ConsoleLine(time=2, text="two")]
    assert call("logs", run.id, "-f").stdout == call("runs", "logs", run.id).stdout == "one\ntwo\n"
