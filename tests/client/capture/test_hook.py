"""The hook lets capture begin without a line in the script, and is never in the way of an interpreter."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import larder

HOOK = Path(larder.__file__).parent / "hook"

# Stands in for `larder.recording`, whose own tests start real runs.
RECORDING = """
import json, os, sys
sys.path.insert(0, {tests!r})
from recorder import FakeRun
from larder import capture

run = None

def attach():
    global run
    run = FakeRun(json.loads(os.environ.get("LARDER_PARAMS") or "{{}}"))
    capture.start(run, {{"console": False}})
    import atexit
    atexit.register(lambda: open(os.environ["ANSWERS"], "a").write(json.dumps(run.params) + "\\n"))
"""


def execute(
    tmp_path: Path, *command: str, env: Mapping[str, str] | None = None, before: str = ""
) -> tuple[list[dict[str, object]], subprocess.CompletedProcess[str]]:
    stand_in = tmp_path / "stand_in"
    stand_in.mkdir(exist_ok=True)
    (stand_in / "fake_recording.py").write_text(RECORDING.format(tests=str(Path(__file__).parent)))
    (stand_in / "sitecustomize.py").write_text(
        f"import larder, sys\n{before}\nimport fake_recording\n"
        "sys.modules['larder.recording'] = larder.recording = fake_recording\nprint('chained')\n"
    )
    answers = tmp_path / "answers"
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(HOOK), str(stand_in)]),
        "LARDER_HOOK": "1",
        "LARDER_RUN": "0197a2b4-0000-7000-8000-000000000000",
        "ANSWERS": str(answers),
        **(env or {}),
    }
    result = subprocess.run([sys.executable, *command], env=environment, capture_output=True, text=True, timeout=60)
    found = [json.loads(line) for line in answers.read_text().splitlines()] if answers.exists() else []
    return found, result


def script(tmp_path: Path, text: str) -> str:
    path = tmp_path / "train.py"
    path.write_text(text)
    return str(path)


ARGUMENTS = """
import argparse
parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float, default=0.1)
parser.add_argument("--depth", type=int, default=3)
print(parser.parse_args())
"""


def test_an_untouched_script_is_recorded_and_gets_the_parameters_of_a_clone(tmp_path: Path) -> None:
    found, result = execute(
        tmp_path, script(tmp_path, ARGUMENTS), "--lr", "0.2", env={"LARDER_PARAMS": '{"depth": "5"}'}
    )
    assert result.stdout == "chained\nNamespace(lr=0.2, depth=5)\n"
    assert found == [{"lr": 0.2, "depth": "5"}]
    assert result.stderr == ""


def test_an_untouched_fit_is_recorded_also_of_frameworks_imported_later(tmp_path: Path) -> None:
    text = "from sklearn.linear_model import Ridge\nRidge(alpha=2.0).fit([[1.0], [2.0]], [1.0, 2.0])\n"
    found, result = execute(tmp_path, script(tmp_path, text))
    assert found[0]["Ridge.alpha"] == 2.0, result.stderr


def test_a_script_with_nothing_to_record_begins_no_run(tmp_path: Path) -> None:
    found, result = execute(tmp_path, "-c", "print('hello')")
    assert (found, result.stdout) == ([], "chained\nhello\n")


WORKERS = """
import argparse, subprocess, sys
if len(sys.argv) > 1:
    argparse.ArgumentParser().parse_known_args()
    parser = argparse.ArgumentParser(); parser.add_argument("--worker"); parser.parse_args()
else:
    parser = argparse.ArgumentParser(); parser.add_argument("--main", default=1); parser.parse_args()
    subprocess.run([sys.executable, __file__, "--worker", "x"], check=True)
"""


def test_workers_of_a_recorded_process_are_not_recorded_beside_it(tmp_path: Path) -> None:
    found, result = execute(tmp_path, script(tmp_path, WORKERS))
    assert (found, result.returncode) == ([{"main": 1}], 0)


LAUNCHER = """
import subprocess, sys, os
for rank in "01":
    subprocess.run([sys.executable, sys.argv[1]], env={**os.environ, "RANK": rank}, check=True)
"""


def test_what_a_launcher_starts_is_recorded(tmp_path: Path) -> None:
    launcher = tmp_path / "launcher.py"
    launcher.write_text(LAUNCHER)
    found, _ = execute(tmp_path, str(launcher), script(tmp_path, ARGUMENTS))
    assert found == [{"lr": 0.1, "depth": 3}] * 2


def test_an_interpreter_without_larder_starts_as_before(tmp_path: Path) -> None:
    (tmp_path / "stand_in").mkdir()
    environment = {"PYTHONPATH": str(HOOK), "LARDER_HOOK": "1", "LARDER_RUN": "x", "PATH": os.environ["PATH"]}
    result = subprocess.run(
        [sys.executable, "-S", "-c", "import sitecustomize; print('hello')"],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert (result.stdout, result.stderr) == ("hello\n", "")


def test_without_its_variable_the_hook_does_nothing(tmp_path: Path) -> None:
    found, result = execute(tmp_path, script(tmp_path, ARGUMENTS), env={"LARDER_HOOK": ""})
    assert (found, result.stderr) == ([], "")
    assert result.stdout.startswith("chained\n")


def test_a_hidden_sitecustomize_that_fails_is_reported_as_python_does(tmp_path: Path) -> None:
    _, result = execute(tmp_path, "-c", "print('hello')", before="raise RuntimeError('broken')")
    assert result.stdout == "hello\n"
    assert "broken" in result.stderr
