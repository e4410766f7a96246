"""`run.move_to`: what a run has recorded here goes to the server, and the run itself into a queue."""

import os
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from larder import config
from larder.contract import queues, runs
from larder.journal import format, reader, shipper
from larder.recording.companion import is_locked

PATIENCE = 60.0
"""Seconds without progress after which what is recorded counts as not to be sent."""


class Unmoved(Exception):
    """The run stays here."""


def move(run: Any, queue: str, needs: Any) -> str:
    """Moves a live run; answers its page. Raises Unmoved, or what the server says, and then nothing has changed."""
    if run.role != "main" or run.rank or os.getpid() != run._pid:
        raise Unmoved("only the process that began the run can move it; the script goes on here")
    if run._mode != "online":
        raise Unmoved(f"the run is recorded {run._mode}, and no server can take it; the script goes on here")
    wanted = asked(needs)
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):  # any object that user code put there
            stream.flush()
    run._tell_imports()
    if run._companion is None:
        run._accompany()
    _ship(run)
    # From now on the companion sends nothing more and does not take the end of this process for a death.
    marker = run.folder / shipper.MOVED
    marker.touch()
    try:
        settings = config.load()
        moved = config.connect(settings).call(
            runs.ENQUEUE, runs.Enqueue(queue=queue, needs=wanted, move=True), run_id=run.id
        )
    except BaseException:
        marker.unlink(missing_ok=True)
        raise
    capture = sys.modules.get("larder.capture")
    if capture is not None:
        capture.stop(run)
    run._writer.close()
    if run._companion is not None:
        run._companion.wake()
    return f"{settings.url}/runs/{moved.id}"


def asked(needs: Any) -> queues.Needs | None:
    """What a run needs, from text as on the command line, from a mapping, or as it is."""
    if needs is None or isinstance(needs, queues.Needs):
        return needs
    if isinstance(needs, str):
        from larder import needs as language

        return language.parse(needs)
    if isinstance(needs, Mapping):
        return queues.Needs(**needs)
    raise Unmoved(f"needs are written like 'gpus=1,memory=8GB', not as a {type(needs).__name__}")


def _ship(run: Any) -> None:
    """Waits until the server has all that is recorded until now, the code included."""
    run._companion.wake()
    moved, since = -1, time.monotonic()
    targets: dict[str, int] = {}
    while True:
        left, sources = 0, set()
        for journal in reader.journals(run.folder):
            try:
                if journal.role == "companion":
                    for _, record in journal.records():
                        if record[0] == format.FACT and record[2] == "sources":
                            sources |= set(record[3])
                # Samples come without end: what was there at the first look counts, and what tells of the code.
                target = targets.setdefault(journal.writer, journal.size)
                left += max(0, target - journal.acknowledged)
            finally:
                journal.close()
        if not {"code", "packages"} <= sources:
            targets.clear()
        elif not left:
            return
        state = shipper.read_state(run.folder)
        if state.get("state") in ("refused", "denied", "unreachable"):
            raise Unmoved(f"{state.get('message')}; the script goes on here")
        progress = left + len(sources)
        if progress != moved:
            moved, since = progress, time.monotonic()
        if time.monotonic() - since > PATIENCE or (
            time.monotonic() - since > 5.0 and not is_locked(run.folder / "lock")
        ):
            raise Unmoved("what is recorded cannot be sent; the script goes on here")
        time.sleep(0.02)
