"""Nothing that records may raise into the user's code: what fails says so once on stderr, and the work goes on."""

import functools
import sys
from collections.abc import Callable
from types import TracebackType
from typing import ParamSpec, TypeVar

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

_warned: set[str] = set()


def warn(source: str, message: str) -> None:
    """One line on stderr, the first time that `source` has something to complain about."""
    if source in _warned:
        return
    _warned.add(source)
    say(f"warning ({source}): {message}")


def say(message: str) -> None:
    """One line on stderr. A closed or broken stderr is nobody's concern."""
    stream = sys.stderr
    try:
        stream.write(f"larder: {message}\n")
        stream.flush()
    except Exception:  # stderr may be None, closed, or any object that user code put there
        pass


def describe(error: BaseException) -> str:
    """An exception in one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


class guarded:
    """A block in which exceptions become one warning of `source`; interrupts and exits pass."""

    __slots__ = ("failed", "source")

    def __init__(self, source: str) -> None:
        self.source = source
        self.failed = ""

    def __enter__(self) -> "guarded":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        if error is None or not isinstance(error, Exception):
            return False
        self.failed = describe(error)
        warn(self.source, self.failed)
        return True


def quiet(source: str) -> Callable[[Callable[Arguments, Result]], Callable[Arguments, Result | None]]:
    """Makes a function answer None and warn once where it would have raised."""

    def decorate(function: Callable[Arguments, Result]) -> Callable[Arguments, Result | None]:
        @functools.wraps(function)
        def quietly(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result | None:
            try:
                return function(*args, **kwargs)
            except Exception as error:  # the edge between our recording and the user's work
                warn(source, describe(error))
                return None

        return quietly

    return decorate
