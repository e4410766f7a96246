"""larder.supervise: a command runs untouched, and everything about it is in the journal."""

import contextlib
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from larder import config, supervise
from larder.journal import format, reader


class Recorded:
    """What the journals of the only run on this machine say."""

    def __init__(self, run: str = "") -> None:
        (self.folder,) = [folder for folder in (config.home() / "runs").iterdir() if folder.name.startswith(run)]
        self.records: list[list[Any]] = []
        for journal in reader.journals(self.folder):
            role = journal.role
            self.records += [[*record, role] for _, record in journal.records()]
            journal.close()

    def of(self, kind: int) -> list[list[Any]]:
        return [record for record in self.records if record[0] == kind]

    @property
    def console(self) -> list[tuple[str, str]]:
        return [(record[2], record[3]) for record in self.of(format.CONSOLE)]

    @property
    def params(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for record in self.of(format.PARAMS):
            found |= record[2]
        return found

    @property
    def facts(self) -> dict[str, Any]:
        return {record[2]: record[3] for record in self.of(format.FACT)}

    @property
    def ending(self) -> dict[str, Any]:
        (record,) = self.of(format.END)
        return record[2]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """`larder run -- …` in a folder of its own, offline."""
    monkeypatch.setenv("LARDER_MODE", "offline")
    monkeypatch.chdir(tmp_path)

    def run(*command: str, options: tuple[str, ...] = (), **kwargs: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "larder.cli", "run", *options, "--", *command],
            text=True, capture_output=True, timeout=60, **kwargs,
        )  # fmt: skip

    return run


def test_output_passes_through_and_is_recorded_line_by_line(run):
    script = r"import sys; print('one'); sys.stderr.write('bad\n'); sys.stdout.write('10%\r50%\r99%\nlast without end')"
    done = run(sys.executable, "-c", script)
    assert (
        done.returncode == 0 and done.stdout.encode() == b"one\n10%\n50%\n99%\nlast without end"
    )  # as Python's text mode reads \r
    assert "bad\n" in done.stderr
    recorded = Recorded()
    assert [text for stream, text in recorded.console if stream == "out"] == ["one", "99%", "last without end"]
    assert [text for stream, text in recorded.console if stream == "err"] == ["bad"]
    assert recorded.ending["status"] == "completed" and recorded.ending["exit_status"] == 0


def test_the_command_is_recorded_and_its_options_become_parameters(run, tmp_path):
    done = run(
        "sh",
        "-c",
        "true",
        "x",
        "--lr",
        "1e-3",
        "--batch-size=32",
        "--verbose",
        "--name",
        "a b",
        options=("-p", "bakery"),
    )
    assert done.returncode == 0 and done.stdout == ""
    recorded = Recorded()
    assert recorded.params == {"lr": 0.001, "batch_size": 32, "verbose": True, "name": "a b"}
    command = recorded.facts["command"]
    assert command["argv"][0] == "sh" and command["wrapped"] and command["arguments"] == "argv"
    assert command["cwd"] == str(tmp_path) and Path(command["executable"]).name == "sh"
    assert recorded.of(format.OPEN)[0][2]["project"] == "bakery"


def test_a_script_that_records_its_own_arguments_is_believed(run, tmp_path):
    (tmp_path / "train.py").write_text(
        "import argparse\np = argparse.ArgumentParser()\np.add_argument('--lr', type=float, dest='rate')\n"
        "p.add_argument('--depth', type=int, default=4)\nprint(p.parse_args().rate)\n"
    )
    done = run(sys.executable, "train.py", "--lr", "0.5")
    assert done.stdout == "0.5\n", done.stderr
    assert Recorded().params == {"rate": 0.5, "depth": 4} and "arguments" not in Recorded().facts["command"]


def test_what_the_script_imports_is_told_and_not_what_we_import(run, tmp_path):
    (tmp_path / "train.py").write_text("import iniconfig, larder\nlarder.init()\n")
    assert run(sys.executable, "train.py").returncode == 0
    (told,) = [record[3] for record in Recorded().of(format.FACT) if record[2] == "imports"]
    assert "iniconfig" in told["modules"] and "click" not in told["modules"]


def test_a_script_with_init_joins_the_same_run(run, tmp_path):
    (tmp_path / "train.py").write_text(
        "import larder\nrun = larder.init(params={'lr': 0.1})\nrun.log({'loss': 1.0})\nprint(run.id)\n"
    )
    done = run(sys.executable, "train.py")
    recorded = Recorded()
    assert done.stdout.strip() == recorded.folder.name
    assert recorded.params == {"lr": 0.1} and len(recorded.of(format.POINTS)) >= 1
    assert [text for _, text in recorded.console if text == done.stdout.strip()] == [done.stdout.strip()]  # once
    assert len(recorded.of(format.END)) == 1


@pytest.mark.parametrize(
    ("script", "status", "reason"),
    [("raise SystemExit(3)", 3, "exit status 3"), ("raise ValueError('no')", 1, "exit status 1: ValueError: no")],
)
def test_the_exit_status_is_the_commands(run, script, status, reason):
    assert run(sys.executable, "-c", script).returncode == status
    assert {**Recorded().ending, "time": 0} == {
        "status": "failed", "time": 0, "exit_status": status, "reason": reason, "lost_records": 0,
    }  # fmt: skip


def test_a_killed_command_is_said_to_be_killed(run):
    assert run("sh", "-c", "kill -9 $$").returncode == 137
    assert Recorded().ending["reason"] == "killed by SIGKILL" and Recorded().ending["status"] == "failed"


