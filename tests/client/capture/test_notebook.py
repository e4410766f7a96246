"""A notebook keeps its cells as they are executed, and at the end the executed notebook."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat

from larder.capture import notebook

from .recorder import FakeRun

SESSION = """
import json, sys
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
sys.path.insert(0, {tests!r})
shell.run_cell("before = 1", store_history=True)
shell.run_cell("from recorder import FakeRun; from larder import capture; run = FakeRun(); capture.start(run, {{}})", store_history=True)
shell.run_cell("print('hello'); 6 * 7", store_history=True)
shell.run_cell("1 / 0", store_history=True)
shell.run_cell("capture.stop(run)", store_history=True)
shell.run_cell("after = 1", store_history=True)
run = shell.user_ns["run"]
print("ANSWER" + json.dumps({{"state": run.states["notebook"], "fact": run.facts["notebook"],
    "lines": run.lines, "notebook": json.loads(run.files["notebook"])}}))
"""


def test_the_cells_of_a_run_are_kept_and_the_executed_notebook(tmp_path: Path) -> None:
    script = SESSION.format(tests=str(Path(__file__).parent))
    environment = {"IPYTHONDIR": str(tmp_path), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    output = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=60, check=True
    ).stdout
    answer: dict[str, Any] = json.loads(output.partition("ANSWER")[2])
    assert answer["state"] == "active"
    cells = answer["fact"]["cells"]
    assert [(cell["count"], cell["failed"]) for cell in cells] == [(2, False), (3, False), (4, True), (5, False)]
    assert cells[1]["source"] == "print('hello'); 6 * 7"
    assert ["out", "hello"] in answer["lines"]
    nbformat.validate(answer["notebook"])
    outputs = answer["notebook"]["cells"][1]["outputs"]
    assert outputs[0]["output_type"] == "stream"
    assert outputs[0]["text"].startswith("hello\n")
    assert outputs[1]["data"] == {"text/plain": "42"}
    assert answer["notebook"]["cells"][2]["outputs"][-1]["ename"] == "ZeroDivisionError"


def test_a_plain_process_is_no_notebook() -> None:
    assert notebook.begin(FakeRun()) == "absent"
