"""Executes a run as a child process with a process group of its own, under `larder.supervise`."""

import os
import signal
import subprocess
import sys
import threading

from larder.agent.executors import Order, Outcome
from larder.contract.runs import RunStatus
from larder.supervise import AGENT

GRACE = 30.0
"""Seconds between the polite and the forced end."""


class ProcessExecutor:
    """A child process on this machine."""

    def __init__(self, *, grace: float = GRACE) -> None:
        self._grace = grace
        self._lock = threading.RLock()
        self._process: subprocess.Popen[bytes] | None = None
        self._stopped = False
        self._force: threading.Timer | None = None

    def execute(self, order: Order) -> Outcome:
        """Start the supervisor of the command and wait for it."""
        order.log.parent.mkdir(parents=True, exist_ok=True)
        with order.log.open("ab") as log:
            with self._lock:
                if self._stopped:
                    return Outcome(status=RunStatus.STOPPED, reason="stopped before it began")
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "larder.supervise", "--attached", "--", *order.command],
                    cwd=order.folder,
                    env={**os.environ, **order.env, AGENT: str(os.getpid())},
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,  # the supervisor records the output; here it would be kept twice
                    stderr=log,
                    start_new_session=True,
                )
            code = self._process.wait()
        with self._lock:
            if self._force is not None:
                self._force.cancel()
            # Whatever the command has left behind in its group ends with it.
            self._signal(signal.SIGKILL)
            self._process = None
            stopped = bool(vars(self)["_stopped"])  # other threads change it while we wait
        if code == 0:
            return Outcome(status=RunStatus.COMPLETED, exit_status=0)
        shown = 128 - code if code < 0 else code
        if stopped:
            return Outcome(status=RunStatus.STOPPED, exit_status=shown, reason="stopped on request")
        reason = f"killed by {_name(-code)}" if code < 0 else f"exit status {code}"
        return Outcome(status=RunStatus.FAILED, exit_status=shown, reason=reason)

    def stop(self, *, force: bool = False) -> None:
        """SIGTERM to the group, SIGKILL after the grace or at once."""
        with self._lock:
            if force:
                self._stopped = True
                self._signal(signal.SIGKILL)
            elif not self._stopped:
                self._stopped = True
                self._signal(signal.SIGTERM)
                self._force = threading.Timer(self._grace, self.stop, kwargs={"force": True})
                self._force.daemon = True
                self._force.start()

    def _signal(self, number: int) -> None:
        if self._process is not None:
            try:
                os.killpg(self._process.pid, number)
            except (ProcessLookupError, PermissionError):
                pass  # all of it has ended


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
