"""A run that reads or writes a version says so by itself: in a process that records, and in all that an agent started."""

import os

from larder import guard
from larder.contract.datasets import USE, NewUse
from larder.contract.ids import is_id
from larder.transport import Transport


def run() -> str:
    """The id of the run that this process is a part of; empty when there is none."""
    given = os.environ.get("LARDER_RUN", "")
    return given if is_id(given) and os.environ.get("LARDER_MODE") != "disabled" else ""


def record(
    transport: Transport, version: str, role: str, *, part: str = "", served: dict[str, int] | None = None, of: str = ""
) -> None:
    """Say that the run has read (`input`) or written (`output`) a version. What fails is a warning: the work goes on."""
    me = of or run()
    if not me:
        return
    with guard.guarded("data"):
        use = NewUse(run=me, role=role, part=part, served=served or {})
        transport.call(USE, use, version_id=version)
