"""What a run records by itself, one source a file; none costs much, none raises, each can be switched off.

In the training process: arguments, console, notebook, and the frameworks of `larder.integrations`.
In the companion process: code, packages, machine.
"""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from larder import integrations
from larder.capture import arguments, console
from larder.guard import describe, warn
from larder.integrations import active

if TYPE_CHECKING:
    from larder.capture import observing

TRAINING: Sequence[str] = ("arguments", "console", "notebook", *integrations.FRAMEWORKS)
"""Sources that live in the training process."""

COMPANION: Sequence[str] = ("code", "packages", "machine")
"""Sources that live in the companion process."""


_HOOKED = "LARDER_HOOKED"
"""The variable that tells the children of a hooked process that it records."""


def _begin_notebook(run: active.Recorder) -> str:
    if "IPython" not in sys.modules:
        return "absent"
    from larder.capture import notebook  # not on top: few processes are notebooks, and starting must be quick

    state = notebook.begin(run)
    if state == "active" and ("notebook", notebook.end) not in _END:
        _END.insert(0, ("notebook", notebook.end))
    return state


_BEGIN: Mapping[str, Callable[[active.Recorder], str]] = {
    "arguments": arguments.begin,
    "console": console.begin,
    "notebook": _begin_notebook,
}

_END: list[tuple[str, Callable[[], None]]] = [("console", console.end)]


def switched_off(sources: Mapping[str, bool], environment: Mapping[str, str] = os.environ) -> frozenset[str]:
    """The sources that `capture={"name": False}` or `LARDER_CAPTURE_OFF=name,name` switch off; `all` means all."""
    named = {name.strip() for name in environment.get("LARDER_CAPTURE_OFF", "").split(",")}
    named |= {name for name, on in sources.items() if not on}
    if "all" in named:
        named |= {name for name in (*TRAINING, *COMPANION) if not sources.get(name)}
    return frozenset(named - {"", "all"})


def start(run: active.Recorder, sources: Mapping[str, bool]) -> None:
    """Begin what is captured in the training process; sources that are not named are on."""
    off = switched_off(sources)
    active.begin(run, off=off)
    if os.environ.get("LARDER_HOOK") == "1":
        os.environ[_HOOKED] = _who()
    for name in TRAINING:
        try:
            if name in off:
                state = "off"
            elif name in _BEGIN:
                state = _BEGIN[name](run)
            else:
                state = integrations.install(name)
        except Exception as error:  # a source that cannot begin is a line in the run, not the end of the user's work
            warn(name, describe(error))
            state = f"failed: {describe(error)}"
        run.source(name, state)


def hook(attach: Callable[[], object] | None) -> None:
    """Install what waits for the user's code, at the start of an interpreter; `attach` begins the run when it is due.

    Not in the workers of a process that records already: what they parse or fit is a part of what it does. The ranks
    of a distributed job are no workers.
    """
    if os.environ.get(_HOOKED) == _who():
        return
    off = switched_off({})
    if "arguments" not in off:
        arguments.install()
    for name in integrations.FRAMEWORKS:
        if name not in off:
            integrations.install(name)
    active.attach_with(attach)


def _who() -> str:
    return f"{os.environ.get('LARDER_RUN', '')}:{os.environ.get('RANK', 'main')}"


def stop(run: active.Recorder) -> None:
    """End what `start` began, before the run ends: what is left of the console, and the notebook."""
    for name, end in _END:
        try:
            end()
        except Exception as error:  # as in start
            warn(name, describe(error))
    active.end(run)


def observers(info: Mapping[str, Any]) -> list["observing.Observer"]:
    """What the companion process looks at, for the run that `info`, the document `run.json`, tells of."""
    from larder.capture import outside  # not on top: the training process has no use for what it imports

    return outside.observers(info, off=switched_off(info.get("capture") or {}))
