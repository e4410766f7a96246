"""`larder code restore` and `larder debug`: the code of a run comes back here, by its hash, and runs in a debugger."""

import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from larder.agent.environments import Python
from larder.cli import debug
from larder.contract import runs
from tests.client.agent.test_workspace import git, recorded

SCRIPT = """
import argparse, larder
parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float)
args = parser.parse_args()
run = larder.init(params={"depth": 3})
print("lr", args.lr, "depth", run.params["depth"])
rate = 1 / args.lr
"""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    root = tmp_path / "mine"
    root.mkdir()
    git(root, "init", "--quiet")
    (root / "train.py").write_text("raise SystemExit('committed')\n")
    git(root, "add", ".")
    git(root, "commit", "--quiet", "-m", "first")
    (root / "train.py").write_text(SCRIPT)
    return root


@pytest.fixture
def run(server, repository: Path, tmp_path: Path) -> runs.Run:
    """A run that was recorded on a machine that is gone."""
    command = {
        "argv": ["train.py", "--lr", "0.5"],
        "executable": "/gone/bin/python",
        "cwd": str(repository),
        "script": str(repository / "train.py"),
    }
    facts = {"command": command, "overrides": {"lr": 0.0, "depth": 7}}
    run = recorded(server, repository, tmp_path, facts=facts)
    shutil.rmtree(repository)
    return run


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    calls: list[Any] = []
    monkeypatch.setattr(debug, "_run", lambda *call: calls.append(call) or 0)
    return calls


def test_code_that_is_on_no_remote_comes_back_on_another_machine(call, run, tmp_path):
    result = call("code", "restore", run.id, str(tmp_path / "restored"))
    assert result.exit_code == 0 and run.facts["code"]["tree"] in result.stderr
    assert (tmp_path / "restored" / "train.py").read_text() == SCRIPT
    assert git(tmp_path / "restored", "rev-parse", "HEAD") == run.facts["code"]["commit"]
    git(tmp_path / "restored", "add", "--all")
    assert git(tmp_path / "restored", "write-tree") == run.facts["code"]["tree"]
    assert call("code", "restore", run.id, str(tmp_path / "restored")).exit_code == 2


def test_debug_starts_the_same_code_with_the_same_parameters_under_pdb_and_records_nothing(call, run, called, tmp_path):
    result = call("debug", run.id, "--dir", str(tmp_path / "debug"))
    assert result.exit_code == 0, result.output
    for word in (run.facts["code"]["tree"], "lr=0.0", "Nothing is recorded", "-m pdb train.py"):
        assert word in result.stderr
    ((command, folder, env),) = called
    done = subprocess.run(command, cwd=folder, env=env, input="b 8\nc\np args\nq\n", capture_output=True, text=True)
    assert "lr 0.0 depth 7" in done.stdout and "Namespace(lr=0.0)" in done.stdout
    assert not (Path(os.environ["LARDER_HOME"]) / "runs").exists()


def test_post_mortem_stops_where_it_was_raised(call, run, called, tmp_path):
    call("debug", run.id, "--dir", str(tmp_path / "debug"), "--post-mortem")
    ((command, folder, env),) = called
    done = subprocess.run(command, cwd=folder, env=env, input="p args.lr\nq\n", capture_output=True, text=True)
    assert "ZeroDivisionError" in done.stderr and "\n(Pdb) 0.0\n" in done.stdout


def test_an_editor_can_attach(call, run, called, tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    result = call("debug", run.id, "--dir", str(tmp_path / "debug"), "--debugpy", str(port))
    assert f"127.0.0.1:{port}" in result.stderr
    ((command, folder, env),) = called
    with subprocess.Popen(command, cwd=folder, env=env, start_new_session=True, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                assert time.monotonic() < deadline and process.poll() is None
                time.sleep(0.1)
        process.kill()


def test_a_folder_that_was_made_before_is_used_as_it_is(call, run, called, tmp_path):
    call("debug", run.id, "--dir", str(tmp_path / "debug"))
    (tmp_path / "debug" / "train.py").write_text("print('mended')\n")
    result = call("debug", run.id, "--dir", str(tmp_path / "debug"))
    assert "used as it is" in result.stderr
    assert (tmp_path / "debug" / "train.py").read_text() == "print('mended')\n"


def test_what_cannot_be_debugged_says_why(call, server, run, tmp_path):
    assert call("debug", run.id, "--post-mortem", "--debugpy", "5678").exit_code == 2
    without = server.add(facts={"command": run.facts["command"]})
    assert "No code was recorded" in call("debug", without.id, "--dir", str(tmp_path / "a")).stderr
    wrapped = {"command": {"argv": ["sh", "train.sh"], "cwd": "/", "wrapped": True}, "code": run.facts["code"]}
    shell = server.add(facts=wrapped)
    server.artifacts[shell.id] = server.artifacts[run.id]
    assert "a Python script only" in call("debug", shell.id, "--dir", str(tmp_path / "b")).stderr
    no_python = server.add(facts=run.facts | {"environment": {"from": "/no/python"}})
    server.artifacts[no_python.id] = server.artifacts[run.id]
    assert "/no/python" in call("debug", no_python.id, "--dir", str(tmp_path / "c")).stderr


@pytest.mark.parametrize(
    ("command", "attached"),
    [
        (["train.py", "-v"], ["-m", "pdb", "train.py", "-v"]),
        (["-m", "bakery.train", "-v"], ["-m", "pdb", "-m", "bakery.train", "-v"]),
        (["-u", "-X", "dev", "train.py"], ["-u", "-X", "dev", "-m", "pdb", "train.py"]),
    ],
)
def test_the_debugger_goes_before_the_script(command, attached):
    python = Python(executable=sys.executable, prefix=sys.prefix, fact={})
    assert debug.attached([sys.executable, *command], python) == [sys.executable, *attached]
