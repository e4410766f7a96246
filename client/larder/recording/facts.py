"""What a process tells of itself: how it was started, and the document `run.json` in the folder of its run."""

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from larder.recording import values
from larder.recording.place import Place

_MOST_SUBMODULES = 400
_SHOWN = ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "PYTHONHASHSEED", "RANK", "LOCAL_RANK", "WORLD_SIZE", "VIRTUAL_ENV",
          "CONDA_DEFAULT_ENV", "SLURM_JOB_ID", "TZ", "LANG")  # fmt: skip


def command() -> dict[str, Any]:
    """How this process was started; of the environment only what is known to hold no secret."""
    main = sys.modules.get("__main__")
    spec = getattr(main, "__spec__", None)
    return {
        "argv": list(sys.argv),
        "executable": sys.executable,
        "python": sys.version.split()[0],
        "cwd": cwd(),
        "module": getattr(spec, "name", "") or "",
        "script": os.path.abspath(getattr(main, "__file__", "") or "") if getattr(main, "__file__", None) else "",
        "env": {name: os.environ[name] for name in _SHOWN if name in os.environ},
    }


def imports(modules: Mapping[str, Any]) -> dict[str, list[str]]:
    """The installed packages of which something is imported, and the submodules of them, in order of import.

    What the interpreter brings, what is ours, and the user's own code are left out.
    """
    installed: dict[str, bool] = {}
    names: list[str] = []
    for name, module in list(modules.items()):
        top, dot, _ = name.partition(".")
        known = installed.get(top)
        if known is None:
            known = installed[top] = _is_installed(top, modules.get(top))
        if known and dot and module is not None:
            names.append(name)
    tops = sorted(name for name, known in installed.items() if known)
    # Those near the top are what scripts name; the rest follows from them.
    chosen = set(sorted(names, key=lambda name: name.count("."))[:_MOST_SUBMODULES])
    return {"modules": tops, "submodules": [name for name in names if name in chosen]}


def _is_installed(name: str, module: Any) -> bool:
    if name in sys.stdlib_module_names or name.startswith("larder"):
        return False
    try:
        # Not by asking the module: one that loads itself late would do it now.
        known = object.__getattribute__(module, "__dict__")
    except AttributeError:
        return False
    place = known.get("__file__") or next(iter(known.get("__path__") or ()), "")
    return "site-packages" in str(place) or "dist-packages" in str(place)


def read_info(folder: Path) -> dict[str, Any]:
    """What an earlier process of the run has left in the folder; empty when there was none."""
    try:
        document = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


def write_info(
    folder: Path, place: Place, *, project: str, name: str, url: str, kind: str, sources: Mapping[str, bool]
) -> None:
    """Leaves word in the folder of who records here, for the companion and for whoever comes later."""
    main = sys.modules.get("__main__")
    script = getattr(main, "__file__", None)
    spec = getattr(main, "__spec__", None)
    document = {
        "run": place.id,
        "project": project,
        "name": name,
        "kind": kind,
        "url": url,
        "attempt": place.attempt,
        "agent": place.agent,
        "mode": place.mode,
        "role": place.role,
        "rank": place.rank,
        "pid": os.getpid(),
        "started": values.now(),
        "cwd": cwd(),
        "argv": list(getattr(sys, "orig_argv", sys.argv)),
        "executable": sys.executable,
        "script": os.path.abspath(script) if script else "",
        "module": getattr(spec, "name", "") or "",
        "python": sys.version.split()[0],
        "prefix": sys.prefix,
        "sys_path": list(sys.path),
        "capture": dict(sources),
    }
    draft = folder / f"run.json.{os.getpid()}"
    draft.write_text(json.dumps(document, default=str), encoding="utf-8", errors="replace")
    os.replace(draft, folder / "run.json")


def cwd() -> str:
    """The working directory, which may have been removed."""
    try:
        return os.getcwd()
    except OSError:
        return ""
