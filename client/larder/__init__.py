"""Larder's public names; `import larder` loads nothing else until one of them is used."""

from importlib import import_module

TYPE_CHECKING = False  # type checkers know the name; importing `typing` for it would take longer than all the rest
if TYPE_CHECKING:
    from typing import Any

    from larder import data
    from larder.recording import Run, current, init
    from larder.runs import RecordedRun, compare
    from larder.runs import find as runs
    from larder.runs import get as run
    from larder.submission import submit

__version__ = "0.1.0"
__all__ = ["RecordedRun", "Run", "__version__", "compare", "current", "data", "init", "run", "runs", "submit"]

_HOMES = {
    "RecordedRun": ("larder.runs", "RecordedRun"),
    "Run": ("larder.recording", "Run"),
    "compare": ("larder.runs", "compare"),
    "current": ("larder.recording", "current"),
    "init": ("larder.recording", "init"),
    "run": ("larder.runs", "get"),
    "submit": ("larder.submission", "submit"),
}


def __getattr__(name: str) -> "Any":
    if name in ("runs", "data"):  # the first is a module that can be called: `larder.runs(project="bakery")`
        return import_module(f"larder.{name}")
    if name in _HOMES:
        module, attribute = _HOMES[name]
        value = globals()[name] = getattr(import_module(module), attribute)
        return value
    raise AttributeError(f"module 'larder' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
