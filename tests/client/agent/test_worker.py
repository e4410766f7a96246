"""The agent's loop over a server in memory and an executor that only waits."""

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from larder import config
from larder.agent import workspace
from larder.agent.executors import Execution, Exit, Order, Usage
from larder.agent.worker import Agent
from larder.contract import errors, queues, runs
from larder.contract.endpoint import Role
from larder.contract.runs import Cause, RunStatus
from tests.client.fake_server import FakeServer


class FakeExecution:
    """Prints a line, and ends when it is told to, or at once."""

    def __init__(self, executor: "FakeExecutor") -> None:
        self._executor = executor
        self._exit: Exit | None = None
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self.stops: list[bool] = []
        self.stdout, self._out = os.pipe()
        self.stderr, self._err = os.pipe()
        os.write(self._out, b"hello\n")
        os.write(self._err, executor.errors)

    def end(self, code: int, **fields: object) -> None:
        with self._lock:
            if self._exit is None:
                self._exit = Exit(code=code, **fields)
                os.close(self._out)
                os.close(self._err)
                self._ended.set()

    def wait(self, timeout: float | None = None) -> Exit | None:
        self._ended.wait(timeout)
        return self._exit

    def stop(self, *, force: bool = False) -> None:
        self.stops.append(force)
        if force:
            self.end(-signal.SIGKILL)
        elif not self._executor.deaf:
            self.end(-signal.SIGTERM)

    def usage(self) -> Usage:
        return Usage(peak_memory=3_000_000, cpu_seconds=1.5)


class FakeExecutor:
    """Keeps the orders; each ends with `exit`, at once unless it waits."""

    name = "process"

    def __init__(
        self,
        exit: Exit = Exit(code=0),
        *,
        wait: bool = False,
        deaf: bool = False,
        error: Exception | None = None,
        errors: bytes = b"",
    ) -> None:
        self.exit, self.wait, self.deaf, self.error, self.errors = exit, wait, deaf, error, errors
        self.orders: list[Order] = []
        self.executions: list[FakeExecution] = []
        self.begun = threading.Event()

    def start(self, order: Order) -> Execution:
        self.orders.append(order)
        if self.error is not None:
            raise self.error
        self.executions.append(FakeExecution(self))
        self.begun.set()
        if not self.wait:
            self.release()
        return self.executions[-1]

    def release(self) -> None:
        for execution in list(self.executions):
            execution.end(self.exit.code, out_of_memory=self.exit.out_of_memory, facts=self.exit.facts)

    @property
    def stops(self) -> list[bool]:
        return [force for execution in self.executions for force in execution.stops]

    def close(self) -> None:
        """It keeps nothing."""


@pytest.fixture
def server() -> FakeServer:
    return FakeServer()


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def agent(server, said):
    def make(executor: FakeExecutor, *, slots: int = 1, **options: object) -> Agent:
        options.setdefault("capacity", queues.Capacity(slots=slots))
        return Agent(server.transport, name="a1", executors=[executor], say=said.append, **options)

    return make


@pytest.fixture
def started(agent) -> Iterator[Callable[..., tuple[Agent, threading.Thread]]]:
    """An agent at work in a thread, which the end of the test drains."""
    made: list[tuple[Agent, FakeExecutor, threading.Thread]] = []

    def start(executor: FakeExecutor, **options: object) -> tuple[Agent, threading.Thread]:
        worker = agent(executor, **options)
        thread = threading.Thread(target=worker.run_forever, daemon=True)
        thread.start()
        made.append((worker, executor, thread))
        return worker, thread

    yield start
    for worker, executor, thread in made:
        worker.drain()
        worker.drain()
        executor.deaf = False
        executor.release()
        thread.join(20)
        assert not thread.is_alive()


