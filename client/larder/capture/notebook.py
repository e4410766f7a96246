"""The cells of a notebook: their sources as they are executed, and at the end the notebook as it was executed."""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from larder.capture import console
from larder.integrations import active

SOURCE = "notebook"

LONGEST = 100_000
"""Characters kept of the source of a cell, and of what a cell prints."""

_notebook: "Notebook | None" = None


class Notebook:
    """What an IPython session executed since the run began."""

    def __init__(self, run: active.Recorder, shell: Any) -> None:
        self._run = run
        self._shell = shell
        self._cells: list[dict[str, Any]] = []
        self._printed: dict[str, str] = {}

    def start(self) -> None:
        """Begin to listen to the session; the cell that is being executed is the first."""
        self._shell.events.register("pre_run_cell", self._before_cell)
        self._shell.events.register("post_run_cell", self._after_cell)
        console.hear(self._hear)

    def stop(self) -> None:
        """Keep the notebook, and listen no more."""
        with active.watched(SOURCE):
            self._shell.events.unregister("pre_run_cell", self._before_cell)
            self._shell.events.unregister("post_run_cell", self._after_cell)
            # The cell that calls finish() has not ended, so that nobody has told us of it.
            history = self._shell.history_manager.input_hist_raw
            if len(history) - 1 > (self._cells[-1]["count"] if self._cells else 0):
                self._add(str(history[-1]), len(history) - 1, error=None)
            if not self._cells:
                return
            self._report()
            with tempfile.TemporaryDirectory(prefix="larder-") as folder:
                path = Path(folder) / "notebook.ipynb"
                path.write_text(json.dumps(self.document(), indent=1), encoding="utf-8")
                self._run.log_artifact("notebook", path, kind="notebook")

    def document(self) -> dict[str, Any]:
        """The executed cells in the format of notebooks, version 4.5."""
        return {
            "cells": [self._cell(number, cell) for number, cell in enumerate(self._cells)],
            "metadata": {
                "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
                "language_info": {"name": "python", "version": sys.version.split()[0]},
            },
            "nbformat": 4,
            "nbformat_minor": 5,
        }

    def _hear(self, stream: str, text: str) -> None:
        said = self._printed.get(stream, "")
        if len(said) < LONGEST:
            self._printed[stream] = said + text[: LONGEST - len(said)]

    def _before_cell(self, _: Any) -> None:
        console.renew()

    def _after_cell(self, result: Any) -> None:
        with active.watched(SOURCE):
            error = result.error_before_exec or result.error_in_exec
            count = result.execution_count or self._shell.execution_count
            self._add(str(result.info.raw_cell), count, error=error, value=result.result)
            self._report()

    def _add(self, source: str, count: int, *, error: BaseException | None, value: Any = None) -> None:
        outputs: list[dict[str, Any]] = [
            {"output_type": "stream", "name": f"std{stream}", "text": text} for stream, text in self._printed.items()
        ]
        self._printed = {}
        if value is not None:
            data, metadata = self._shell.display_formatter.format(value)
            outputs.append(
                {"output_type": "execute_result", "execution_count": count, "data": data, "metadata": metadata}
            )
        if error is not None:
            outputs.append(
                {"output_type": "error", "ename": type(error).__name__, "evalue": str(error), "traceback": []}
            )
        self._cells.append({"count": count, "source": source[:LONGEST], "failed": error is not None, "out": outputs})

    def _report(self) -> None:
        cells = [{"count": cell["count"], "source": cell["source"], "failed": cell["failed"]} for cell in self._cells]
        self._run.record_fact("notebook", {"cells": cells})

    def _cell(self, number: int, cell: dict[str, Any]) -> dict[str, Any]:
        return {
            "cell_type": "code",
            "id": f"cell-{number}",
            "execution_count": cell["count"],
            "metadata": {},
            "source": cell["source"],
            "outputs": json.loads(json.dumps(cell["out"], default=str)),
        }


def begin(run: active.Recorder) -> str:
    """Listen to the IPython session that this process is, if it is one."""
    global _notebook
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if shell is None:
        return "absent"
    end()
    _notebook = Notebook(run, shell)
    _notebook.start()
    return "active"


def is_restart() -> bool:
    """Whether this process ends because the user starts the kernel anew."""
    kernel = getattr(_notebook._shell, "kernel", None) if _notebook is not None else None
    message = getattr(kernel, "_shutdown_message", None)
    return bool(isinstance(message, dict) and message.get("content", {}).get("restart"))


def end() -> None:
    """Keep the notebook, and listen no more."""
    global _notebook
    if _notebook is not None:
        notebook, _notebook = _notebook, None
        notebook.stop()
