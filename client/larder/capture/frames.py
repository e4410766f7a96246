"""Where in the stack we are: which frames are the user's, which a library's, which our own."""

import functools
import os
import sys
import sysconfig
from collections.abc import Iterator
from types import FrameType

_DEPTH = 50


def callers() -> Iterator[FrameType]:
    """The frames of user code, innermost first."""
    frame: FrameType | None = sys._getframe(1)
    for _ in range(_DEPTH):
        if frame is None:
            return
        if is_user_code(frame):
            yield frame
        frame = frame.f_back


def is_user_code(frame: FrameType) -> bool:
    """Whether a frame belongs neither to us nor to the interpreter nor to an installed library."""
    package = str(frame.f_globals.get("__package__") or frame.f_globals.get("__name__") or "")
    return package.partition(".")[0] != "larder" and not is_library(frame.f_code.co_filename)


@functools.cache
def is_library(filename: str) -> bool:
    """Whether a file is part of the interpreter or of an installed distribution."""
    if filename.startswith("<"):  # typed, evaluated or frozen: only the frozen ones are the interpreter's
        return filename.startswith("<frozen")
    path = os.path.abspath(filename)
    return any(part in path for part in ("/site-packages/", "/dist-packages/", "\\site-packages\\")) or path.startswith(
        _standard()
    )


@functools.cache
def _standard() -> tuple[str, ...]:
    paths = (sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"))
    return tuple({os.path.join(os.path.abspath(path), "") for path in paths if path})