def queued(server: FakeServer, folder: Path, **fields: object) -> runs.Run:
    """A run in the queue whose command is a script in `folder`."""
    command = {
        "argv": ["train.py", "--lr", "0.1"],
        "executable": sys.executable,
        "cwd": str(folder),
        "script": str(folder / "train.py"),
    }
    facts = {"command": command, "environment": {"from": "inherit"}} | fields.pop("facts", {})
    run = server.add(status=RunStatus.DRAFT, facts=facts, **fields)
    server.enqueue(runs.Enqueue(), run.id)
    return run


def eventually(question: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not question():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.01)


def text(server: FakeServer, run: runs.Run) -> list[str]:
    return [line.text for line in server.lines.get(run.id, [])]


# -- a run ---------------------------------------------------------------------------------------------------------


def test_a_leased_run_is_started_executed_ended_and_taken_out_of_the_queue(server, agent, tmp_path):
    run, executor = queued(server, tmp_path), FakeExecutor()
    assert agent(executor).work_once()
    ended = server.runs[run.id]
    assert (ended.status, ended.attempt, ended.exit_status) == ("completed", 1, 0) and server.jobs == {}
    (order,) = executor.orders
    assert order.command[1:] == ["train.py", "--lr", "0.1"] and order.folder == tmp_path
    assert order.env["LARDER_RUN"] == run.id and order.env["LARDER_ATTEMPT"] == "1"
    assert text(server, run) == ["hello"]
    fact = ended.facts["execution"]
    assert (fact["agent"], fact["executor"], fact["peak_memory"], fact["cpu_seconds"]) == (
        "a1",
        "process",
        3_000_000,
        1.5,
    )
    assert not agent(executor).work_once()


def test_a_short_run_costs_two_calls(server, agent, tmp_path):
    queued(server, tmp_path)
    agent(FakeExecutor()).work_once()
    assert server.asked == ["POST /v1/leases/run", "POST /v1/runs/{run_id}/journal"]


def test_nothing_of_a_run_that_has_been_sent_stays_on_the_machine(server, agent, tmp_path):
    queued(server, tmp_path)
    agent(FakeExecutor()).work_once()
    assert list((config.home() / "runs").iterdir()) == []


def test_what_a_clone_changes_goes_into_the_command_and_the_environment(server, agent, tmp_path):
    queued(server, tmp_path, facts={"overrides": {"lr": 0.5, "seed": 3}})
    executor = FakeExecutor()
    agent(executor).work_once()
    assert executor.orders[0].command[1:] == ["train.py", "--lr", "0.5"]
    assert executor.orders[0].env["LARDER_PARAMS"] == '{"lr": 0.5, "seed": 3}'


def test_the_command_gets_the_token_of_the_lease_and_the_agents_own_only_where_there_is_none(server, agent, tmp_path):
    executor = FakeExecutor()
    lease = server.lease
    for token, wanted in (("of-the-run", "of-the-run"), ("", "secret")):
        queued(server, tmp_path)

        def with_token(order: queues.LeaseRequest, token: str = token) -> queues.Lease:
            return queues.Lease(job=lease(order).job, token=token)

        server.answers.insert(0, (queues.LEASE, with_token))
        agent(executor).work_once()
        assert executor.orders[-1].env["LARDER_TOKEN"] == wanted


def test_needs_become_limits(server, agent, tmp_path):
    needs = queues.Needs(cpus=2, memory=4_000_000_000, seconds=60)
    queued(server, tmp_path, needs=needs)
    executor = FakeExecutor()
    agent(executor).work_once()
    limits = executor.orders[0].limits
    assert (limits.cpus, limits.memory, limits.seconds) == (2, 4_000_000_000, 60) and limits.processes > 1000


def test_the_gpus_of_the_lease_are_those_of_the_order(server, agent, tmp_path):
    queued(server, tmp_path)
    lease = server.lease
    server.answers.insert(0, (queues.LEASE, lambda order: give(lease(order))))

    def give(answer: queues.Lease) -> queues.Lease:
        import dataclasses

        return dataclasses.replace(answer, job=dataclasses.replace(answer.job, gpus=[1, 3]))

    executor = FakeExecutor()
    agent(executor).work_once()
    assert executor.orders[0].limits.gpus == (1, 3)


