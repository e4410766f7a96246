"""How the process ends: an exception that nobody caught, `sys.exit`, or the last line."""

import atexit
import os
import sys
from types import TracebackType
from typing import Any

from larder.recording import place

_failure: BaseException | None = None
_exit: tuple[Any] | None = None
_watching = False
_run: Any = None


def watch(run: Any) -> None:
    """Learns how the process ends: an exception that nobody caught, `sys.exit`, or the last line."""
    global _watching, _run
    _run = run
    if _watching:
        return
    _watching = True
    before, exit_before = sys.excepthook, sys.exit

    def excepthook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> Any:
        global _failure
        _failure = error
        return before(kind, error, trace)

    def leave(status: Any = None, /) -> Any:
        global _exit
        _exit = (status,)
        exit_before(status)

    sys.excepthook = excepthook
    leave.__doc__ = exit_before.__doc__
    sys.exit = leave
    os.register_at_fork(after_in_child=_after_fork)
    atexit.register(_at_exit)


def watch_worker() -> None:
    """A worker of multiprocessing ends without what is registered with `atexit`, but not without its finalizers."""
    process, util = sys.modules.get("multiprocessing.process"), sys.modules.get("multiprocessing.util")
    if process is not None and util is not None and process.parent_process() is not None:
        util.Finalize(None, _at_exit, exitpriority=100)


def _at_exit() -> None:
    run = _run
    if run is None or run.finished:
        return
    notebook = sys.modules.get("larder.capture.notebook")
    if notebook is not None and notebook.is_restart():
        run.finish("stopped", reason="the kernel was restarted")  # so that it can be resumed
        return
    error = _failure or sys.exc_info()[1]
    # A later hook that does not call ours leaves its trace here; in a notebook every failed cell does.
    if error is None and not hasattr(sys, "ps1") and "IPython" not in sys.modules:
        error = getattr(sys, "last_value", None)
    if error is None and _exit is not None:
        error = SystemExit(*_exit)
    run._finish_with(error)


def _after_fork() -> None:
    if _run is not None:
        if not _run.finished:
            place.joined.discard(_run.id)  # `init` joins the run of the parent, as in a spawned child
        _run._forked()


def exit_status(code: Any) -> tuple[int, str]:
    """What a shell would see of `sys.exit(code)`, and the reason to show."""
    if code is None:
        return 0, ""
    if isinstance(code, int):
        return code, "" if code == 0 else f"exit status {code}"
    return 1, str(code)[:1000]
