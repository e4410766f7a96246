"""The agent's loop: lease, start, supervise while the lease is renewed, end; a lost lease ends the work at once."""

import contextlib
import dataclasses
import os
import queue
import secrets
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from types import FrameType
from typing import TypeVar

from larder import __version__, config
from larder.agent import machine, workspace
from larder.agent.cache import Interrupted
from larder.agent.executors import Executor, Order
from larder.agent.supervision import Outcome, Supervision, Unwritten
from larder.contract import queues, runs
from larder.contract.endpoint import Nothing
from larder.contract.errors import Conflict, Denied, Invalid, LarderError, NotFound, Unavailable
from larder.contract.runs import Cause, RunStatus
from larder.journal import shipper
from larder.transport import Transport

WAIT = 55.0
"""Seconds that one question for work may wait at the server."""

MOST_PAUSE = 5.0
"""Seconds between renewals at most: with them an agent hears that a run shall stop."""

MOST_PROCESSES = 4096
"""Processes and threads that one run may have: more is a mistake that would take the machine along."""

_PATIENCE = 10.0

Result = TypeVar("Result")


@dataclass(eq=False)
class Work:
    """A leased run on this agent."""

    job: queues.Job
    seconds: float
    token: str = ""
    run: "runs.Run | None" = field(default=None, repr=False)
    due: float = 0.0
    lost: bool = False
    ending: bool = False
    told: bool = False
    stop: bool = False
    give_back: bool = False
    supervision: Supervision | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        return self.job.subject[-8:]

    def end(self, *, force: bool = False, lost: bool = False) -> None:
        """What is being executed shall end."""
        if self.supervision is not None:
            self.supervision.stop(preempted=self.give_back, force=force, lost=lost)