@pytest.mark.parametrize(
    ("exit", "errors", "status", "reason", "cause"),
    [
        (Exit(code=3), b"", "failed", "exit status 3", Cause.FAILED),
        (
            Exit(code=1),
            b"ValueError: no such file\n",
            "failed",
            "exit status 1: ValueError: no such file",
            Cause.FAILED,
        ),
        (Exit(code=-11), b"", "failed", "killed by SIGSEGV", Cause.FAILED),
        (
            Exit(code=-9, out_of_memory=True),
            b"",
            "failed",
            "out of memory: its processes held 3.0 MB",
            Cause.OUT_OF_MEMORY,
        ),
        (Exit(code=1), b"Traceback\nMemoryError\n", "failed", "out of memory", Cause.OUT_OF_MEMORY),
        (
            Exit(code=1),
            b"torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB\n",
            "failed",
            "CUDA out of memory",
            Cause.OUT_OF_MEMORY,
        ),
        (Exit(code=0), b"MemoryError: caught and dealt with\n", "completed", "", Cause.NONE),
        (Exit(code=1), b"a line about MemoryError in the middle\n", "failed", "exit status 1", Cause.FAILED),
    ],
)
def test_how_a_command_ends_is_how_its_run_ends(server, agent, tmp_path, exit, errors, status, reason, cause):
    run = queued(server, tmp_path)
    agent(FakeExecutor(exit, errors=errors)).work_once()
    ended = server.runs[run.id]
    assert (ended.status, ended.cause) == (status, cause) and reason in ended.reason


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


def test_a_run_that_needs_another_executor_says_which(server, agent, tmp_path):
    run, executor = queued(server, tmp_path, needs=queues.Needs(executor="container", image="x")), FakeExecutor()
    agent(executor).work_once()
    assert server.runs[run.id].status == "failed" and "executor container" in server.runs[run.id].reason
    assert executor.orders == []


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


def test_a_machine_without_room_for_a_journal_says_so_in_the_run_and_lives_on(server, agent, tmp_path, monkeypatch):
    run, other = queued(server, tmp_path), queued(server, tmp_path)
    (config.home() / "runs").mkdir(parents=True)
    (config.home() / "runs" / f"{run.id}.1").write_text("where the folder should be")
    worker = agent(FakeExecutor())
    worker.work_once()
    assert server.runs[run.id].status == "failed" and "could not be executed" in server.runs[run.id].reason
    assert worker.work_once() and server.runs[other.id].status == "completed"


# -- lease and stop ------------------------------------------------------------------------------------------------


def test_what_the_agent_has_and_how_busy_it_is_goes_with_each_question(server, agent):
    asked: list[queues.LeaseRequest] = []

    def lease(order: queues.LeaseRequest) -> queues.Lease:
        asked.append(order)
        return queues.Lease()

    server.answers.insert(0, (queues.LEASE, lease))
    capacity = queues.Capacity(slots=2, cpus=4, memory=8, labels={"site": "lab"})
    agent(FakeExecutor(), capacity=capacity).work_once()
    assert asked[0].capacity == capacity and asked[0].load.memory > 0 and asked[0].host and asked[0].version


def test_an_answer_that_was_lost_is_asked_for_again_and_its_run_executed_once(server, agent, tmp_path):
    first, second = queued(server, tmp_path), queued(server, tmp_path)
    asked: list[queues.LeaseRequest] = []
    given: dict[str, queues.Lease] = {}
    lease = server.lease

    def remembered(order: queues.LeaseRequest) -> queues.Lease:
        asked.append(order)
        if not order.repeated:
            given[order.ask] = lease(order)
        if len(asked) == 1:
            raise errors.Unavailable("the connection broke after the work was done")
        return given[order.ask]

    server.answers.insert(0, (queues.LEASE, remembered))
    executor = FakeExecutor()
    worker = agent(executor)
    with pytest.raises(errors.Unavailable):
        worker.work_once()
    assert worker.work_once() and worker.work_once() and not worker.work_once()
    assert [order.run for order in executor.orders] == [first.id, second.id]
    assert [order.repeated for order in asked] == [False, True, False, False]
    assert asked[0].ask == asked[1].ask and len({order.ask for order in asked}) == 3
    assert {server.runs[run.id].status for run in (first, second)} == {"completed"}


