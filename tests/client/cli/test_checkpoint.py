"""`larder checkpoint` over a server in memory."""

import json

import pytest


@pytest.fixture
def run(server):
    run = server.add()
    for step, mae in ((10, 3.0), (20, 1.5), (30, 2.0)):
        metadata = {"metrics": {"val/mae": mae}}
        state = f"state {step}".encode()
        server.add_artifact(
            run, "checkpoint", "bytes", {"checkpoint": state}, "checkpoint", step=step, metadata=metadata
        )
    server.add_artifact(run, "model", "bytes", {"model": b"model"})
    return run


def test_checkpoints_are_listed_by_step_with_their_metrics(call, run):
    lines = call("checkpoint", "ls", run.id[-8:]).stdout.splitlines()
    assert len(lines) == 4
    assert lines[1].split()[:3] == ["10", "checkpoint", "1"]
    assert lines[2].endswith("val/mae=1.5")
    rows = json.loads(call("checkpoint", "ls", run.id, "--json").stdout)
    assert [(row["step"], row["metrics"]["val/mae"]) for row in rows] == [(10, 3.0), (20, 1.5), (30, 2.0)]


def test_the_best_one_is_fetched(call, run, tmp_path):
    result = call("checkpoint", "get", f"{run.id}@best:val/mae", str(tmp_path))
    assert result.exit_code == 0
    assert (tmp_path / "checkpoint").read_bytes() == b"state 20"
    assert result.stdout.strip() == str(tmp_path / "checkpoint")
    assert "after step 20" in result.stderr
    found = json.loads(call("checkpoint", "get", f"{run.id}@30", str(tmp_path / "other"), "--json").stdout)
    assert (found["step"], found["run"]) == (30, run.id)


@pytest.mark.parametrize(("which", "status"), [("@11", 4), ("@best:rmse", 4), ("@best:", 2), ("@soon", 2)])
def test_what_is_not_there_is_a_sentence_and_a_hint(call, run, which, status):
    result = call("checkpoint", "get", f"{run.id}{which}")
    assert (result.exit_code, result.stdout) == (status, "")
    assert result.stderr.startswith("Error: ")
    assert len(result.stderr.splitlines()) == 2


def test_a_run_without_any_says_how_to_keep_one(call, server):
    result = call("checkpoint", "ls", server.add().id)
    assert result.stdout == ""
    assert "log_checkpoint" in result.stderr
