"""One execution by the real process executor, on its way into a server in memory."""

import os
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from larder import config
from larder.agent import supervision
from larder.agent.executors import Limits, Order
from larder.agent.executors.process import ProcessExecutor
from larder.agent.supervision import Outcome, Supervision, Unwritten
from larder.contract import errors, runs
from larder.contract.runs import Cause, RunStatus
from larder.journal import format, shipper
from larder.journal.writer import Writer
from tests.client.fake_server import FakeServer


@pytest.fixture
def executor():
    made = ProcessExecutor()
    yield made
    made.close()


@pytest.fixture
def server() -> FakeServer:
    return FakeServer()


@pytest.fixture
def run(server) -> runs.Run:
    return server.add(status=RunStatus.RUNNING, attempt=1)


@pytest.fixture
def supervised(server, run):
    made = Supervision(run, attempt=1, home=config.home(), calls=server.transport, agent="a1", grace=0.5)
    made.begin()
    yield made
    made.close()


def order(run: runs.Run, folder: Path, script: str, **limits: object) -> Order:
    (folder / "script.py").write_text(script)
    return Order(
        run=run.id, command=[sys.executable, "script.py"], folder=folder, work=folder, journals=folder,
        env={"PATH": os.environ["PATH"], "PYTHONUNBUFFERED": "1"}, limits=Limits(**limits),
    )  # fmt: skip


def eventually(question) -> None:
    deadline = time.monotonic() + 20
    while not question():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.01)


def lines(server: FakeServer, run: runs.Run) -> list[tuple[str, str]]:
    return [(line.stream, line.text) for line in server.lines.get(run.id, [])]


def end(supervised: Supervision, outcome: Outcome) -> None:
    supervised.end(outcome, patient=lambda: False)


def test_output_and_end_of_a_command_are_those_of_its_run(server, run, supervised, executor, tmp_path):
    script = "import sys\nprint('one')\nprint('to err', file=sys.stderr)\nsys.stdout.write('no end')\nsys.exit(4)"
    outcome = supervised.execute(order(run, tmp_path, script), executor)
    end(supervised, outcome)
    assert sorted(lines(server, run)) == [("err", "to err"), ("out", "no end"), ("out", "one")]
    assert (server.runs[run.id].status, server.runs[run.id].exit_status) == ("failed", 4)
    assert server.runs[run.id].facts["execution"]["peak_memory"] > 1_000_000


def test_lines_arrive_while_the_command_runs(server, run, supervised, executor, tmp_path):
    script = "import time\nprint('first')\ntime.sleep(60)"
    thread = threading.Thread(target=supervised.execute, args=(order(run, tmp_path, script), executor))
    thread.start()
    eventually(lambda: lines(server, run) == [("out", "first")])
    supervised.stop()
    thread.join(20)
    assert not thread.is_alive()


def test_a_command_that_says_nothing_is_told_of_all_the_same(server, run, supervised, executor, tmp_path):
    given = order(run, tmp_path, "import time\ntime.sleep(60)")
    thread = threading.Thread(target=supervised.execute, args=(given, executor))
    thread.start()
    eventually(lambda: "execution" in server.runs[run.id].facts)
    supervised.stop()
    thread.join(20)
    assert not thread.is_alive()


def test_a_run_that_is_over_before_the_first_look_is_sent_as_a_whole(
    server, run, supervised, executor, tmp_path, monkeypatch
):
    monkeypatch.setattr(supervision, "FIRST", 60.0)
    monkeypatch.setattr(supervision, "SLOW", 60.0)
    outcome = supervised.execute(order(run, tmp_path, "print('x')"), executor)
    assert server.asked == []
    end(supervised, outcome)
    assert server.asked == ["POST /v1/runs/{run_id}/journal"] and lines(server, run) == [("out", "x")]


def test_of_a_progress_bar_the_last_state_is_kept(server, run, supervised, executor, tmp_path):
    script = "import sys\nfor n in range(1000): sys.stdout.write(f'\\r{n} of 1000')\nprint('\\rdone')"
    end(supervised, supervised.execute(order(run, tmp_path, script), executor))
    assert lines(server, run) == [("out", "done")]


def test_the_journals_of_children_are_sent_before_the_end(server, run, supervised, executor, tmp_path):
    child = Writer(supervised.folder, {"project": "p", "name": "n", "time": 1, "role": "child"})
    for step in range(3):
        child.record(format.POINTS, step, {"loss": 1.0 / (step + 1)})
    child.close()
    end(supervised, supervised.execute(order(run, tmp_path, "print('x')"), executor))
    assert server.runs[run.id].metrics["loss"].count == 3 and server.runs[run.id].status == "completed"
    supervised.close()
    assert not supervised.folder.exists()