def test_the_lease_is_renewed_while_the_run_goes_on(server, started, tmp_path):
    queued(server, tmp_path)
    server.lease_seconds = 0.15
    executor = FakeExecutor(wait=True)
    started(executor)
    eventually(lambda: server.asked.count("POST /v1/jobs/{job_id}/renew") >= 3)
    assert executor.stops == []


def test_a_stop_reaches_the_execution_and_the_run_is_stopped(server, started, tmp_path):
    run = queued(server, tmp_path)
    server.lease_seconds = 0.15
    executor = FakeExecutor(wait=True)
    started(executor)
    assert executor.begun.wait(10)
    server.stop(runs.Stop(), run.id)
    eventually(lambda: server.runs[run.id].status == "stopped")
    assert executor.stops == [False] and server.jobs == {}


def test_a_command_that_is_deaf_is_ended_by_force_after_the_grace(server, started, tmp_path):
    run = queued(server, tmp_path)
    server.lease_seconds = 0.15
    executor = FakeExecutor(wait=True, deaf=True)
    started(executor, grace=0.3)
    assert executor.begun.wait(10)
    server.stop(runs.Stop(), run.id)
    eventually(lambda: server.runs[run.id].status == "stopped")
    assert executor.stops == [False, True]


def test_a_time_limit_ends_the_run_with_its_cause(server, agent, tmp_path):
    run = queued(server, tmp_path, needs=queues.Needs(seconds=0.2))
    executor = FakeExecutor(wait=True)
    agent(executor).work_once()
    ended = server.runs[run.id]
    assert (ended.status, ended.cause, executor.stops) == (
        "failed",
        Cause.TIME_LIMIT,
        [False],
    ) and "0.2 s" in ended.reason


def test_a_stop_while_a_run_is_made_ready_ends_it_before_it_begins(server, started, tmp_path, monkeypatch):
    run = queued(server, tmp_path)
    server.lease_seconds = 0.15
    preparing = threading.Event()
    prepare = workspace.prepare

    def slow(run: runs.Run, **options: object) -> Order:
        preparing.set()
        eventually(options["cancelled"])
        return prepare(run, **options)

    monkeypatch.setattr(workspace, "prepare", slow)
    executor = FakeExecutor()
    started(executor)
    assert preparing.wait(10)
    server.stop(runs.Stop(), run.id)
    eventually(lambda: server.runs[run.id].status == "stopped")
    assert executor.executions == [] and server.jobs == {}


def test_a_lost_lease_ends_the_work_by_force_and_says_nothing_about_the_run(server, started, tmp_path, said):
    run = queued(server, tmp_path)
    server.lease_seconds = 0.15
    executor = FakeExecutor(wait=True)
    started(executor)
    assert executor.begun.wait(10)
    (job,) = server.jobs.values()
    server.jobs[job.id] = taken(job)
    server.start(runs.Start(fence=2), run.id)
    eventually(lambda: executor.stops)
    eventually(lambda: any("lost the lease" in text for text in said))
    assert executor.stops == [True] and server.runs[run.id].status == "running"
    assert server.runs[run.id].exit_status is None and next(iter(server.jobs.values())).agent == "other"


def taken(job: queues.Job) -> queues.Job:
    import dataclasses

    return dataclasses.replace(job, fence=job.fence + 1, agent="other")


