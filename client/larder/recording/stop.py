"""What a script wants to do when somebody asks its run to stop."""

import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

from larder import guard

SIGNALS = (signal.SIGINT, signal.SIGTERM)
"""How a run is asked: by an agent with SIGTERM; without one as by Ctrl-C, and with SIGTERM when that is not heard."""

_callbacks: list[Callable[[], object]] = []
_before: dict[int, Any] = {}


def listen(run: Any, callback: Callable[[], object]) -> None:
    """Calls back once when the process is asked to stop; ValueError outside of the main thread."""

    def hear(number: int, frame: FrameType | None) -> None:
        while _callbacks:
            with guard.guarded("stop"):
                _callbacks.pop(0)()
        before = _before.get(number)
        if callable(before):
            before(number, frame)
        elif before is not signal.SIG_IGN:
            run.finish("stopped", reason="asked to stop", exit_status=128 + number)
            sys.exit(128 + number)

    for number in SIGNALS:
        previous = signal.signal(number, hear)
        if not _is_ours(previous):
            _before[number] = previous
    _callbacks.append(callback)


def _is_ours(handler: Any) -> bool:
    return getattr(handler, "__module__", "") == __name__
