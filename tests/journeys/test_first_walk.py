"""The first walk, as a user takes it: record, lose the server, be killed, clone, execute, lose an agent."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import larder
from tests.journeys.conftest import eventually

pytestmark = pytest.mark.journey

SCRIPT = """\
import larder, sys, time
run = larder.init(project="bakery", name="baseline", params={"lr": 0.1, "steps": 40}, tags=["walk"])
loss = 1.0
for step in range(run.params["steps"]):
    loss *= 1 - run.params["lr"]
    run.log({"train/loss": loss, "val/mae": 2 * loss}, step=step)
    time.sleep(PAUSE)
print("done with", loss)
run.log_text("report", f"final loss {loss}")
"""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A git repository with a committed script, an uncommitted change to it, and an untracked file."""
    folder = tmp_path / "project"
    folder.mkdir()
    git = ["git", "-C", str(folder), "-c", "user.name=evi", "-c", "user.email=evi@example.org"]
    (folder / "train.py").write_text("print('an earlier version')\n")
    for command in (["init", "-q", "-b", "main"], ["add", "."], ["commit", "-q", "-m", "first"]):
        subprocess.run([*git, *command], check=True)
    (folder / "train.py").write_text(SCRIPT.replace("PAUSE", "0"))
    (folder / "notes.txt").write_text("untracked\n")
    return folder


def train(folder: Path, **environment: str) -> subprocess.Popen[str]:
    """Start the script as a user would."""
    return subprocess.Popen(
        [sys.executable, "train.py"], cwd=folder, env={**os.environ, **environment}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def larder_command(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "larder.cli", *arguments],
        env={**os.environ, **environment}, text=True, capture_output=True, timeout=120,
    )  # fmt: skip


def the_run() -> "larder.RecordedRun":
    (run,) = larder.runs(project="bakery")
    return run


def check_complete(run: "larder.RecordedRun", *, steps: int = 40) -> None:
    """Everything the script logged is there, once, with the code it ran."""
    run = larder.run(run.id)
    series = run.metrics("train/loss")
    assert list(series.steps) == list(range(steps))
    loss, expected = 1.0, []
    for _ in range(steps):
        loss *= 1 - run.params["lr"]
        expected.append(loss)
    assert list(series.values) == expected
    assert run.facts["code"]["kind"] == "git" and run.facts["code"]["dirty"]
    assert [file["path"] for file in run.facts["code"]["untracked"]] == ["notes.txt"]
    assert run.commit and run.branch == "main"
    assert "msgspec" in {name.lower() for name in run.facts["packages"]}


def test_a_script_is_recorded_with_the_server_up(up, stores, repository):
    up(**stores)
    done = train(repository)
    out, err = done.communicate(timeout=120)
    assert done.returncode == 0, err
    run = the_run()
    assert run.status == "completed"
    check_complete(run)
    assert [line.text for line in run.console() if "done with" in line.text]
    assert "final loss" in run.artifact("report").load()


def test_a_script_is_recorded_with_the_server_down(up, repository):
    server = up()
    server.stop()
    done = train(repository)
    out, err = done.communicate(timeout=120)
    assert done.returncode == 0, err
    assert "larder sync" in err
    server.start()
    synced = larder_command("sync")
    assert synced.returncode == 0, synced.stderr
    run = the_run()
    assert run.status == "completed"
    check_complete(run)
    assert larder_command("sync").returncode == 0
    assert len(larder.runs(project="bakery")) == 1


@pytest.mark.parametrize("round", range(3))
def test_a_killed_script_loses_nothing_it_logged(up, repository, round):
    up()
    (repository / "train.py").write_text(
        SCRIPT.replace("PAUSE", "0.01").replace("    time.sleep", "    print(step, flush=True)\n    time.sleep")
    )
    child = train(repository)
    wanted = random.randrange(1, 35)
    last = -1
    for line in child.stdout:
        last = int(line)
        if last >= wanted:
            break
    child.send_signal(signal.SIGKILL)
    child.wait()
    eventually(lambda: larder.runs(project="bakery") and the_run().status == "failed", seconds=30)
    assert larder_command("sync").returncode == 0
    steps = list(larder.run(the_run().id).metrics("train/loss").steps)
    assert steps == list(range(len(steps))) and len(steps) >= last + 1
    assert "kill" in the_run().reason


def test_the_server_dies_in_the_middle_and_the_script_never_notices(up, repository):
    server = up()
    (repository / "train.py").write_text(SCRIPT.replace("PAUSE", "0.05"))
    child = train(repository)
    eventually(lambda: larder.runs(project="bakery") and the_run().metrics)
    server.stop(kill=True)
    time.sleep(0.5)
    server.start()
    _, err = child.communicate(timeout=120)
    assert child.returncode == 0, err
    assert larder_command("sync").returncode == 0
    check_complete(the_run())
    assert the_run().status == "completed"


def test_a_clone_with_another_parameter_runs_the_same_code(up, stores, repository):
    up(agents=1, **stores)
    done = train(repository)
    assert done.wait(timeout=120) == 0
    original = the_run()
    (repository / "train.py").write_text("raise SystemExit('the working tree has moved on')\n")
    clone = original.clone(params={"lr": 0.5}).enqueue("default")
    clone.wait(timeout=90)
    assert clone.status == "completed", (clone.reason, [line.text for line in clone.console()])
    assert clone.parent == original.id and clone.params == {**original.params, "lr": 0.5}
    assert clone.metrics["train/loss"].last == pytest.approx(0.5**40)
    differences = larder.compare(original, clone)
    assert set(differences.params) == {"lr"}
    check_complete(clone)


def agent(name: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "larder.cli", "agent", "start", "--queue", "default", "--name", name],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def test_a_killed_agents_run_is_finished_by_another_agent(up, stores, repository):
    up(**stores)
    (repository / "train.py").write_text(SCRIPT.replace("PAUSE", "0.1"))
    assert train(repository).wait(timeout=120) == 0
    clone = the_run().clone(params={"lr": 0.2})
    first = agent("first")
    clone.enqueue("default")
    try:
        eventually(lambda: clone.refresh().status == "running" and "train/loss" in clone.metrics, seconds=40)
    finally:
        first.kill()
        first.wait()
    second = agent("second")
    try:
        clone.wait(timeout=90)
    finally:
        second.terminate()
        second.wait(timeout=40)
    assert clone.status == "completed" and clone.attempt == 2
    check_complete(clone)


def hears_only_sigterm():
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@pytest.mark.parametrize("prepare", [None, hears_only_sigterm])
def test_a_run_can_be_stopped_from_elsewhere(up, repository, prepare):
    up()
    (repository / "train.py").write_text(SCRIPT.replace("PAUSE", "0.5"))
    child = subprocess.Popen(
        [sys.executable, "train.py"],
        cwd=repository,
        preexec_fn=prepare,  # noqa: PLW1509  (this test process runs one thread)
        stderr=subprocess.DEVNULL,
    )
    eventually(lambda: larder.runs(project="bakery") and the_run().metrics)
    the_run().stop()
    child.wait(timeout=30)
    eventually(lambda: the_run().status == "stopped")