def test_a_deaf_command_ends_by_force_after_the_grace(server, run, supervised, executor, tmp_path):
    script = "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('deaf')\ntime.sleep(600)"
    outcomes: list[Outcome] = []
    given = order(run, tmp_path, script)
    thread = threading.Thread(target=lambda: outcomes.append(supervised.execute(given, executor)))
    thread.start()
    eventually(lambda: lines(server, run))
    supervised.stop()
    thread.join(20)
    assert (outcomes[0].status, outcomes[0].exit_status) == ("stopped", 137)


def test_a_command_that_tidies_up_when_asked_has_stopped_all_the_same(server, run, supervised, executor, tmp_path):
    script = (
        "import signal, sys, time\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(0))\nprint('up')\ntime.sleep(600)"
    )
    outcomes: list[Outcome] = []
    given = order(run, tmp_path, script)
    thread = threading.Thread(target=lambda: outcomes.append(supervised.execute(given, executor)))
    thread.start()
    eventually(lambda: lines(server, run))
    supervised.stop(preempted=True)
    thread.join(20)
    assert outcomes[0].preempted and outcomes[0].exit_status == 0


def test_a_time_limit_counts_from_the_start_of_the_command(server, run, supervised, executor, tmp_path):
    outcome = supervised.execute(order(run, tmp_path, "import time; time.sleep(600)", seconds=0.3), executor)
    assert (outcome.status, outcome.cause) == ("failed", Cause.TIME_LIMIT)


def test_a_command_above_its_memory_is_named_with_its_peak(server, run, supervised, executor, tmp_path):
    script = "held = []\nwhile True: held.append(b'x' * (8 << 20))"
    outcome = supervised.execute(order(run, tmp_path, script, memory=128 << 20), executor)
    assert outcome.cause is Cause.OUT_OF_MEMORY and "its limit is 134.2 MB" in outcome.reason


def test_a_run_that_lasts_has_curves_of_the_machine(server, run, supervised, executor, tmp_path, monkeypatch):
    monkeypatch.setenv("LARDER_SAMPLE_SECONDS", "0.2")
    seen: list[str] = []
    hear = server.hear
    server.hear = lambda batch, run_id: (seen.extend(series.name for series in batch.series), hear(batch, run_id))
    end(supervised, supervised.execute(order(run, tmp_path, "import time; time.sleep(2.5)"), executor))
    assert "system/process.memory_bytes" in seen and "machine" in server.runs[run.id].facts


def test_what_was_stopped_before_it_began_does_not_begin(run, supervised, executor, tmp_path):
    supervised.stop()
    outcome = supervised.execute(order(run, tmp_path, "open('begun', 'w')"), executor)
    assert outcome.status == "stopped" and not (tmp_path / "begun").exists()


def test_a_lost_run_sends_nothing_more(server, run, supervised, executor, tmp_path):
    outcomes: list[Outcome] = []
    given = order(run, tmp_path, "import time\nprint('up')\ntime.sleep(600)")
    thread = threading.Thread(target=lambda: outcomes.append(supervised.execute(given, executor)))
    thread.start()
    eventually(lambda: lines(server, run))
    asked = len(server.asked)
    supervised.stop(force=True, lost=True)
    thread.join(20)
    with pytest.raises(shipper.Refused):
        end(supervised, outcomes[0])
    assert len(server.asked) - asked <= 1 and server.runs[run.id].status == "running"


def test_the_journals_stay_when_the_server_does_not_answer(server, run, supervised, executor, tmp_path):
    outcome = supervised.execute(order(run, tmp_path, "print('kept')"), executor)
    server.down = True
    with pytest.raises(errors.Unavailable):
        end(supervised, outcome)
    supervised.close()
    assert supervised.folder.exists()
    server.down = False
    shipper.sync(config.home(), calls=server.transport)
    assert server.runs[run.id].status == "completed" and lines(server, run) == [("out", "kept")]
    assert not supervised.folder.exists()


def test_an_end_that_the_disk_has_no_room_for_is_told_as_such(run, supervised, executor, tmp_path, monkeypatch):
    outcome = supervised.execute(order(run, tmp_path, "print('x')"), executor)
    monkeypatch.setattr(Writer, "record", lambda *_: False)
    with pytest.raises(Unwritten, match="disk"):
        end(supervised, outcome)


def test_nothing_of_an_execution_is_left_when_its_command_has_ended(run, supervised, executor, tmp_path):
    script = (
        "import subprocess, sys\n"
        "p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], start_new_session=True)\n"
        "print(p.pid)\n"
    )
    supervised.execute(order(run, tmp_path, script), executor)
    pid = int(supervised._last_line)
    assert not psutil.pid_exists(pid)
