"""Opens a context for a piece of work and, once it is durable, tells everybody what it changed."""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from larder.contract.endpoint import Role
from larder.contract.errors import Unavailable
from larder.contract.tenants import Identity
from larder_server.kernel import outbox
from larder_server.kernel.bell import Bell
from larder_server.kernel.clock import Clock, SystemClock
from larder_server.kernel.context import Context
from larder_server.kernel.database import Database, Statements
from larder_server.kernel.hub import Hub
from larder_server.kernel.memory import Fact, Memory, Recollection
from larder_server.kernel.notes import Notes
from larder_server.kernel.objects import ObjectStore
from larder_server.kernel.outbox import Event, Handlers

log = logging.getLogger(__name__)

Result = TypeVar("Result")
Timer = tuple[float, Callable[[Context], object]]
Chore = tuple[float, Callable[["Runtime", Identity], object]]
"""Seconds from one end to the next beginning, and work that opens its views and transactions itself."""
SYSTEM = "system"
TICK = 0.5

_OVERHEAR_EVERY = 0.1
_LATE_COMMIT = 2.0


def system(tenant: str) -> Identity:
    """The platform itself, when it acts for a tenant."""
    return Identity(tenant=tenant, user=SYSTEM, role=Role.ADMIN)


@dataclass(kw_only=True)
class Runtime:
    """The machinery that is the same for every slice: where work gets its context."""

    database: Database
    objects: ObjectStore
    clock: Clock = field(default_factory=SystemClock)
    hub: Hub = field(default_factory=Hub)
    handlers: Handlers = field(default_factory=dict)
    notes: Notes = field(default_factory=Notes)
    memory: Memory = field(default_factory=Memory)
    lease_seconds: float = 30.0
    listening_since: int = 0
    shared_signals: frozenset[str] = frozenset()
    """Names of signals, which are in no outbox, that other servers on the same PostgreSQL shall hear as well."""
    to_share: dict[tuple[str, str, str], Event] = field(default_factory=dict)
    """Such signals by tenant, name and subject, until they are sent."""

    @property
    def deaf_after(self) -> float:
        """Seconds without progress after which this server may have kept holders of leases from renewing them."""
        return self.lease_seconds / 3

    def listen_anew(self) -> None:
        """This server was away, or its clock has jumped: every holder of a lease gets the whole time again."""
        self.listening_since = self.clock.now()

    @property
    def ask_again(self) -> float:
        """Seconds after which a long poll asks again although nobody rang.

        What another server on the same PostgreSQL has changed rings here only when it is in the outbox, so a poll asks
        by itself as well; the more of them wait, the more seldom, so that asking never keeps the database busy.
        """
        return 60.0 if self.database.sqlite else min(60.0, max(1.0, self.hub.waiting / 50))

    def recollection(self, tenant: str) -> Recollection:
        """What is known of a tenant without the database."""
        return Recollection(tenant=tenant, clock=self.clock, memory=self.memory, notes=self.notes)

    def view(self, identity: Identity, work: Callable[[Context], Result]) -> Result:
        """Do work that changes nothing, on a consistent view."""
        since = self.memory.changes
        with self.database.read() as connection:
            context = self._context(identity, Statements(connection, identity.tenant))
            result = work(context)
        if context.found:
            self.memory.keep(identity.tenant, context.found, since=since)
        return result

    def transact(self, identity: Identity, work: Callable[[Context], Result]) -> Result:
        """Do work in one transaction; its events are handed out after the commit."""
        emitted: list[Event] = []
        found: list[Fact] = []
        since = self.memory.changes
        asked = time.monotonic()

        def in_transaction(connection: object) -> Result:
            if time.monotonic() - asked > self.deaf_after:
                self.listen_anew()  # the database was locked, and renewals have waited as well
            context = self._context(identity, Statements(connection, identity.tenant))  # type: ignore[arg-type]
            result = work(context)
            emitted[:], found[:] = context.emitted, context.found
            return result

        result = self.database.write(in_transaction)
        if found:
            self.memory.keep(identity.tenant, found, since=since)  # before what the events of this transaction end
        for listener in self.listeners:
            listener(emitted)
        self.publish(identity.tenant, emitted)
        if not self.database.sqlite:
            for event in emitted:
                if event.name in self.shared_signals:
                    self.to_share[identity.tenant, event.name, event.subject] = event
        if any(event.name in self.handlers for event in emitted):
            self.dispatch_soon.set()
        return result

    def publish(self, tenant: str, events: Sequence[Event]) -> None:
        """Tell of what was committed: the memory first, so that nobody who is woken recalls what holds no longer."""
        self.memory.hear(tenant, events)
        self.hub.publish(tenant, events)

    dispatch_soon: threading.Event = field(default_factory=threading.Event)
    listeners: list[Callable[[Sequence[Event]], None]] = field(default_factory=list)
    """Called with the events of each transaction of this server, before its caller is answered; must not fail."""

    def dispatch(self) -> int:
        """Hand every waiting event to its handlers, each event in one transaction; how many were handled."""
        with self.database.read() as connection:
            waiting = outbox.unhandled(Statements(connection, ""))
        handled = 0
        for item in waiting:
            try:
                self.transact(system(item.tenant), lambda context, item=item: self._handle(context, item))  # type: ignore[misc]
                handled += 1
            except Exception:  # a handler's fault must not stop the events behind it; it is told and tried again
                failures = item.failures + 1
                log.exception("handling event %s (%s) failed, time %s", item.sequence, item.event.name, failures)
                state = outbox.ASIDE if failures >= outbox.PATIENCE else -failures
                self.transact(
                    system(item.tenant),
                    lambda context, item=item, state=state: outbox.settle(context.db, item.sequence, state),  # type: ignore[misc]
                )
        return handled

    def _handle(self, context: Context, item: outbox.Unhandled) -> None:
        if not outbox.claim(context.db, item.sequence):
            return
        for handler in self.handlers.get(item.event.name, ()):
            handler(context, item.event)
        outbox.settle(context.db, item.sequence, outbox.DONE)

    def _context(self, identity: Identity, db: Statements) -> Context:
        return Context(
            tenant=identity.tenant,
            user=identity.user,
            role=identity.role,
            db=db,
            clock=self.clock,
            objects=self.objects,
            team=identity.team,
            run=identity.run,
            token=identity.token,
            share=identity.share,
            evaluator=identity.evaluator,
            notes=self.notes,
            awaited=frozenset(self.handlers),
            lease_seconds=self.lease_seconds,
            listening_since=self.listening_since,
        )


