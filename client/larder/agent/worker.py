"""The agent's loop: lease, start, execute while renewing the lease, end; a lost lease ends the work at once."""

import contextlib
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from types import FrameType
from typing import TypeVar

from larder.agent import workspace
from larder.agent.executors import Executor, Outcome
from larder.agent.executors.process import ProcessExecutor
from larder.contract import queues, runs
from larder.contract.endpoint import Nothing
from larder.contract.errors import Conflict, Denied, Invalid, LarderError, NotFound, Unavailable
from larder.contract.runs import RunStatus
from larder.journal import shipper
from larder.transport import Transport

WAIT = 20.0
"""Seconds that one question for work may wait at the server."""

MOST_PAUSE = 5.0
"""Seconds between renewals at most: with them an agent hears that a run shall stop."""

Result = TypeVar("Result")


@dataclass(eq=False)
class Work:
    """A leased run on this agent."""

    job: queues.Job
    seconds: float
    executor: Executor
    ended: threading.Event = field(default_factory=threading.Event)
    lost: bool = False
    stop: bool = False
    give_back: bool = False


class Agent:
    """Executes queued runs, `slots` of them at a time, each with a fresh `executor()`.

    Threads: `run_forever` blocks its caller; every slot has a thread that leases and executes, and one that renews.
    """

    def __init__(
        self,
        transport: Transport,
        queues: Sequence[str] = ("default",),
        *,
        name: str = "",
        executor: Callable[[], Executor] = ProcessExecutor,
        slots: int = 1,
        grace: float = 30.0,
        say: Callable[[str], None] | None = None,
    ) -> None:
        self.name = name or f"{socket.gethostname()}-{os.getpid()}"
        self._transport = transport
        self._queues = list(queues)
        self._executor = executor
        self._slots = slots
        self._grace = grace
        self._say = say or _say
        self._draining = threading.Event()
        self._works: set[Work] = set()
        self._lock = threading.Lock()
        self._refusal: LarderError | None = None

    def run_forever(self) -> None:
        """Execute until `drain` is called or SIGTERM arrives; a refused token ends it with that refusal."""
        with self._signals():
            self._send_leftovers()
            for number in range(self._slots):
                threading.Thread(target=self._serve, name=f"slot {number}", daemon=True).start()
            self._say(f"agent {self.name}: waits for work in {', '.join(self._queues)}")
            while not self._draining.wait(0.5):
                pass
            deadline = time.monotonic() + self._grace
            while self._busy() and time.monotonic() < deadline:
                time.sleep(0.05)
            for work in self._busy():
                self._say(f"agent {self.name}: gives back run {work.job.subject[-8:]}")
                work.give_back = True
                work.executor.stop()
            while self._busy():
                time.sleep(0.05)
        if self._refusal is not None:
            raise self._refusal

    def drain(self) -> None:
        """Lease nothing more; when called again, give back at once what is being executed."""
        if self._draining.is_set():
            self._grace = 0.0
            for work in self._busy():
                work.give_back = True
                work.executor.stop()
        self._draining.set()

    def work_once(self, wait: float = 0.0) -> bool:
        """Lease and execute one run; whether there was one."""
        order = queues.LeaseRequest(queues=self._queues, agent=self.name, wait=wait)
        lease = self._transport.call(queues.LEASE, order)
        if lease.job is None:
            return False
        work = Work(lease.job, lease.seconds, self._executor())
        with self._lock:
            self._works.add(work)
        renewing = threading.Thread(target=self._renew, args=(work,), name="renewal", daemon=True)
        renewing.start()
        try:
            self._execute(work)
        finally:
            work.ended.set()
            with self._lock:
                self._works.discard(work)
        return True

    # -- threads

    def _serve(self) -> None:
        pause = 0.5
        while not self._draining.is_set():
            try:
                self.work_once(WAIT)
                pause = 0.5
            except (Denied, Invalid) as refusal:
                self._refusal = refusal
                self._draining.set()
            except Exception as error:  # the edge of the agent: one run's trouble must not end the others
                self._say(f"agent {self.name}: {error}")
                self._draining.wait(pause)
                pause = min(pause * 2, 30.0)

    def _renew(self, work: Work) -> None:
        hold = queues.Hold(fence=work.job.fence)
        while not work.ended.wait(min(MOST_PAUSE, max(0.05, work.seconds / 3))):
            try:
                renewal = self._transport.call(queues.RENEW, hold, job_id=work.job.id)
            except (Conflict, NotFound):
                if self._ended_by_itself(work):
                    return
                work.lost = True
                self._say(f"agent {self.name}: lost the lease on run {work.job.subject[-8:]}, ends it")
                work.executor.stop(force=True)
                return
            except LarderError as error:
                # The work goes on: if the lease runs out meanwhile, the fence keeps its writes out.
                self._say(f"agent {self.name}: cannot renew: {error}")
                continue
            if renewal.stop and not work.stop:
                work.stop = True
                self._say(f"agent {self.name}: stops run {work.job.subject[-8:]} on request")
                work.executor.stop()

    def _ended_by_itself(self, work: Work) -> bool:
        # The end that a run reports takes its job out of the queue, while its process still tidies up.
        try:
            run = self._transport.call(runs.GET, Nothing(), run_id=work.job.subject)
        except LarderError:
            return False
        if run.attempt == work.job.fence and run.status is RunStatus.STOPPED:
            work.stop = True
            work.executor.stop()
            return True
        return run.attempt == work.job.fence and run.status.final

    # -- one run

    def _execute(self, work: Work) -> None:
        run_id = work.job.subject
        fence = work.job.fence
        try:
            if work.job.kind != "run":
                raise Invalid(f"This agent does not know how to execute a {work.job.kind}.")
            start = runs.Start(fence=fence, agent=self.name, host=socket.gethostname())
            self._transport.call(runs.START, start, run_id=run_id)
            run = self._transport.call(runs.GET, Nothing(), run_id=run_id)
        except (Conflict, NotFound, Invalid) as refusal:
            self._say(f"agent {self.name}: run {run_id[-8:]} cannot start: {refusal}")
            self._complete(work)
            return
        try:
            order = workspace.prepare(run, transport=self._transport, attempt=fence)
            self._say(f"agent {self.name}: run {run_id[-8:]} starts: {' '.join(order.command)}")
            outcome = work.executor.execute(order)
        except (OSError, LarderError, workspace.Unprepared) as error:
            outcome = Outcome(status=RunStatus.FAILED, reason=f"could not be executed: {error}")
        if work.lost:
            return
        if work.give_back and outcome.status is not RunStatus.COMPLETED:
            hold = queues.Hold(fence=fence)
            with contextlib.suppress(Conflict, NotFound):
                self._insist(lambda: self._transport.call(queues.GIVE_BACK, hold, job_id=work.job.id))
            return
        with contextlib.suppress(Conflict, NotFound):
            self._finish(run_id, outcome, fence)
        self._complete(work)

    def _finish(self, run_id: str, outcome: Outcome, fence: int) -> None:
        run = self._insist(lambda: self._transport.call(runs.GET, Nothing(), run_id=run_id))
        if not run.status.final:
            # What the journal still holds belongs before the end: after it nothing is taken.
            with contextlib.suppress(LarderError, OSError):
                workspace.ship(run_id, self._transport)
            ending = runs.Finish(
                status=outcome.status, reason=outcome.reason, exit_status=outcome.exit_status, attempt=fence
            )
            run = self._insist(lambda: self._transport.call(runs.FINISH, ending, run_id=run_id))
        self._say(f"agent {self.name}: run {run_id[-8:]} {run.status}" + (f": {run.reason}" if run.reason else ""))

    def _complete(self, work: Work) -> None:
        hold = queues.Hold(fence=work.job.fence)
        with contextlib.suppress(Conflict, NotFound):  # gone already: the end of the run took it out
            self._insist(lambda: self._transport.call(queues.COMPLETE, hold, job_id=work.job.id))

    def _insist(self, call: Callable[[], Result], *, patience: float = 600.0) -> Result:
        deadline = time.monotonic() + patience
        pause = 0.2
        while True:
            try:
                return call()
            except Unavailable:
                if time.monotonic() > deadline:
                    raise
                time.sleep(pause)
                pause = min(pause * 2, 10.0)

    # -- around

    def _busy(self) -> list[Work]:
        with self._lock:
            return list(self._works)

    def _send_leftovers(self) -> None:
        try:
            workspace.tidy()
            shipper.sync(calls=self._transport)
        except (LarderError, OSError) as error:
            self._say(f"agent {self.name}: earlier runs of this machine could not be sent: {error}")

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def hear(_: int, __: FrameType | None) -> None:
            self.drain()

        before = {number: signal.signal(number, hear) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
