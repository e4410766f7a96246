"""One execution as the run's record sees it: its output, what it used, how it ended, and all journals on their way."""

import codecs
import contextlib
import os
import re
import selectors
import signal
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from larder import capture, guard
from larder.agent.executors import Execution, Executor, Exit, Order, Usage
from larder.capture.console import Lines
from larder.capture.machine import here
from larder.companion import Watch
from larder.contract import errors, runs
from larder.contract.runs import Cause, RunStatus
from larder.journal import format
from larder.journal import shipper as shipping
from larder.journal.writer import Writer

FAST = 0.1
"""Seconds between looks while there is something to send."""

SLOW = 0.5
"""Seconds between looks when nothing comes, and between looks at limits and unfinished lines."""

FIRST = 0.05
"""Seconds that the first line waits: a run that is over by then is sent as a whole."""

BEAT = 10.0
"""Seconds of silence after which the server hears that the run lives."""

SAMPLES_AFTER = 1.0
"""Seconds after which the machine is watched; a shorter run has no curve."""

_PATIENCE = 10.0
_GPU_SAMPLE = 2.0
_ERROR = re.compile(r"[A-Za-z_][\w.]*(Error|Exception|Interrupt|Exit|Warning)\b")
_OUT_OF_MEMORY = re.compile(
    r"^(\w+\.)*(MemoryError|OutOfMemoryError|_ArrayMemoryError)\b|CUDA out of memory|CUDA error: out of memory"
    r"|CUBLAS_STATUS_ALLOC_FAILED|std::bad_alloc|java\.lang\.OutOfMemoryError"
)
_LOOKED_AT = 12


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How an execution ended; `preempted`: it shall go on elsewhere."""

    status: RunStatus
    reason: str = ""
    exit_status: int | None = None
    cause: Cause = Cause.NONE
    preempted: bool = False


class Unwritten(Exception):
    """The end of the run could not be written down or sent from here; the agent has to tell it in another way."""


class Supervision:
    """Supervises one attempt of a run: `begin`, then `execute` or `fail`, then `close`.

    `stop` may come from any thread at any time, also before the execution has begun. `asked` is called, from a thread
    of ours, when the server says that the run shall stop, `refused` when it takes nothing more of this attempt.
    """

    def __init__(
        self,
        run: runs.Run,
        *,
        attempt: int,
        home: Path,
        calls: shipping.Calls,
        agent: str,
        grace: float = 30.0,
        say: Callable[[str], None] = lambda message: None,
        asked: Callable[[], None] = lambda: None,
        refused: Callable[[], None] = lambda: None,
    ) -> None:
        self.run = run
        self.attempt = attempt
        self.folder = home / "runs" / f"{run.id}.{attempt}"
        self._calls = calls
        self._agent = agent
        self._grace = grace
        self._say = say
        self._asked = asked
        self._refused = refused
        self._lock = threading.Lock()
        self._execution: Execution | None = None
        self._cause: Cause | None = None
        self._stopped = False
        self._preempted = False
        self._lost = False
        self._force_at = float("inf")
        self._news = threading.Event()
        self._over = threading.Event()
        self._send_at = float("inf")
        self._sending = False
        self._shipping = threading.Lock()
        self._around = contextlib.ExitStack()
        self._writer: Writer | None = None
        self._shipper: shipping.Shipper | None = None
        self._last_line = ""
        self._errors: deque[str] = deque(maxlen=_LOOKED_AT)
        self._info: dict[str, Any] = {}
        self._watching: Watch | None = None
        self._observed = False
        self._executed: dict[str, Any] = {}

    def begin(self) -> None:
        """Open the journal; OSError when there is no room for one."""
        run = self.run
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        held = self._around.enter_context(shipping.locked(self.folder, wait=_PATIENCE))
        if not held:
            raise OSError(f"another process holds {self.folder}")
        self._info = {
            "run": run.id,
            "project": run.project,
            "name": run.name,
            "kind": run.kind,
            "url": self._calls.url,
            "attempt": self.attempt,
            "agent": True,
            "mode": "online",
            "role": "agent",
            "pid": os.getpid(),
        }
        shipping.write_json(self.folder / "run.json", self._info)
        opening = {
            "project": run.project,
            "name": run.name,
            "kind": run.kind,
            "time": _now(),
            "host": socket.gethostname(),
            "role": "agent",
        }
        self._writer = Writer(self.folder, opening)
        self._around.callback(self._writer.close)
        self._shipper = shipping.Shipper(self.folder, self._calls, say=self._say)
        self._around.callback(self._shipper.close)

    @property
    def stopped(self) -> bool:
        """Whether it was asked to stop, for whatever reason."""
        return self._stopped

    def stop(self, *, preempted: bool = False, force: bool = False, lost: bool = False) -> None:
        """SIGTERM, and force after the grace or at once. `lost`: the run is not ours any more, and nothing is sent."""
        with self._lock:
            first = not self._stopped
            self._stopped = True
            self._preempted = self._preempted or (preempted and first)
            self._lost = self._lost or lost
            execution = self._execution
            if force:
                self._force_at = float("-inf") if execution is None else float("inf")
            elif first:
                self._force_at = time.monotonic() + self._grace
        if execution is not None and (first or force):
            execution.stop(force=force)

    def execute(self, order: Order, executor: Executor) -> Outcome:
        """Start the order and see it through; OSError when it cannot begin."""
        if self._stopped:
            return self.outcome_of_stop()
        self._executed = {
            "agent": self._agent,
            "host": socket.gethostname(),
            "executor": executor.name,
            "command": list(order.command),
            "cwd": str(order.folder),
            "gpus": list(order.limits.gpus),
            "attempt": self.attempt,
        }
        self._fact("execution", self._executed)
        if "machine" not in capture.switched_off({}, order.env):
            self._fact("machine", here())  # a run that ends before it is watched has a machine, too
        began = time.monotonic()
        execution = executor.start(order)
        with self._lock:
            self._execution = execution
            stopped, force = self._stopped, self._force_at < time.monotonic()
            if force:
                self._force_at = float("inf")
        if stopped:
            execution.stop(force=force)
        self._send_at = began + SLOW
        try:
            exit = self._watch(execution, order, began)
        finally:
            self._over.set()
            self._news.set()
        usage = execution.usage()
        seconds = time.monotonic() - began
        self._executed |= {
            "seconds": round(seconds, 3),
            "peak_memory": usage.peak_memory,
            "peak_gpu_memory": usage.peak_gpu_memory,
            "cpu_seconds": round(usage.cpu_seconds, 3),
            **exit.facts,
        }
        if self._watching is not None:
            self._watching.close()
        self._fact("execution", self._executed)
        return self._outcome(exit, usage, order)

    def outcome_of_stop(self) -> Outcome:
        """How an execution that was stopped before it began has ended."""
        if self._preempted:
            return Outcome(status=RunStatus.STOPPED, preempted=True)
        return Outcome(status=RunStatus.STOPPED, reason="stopped before it began")

    def fact(self, name: str, document: Any) -> None:
        """A document about the run."""
        self._fact(name, document)

    def note(self, text: str) -> None:
        """A line of the agent's own for the run's console."""
        if self._writer is not None and not self._writer.closed:
            self._writer.record(format.CONSOLE, "err", f"larder: {text}", 0)

    def end(self, outcome: Outcome, *, patient: Callable[[], bool]) -> None:
        """Write the end and send all there is; tries on as long as `patient()`.

        Refused: the run goes on elsewhere. Unavailable: the patience is at its end, and the journals stay for later.
        Unwritten: this machine cannot keep the end.
        """
        writer = self._writer
        if writer is None:
            raise Unwritten("there is no journal")
        if self._lost:
            raise shipping.Refused("the lease was lost")
        if not outcome.preempted:
            ending = {
                "status": str(outcome.status),
                "time": _now(),
                "exit_status": outcome.exit_status,
                "reason": outcome.reason,
                "lost_records": writer.lost,
                "cause": str(outcome.cause),
            }
            if not writer.record(format.END, ending):
                raise Unwritten("the disk of the agent is full")
        writer.close()
        self._insist(patient)

    def close(self) -> None:
        """Let go of everything; the folder goes when the server has all of it."""
        shipper = self._shipper
        done = False
        if shipper is not None:
            with contextlib.suppress(OSError):
                done = self._writer is not None and self._writer.closed and not shipper.pending
        with self._shipping:
            if done and shipper is not None:
                shipper.close()
                shipping.remove(self.folder)
            self._around.close()

    # -- the output

    def _watch(self, execution: Execution, order: Order, began: float) -> Exit:
        limit = began + order.limits.seconds if order.limits.seconds else float("inf")
        with selectors.DefaultSelector() as selector:
            for descriptor, stream in ((execution.stdout, "out"), (execution.stderr, "err")):
                selector.register(descriptor, selectors.EVENT_READ, _Source(self._recorder(stream)))
            try:
                while selector.get_map():
                    for key, _ in selector.select(self._tick(execution, order, began, limit)):
                        self._read(key, selector)
                    for key in list(selector.get_map().values()):
                        key.data.lines.tick()
                while True:  # a command may close its output and work on
                    exit = execution.wait(self._tick(execution, order, began, limit))
                    if exit is not None:
                        return exit
            except BaseException:
                execution.stop(force=True)
                raise
            finally:
                for key in list(selector.get_map().values()):
                    os.close(key.fd)

    def _read(self, key: selectors.SelectorKey, selector: selectors.BaseSelector) -> None:
        source: _Source = key.data
        data = os.read(key.fd, 1 << 16)
        source.lines.feed(source.decode(data, not data))
        if not data:
            selector.unregister(key.fd)
            os.close(key.fd)
            source.lines.close()

    def _recorder(self, stream: str) -> Lines:
        def write(text: str) -> None:
            shown = text.strip()
            if shown:
                self._last_line = shown
                if stream == "err":
                    self._errors.append(shown)
            if self._writer is not None:
                self._writer.record(format.CONSOLE, stream, text, 0)
            if self._sending:
                self._news.set()
            else:
                self._send_at = min(self._send_at, time.monotonic() + FIRST)

        return Lines(write)

    def _tick(self, execution: Execution, order: Order, began: float, limit: float) -> float:
        """Looks at the limits; answers for how long nothing need be looked at."""
        now = time.monotonic()
        if now >= limit and self._cause is None and not self._stopped:
            self._cause = Cause.TIME_LIMIT
            self._force_at = now + self._grace
            self._say(f"run {self.run.id[-8:]} has had its {order.limits.seconds:g} s")
            execution.stop()
        if now >= self._force_at:
            self._force_at = float("inf")
            execution.stop(force=True)
        if not self._observed and now - began >= SAMPLES_AFTER:
            self._observed = True
            self._observe(execution, order)
        if now >= self._send_at:  # not before: a run that is over by then has no thread of its own
            self._send_at = float("inf")
            self._sending = True
            threading.Thread(target=self._send, name="ship", daemon=True).start()
        first = SLOW if self._sending else self._send_at - now
        return max(0.0, min(SLOW, limit - now if self._cause is None else SLOW, self._force_at - now, first))

    # -- what is seen from outside

    def _observe(self, execution: Execution, order: Order) -> None:
        info = {**self._info, "pid": getattr(execution, "pid", 0) or os.getpid(), "capture": {}}
        with guard.guarded("machine"):
            self._watching = Watch(self.folder, info, only={"machine"}, say=self._say)
            self._watching.start()
        if order.limits.gpus:
            threading.Thread(target=self._meter, args=(execution,), name="usage", daemon=True).start()

    def _meter(self, execution: Execution) -> None:
        while not self._over.wait(_GPU_SAMPLE):
            execution.usage()  # who is asked looks at the GPUs, too

    def _fact(self, name: str, document: Any) -> None:
        if self._writer is not None and not self._writer.closed:
            self._writer.record(format.FACT, name, document)

    # -- the way to the server

    def _send(self) -> None:
        shipper = self._shipper
        assert shipper is not None
        pause, sent_at = SLOW, time.monotonic()
        while not self._over.is_set():
            self._news.clear()
            try:
                with self._shipping:
                    sent = not self._lost and not self._over.is_set() and shipper.ship(hold_ending=True)
                    if not sent and time.monotonic() - sent_at > BEAT and not self._lost:
                        shipper.beat()
                        sent_at = time.monotonic()
            except shipping.Refused as refusal:
                self._say(f"run {self.run.id[-8:]}: {refusal}")
                self._refused()
                return
            except (errors.LarderError, OSError) as error:
                guard.warn(f"run {self.run.id[-8:]}", f"cannot be sent now: {error}")
                pause = min(max(2 * pause, SLOW), _PATIENCE)
                self._over.wait(pause)
                continue
            if shipper.stop:
                self._asked()
            if sent:
                pause, sent_at = FAST, time.monotonic()
                self._over.wait(FAST)
            else:
                pause = min(pause + 0.05, SLOW)
                self._news.wait(pause)

    def _insist(self, patient: Callable[[], bool]) -> None:
        shipper = self._shipper
        assert shipper is not None
        pause = 0.1
        while True:
            try:
                with self._shipping:
                    while shipper.pending and shipper.ship():
                        pass
                return
            except errors.Unavailable:
                if not patient():
                    raise
            except OSError as error:
                raise Unwritten(str(error)) from error
            time.sleep(pause)
            pause = min(2 * pause, _PATIENCE)

    # -- the end

    def _outcome(self, exit: Exit, usage: Usage, order: Order) -> Outcome:
        code = exit.code
        shown = 128 - code if code < 0 else code
        memory = self._memory(exit, usage, order)
        if memory and not (self._stopped and not exit.out_of_memory):
            return Outcome(status=RunStatus.FAILED, reason=memory, exit_status=shown, cause=Cause.OUT_OF_MEMORY)
        if self._cause is Cause.TIME_LIMIT:
            reason = f"longer than its limit of {order.limits.seconds:g} s"
            return Outcome(status=RunStatus.FAILED, reason=reason, exit_status=shown, cause=Cause.TIME_LIMIT)
        if self._stopped:
            return Outcome(
                status=RunStatus.STOPPED,
                reason="stopped on request",
                exit_status=shown,
                preempted=self._preempted,
                cause=Cause.PREEMPTED if self._preempted else Cause.NONE,
            )
        if code == 0:
            return Outcome(status=RunStatus.COMPLETED, exit_status=0)
        told = str(exit.facts.get("told") or "")
        if code < 0:
            reason = f"killed by {_signal_name(-code)}" + (f": {told}" if told else "")
        else:
            last = self._last_line if _ERROR.match(self._last_line) else told
            reason = f"exit status {code}" + (f": {last[:500]}" if last else "")
        return Outcome(status=RunStatus.FAILED, reason=reason, exit_status=shown, cause=Cause.FAILED)

    def _memory(self, exit: Exit, usage: Usage, order: Order) -> str:
        """The reason of a run that has ended for want of memory; empty for any other."""
        said = next((line for line in reversed(self._errors) if _OUT_OF_MEMORY.search(line)), "")
        if exit.code == 0 or not (exit.out_of_memory or said):
            return ""
        parts = [f"its processes held {_bytes(usage.peak_memory)} at the highest"]
        if order.limits.memory:
            parts.append(f"its limit is {_bytes(order.limits.memory)}")
        if usage.peak_gpu_memory:
            parts.append(f"{_bytes(usage.peak_gpu_memory)} of GPU memory")
        return f"out of memory: {', '.join(parts)}" + (f" ({said[:300]})" if said else "")


class _Source:
    def __init__(self, lines: Lines) -> None:
        self.lines = lines
        self.decode = codecs.getincrementaldecoder("utf-8")("replace").decode


def _bytes(count: int) -> str:
    for unit, size in (("GB", 10**9), ("MB", 10**6)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count:,} bytes"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _now() -> int:
    return time.time_ns() // 1000