def test_the_end_of_a_run_that_was_given_to_another_is_refused_and_said(server, started, tmp_path, said):
    run = queued(server, tmp_path)
    executor = FakeExecutor(wait=True)
    started(executor)
    assert executor.begun.wait(10)
    (job,) = server.jobs.values()
    server.jobs[job.id] = taken(job)
    server.start(runs.Start(fence=2), run.id)
    executor.release()
    eventually(lambda: any("goes on elsewhere" in text for text in said))
    assert server.runs[run.id].status == "running"


def test_the_end_that_somebody_gives_a_run_by_hand_is_no_lost_lease(server, started, tmp_path, said):
    run = queued(server, tmp_path)
    server.lease_seconds = 0.15
    executor = FakeExecutor(wait=True)
    started(executor)
    assert executor.begun.wait(10)
    server.put(run.id, status=RunStatus.STOPPED)
    server.jobs.clear()
    eventually(lambda: executor.stops)
    assert executor.stops == [False] and not any("lost the lease" in text for text in said)


def test_a_server_that_is_away_does_not_end_the_work_and_hears_of_the_end_later(server, started, tmp_path):
    run = queued(server, tmp_path)
    server.lease_seconds = 0.15
    executor = FakeExecutor(wait=True)
    started(executor)
    assert executor.begun.wait(10)
    server.down = True
    time.sleep(0.4)
    executor.release()
    time.sleep(0.4)
    server.down = False
    eventually(lambda: server.runs[run.id].status == "completed")
    assert executor.stops == [] and server.jobs == {} and text(server, run) == ["hello"]


# -- the end of an agent -------------------------------------------------------------------------------------------


def test_a_server_that_is_away_while_a_run_is_made_ready_does_not_fail_it(server, agent, tmp_path, monkeypatch):
    run = queued(server, tmp_path)
    real, tries = workspace.prepare, []

    def prepare(*arguments: object, **options: object) -> Order:
        tries.append(1)
        if len(tries) < 3:
            raise errors.Unavailable("the connection broke while the code was fetched")
        return real(*arguments, **options)

    monkeypatch.setattr(workspace, "prepare", prepare)
    assert agent(FakeExecutor()).work_once()
    assert len(tries) == 3 and server.runs[run.id].status == "completed"


def test_a_stop_is_heard_while_the_server_that_has_the_code_is_away(server, started, tmp_path, monkeypatch):
    run = queued(server, tmp_path)
    server.lease_seconds = 0.15
    tried = threading.Event()

    def prepare(*_: object, **__: object) -> Order:
        tried.set()
        raise errors.Unavailable("the object store does not answer")

    monkeypatch.setattr(workspace, "prepare", prepare)
    started(FakeExecutor())
    assert tried.wait(10)
    server.stop(runs.Stop(), run.id)
    eventually(lambda: server.runs[run.id].status == "stopped")


def test_draining_finishes_what_runs(server, started, tmp_path):
    run = queued(server, tmp_path)
    executor = FakeExecutor(wait=True)
    worker, thread = started(executor, grace=20)
    assert executor.begun.wait(10)
    queued(server, tmp_path)
    worker.drain()
    time.sleep(0.1)
    executor.release()
    thread.join(10)
    assert not thread.is_alive() and executor.stops == [] and server.runs[run.id].status == "completed"
    assert [job.state for job in server.jobs.values()] == ["waiting"]


def test_draining_gives_back_what_takes_too_long_with_its_output_and_its_cause(server, started, tmp_path):
    run = queued(server, tmp_path)
    executor = FakeExecutor(wait=True)
    given: list[queues.GiveBack] = []

    def give_back(order: queues.GiveBack, job_id: str) -> object:
        given.append(order)
        return server.give_back(queues.Hold(fence=order.fence), job_id)

    server.answers.insert(0, (queues.GIVE_BACK, give_back))
    worker, thread = started(executor, grace=0.1)
    assert executor.begun.wait(10)
    worker.drain()
    thread.join(10)
    assert executor.stops == [False] and server.runs[run.id].status == "queued" and text(server, run) == ["hello"]
    assert [order.cause for order in given] == ["preempted"]
    assert [job.state for job in server.jobs.values()] == ["waiting"]


