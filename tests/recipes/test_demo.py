"""`larder demo` as a user types it."""

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

pytestmark = [pytest.mark.journey, pytest.mark.slow, pytest.mark.timeout(400)]


def demo(*arguments, folder, **more):
    environment = {**os.environ, "TMPDIR": str(folder)}
    return subprocess.Popen(
        [sys.executable, "-m", "larder.cli", "demo", *arguments], cwd=folder, env=environment,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more,
    )  # fmt: skip


def test_the_demo_prints_a_leaderboard_and_leaves_nothing_behind(tmp_path):
    child = demo("--exit", folder=tmp_path)
    out, err = child.communicate(timeout=380)
    assert child.returncode == 0, err
    lines = [line for line in out.splitlines() if line[2:3].isdigit()]
    assert [line.split()[0] for line in lines] == ["1", "2", "3", "4", "5"]
    names = [line.split()[1] for line in lines]
    assert {"seasonal-naive", "smoothing", "ridge", "boosted-trees"} < set(names)
    assert sum(line.split()[-2] == "cloned" for line in lines) == 1
    assert sum(name.endswith("-clone") for name in names) == 1
    assert "CC BY 4.0" in out and "/runs/" in out and "http://127.0.0.1:" in out
    assert not list(tmp_path.glob("larder-demo-*"))


def test_what_the_demo_recorded_stays_in_a_given_home_and_the_server_stays_until_it_is_ended(tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    home = tmp_path / "home"
    child = demo("--home", str(home), "--port", str(port), "--json", folder=tmp_path)
    try:
        said = ""
        for line in child.stdout:
            said += line
            if line == "}\n":
                break
        document = json.loads(said)
        board = document["leaderboard"]
        assert [place["rank"] for place in board] == [1, 2, 3, 4, 5]
        assert [place["wape"] for place in board] == sorted(place["wape"] for place in board)
        naive = next(place for place in board if place["name"] == "seasonal-naive")
        assert naive["improvement"] == 0 and board[0]["improvement"] > 10
        clone = next(place for place in board if place["how"] == "cloned")
        assert clone["wape"] not in [place["wape"] for place in board if place["how"] == "recorded"]

        assert document["addresses"]["pages"] == f"http://127.0.0.1:{port}"
        for address in document["addresses"].values():
            with urllib.request.urlopen(address, timeout=10) as page:
                assert b"<html" in page.read().lower()
        check_recorded(home, document["addresses"]["pages"], board)
    finally:
        child.send_signal(signal.SIGINT)
        child.communicate(timeout=60)
    assert child.returncode == 0
    with pytest.raises(OSError):
        urllib.request.urlopen(document["addresses"]["pages"], timeout=5)
    assert (home / "demand" / "scripts" / "ridge.py").is_file()


def check_recorded(home, url, board):
    """Each run holds what its script and Larder have recorded."""
    import larder
    from larder.transport import Transport

    transport = Transport(url, (home / "server" / "local-token").read_text())
    for place in board:
        run = larder.run(place["run"], transport=transport)
        assert run.status == "completed"
        assert {"val/mae", "val/wape", "val/rmse", "val/bias"} <= set(run.metrics)
        artifacts = {artifact.name for artifact in run.artifacts()}
        assert "errors-by-product" in artifacts
        assert ("model" in artifacts) == (run.name != "seasonal-naive")
        assert run.facts["code"]["kind"] == "git" and run.facts["code"]["dirty"]
        assert "val/wape" in run.logs()
        if place["how"] == "cloned":
            original = larder.run(run.parent, transport=transport)
            assert run.name == f"{original.name}-clone"
            assert {name for name in run.params if run.params[name] != original.params.get(name)}
            assert run.facts["code"]["tree"] == original.facts["code"]["tree"]
    table = larder.run(board[0]["run"], transport=transport).artifact("errors-by-product").load()
    assert len(table) == 60
    trees = next(place["run"] for place in board if place["name"] == "boosted-trees")
    assert len(larder.run(trees, transport=transport).metrics("lightgbm/tune/wape")) == 200


def test_a_port_that_is_taken_is_one_sentence(tmp_path):
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = str(holder.getsockname()[1])
        child = demo("--exit", "--port", port, folder=tmp_path)
        out, err = child.communicate(timeout=60)
    assert child.returncode == 1
    assert out == "" and f"port {port}" in err and "Traceback" not in err
    assert not list(Path(tmp_path).glob("larder-demo-*"))


def test_a_script_that_fails_is_one_sentence(tmp_path):
    scripts = tmp_path / "home" / "demand" / "scripts"
    scripts.mkdir(parents=True)
    (scripts / "seasonal_naive.py").write_text("raise SystemExit('the shelves are empty')\n")
    child = demo("--exit", "--home", str(tmp_path / "home"), folder=tmp_path)
    _, err = child.communicate(timeout=100)
    assert child.returncode == 1
    assert "seasonal_naive.py ended with status 1: the shelves are empty" in err and "Traceback" not in err
