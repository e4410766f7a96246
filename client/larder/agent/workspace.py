"""A leased run made ready on this machine: its code in a folder of its own, its command with the changed parameters."""

import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any

from larder import config, supervise
from larder.agent.executors import Order
from larder.capture import code
from larder.contract import runs
from larder.contract.runs import Param
from larder.journal import shipper
from larder.runs import RecordedRun
from larder.transport import Transport

_REPEATED = ("OMP_NUM_THREADS", "PYTHONHASHSEED", "TZ")
"""Variables of the recorded environment that belong to the run rather than to the machine."""


KEPT = 7 * 86400.0
"""Seconds for which the folder of an execution stays: a script may have left something there that nobody recorded."""


class Unprepared(Exception):
    """The run cannot be made ready on this machine."""


def prepare(run: runs.Run, *, transport: Transport, attempt: int) -> Order:
    """Restore the code of a run and say what to execute, where, and with which environment."""
    recorded: dict[str, Any] = run.facts.get("command") or {}
    why = unrepeatable(recorded)
    if why:
        raise Unprepared(why)
    fact: dict[str, Any] = run.facts.get("code") or {}
    work = config.home() / "work" / run.id
    restored = fact.get("kind") in ("git", "folder")
    root = Path(fact["root"] if restored else recorded.get("cwd") or ".")
    folder = work / f"{attempt}"
    cwd = Path(recorded.get("cwd") or ".")
    if restored:
        if folder.exists():
            shutil.rmtree(folder)  # an earlier start of this very attempt did not get far
        folder.parent.mkdir(parents=True, exist_ok=True)
        restore(RecordedRun(transport, run), folder)
        _link_skipped(fact, root, folder)
        inside = _relative(cwd, root)
        if inside is not None:
            cwd = folder / inside
            cwd.mkdir(parents=True, exist_ok=True)
        elif not cwd.is_dir():
            cwd = folder
    elif not cwd.is_dir():
        raise Unprepared(f"its code was not recorded, and this machine has no folder {cwd}")
    overrides: dict[str, Param] = run.facts.get("overrides") or {}
    argv = command(recorded, moved=(root, folder) if restored else None)
    argv = supervise.rewrite(argv, overrides, add=recorded.get("arguments") == "argv")
    env = {name: value for name, value in (recorded.get("env") or {}).items() if name in _REPEATED}
    env |= {
        "LARDER_RUN": run.id,
        "LARDER_ATTEMPT": str(attempt),
        "LARDER_PARAMS": supervise.encode(overrides),
        "LARDER_MODE": "online",
        "LARDER_HOME": str(config.home()),
        "LARDER_URL": transport.url,
        "LARDER_TOKEN": transport.token,
        supervise.COMMAND: json.dumps(recorded),
    }
    if restored:
        # The code of a clone is known; looked at again, the restored tree would be described as a tree of its own.
        off = [*filter(None, os.environ.get("LARDER_CAPTURE_OFF", "").split(",")), "code"]
        env["LARDER_CAPTURE_OFF"] = ",".join(off)
    return Order(run=run.id, command=argv, folder=cwd, env=env, log=work / f"{attempt}.log")


def unrepeatable(recorded: Mapping[str, Any]) -> str:
    """Why a recorded command cannot be executed again; empty when it can."""
    argv = [str(part) for part in recorded.get("argv") or ()]
    if not argv:
        return "no command was recorded for it, so there is nothing to execute"
    if recorded.get("wrapped") or recorded.get("module") not in (None, "", "ipykernel_launcher"):
        return ""
    if argv[0] in ("", "-c", "-") or Path(argv[0]).name == "ipykernel_launcher.py":
        return "it was recorded in a notebook or an interactive session, which cannot be executed again"
    return ""


def command(recorded: Mapping[str, Any], *, moved: tuple[Path, Path] | None = None) -> list[str]:
    """The recorded command for this machine: its interpreter or ours, its paths in the folder of the restored code."""
    argv = [str(part) for part in recorded["argv"]]
    program = str(recorded.get("executable") or "")
    module = str(recorded.get("module") or "")
    present = bool(program) and os.access(program, os.X_OK)
    if recorded.get("wrapped"):
        # Recorded by `larder run`: the whole command line. Only an interpreter can be replaced by another.
        if present and not (moved and _relative(Path(program), moved[0])):
            argv[0] = program
        elif Path(argv[0]).name.startswith("python") and shutil.which(argv[0]) is None:
            argv[0] = sys.executable
    else:
        interpreter = program if present else sys.executable
        script = str(recorded.get("script") or argv[0])
        if moved is not None and _relative(Path(recorded.get("cwd") or "."), moved[0]) is None:
            argv[0] = script  # it was started from outside of its repository
        argv = [interpreter, "-m", module, *argv[1:]] if module else [interpreter, *argv]
    if moved is None:
        return argv
    root, folder = moved
    head, *rest = argv
    places = []
    for part in rest:
        inside = _relative(Path(part), root) if PurePath(part).is_absolute() else None
        places.append(part if inside is None else str(folder / inside))
    return [head, *places]


def ship(run_id: str, transport: Transport) -> None:
    """Send what the journals of a run on this machine still hold."""
    shipper.sync(calls=transport, only=lambda info: info.get("run") == run_id)


def tidy() -> None:
    """Remove the folders of executions that nothing has touched for long."""
    for folder in (config.home() / "work").glob("*"):
        newest = max((place.lstat().st_mtime for place in (folder, *folder.glob("*"))), default=0.0)
        if folder.is_dir() and time.time() - newest > KEPT:
            shutil.rmtree(folder, ignore_errors=True)


def restore(run: RecordedRun, folder: Path) -> str:
    """Bring the code of a run back into `folder`, which must be new or empty; answers the hash of the tree."""
    fact = run.facts.get("code") or {}
    with tempfile.TemporaryDirectory(prefix="larder-code-") as files:
        name = code.artifact(fact)
        if name:
            run.artifact(name).download(files)
        return code.restore(fact, files=Path(files), destination=folder)


def _link_skipped(fact: Mapping[str, Any], root: Path, folder: Path) -> None:
    """Files that were too large to record, such as data, are used from where they lie, if that is on this machine."""
    for skipped in fact.get("skipped") or ():
        source, target = root / str(skipped.get("path", "")), folder / str(skipped.get("path", ""))
        if skipped.get("why") == "may hold a secret" or not source.is_file():
            continue
        if not target.exists() and target.resolve().is_relative_to(folder.resolve()):
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(source)


def _relative(path: Path, root: Path) -> Path | None:
    try:
        return path.relative_to(root)
    except ValueError:
        return None
