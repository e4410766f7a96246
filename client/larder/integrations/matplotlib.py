"""matplotlib: figures that are shown or saved."""

import functools
import os
import sys
import threading
from collections.abc import Callable
from pathlib import PurePath
from typing import Any

from larder.integrations import active

SOURCE = "matplotlib"

MOST = 200
"""Figures of one name that are kept in one run."""

_drawing = threading.local()
_counts: dict[tuple[int, str], int] = {}


def patch_figure(figure: Any) -> None:
    """Extend `Figure.savefig`."""
    original = figure.Figure.savefig

    @functools.wraps(original)
    def savefig(self: Any, fname: Any, *args: Any, **kwargs: Any) -> Any:
        result = _alone(original, self, fname, *args, **kwargs)
        # Into a buffer: whoever does so shows or sends the figure, and we do so ourselves.
        if isinstance(fname, str | os.PathLike) and not _inside():
            _record(PurePath(fname).stem, self)
        return result

    figure.Figure.savefig = savefig


def patch_pyplot(pyplot: Any) -> None:
    """Extend `show`."""
    original = pyplot.show

    @functools.wraps(original)
    def show(*args: Any, **kwargs: Any) -> Any:
        _record_open()
        return _alone(original, *args, **kwargs)

    pyplot.show = show


def patch_inline(backend: Any) -> None:
    """Extend the `show` with which notebooks show the figures of a cell."""
    original = backend.show

    @functools.wraps(original)
    def show(*args: Any, **kwargs: Any) -> Any:
        _record_open()
        return _alone(original, *args, **kwargs)

    backend.show = show


def _inside() -> bool:
    return bool(getattr(_drawing, "inside", False))


def _alone(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    # Showing and saving call one another: only the call that the user made counts.
    outer = _inside()
    _drawing.inside = True
    try:
        return original(*args, **kwargs)
    finally:
        _drawing.inside = outer


def _record_open() -> None:
    with active.watched(SOURCE):
        if _inside() or active.current(SOURCE) is None:
            return
        managers: Any = sys.modules["matplotlib._pylab_helpers"]
        for manager in managers.Gcf.get_all_fig_managers():  # asking pyplot would change the current figure
            _record(_title(manager.canvas.figure) or f"figure {manager.num}", manager.canvas.figure)


def _title(figure: Any) -> str:
    suptitle = getattr(figure, "_suptitle", None)
    texts = [suptitle.get_text() if suptitle is not None else "", *(axes.get_title() for axes in figure.axes)]
    return str(figure.get_label() or next((text for text in texts if text), ""))[:100]


def _record(name: str, figure: Any) -> None:
    with active.watched(SOURCE):
        run = active.current(SOURCE)
        if run is None:
            return
        key = (id(run), name)
        _counts[key] = _counts.get(key, 0) + 1
        if _counts[key] <= MOST:
            _alone(run.log_figure, name, figure)
