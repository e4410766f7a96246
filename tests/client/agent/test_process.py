"""The executor that starts a child process."""

import contextlib
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from larder.agent.executors import Order
from larder.agent.executors.process import ProcessExecutor
from larder.contract import ids


@pytest.fixture
def order(tmp_path: Path):
    def order(*command: str) -> Order:
        run = ids.new_id()
        env = {"LARDER_MODE": "offline", "LARDER_RUN": run, "LARDER_ATTEMPT": "1"}
        return Order(run=run, command=list(command), folder=tmp_path, env=env, log=tmp_path / "log" / "1.log")

    return order


def runs(pid: int) -> bool:
    """Whether a process is there and no zombie that its new parent has not buried yet."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


def test_a_command_that_ends_well_is_completed(order):
    assert ProcessExecutor().execute(order(sys.executable, "-c", "print('hello')")).status == "completed"


def test_a_command_that_ends_badly_has_failed(order, tmp_path):
    outcome = ProcessExecutor().execute(order(sys.executable, "-c", "raise SystemExit(3)"))
    assert (outcome.status, outcome.exit_status, outcome.reason) == ("failed", 3, "exit status 3")
    assert ProcessExecutor().execute(order("/no/such/command")).exit_status == 127


def test_a_stop_is_polite_first_and_forced_after_the_grace(order, tmp_path):
    executor = ProcessExecutor(grace=0.5)
    script = f"trap 'echo heard > {tmp_path}/heard' TERM; echo $$ > {tmp_path}/pid; while :; do sleep 0.1; done"
    outcomes = []
    worker = threading.Thread(target=lambda: outcomes.append(executor.execute(order("sh", "-c", script))))
    worker.start()
    deadline = time.monotonic() + 40
    while not (tmp_path / "pid").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    executor.stop()
    executor.stop()
    worker.join(20)
    assert (tmp_path / "heard").exists() and outcomes[0].status == "stopped"
    pid = int((tmp_path / "pid").read_text())
    while runs(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not runs(pid)


def test_what_is_stopped_before_it_began_does_not_begin(order):
    executor = ProcessExecutor()
    executor.stop(force=True)
    assert executor.execute(order("sh", "-c", "touch begun")).status == "stopped"
    assert not (order("x").folder / "begun").exists()
