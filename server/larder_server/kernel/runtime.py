"""Opens a context for a piece of work and, once it is durable, tells everybody what it changed."""

import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from larder.contract.endpoint import Role
from larder.contract.tenants import Identity
from larder_server.kernel import outbox
from larder_server.kernel.clock import Clock, SystemClock
from larder_server.kernel.context import Context
from larder_server.kernel.database import Database, Statements
from larder_server.kernel.hub import Hub
from larder_server.kernel.objects import ObjectStore
from larder_server.kernel.outbox import Event, Handlers

log = logging.getLogger(__name__)

Result = TypeVar("Result")
Timer = tuple[float, Callable[[Context], object]]
SYSTEM = "system"


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

    def view(self, identity: Identity, work: Callable[[Context], Result]) -> Result:
        """Do work that changes nothing, on a consistent view."""
        with self.database.read() as connection:
            return work(self._context(identity, Statements(connection, identity.tenant)))

    def transact(self, identity: Identity, work: Callable[[Context], Result]) -> Result:
        """Do work in one transaction; its events are handed out after the commit."""
        emitted: list[Event] = []

        def in_transaction(connection: object) -> Result:
            context = self._context(identity, Statements(connection, identity.tenant))  # type: ignore[arg-type]
            result = work(context)
            emitted[:] = context.emitted
            return result

        result = self.database.write(in_transaction)
        self.hub.publish(identity.tenant, emitted)
        if any(event.name in self.handlers for event in emitted):
            self.dispatch_soon.set()
        return result

    dispatch_soon: threading.Event = field(default_factory=threading.Event)

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
            awaited=frozenset(self.handlers),
        )


class Background:
    """Two threads beside the requests: one hands out events, one performs the slices' timers for every tenant."""

    def __init__(self, runtime: Runtime, timers: Iterable[Timer], tenants: Callable[[], Sequence[str]]) -> None:
        self._runtime, self._timers, self._tenants = runtime, list(timers), tenants
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._dispatch, name="larder-dispatch", daemon=True),
            threading.Thread(target=self._tick, name="larder-timers", daemon=True),
        ]

    def start(self) -> None:
        """Begin."""
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

    def _tick(self) -> None:
        due = [0.0] * len(self._timers)
        elapsed = 0.0
        while not self._stop.wait(0.5):
            elapsed += 0.5
            for index, (seconds, work) in enumerate(self._timers):
                if elapsed < due[index]:
                    continue
                due[index] = elapsed + seconds
                try:
                    for tenant in self._tenants():
                        self._runtime.transact(system(tenant), work)
                except Exception:  # as above
                    log.exception("timer %s failed; trying again", getattr(work, "__name__", work))