def test_a_second_signal_gives_back_at_once(server, started, tmp_path):
    run = queued(server, tmp_path)
    executor = FakeExecutor(wait=True)
    worker, thread = started(executor, grace=600)
    assert executor.begun.wait(10)
    worker.drain()
    time.sleep(0.1)
    assert thread.is_alive() and executor.stops == []
    worker.drain()
    thread.join(10)
    assert not thread.is_alive() and executor.stops == [False] and server.runs[run.id].status == "queued"


def test_an_agent_that_an_admin_drains_finishes_its_work_and_ends(server, started, tmp_path):
    run = queued(server, tmp_path)
    server.lease_seconds = 0.15
    executor = FakeExecutor(wait=True)
    _, thread = started(executor, grace=0.1)
    assert executor.begun.wait(10)
    renew = server.renew
    server.answers.insert(0, (queues.RENEW, lambda hold, job_id: with_drain(renew(hold, job_id))))

    def with_drain(renewal: queues.Renewal) -> queues.Renewal:
        return queues.Renewal(expires=renewal.expires, drain=True)

    time.sleep(0.6)
    assert thread.is_alive() and executor.stops == []
    executor.release()
    thread.join(10)
    assert not thread.is_alive() and server.runs[run.id].status == "completed"


def test_a_job_that_comes_while_the_agent_drains_goes_back_unbegun(server, agent, tmp_path):
    run = queued(server, tmp_path)
    executor = FakeExecutor()
    worker = agent(executor)
    worker.drain()
    assert not worker.work_once()
    assert executor.orders == [] and server.runs[run.id].status == "queued"
    assert [job.state for job in server.jobs.values()] == ["waiting"]


def test_slots_execute_at_the_same_time(server, started, tmp_path):
    for _ in range(3):
        queued(server, tmp_path)
    executor = FakeExecutor(wait=True)
    started(executor, slots=2, grace=10)
    eventually(lambda: len(executor.executions) == 2)
    time.sleep(0.1)
    assert sorted(job.state for job in server.jobs.values()) == ["leased", "leased", "waiting"]
    executor.executions[0].end(0)
    eventually(lambda: len(executor.executions) == 3)
    assert [job.state for job in server.jobs.values()] == ["leased", "leased"]


def test_a_refused_token_ends_the_agent(server, agent):
    def refuse(_: queues.LeaseRequest) -> queues.Lease:
        raise errors.Denied("a viewer may not lease")

    server.role = Role.VIEWER
    server.answers.insert(0, (queues.LEASE, refuse))
    with pytest.raises(errors.Denied):
        agent(FakeExecutor()).run_forever()


def test_signals_are_heard_in_the_main_thread_only_while_it_works(server, agent):
    worker = agent(FakeExecutor())
    before = signal.getsignal(signal.SIGTERM)
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGTERM)).start()
    with contextlib.suppress(KeyboardInterrupt):
        worker.run_forever()
    assert signal.getsignal(signal.SIGTERM) is before


def test_journals_that_a_crash_has_left_are_sent_at_the_start(server, started, tmp_path):
    from larder.journal import format
    from larder.journal.writer import Writer

    run = server.add(status=RunStatus.RUNNING, attempt=1)
    folder = config.home() / "runs" / f"{run.id}.1"
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(f'{{"run": "{run.id}", "attempt": 1, "agent": true, "url": "{server.url}"}}')
    writer = Writer(folder, {"project": "p", "name": "n", "time": 1, "role": "agent"})
    writer.record(format.CONSOLE, "out", "said before the crash", 0)
    writer.close()
    started(FakeExecutor())
    eventually(lambda: text(server, run) == ["said before the crash"])
    assert server.runs[run.id].status == "running"