class Background:
    """Threads beside the requests: one hands out events, one performs the slices' timers for every tenant, one their
    chores, which take long and open their transactions themselves."""

    def __init__(
        self,
        runtime: Runtime,
        timers: Iterable[Timer],
        tenants: Callable[[], Sequence[str]],
        chores: Iterable[Chore] = (),
    ) -> None:
        self._runtime, self._timers, self._tenants = runtime, list(timers), tenants
        self._chores = list(chores)
        self._stop = threading.Event()
        self._offset = self._runtime.clock.now() / 1_000_000 - time.monotonic()
        """Seconds between the clock, which may be set, and one that only goes forward."""
        self._overheard: int | None = None
        self._threads = [
            threading.Thread(target=self._dispatch, name="larder-dispatch", daemon=True),
            threading.Thread(target=self._tick, name="larder-timers", daemon=True),
        ]
        if self._chores:
            self._threads.append(threading.Thread(target=self._work, name="larder-chores", daemon=True))
        if not runtime.database.sqlite:
            self._threads.append(threading.Thread(target=self._overhear, name="larder-bell", daemon=True))

    def start(self) -> None:
        """Begin."""
        self._runtime.listen_anew()
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End after the work in hand."""
        self._stop.set()
        self._runtime.dispatch_soon.set()
        for thread in self._threads:
            thread.join(timeout=10)

    def _dispatch(self) -> None:
        while not self._stop.is_set():
            # once a second even when nothing rang: another server, or a crash, may have left events
            self._runtime.dispatch_soon.wait(1.0)
            self._runtime.dispatch_soon.clear()
            try:
                while not self._stop.is_set() and self._runtime.dispatch():
                    pass
            except Exception:  # the database may be away for a while; the thread must outlive that
                log.exception("handing out events failed; trying again")
                self._stop.wait(1.0)

    def _overhear(self) -> None:
        """Ring for what other servers on the same database have written or signalled."""
        while not self._stop.wait(_OVERHEAR_EVERY):
            try:
                with self._runtime.database.engine.connect() as connection:
                    connection.execution_options(isolation_level="AUTOCOMMIT")
                    connection.detach()  # what listens does not go back among those that ask
                    self._listen(connection)
            except Exception:  # the database may be away for a while; the thread must outlive that
                log.exception("listening for other servers failed; trying again")
                self._stop.wait(1.0)

    def _listen(self, connection: Connection) -> None:
        """Until the end, or until the connection breaks. Our own events ring twice, which harms nobody."""
        db = Statements(connection, "")
        bell = Bell(connection, self._runtime.hub.publish)
        rung: dict[int, float] = {}
        if self._overheard is None:
            self._overheard = outbox.newest(db)
            self._runtime.memory.listen()
        # after a break it goes on where it was: what the memory has not heard it would go on believing
        while not self._stop.wait(_OVERHEAR_EVERY):
            bell.ring(self._runtime.to_share)
            heard = outbox.since(db, self._overheard)
            now = time.monotonic()
            for item in heard:
                if item.sequence not in rung:
                    rung[item.sequence] = now
                    self._runtime.publish(item.tenant, [item.event])
            # a transaction may take a number early and commit late: look again at the numbers of the last moments
            for sequence in sorted(rung):
                if now - rung[sequence] < _LATE_COMMIT:
                    break
                self._overheard = sequence
                del rung[sequence]

    def _tick(self) -> None:
        due = [0.0] * len(self._timers)
        elapsed = 0.0
        while not self._pause():
            elapsed += TICK
            for index, (seconds, work) in enumerate(self._timers):
                if elapsed < due[index]:
                    continue
                due[index] = elapsed + seconds
                try:
                    for tenant in self._tenants():
                        self._runtime.transact(system(tenant), work)
                except Exception as problem:  # as above
                    if isinstance(problem, Unavailable | sa.exc.DBAPIError):
                        self._runtime.listen_anew()
                    log.exception("timer %s failed; trying again", getattr(work, "__name__", work))

    def _work(self) -> None:
        due = [time.monotonic() + seconds for seconds, _ in self._chores]
        while not self._stop.wait(TICK):
            for index, (seconds, work) in enumerate(self._chores):
                if time.monotonic() < due[index] or self._stop.is_set():
                    continue
                due[index] = time.monotonic() + seconds
                try:
                    for tenant in self._tenants():
                        work(self._runtime, system(tenant))
                except Exception:  # as above
                    log.exception("chore %s failed; trying again", getattr(work, "__name__", work))

    def _pause(self) -> bool:
        """Wait for the next tick; whether it is the end. A machine that slept and a clock that jumped are noticed."""
        asleep = time.monotonic()
        ended = self._stop.wait(TICK)
        awake = time.monotonic()
        offset = self._runtime.clock.now() / 1_000_000 - awake
        if awake - asleep > TICK + self._runtime.deaf_after or abs(offset - self._offset) > self._runtime.deaf_after:
            self._runtime.listen_anew()
        self._offset = offset
        return ended
