"""The companion process: sends while the script works, and knows how it ended."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from larder.contract.runs import RunStatus
from larder.journal import shipper
from tests.client.fakes import serving
from tests.client.scripts import SILENT, Bench, bench, eventually


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Bench]:
    with bench(tmp_path) as made:
        yield made


INIT = f"import larder, os, sys, time\nrun = larder.init(project='bakery', capture={SILENT})\n"


def test_a_script_is_recorded_whole(desk: Bench) -> None:
    done = desk.execute(
        INIT + "for i in range(1000): run.log({'loss': i / 7})\nprint('hello')\nrun.log_text('note', 'hi')"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "hello\n"
    assert done.stderr.count("\n") == 1
    run = desk.run()
    assert f"{desk.url}/runs/{run}" in done.stderr
    assert desk.server.points(run, "loss") == [(i, i / 7) for i in range(1000)]
    assert [line.text for line in desk.server.listed(run, "console") if line.stream == "out"] == ["hello"]
    assert [artifact.name for artifact in desk.server.listed(run, "artifacts")] == ["note"]
    ending = desk.server.ended[run]
    assert (ending.status, ending.exit_status, ending.lost_records) == (RunStatus.COMPLETED, 0, 0)
    eventually(lambda: not desk.left)


def test_points_arrive_while_the_script_works(desk: Bench) -> None:
    process = desk.start(INIT + "run.log({'loss': 1.0})\nsys.stdin.read()", PYTHONUNBUFFERED="1")
    eventually(lambda: desk.server.batches and desk.steps("loss") == [0])
    process.kill()
    process.communicate()


@pytest.mark.parametrize(
    ("last", "status", "exit_status", "reason"),
    [
        ("raise ValueError('no flour')", RunStatus.FAILED, 1, "ValueError: no flour"),
        ("sys.exit(3)", RunStatus.FAILED, 3, "exit status 3"),
        ("sys.exit('no oven')", RunStatus.FAILED, 1, "no oven"),
        ("sys.exit()", RunStatus.COMPLETED, 0, ""),
        ("raise KeyboardInterrupt", RunStatus.STOPPED, None, "KeyboardInterrupt"),
        ("run.finish('stopped', reason='enough')", RunStatus.STOPPED, None, "enough"),
        (
            "sys.excepthook = lambda *a: None\nraise ValueError('hook')",
            RunStatus.FAILED,
            1,
            "ValueError: hook",
        ),
    ],
)
def test_how_a_script_ends_is_how_the_run_ends(
    desk: Bench, last: str, status: RunStatus, exit_status: int | None, reason: str
) -> None:
    desk.execute(INIT + last)
    ending = desk.server.ended[desk.run()]
    assert (ending.status, ending.exit_status, ending.reason) == (status, exit_status, reason)


def test_a_process_that_leaves_at_once_ends_as_failed(desk: Bench) -> None:
    desk.execute(INIT + "run.log({'loss': 1.0})\nos._exit(0)")
    eventually(lambda: desk.server.ended)
    ending = desk.server.ended[desk.run()]
    assert (ending.status, desk.steps("loss")) == (RunStatus.FAILED, [0])
    assert "without a word" in ending.reason
    eventually(lambda: not desk.left)


def test_a_run_of_an_agent_is_not_ended_for_it(desk: Bench) -> None:
    given = "01890000-0000-7000-8000-000000000001"
    desk.execute(INIT + "run.log({'loss': 1.0})\nos._exit(0)", LARDER_RUN=given, LARDER_ATTEMPT="2")
    eventually(lambda: not desk.left)
    assert desk.steps("loss", given) == [0]
    assert given not in desk.server.ended
    assert {batch.attempt for batch in desk.server.batches[given]} == {2}


def test_a_zombie_is_refused_and_leaves_the_work_alone(desk: Bench) -> None:
    given = "01890000-0000-7000-8000-000000000002"
    desk.server.attempts[given] = 3
    done = desk.execute(INIT + "run.log({'loss': 1.0})\ntime.sleep(1)", LARDER_RUN=given, LARDER_ATTEMPT="2")
    assert done.returncode == 0
    assert "refuses this run" in done.stderr
    assert given not in desk.server.batches
    assert (desk.home / "runs" / f"{given}.2" / "refused").exists()


def test_a_refused_token_is_said_at_the_end_and_the_journal_stays(desk: Bench) -> None:
    desk.server.refuse_token = True
    began = time.monotonic()
    done = desk.execute(INIT + "run.log({'loss': 1.0})")
    assert done.returncode == 0
    assert "refuses the token" in done.stderr
    assert "larder sync" in done.stderr
    assert time.monotonic() - began < 10
    desk.server.refuse_token = False
    report = shipper.sync(desk.home, desk.url)
    assert len(report.sent) == 1
    assert desk.steps("loss") == [0]


def test_without_a_server_the_script_ends_and_sync_sends_later(desk: Bench) -> None:
    began = time.monotonic()
    done = desk.execute(INIT + "for i in range(10): run.log({'loss': 1.0})", LARDER_URL="http://127.0.0.1:9")
    assert done.returncode == 0
    assert "cannot be reached" in done.stderr
    assert "larder sync" in done.stderr
    assert time.monotonic() - began < 10
    assert not desk.server.batches
    report = shipper.sync(desk.home, desk.url)
    assert len(report.sent) == 1, report
    assert desk.steps("loss") == list(range(10))
    assert desk.server.ended[desk.run()].status == RunStatus.COMPLETED
    assert desk.left == []


def test_a_server_that_comes_back_gets_all(tmp_path: Path) -> None:
    with bench(tmp_path) as desk:
        server, url = desk.server, desk.url
        process = desk.start(INIT + "print('ready', flush=True)\nsys.stdin.readline()\nrun.log({'loss': 2.0})", "x")
        eventually(lambda: server.batches)
    process.terminate()
    process.communicate()
    with serving(server, int(url.rpartition(":")[2])):
        eventually(lambda: shipper.sync(tmp_path, url).sent or server.ended)
    assert len(server.batches) == 1


def test_the_next_run_sends_what_an_earlier_one_left(desk: Bench) -> None:
    desk.execute(INIT + "run.log({'early': 1.0})", LARDER_MODE="offline")
    assert len(desk.left) == 1
    desk.execute(INIT + "run.log({'late': 1.0})\ntime.sleep(1.5)")
    eventually(lambda: len(desk.server.ended) == 2)
    assert sum(len(desk.server.points(run, "early")) for run in desk.server.batches) == 1


def test_offline_says_what_is_left(desk: Bench) -> None:
    done = desk.execute(INIT + "run.log({'loss': 1.0})", LARDER_MODE="offline")
    assert "offline" in done.stderr
    assert "records of" in done.stderr
    assert not desk.server.batches


def test_somebody_asks_the_run_to_stop(desk: Bench) -> None:
    process = desk.start(INIT + "print(run.id, flush=True)\nwhile True:\n    run.log({'loss': 1.0}); time.sleep(0.02)")
    assert process.stdout is not None
    run = process.stdout.readline().strip()
    desk.server.stop.add(run)
    process.communicate(timeout=20)
    assert desk.server.ended[run].status == RunStatus.STOPPED


def test_a_companion_that_was_killed_is_replaced_at_the_end(desk: Bench) -> None:
    code = INIT + "print('ready', flush=True)\nsys.stdin.readline()\nfor i in range(5): run.log({'loss': 1.0})"
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        env=desk.env,
        cwd=desk.home,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.readline()
    eventually(lambda: desk.server.batches)
    (folder,) = desk.left
    os.kill(companion(desk.home / "runs" / folder), signal.SIGKILL)
    process.communicate("\n", timeout=30)
    assert desk.steps("loss") == list(range(5))
    assert desk.server.ended[desk.run()].status == RunStatus.COMPLETED


def companion(folder: Path) -> int:
    """The process that holds the lock of the folder."""
    psutil = pytest.importorskip("psutil")
    for process in psutil.process_iter(["pid", "cmdline"]):
        if (process.info["cmdline"] or [])[-2:] == ["larder.companion", str(folder)]:
            return int(process.info["pid"])
    raise AssertionError("there is no companion")


def test_a_script_that_waits_for_its_children_does_not_wait_for_ours(desk: Bench) -> None:
    code = INIT + "time.sleep(1)\ntry:\n    while True: os.wait()\nexcept ChildProcessError: pass\nprint('done')"
    done = desk.execute(code)
    assert done.stdout == "done\n"


def test_the_companion_does_not_import_from_the_folder_of_the_script(desk: Bench) -> None:
    (desk.home / "select.py").write_text("raise SystemExit('not me')")
    (desk.home / "msgspec.py").write_text("raise SystemExit('nor me')")
    (desk.home / "script.py").write_text(INIT + "run.log({'loss': 1.0})")
    done = subprocess.run(
        [sys.executable, "-P", "script.py"], env=desk.env, cwd=desk.home, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert desk.steps("loss") == [0]


def test_finish_is_quick_when_nothing_is_left_to_send(desk: Bench) -> None:
    code = "time.sleep(1.5)\nbegan = time.perf_counter()\nrun.finish()\nprint(time.perf_counter() - began)"
    took = min(float(desk.execute(INIT + code).stdout) for _ in range(2))
    assert took < 0.3