class Agent:
    """Executes queued runs, as many at a time as its capacity has slots, with the first of `executors` that fits.

    Threads: `run_forever` blocks its caller; one thread asks for work, one renews the leases, and each slot executes.
    """

    def __init__(
        self,
        transport: Transport,
        queues: Sequence[str] = ("default",),
        *,
        executors: Sequence[Executor],
        name: str = "",
        capacity: "queues.Capacity | None" = None,
        grace: float = 30.0,
        settings: workspace.Settings | None = None,
        processes: int = MOST_PROCESSES,
        say: Callable[[str], None] | None = None,
    ) -> None:
        self.name = name or f"{socket.gethostname()}-{os.getpid()}"
        self.capacity = capacity or machine.capacity(executors=[executor.name for executor in executors])
        self._transport = transport
        # Renewals must not wait behind the journals of a run, and a lost one is sent anew anyway.
        self._beats = transport.copy(retries=0, timeout=_PATIENCE)
        self._queues = list(queues)
        self._executors = {executor.name: executor for executor in executors}
        self._default = executors[0]
        self._grace = grace
        self._processes = processes
        self._settings = settings or workspace.Settings.load()
        self._say = say or _say
        self._meter = machine.Meter([gpu.index for gpu in self.capacity.gpus])
        self._process = secrets.token_hex(8)
        self._received = 0
        self._unanswered = False
        self._works: set[Work] = set()
        self._leased: queue.SimpleQueue[Work | None] = queue.SimpleQueue()
        self._changed = threading.Condition()
        self._draining = threading.Event()
        self._leaving = threading.Event()
        self._hurry = threading.Event()
        self._refusal: LarderError | None = None

    def run_forever(self) -> None:
        """Execute until `drain` is called or SIGTERM arrives; a refused token ends it with that refusal."""
        with self._signals():
            threading.Thread(target=self._send_leftovers, name="leftovers", daemon=True).start()
            threading.Thread(target=self._renew_all, name="renewal", daemon=True).start()
            slots = [
                threading.Thread(target=self._serve, name=f"slot {number}", daemon=True)
                for number in range(self.capacity.slots)
            ]
            for slot in slots:
                slot.start()
            threading.Thread(target=self._ask, name="poll", daemon=True).start()
            self._say(f"agent {self.name}: waits for work in {', '.join(self._queues)}")
            while not self._draining.wait(0.5):
                pass  # in short waits: the interpreter hears signals in between
            deadline = time.monotonic() + self._grace
            while self._busy() and time.monotonic() < deadline and not self._hurry.is_set():
                self._hurry.wait(0.05)
            for work in self._busy():
                self._say(f"agent {self.name}: gives back run {work.name}")
                work.give_back = True
                work.end()
            self._leaving.set()
            while self._busy():
                time.sleep(0.02)
            for _ in slots:
                self._leased.put(None)
        if self._refusal is not None:
            raise self._refusal

    def drain(self, *, patient: bool = False) -> None:
        """Lease nothing more; when called again, give back at once what is being executed. `patient`: let it finish."""
        if patient:
            self._grace = float("inf")
        elif self._draining.is_set():
            self._hurry.set()
        self._draining.set()
        with self._changed:
            self._changed.notify_all()

    def work_once(self, wait: float = 0.0) -> bool:
        """Lease and execute one run; whether there was one."""
        work = self._lease(wait)
        if work is None:
            return False
        renewing = threading.Thread(target=self._renew_all, args=(work,), name="renewal", daemon=True)
        renewing.start()
        self._work(work)
        renewing.join()
        return True

    # -- leasing

    def _ask(self) -> None:
        pause = 0.5
        while not self._draining.is_set():
            with self._changed:
                while len(self._works) >= self.capacity.slots and not self._draining.is_set():
                    self._changed.wait()
            if self._draining.is_set():
                return
            try:
                work = self._lease(WAIT)
                pause = 0.5
            except (Denied, Invalid) as refusal:
                self._refusal = refusal
                self._draining.set()
            except Exception as error:  # the edge of the agent: one answer that makes no sense must not end it
                self._say(f"agent {self.name}: {error}")
                self._draining.wait(pause)
                pause = min(pause * 2, 30.0)
            else:
                if work is not None:
                    self._leased.put(work)

    def _lease(self, wait: float) -> Work | None:
        order = queues.LeaseRequest(
            queues=self._queues,
            agent=self.name,
            wait=wait,
            capacity=self.capacity,
            load=self._meter.load(),
            host=socket.gethostname(),
            version=__version__,
            ask=f"{self._process}.{self._received}",
            repeated=self._unanswered,
        )
        self._unanswered = True  # until there is an answer: a run may have been started for it already
        taken = self._transport.call(runs.TAKE, order)
        self._unanswered = False
        lease = taken.lease
        if lease.drain:
            self._say(f"agent {self.name}: shall end after its work")
            self.drain(patient=True)
        if lease.job is None:
            return None
        self._received += 1
        work = Work(lease.job, lease.seconds, lease.token or self._transport.token, taken.run)
        work.due = time.monotonic() + _pause(work)
        if self._draining.is_set():
            self._return(work, cause="")
            return None
        with self._changed:
            self._works.add(work)
            self._changed.notify_all()
        return work

    def _serve(self) -> None:
        while True:
            work = self._leased.get()
            if work is None:
                return
            self._work(work)

    def _work(self, work: Work) -> None:
        try:
            self._execute(work)
        except Exception as error:  # the edge of the agent: one run's trouble must not end the others
            self._say(f"agent {self.name}: run {work.name}: {type(error).__name__}: {error}")
        finally:
            with self._changed:
                self._works.discard(work)
                self._changed.notify_all()

    # -- renewing

    def _renew_all(self, only: Work | None = None) -> None:
        while True:
            with self._changed:
                now = time.monotonic()
                works = [work for work in self._works if not work.lost and only in (None, work)]
                if not works and (only is not None or (self._draining.is_set() and not self._works)):
                    return
                due = [work for work in works if work.due <= now]
                if not due:
                    # The next one is due then; without any, until one is leased.
                    self._changed.wait(min((work.due - now for work in works), default=None))
                    continue
            for work in due:
                work.due = time.monotonic() + _pause(work)
                self._renew(work)

    def _renew(self, work: Work) -> None:
        hold = queues.Hold(fence=work.job.fence, load=self._meter.load())
        try:
            renewal = self._beats.call(queues.RENEW, hold, job_id=work.job.id)
        except (Conflict, NotFound):
            self._gone(work)
            return
        except LarderError as error:
            # The work goes on: if the lease runs out meanwhile, the fence keeps its writes out.
            if not work.told:
                self._say(f"agent {self.name}: cannot renew the lease on run {work.name}: {error}")
            work.told = True
            return
        work.told = False
        if renewal.drain and not self._draining.is_set():
            self._say(f"agent {self.name}: shall end after its work")
            self.drain(patient=True)
        if renewal.stop:
            self._stop(work)

    def _stop(self, work: Work) -> None:
        if not work.stop:
            work.stop = True
            self._say(f"agent {self.name}: stops run {work.name} on request")
            work.end()

    def _gone(self, work: Work) -> None:
        """The lease is not ours any more: somebody has ended the run, or it was given to another agent."""
        if work.ending or work not in self._works:
            return  # our own last word took the job out of its queue
        try:
            run = self._beats.call(runs.GET, Nothing(), run_id=work.job.subject)
        except LarderError:
            run = None
        if run is not None and run.attempt == work.job.fence and run.status.final:
            if run.status is RunStatus.STOPPED:
                self._stop(work)
            return
        if not work.lost:
            work.lost = True
            self._say(f"agent {self.name}: lost the lease on run {work.name}, ends it")
            work.end(force=True, lost=True)

    # -- one run

    def _execute(self, work: Work) -> None:
        run, fence = work.run, work.job.fence
        if run is None:
            self._say(f"agent {self.name}: cannot execute {work.name}, a {work.job.kind}")
            with contextlib.suppress(LarderError):
                self._transport.call(queues.COMPLETE, queues.Hold(fence=fence), job_id=work.job.id)
            return
        supervised = Supervision(
            run,
            attempt=fence,
            home=self._settings.home,
            calls=self._transport,
            agent=self.name,
            grace=self._grace_of_a_run(),
            say=lambda text: self._say(f"agent {self.name}: {text}"),
            asked=lambda: self._stop(work),
            refused=lambda: self._gone(work),
        )
        work.supervision = supervised
        if work.stop or work.give_back or work.lost:  # it came before there was anything to stop
            work.end(force=work.lost, lost=work.lost)
        try:
            outcome = self._supervise(work, run, supervised)
            self._end(work, outcome, supervised)
        finally:
            supervised.close()

    def _supervise(self, work: Work, run: runs.Run, supervised: Supervision) -> Outcome:
        order: Order | None = None
        try:
            supervised.begin()
            # A server that is away for a while must not fail a run whose code is just being fetched.
            order = self._insist(
                lambda: workspace.prepare(
                    run,
                    transport=self._transport,
                    attempt=work.job.fence,
                    token=work.token,
                    settings=self._settings,
                    say=supervised.note,
                    cancelled=lambda: supervised.stopped,
                    fact=supervised.fact,
                    gpus=work.job.gpus,
                ),
                over=lambda: supervised.stopped,
            )
            limits = dataclasses.replace(order.limits, processes=order.limits.processes or self._processes)
            order = dataclasses.replace(order, limits=limits)
            executor = self._executor(order, run)
            self._say(f"agent {self.name}: run {work.name} starts: {' '.join(order.command)}")
            return supervised.execute(order, executor)
        except Interrupted:
            return supervised.outcome_of_stop()
        except (OSError, LarderError, workspace.Unprepared) as error:
            if supervised.stopped:
                return supervised.outcome_of_stop()
            reason = f"could not be executed: {error}"
            return Outcome(status=RunStatus.FAILED, reason=reason, cause=Cause.FAILED)
        finally:
            if order is not None:
                workspace.release(order, self._settings)

    def _executor(self, order: Order, run: runs.Run) -> Executor:
        wanted = run.needs.executor or ("container" if order.image else "")
        if not wanted:
            return self._default
        if wanted not in self._executors:
            raise workspace.Unprepared(
                f"it needs the executor {wanted}, and this agent has {', '.join(self._executors)}"
            )
        return self._executors[wanted]

    def _end(self, work: Work, outcome: Outcome, supervised: Supervision) -> None:
        if work.lost:
            return
        work.ending = True
        try:
            supervised.end(outcome, patient=lambda: not (self._leaving.is_set() and self._hurry.is_set()))
        except shipper.Refused as refusal:
            self._say(f"agent {self.name}: run {work.name} goes on elsewhere, its end here is not taken: {refusal}")
            return
        except Unavailable as error:
            self._say(f"agent {self.name}: run {work.name} has ended, to be sent when the server answers: {error}")
            return
        except (Unwritten, LarderError) as error:
            self._say(f"agent {self.name}: run {work.name}: {error}")
            if not outcome.preempted:
                self._finish(work, outcome, str(error))
                return
        if outcome.preempted:
            self._return(work, cause=Cause.PREEMPTED)
            return
        self._say(
            f"agent {self.name}: run {work.name} {outcome.status}" + (f": {outcome.reason}" if outcome.reason else "")
        )

    def _finish(self, work: Work, outcome: Outcome, trouble: str) -> None:
        """The end by word instead of by journal: this machine has no room for it, or the server does not take it."""
        ending = runs.Finish(
            status=outcome.status,
            reason="; ".join(filter(None, [outcome.reason, trouble])),
            exit_status=outcome.exit_status,
            attempt=work.job.fence,
            cause=outcome.cause,
        )
        try:
            self._insist(lambda: self._transport.call(runs.FINISH, ending, run_id=work.job.subject))
        except (Conflict, NotFound) as refusal:
            self._say(f"agent {self.name}: the end of run {work.name} is not taken: {refusal}")

    def _return(self, work: Work, *, cause: str) -> None:
        order = queues.GiveBack(fence=work.job.fence, cause=str(cause))
        with contextlib.suppress(Conflict, NotFound, Unavailable):  # then its lease runs out
            self._insist(lambda: self._transport.call(queues.GIVE_BACK, order, job_id=work.job.id), patience=_PATIENCE)

    def _grace_of_a_run(self) -> float:
        return self._grace if self._grace != float("inf") else 30.0

    def _insist(
        self, call: Callable[[], Result], *, patience: float = 600.0, over: Callable[[], bool] = lambda: False
    ) -> Result:
        """Call until the server answers; Unavailable after `patience` seconds, or as soon as it is `over`."""
        deadline = time.monotonic() + patience
        pause = 0.2
        while True:
            try:
                return call()
            except Unavailable:
                again = time.monotonic() + pause
                while time.monotonic() < again:
                    if time.monotonic() > deadline or self._hurry.is_set() or over():
                        raise
                    time.sleep(min(0.2, pause))
                pause = min(pause * 2, _PATIENCE)

    # -- around

    def _busy(self) -> list[Work]:
        with self._changed:
            return list(self._works)

    def _send_leftovers(self) -> None:
        try:
            workspace.tidy(self._settings)
            mine = config.normal(self._transport.url)
            shipper.sync(
                self._settings.home,
                calls=self._transport,
                only=lambda info: info.get("url", mine) == mine,
                patience=0.0,
            )
        except (LarderError, OSError) as error:
            self._say(f"agent {self.name}: earlier runs of this machine could not be sent: {error}")

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def hear(_: int, __: FrameType | None) -> None:
            # Not here: the interrupted thread may hold the lock that draining needs.
            threading.Thread(target=self.drain, name="drain", daemon=True).start()

        before = {number: signal.signal(number, hear) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _pause(work: Work) -> float:
    return min(MOST_PAUSE, max(0.05, work.seconds / 3))


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
