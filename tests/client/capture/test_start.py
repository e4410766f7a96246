"""Capture begins quickly, imports nothing, reports on every source, and ends without a trace."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from larder import capture
from larder.integrations import active

from .recorder import FakeRun

START = """
import sys, time, json
import larder.contract.runs
sys.path.insert(0, {tests!r})
from recorder import FakeRun
import larder.capture as capture
before = set(sys.modules)
run = FakeRun()
began = time.perf_counter()
capture.start(run, {{}})
seconds = time.perf_counter() - began
new = sorted(set(sys.modules) - before)
capture.stop(run)
print(json.dumps({{"seconds": seconds, "new": new, "states": run.states, "loaded": sorted(sys.modules)}}))
"""


def test_starting_is_quick_and_imports_nothing_by_itself() -> None:
    script = START.format(tests=__file__.rpartition("/")[0])
    # The best of three: other work on the machine is not what is measured.
    answers = [json.loads(subprocess.check_output([sys.executable, "-c", script])) for _ in range(3)]
    assert min(answer["seconds"] for answer in answers) < 0.010
    assert answers[0]["new"] == []
    foreign = {"numpy", "sklearn", "matplotlib", "psutil", "argparse", "click", "IPython"}
    assert not foreign & {name.partition(".")[0] for name in answers[0]["loaded"]}
    assert answers[0]["states"] == {
        "arguments": "active", "console": "active", "notebook": "absent", "sklearn": "active", "lightgbm": "active",
        "xgboost": "active", "tensorboard": "active", "matplotlib": "active",
    }  # fmt: skip


def test_sources_are_switched_off_by_name_or_all(monkeypatch: pytest.MonkeyPatch) -> None:
    run = FakeRun()
    monkeypatch.setenv("LARDER_CAPTURE_OFF", "matplotlib, xgboost")
    capture.start(run, {"sklearn": False, "console": False})
    capture.stop(run)
    assert {name for name, state in run.states.items() if state == "off"} == {
        "matplotlib",
        "xgboost",
        "sklearn",
        "console",
    }
    assert capture.switched_off({"all": False}, {}) >= {"code", "machine", "packages", "arguments"}
    assert "code" not in capture.switched_off({"all": False, "code": True}, {})
    assert capture.switched_off({}, {"LARDER_CAPTURE_OFF": "all"}) >= {"code", "sklearn"}


def test_a_source_that_cannot_begin_is_a_line_in_the_run(monkeypatch: pytest.MonkeyPatch, warnings: set[str]) -> None:
    def broken(run: active.Recorder) -> str:
        raise OSError("no")

    monkeypatch.setattr(capture, "_BEGIN", {**capture._BEGIN, "console": broken})
    run = FakeRun()
    capture.start(run, {})
    capture.stop(run)
    assert run.states["console"] == "failed: OSError: no"
    assert run.states["arguments"] == "active"
    assert warnings == {"console"}


def test_after_the_end_nothing_is_recorded() -> None:
    run = FakeRun()
    capture.start(run, {"console": False})
    capture.stop(run)
    assert active.current("sklearn") is None


def test_every_source_has_its_place_in_the_reference() -> None:
    text = (Path(__file__).parents[3] / "docs" / "reference" / "capture.md").read_text(encoding="utf-8")
    for name in (*capture.TRAINING, *capture.COMPANION):
        assert f"`{name}`" in text
