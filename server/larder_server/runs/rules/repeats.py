"""What the earlier runs of a script tell of its next one."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from larder.contract.errors import Invalid

LOOKED_AT = 50
"""So many of the newest completed runs of a project are looked at."""

COUNTED = 10
"""So many of them say how long the next one takes."""

_MARGIN = 1.1


@dataclass(frozen=True, kw_only=True)
class Earlier:
    """A run that completed: how long it took, which script it executed, and what was measured of the execution."""

    seconds: float
    script: str
    execution: object


def script(command: object) -> str:
    """What a recorded command executes, whatever its options and the folder it lies in; empty where nothing tells."""
    if not isinstance(command, Mapping):
        return ""
    if command.get("module"):
        return f"-m {command['module']}"
    if command.get("script"):
        return _last(command["script"])
    argv = [part for part in command.get("argv") or [] if isinstance(part, str)]
    for index, part in enumerate(argv):
        if part == "-m" and index + 1 < len(argv):
            return f"-m {argv[index + 1]}"
        if part.endswith(".py"):
            return _last(part)
    return _last(argv[0]) if argv else ""


def code_at(code: object, commit: str, run_id: str) -> dict[str, Any]:
    """The fact `code` of another commit of the recorded repository; Invalid when it has no remote to fetch one from.

    Its tree is not known before the commit is fetched, so that there the commit alone says what it is.
    """
    known: Mapping[str, Any] = code if isinstance(code, Mapping) else {}
    remote = known.get("remote")
    if known.get("kind") != "git" or not isinstance(remote, str) or not remote:
        raise Invalid(f"run {run_id} was recorded without a git remote, so that no other commit can be fetched;"
                      " choose the code of another run", field="commit")  # fmt: skip
    root = known.get("root")
    return {
        "kind": "git", "commit": commit, "branch": "", "dirty": False, "tree": "", "remote": remote,
        "root": root if isinstance(root, str) else "",
    }  # fmt: skip


def expected(script: str, earlier: Sequence[Earlier]) -> float | None:
    """Seconds that a run will take: the median of the newest ones of its script, else of any; None without any.

    `earlier` has the newest first.
    """
    same = _same(script, earlier) or earlier
    return statistics.median(run.seconds for run in same[:COUNTED]) if same else None


def memory(script: str, earlier: Sequence[Earlier]) -> int:
    """Bytes that a run will use, from the newest one of its script that was measured; 0 without one."""
    for run in _same(script, earlier):
        peak: Any = run.execution.get("peak_memory") if isinstance(run.execution, Mapping) else None
        if isinstance(peak, int | float) and 0 < peak < 2**60:
            return int(peak * _MARGIN)
    return 0


def _same(script: str, earlier: Sequence[Earlier]) -> list[Earlier]:
    return [run for run in earlier if run.script == script] if script else []


def _last(path: object) -> str:
    return str(path).replace("\\", "/").rstrip("/").rpartition("/")[2]
