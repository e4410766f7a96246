"""The agent's loop over a server in memory and an executor that only waits."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from larder import config
from larder.agent import workspace
from larder.agent.executors import Order, Outcome
from larder.agent.worker import Agent
from larder.contract import errors, queues, runs
from larder.contract.endpoint import Role
from larder.contract.runs import RunStatus
from tests.client.fake_server import FakeServer

COMPLETED = Outcome(status=RunStatus.COMPLETED, exit_status=0)


class FakeExecutor:
    """Ends when it is told to, or at once."""

    def __init__(self, outcome: Outcome = COMPLETED, *, wait: bool = False, error: Exception | None = None) -> None:
        self.outcome = outcome
        self.error = error
        self.orders: list[Order] = []
        self.stops: list[bool] = []
        self.begun = threading.Event()
        self.end = threading.Event()
        if not wait:
            self.end.set()

    def execute(self, order: Order) -> Outcome:
        self.orders.append(order)
        self.begun.set()
        if self.error is not None:
            raise self.error
        assert self.end.wait(20)
        return Outcome(status=RunStatus.STOPPED, exit_status=143) if self.stops else self.outcome

    def stop(self, *, force: bool = False) -> None:
        self.stops.append(force)
        self.end.set()


@pytest.fixture
def server() -> FakeServer:
    return FakeServer()


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def agent(server, said):
    def make(executor: FakeExecutor, **options: object) -> Agent:
        return Agent(server.transport, name="a1", executor=lambda: executor, say=said.append, **options)

    return make


def queued(server: FakeServer, folder: Path, **fields: object) -> runs.Run:
    """A run in the queue whose command is a script in `folder`."""
    command = {
        "argv": ["train.py", "--lr", "0.1"],
        "executable": sys.executable,
        "cwd": str(folder),
        "script": str(folder / "train.py"),
    }
    facts = {"command": command} | fields.pop("facts", {})
    run = server.add(status=RunStatus.DRAFT, facts=facts, **fields)
    server.enqueue(runs.Enqueue(), run.id)
    return run


def eventually(question) -> None:
    deadline = time.monotonic() + 10
    while not question():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.01)


def test_a_leased_run_is_started_executed_finished_and_taken_out_of_the_queue(server, agent, tmp_path):
    run, executor = queued(server, tmp_path), FakeExecutor()
    assert agent(executor).work_once()
    ended = server.runs[run.id]
    assert (ended.status, ended.attempt, ended.exit_status) == ("completed", 1, 0) and server.jobs == {}
    (order,) = executor.orders
    assert order.command == [sys.executable, "train.py", "--lr", "0.1"] and order.folder == tmp_path
    assert order.env["LARDER_RUN"] == run.id and order.env["LARDER_ATTEMPT"] == "1"
    assert not agent(executor).work_once()


def test_what_a_clone_changes_goes_into_the_command_and_the_environment(server, agent, tmp_path):
    queued(server, tmp_path, facts={"overrides": {"lr": 0.5, "seed": 3}})
    executor = FakeExecutor()
    agent(executor).work_once()
    assert executor.orders[0].command[1:] == ["train.py", "--lr", "0.5"]
    assert executor.orders[0].env["LARDER_PARAMS"] == '{"lr": 0.5, "seed": 3}'


def test_a_run_that_reported_its_own_end_is_not_ended_again(server, agent, tmp_path):
    run = queued(server, tmp_path)

    class Reporting(FakeExecutor):
        def execute(self, order: Order) -> Outcome:
            server.put(run.id, status=RunStatus.FAILED, reason="ValueError: its own words")
            return Outcome(status=RunStatus.FAILED, exit_status=1, reason="exit status 1")

    agent(Reporting()).work_once()
    assert server.runs[run.id].reason == "ValueError: its own words" and server.jobs == {}
    assert "POST /v1/runs/{run_id}/finish" not in server.asked


@pytest.mark.parametrize("error", [OSError("no memory"), errors.NotFound("nowhere")])
def test_a_run_that_cannot_be_executed_fails_with_the_reason(server, agent, tmp_path, error):
    run = queued(server, tmp_path)
    agent(FakeExecutor(error=error)).work_once()
    assert server.runs[run.id].status == "failed" and str(error) in server.runs[run.id].reason


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ({}, "no command"),
        ({"argv": ["-c"]}, "notebook"),
        ({"argv": ["/x/ipykernel_launcher.py", "-f"], "module": "ipykernel_launcher"}, "notebook"),
        ({"argv": ["train.py"], "cwd": "/no/such/folder"}, "no folder /no/such/folder"),
    ],
)
def test_a_run_that_cannot_be_repeated_says_why(server, agent, tmp_path, command, why):
    run, executor = queued(server, tmp_path, facts={"command": command}), FakeExecutor()
    agent(executor).work_once()
    assert server.runs[run.id].status == "failed" and why in server.runs[run.id].reason and executor.orders == []


def test_a_run_that_was_stopped_meanwhile_is_only_taken_out_of_the_queue(server, agent, tmp_path):
    run, executor = queued(server, tmp_path), FakeExecutor()
    server.put(run.id, status=RunStatus.STOPPED)
    agent(executor).work_once()
    assert executor.orders == [] and server.jobs == {}


def test_a_job_of_an_unknown_kind_is_taken_out_of_the_queue(server, agent):
    server.jobs["x"] = queues.Job(
        id="x", queue="default", kind="bake", subject="y", state="waiting", position=0, fence=0, created=0
    )
    assert agent(FakeExecutor()).work_once() and server.jobs == {}


def test_the_lease_is_renewed_while_the_run_goes_on(server, agent, tmp_path):
    queued(server, tmp_path)
    server.lease_seconds = 0.15
    executor = FakeExecutor(wait=True)
    worker = threading.Thread(target=agent(executor).work_once)
    worker.start()
    eventually(lambda: server.asked.count("POST /v1/jobs/{job_id}/renew") >= 3)
    executor.end.set()
    worker.join(10)
    assert executor.stops == []


def test_a_stop_reaches_the_executor_and_the_run_is_stopped(server, agent, tmp_path):
    run = queued(server, tmp_path)
    server.lease_seconds = 0.15
    executor = FakeExecutor(wait=True)
    worker = threading.Thread(target=agent(executor).work_once)
    worker.start()
    assert executor.begun.wait(10)
    server.stop(runs.Stop(), run.id)
    worker.join(10)
    assert executor.stops == [False] and server.runs[run.id].status == "stopped" and server.jobs == {}


def test_a_lost_lease_ends_the_work_by_force_and_says_nothing_about_the_run(server, agent, tmp_path, said):
    run = queued(server, tmp_path)
    server.lease_seconds = 0.15
    executor = FakeExecutor(wait=True)
    worker = threading.Thread(target=agent(executor).work_once)
    worker.start()
    assert executor.begun.wait(10)
    (job,) = server.jobs.values()
    server.give_back(queues.Hold(fence=job.fence), job.id)
    server.lease(queues.LeaseRequest(queues=["default"], agent="other"))
    server.start(runs.Start(fence=2), run.id)
    worker.join(10)
    assert executor.stops == [True] and server.runs[run.id].status == "running"
    assert next(iter(server.jobs.values())).agent == "other" and any("lost the lease" in text for text in said)


def test_the_end_that_a_run_reports_is_no_lost_lease(server, agent, tmp_path):
    run = queued(server, tmp_path)
    server.lease_seconds = 0.15
    executor = FakeExecutor(wait=True)
    worker = threading.Thread(target=agent(executor).work_once)
    worker.start()
    assert executor.begun.wait(10)
    server.put(run.id, status=RunStatus.COMPLETED)
    server.jobs.clear()
    time.sleep(0.3)
    executor.end.set()
    worker.join(10)
    assert executor.stops == []


def test_an_unreachable_server_does_not_end_the_work(server, agent, tmp_path):
    run = queued(server, tmp_path)
    server.lease_seconds = 0.15
    executor = FakeExecutor(wait=True)
    worker = threading.Thread(target=agent(executor).work_once)
    worker.start()
    assert executor.begun.wait(10)
    server.down = True
    time.sleep(0.3)
    executor.end.set()
    time.sleep(0.3)
    server.down = False
    worker.join(20)
    assert executor.stops == [] and server.runs[run.id].status == "completed" and server.jobs == {}


def test_draining_finishes_what_runs(server, agent, tmp_path):
    run = queued(server, tmp_path)
    executor = FakeExecutor(wait=True)
    worker = agent(executor, grace=10)
    thread = threading.Thread(target=worker.run_forever)
    thread.start()
    assert executor.begun.wait(10)
    queued(server, tmp_path)
    worker.drain()
    executor.end.set()
    thread.join(10)
    assert not thread.is_alive() and executor.stops == [] and server.runs[run.id].status == "completed"
    assert [job.state for job in server.jobs.values()] == ["waiting"]


def test_draining_gives_back_what_takes_too_long(server, agent, tmp_path):
    run = queued(server, tmp_path)
    executor = FakeExecutor(wait=True)
    worker = agent(executor, grace=0.1)
    thread = threading.Thread(target=worker.run_forever)
    thread.start()
    assert executor.begun.wait(10)
    worker.drain()
    thread.join(10)
    assert executor.stops == [False] and server.runs[run.id].status == "queued"
    assert [job.state for job in server.jobs.values()] == ["waiting"]


def test_slots_execute_at_the_same_time(server, tmp_path):
    for _ in range(3):
        queued(server, tmp_path)
    made: list[FakeExecutor] = []

    def make() -> FakeExecutor:
        made.append(FakeExecutor(wait=True))
        return made[-1]

    worker = Agent(server.transport, name="a1", executor=make, slots=2, say=lambda _: None, grace=10)
    thread = threading.Thread(target=worker.run_forever)
    thread.start()
    eventually(lambda: len(made) == 2 and all(executor.begun.is_set() for executor in made))
    assert sorted(job.state for job in server.jobs.values()) == ["leased", "leased", "waiting"]
    worker.drain()
    for executor in made:
        executor.end.set()
    thread.join(10)
    assert not thread.is_alive()


def test_a_refused_token_ends_the_agent(server, agent):
    def refuse(_: queues.LeaseRequest) -> queues.Lease:
        raise errors.Denied("a viewer may not lease")

    server.role = Role.VIEWER
    server.answers.insert(0, (queues.LEASE, refuse))
    with pytest.raises(errors.Denied):
        agent(FakeExecutor()).run_forever()


# -- code ----------------------------------------------------------------------------------------------------------


def test_the_code_of_the_run_is_restored_and_its_paths_follow(server, agent, tmp_path):
    project = tmp_path / "project"
    (project / "src").mkdir(parents=True)
    (project / "src" / "train.py").write_text("print('committed')\n")
    git = ["git", "-C", str(project), "-c", "user.name=evi", "-c", "user.email=evi@example.org"]
    for words in (["init", "-q", "-b", "main"], ["add", "."], ["commit", "-q", "-m", "first"]):
        subprocess.run([*git, *words], check=True)
    (project / "src" / "train.py").write_text("print('since then')\n")
    (project / "data.csv").write_text("a,b\n")
    commit, tree = (
        subprocess.run([*git, "rev-parse", what], check=True, capture_output=True, text=True).stdout.strip()
        for what in ("HEAD", "HEAD^{tree}")
    )
    code = {
        "kind": "git", "root": str(project), "remote": "", "commit": commit, "tree": tree, "dirty": False,
        "skipped": [{"path": "data.csv", "size": 4, "why": "larger than 1,000,000 bytes"}],
    }  # fmt: skip
    command = {
        "argv": ["train.py", "--out", str(project / "out.txt")], "executable": "/no/such/python",
        "cwd": str(project / "src"), "script": str(project / "src" / "train.py"), "env": {"PYTHONHASHSEED": "7", "LANG": "C"},
    }  # fmt: skip
    run, executor = queued(server, tmp_path, facts={"command": command, "code": code}), FakeExecutor()
    agent(executor).work_once()
    assert server.runs[run.id].status == "completed", server.runs[run.id].reason
    (order,) = executor.orders
    folder = order.folder.parent
    assert order.folder.name == "src" and folder != project
    assert (order.folder / "train.py").read_text() == "print('committed')\n"
    assert (folder / "data.csv").resolve() == project / "data.csv"
    assert order.command == [sys.executable, "train.py", "--out", str(folder / "out.txt")]
    assert order.env["PYTHONHASHSEED"] == "7" and "LANG" not in order.env and order.env["LARDER_CAPTURE_OFF"] == "code"


def test_folders_that_nobody_has_touched_for_long_are_removed(server, agent, tmp_path):
    old, young = config.home() / "work" / "old", config.home() / "work" / "young"
    for folder in (old, young):
        (folder / "1").mkdir(parents=True)
    for place in (old / "1", old):
        os.utime(place, (1, 1))
    workspace.tidy()
    assert not old.exists() and young.exists()
