"""The run into which this process records at the moment, for code that nobody hands a run to."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

from larder import guard
from larder.contract.values import Param


class Recorder(Protocol):
    """What capture and integrations use of a live run. Calls come from any thread; none of them raises."""

    @property
    def overrides(self) -> Mapping[str, Param]:
        """Parameters that whoever enqueued the run has set; they win over what the script says."""
        ...

    def log(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Points of series."""
        ...

    def log_artifact(
        self,
        name: str,
        value: Any,
        kind: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        step: int | None = None,
    ) -> None:
        """An object or the file or folder at a path, kept under a name."""
        ...

    def log_figure(self, name: str, figure: Any, step: int | None = None) -> None:
        """A figure."""
        ...

    def log_image(self, name: str, image: Any, step: int | None = None) -> None:
        """An image."""
        ...

    def log_text(self, name: str, text: str, step: int | None = None) -> None:
        """A text."""
        ...

    def record_params(self, found: Any, source: str = "argparse") -> dict[str, Any]:
        """Parameters that capture found; answers the values after overrides."""
        ...

    def record_fact(self, name: str, document: Any) -> None:
        """A document about the run; the last of a name stays."""
        ...

    def console(self, stream: str, text: str) -> None:
        """A whole line of output."""
        ...

    def source(self, name: str, state: str) -> None:
        """What became of a source of capture: active, off, absent, or failed and why."""
        ...


_run: Recorder | None = None
_off: frozenset[str] = frozenset()
_attach: Callable[[], object] | None = None
_attaching = threading.RLock()


def begin(run: Recorder, *, off: frozenset[str]) -> None:
    """Record into `run` from now on, except from the sources in `off`."""
    global _run, _off
    _run, _off = run, off


def end(run: Recorder) -> None:
    """Record no more into `run`."""
    global _run
    if _run is run:
        _run = None


def attach_with(attach: Callable[[], object] | None) -> None:
    """Call `attach` once, as soon as a source has something to record and there is no run; it shall begin one."""
    global _attach
    _attach = attach


def current(source: str) -> Recorder | None:
    """The run that `source` may record into now, if there is one."""
    global _attach
    if _run is None and _attach is not None:
        with _attaching:
            attach, _attach = _attach, None
            if attach is not None:
                attach()
    return None if source in _off else _run


def failed(source: str, error: BaseException) -> None:
    """Say in the run that a source does not work."""
    if _run is not None:
        _run.source(source, f"failed: {error.__class__.__name__}: {error}")


@contextmanager
def watched(source: str) -> Iterator[None]:
    """Keep every error of a source away from the user's code: one warning, and the state of the source."""
    with guard.guarded(source):
        try:
            yield
        except Exception as error:
            failed(source, error)
            raise