def test_a_command_that_does_not_exist_makes_no_run(run):
    done = run("no-such-command-anywhere")
    assert done.returncode == 127 and "no such command" in done.stderr and not (config.home() / "runs").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_passed_on_once(run, number):
    script = (
        "import signal, sys, time\ncount = 0\n"
        "def hear(*_):\n    global count\n    count += 1\n"
        "signal.signal(signal.SIGINT, hear); signal.signal(signal.SIGTERM, hear)\n"
        "print('ready', flush=True)\ntime.sleep(1)\nprint('heard', count)\nsys.exit(5 if count else 0)\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-m", "larder.cli", "run", "--", sys.executable, "-c", script],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    assert child.stdout.readline() == "ready\n"
    child.send_signal(number)
    out, _ = child.communicate(timeout=30)
    assert out == "heard 1\n" and child.returncode == 5
    assert Recorded().ending["status"] == "stopped" and Recorded().ending["reason"] == number.name


def test_a_background_job_that_ignores_ctrl_c_is_still_stopped(run):
    command = f"trap '' INT; exec {sys.executable} -m larder.cli run -- sh -c 'echo ready; sleep 30'"
    child = subprocess.Popen(["sh", "-c", command], stdout=subprocess.PIPE, start_new_session=True)
    assert child.stdout.readline() == b"ready\n"
    child.send_signal(signal.SIGINT)
    assert child.wait(timeout=20) == 143 and Recorded().ending["status"] == "stopped"


def test_under_a_terminal_the_command_has_one_too(run):
    script = "import os, sys; print(sys.stdout.isatty(), os.get_terminal_size().columns); input(); print('after')"
    child, terminal = pty.fork()
    if child == 0:
        os.execv(sys.executable, [sys.executable, "-m", "larder.cli", "run", "--", sys.executable, "-c", script])
    seen = b""
    with contextlib.suppress(OSError):
        while b"True" not in seen:
            seen += os.read(terminal, 4096)
        os.write(terminal, b"\n")
        while chunk := os.read(terminal, 4096):
            seen += chunk
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, seen
    assert b"after" in seen and b"\r\r\n" not in seen
    texts = [text for _, text in Recorded().console]
    assert texts[0].startswith("True ") and texts[-1] == "after"


def test_ctrl_c_at_a_terminal_reaches_the_command_once(run):
    script = (
        "import signal, sys, time\ncount = 0\ndef hear(*_):\n    global count\n    count += 1\n"
        "signal.signal(signal.SIGINT, hear)\nprint('ready', flush=True)\ntime.sleep(1)\nprint('heard', count)\n"
    )
    child, terminal = pty.fork()
    if child == 0:
        os.execv(sys.executable, [sys.executable, "-m", "larder.cli", "run", "--", sys.executable, "-c", script])
    seen = b""
    with contextlib.suppress(OSError):
        while b"ready" not in seen:
            seen += os.read(terminal, 4096)
        os.write(terminal, b"\x03")
        while chunk := os.read(terminal, 4096):
            seen += chunk
    os.waitpid(child, 0)
    assert b"heard 1" in seen, seen


def test_a_process_left_behind_does_not_hold_the_end_up(run):
    began = time.monotonic()
    done = run("sh", "-c", "sleep 20 & echo done")
    assert done.stdout == "done\n" and time.monotonic() - began < 15


def test_much_output_arrives_whole(run):
    done = run(sys.executable, "-c", "for n in range(20000): print('line', n)")
    assert done.stdout.splitlines() == [f"line {n}" for n in range(20000)]
    assert [text for _, text in Recorded().console] == done.stdout.splitlines()


# -- arguments -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argv", "found"),
    [
        (["x", "--lr", "-1", "--b=2", "file"], {"lr": -1, "b": 2}),
        (["x", "--flag", "--name", "true"], {"flag": True, "name": True}),
        (["x", "-v", "---odd", "--", "--after", "1"], {}),
        (["x", "--empty=", "--n", "1e5"], {"empty": "", "n": 100000.0}),
    ],
)
def test_options_are_read(argv, found):
    assert supervise.arguments(argv) == found


@pytest.mark.parametrize(
    ("argv", "overrides", "add", "expected"),
    [
        (["x", "--lr", "0.1", "in.csv"], {"lr": 0.5}, False, ["x", "--lr", "0.5", "in.csv"]),
        (["x", "--lr=0.1"], {"lr": 0.5}, False, ["x", "--lr=0.5"]),
        (["x", "--batch-size", "8"], {"batch_size": 16, "seed": 1}, False, ["x", "--batch-size", "16"]),
        (["x", "--batch-size", "8"], {"max_depth": 3}, True, ["x", "--batch-size", "8", "--max-depth", "3"]),
        (["x", "--fast", "in.csv"], {"fast": False}, False, ["x", "in.csv"]),
        (["x"], {"fast": True, "slow": False, "none": None}, True, ["x", "--fast"]),
        (["x", "--name", "a"], {"name": "b c"}, False, ["x", "--name", "b c"]),
        (["x", "--", "--lr", "1"], {"lr": 2}, False, ["x", "--", "--lr", "1"]),
        (["x", "--", "y"], {"lr": 2}, True, ["x", "--lr", "2", "--", "y"]),
        (["x", "--lr", "0.1"], {"lr": None}, False, ["x"]),
        (["x", "lr=0.1"], {"lr": 2}, False, ["x", "lr=0.1"]),
    ],
)
def test_a_command_line_is_rewritten(argv, overrides, add, expected):
    assert supervise.rewrite(argv, overrides, add=add) == expected
