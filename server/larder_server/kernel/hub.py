"""Wakes those who wait for an event: long polls and live pages. What is missed here is found by asking again."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from larder_server.kernel.outbox import Event


@dataclass(eq=False)
class Waiter:
    """Somebody who waits for an event that they want. `event` is the one that woke them last."""

    wants: Callable[[Event], bool]
    alone: bool
    woken: bool = False
    event: Event | None = None
    _asleep: asyncio.Future[None] | None = None

    async def wait(self, seconds: float) -> bool:
        """Wait for a wanted event; whether one came."""
        if not self.woken:
            # a bare future and a bare timer: thousands wait here, and each end of a wait is paid for
            loop = asyncio.get_running_loop()
            self._asleep = loop.create_future()
            timer = loop.call_later(seconds, _release, self._asleep)
            try:
                await self._asleep
            finally:
                timer.cancel()
                self._asleep = None
        woken, self.woken = self.woken, False
        return woken

    def wake(self, event: Event | None) -> None:
        """Let the waiter go on; without an event, for good."""
        if event is not None:
            self.event = event
        self.woken = True
        if self._asleep is not None:
            _release(self._asleep)


def _release(asleep: asyncio.Future[None]) -> None:
    if not asleep.done():
        asleep.set_result(None)


@dataclass
class _Line:
    """Those who wait for events of one name: each event wakes every one of `all`, and one of `alone`."""

    all: dict[Waiter, None] = field(default_factory=dict)
    alone: dict[Waiter, None] = field(default_factory=dict)


class Hub:
    """The waiters of every tenant. Lives on the event loop; `publish` may be called from any thread."""

    def __init__(self) -> None:
        # by tenant and name of event, "" for any: thousands who wait for work cost nothing when a metric is logged
        self._lines: dict[tuple[str, str], _Line] = {}
        self._listeners: dict[str, dict[Callable[[Sequence[Event]], None], None]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self.closed = False
        self.waiting = 0
        """How many wait."""

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Name the loop on which the waiters wait."""
        self._loop = loop

    @contextmanager
    def waiter(
        self, tenant: str, wants: Callable[[Event], bool], *, alone: bool, names: frozenset[str] = frozenset()
    ) -> Iterator[Waiter]:
        """Stand in line for events of these names (of any, when empty). Ask for the state after this, so that nothing
        falls between."""
        waiter = Waiter(wants, alone)
        keys = [(tenant, name) for name in names or {""}]
        for key in keys:
            line = self._lines.setdefault(key, _Line())
            (line.alone if alone else line.all)[waiter] = None
        self.waiting += 1
        try:
            yield waiter
        finally:
            self.waiting -= 1
            for key in keys:
                line = self._lines[key]
                del (line.alone if alone else line.all)[waiter]
                if not line.alone and not line.all:
                    del self._lines[key]
            if alone and waiter.woken and waiter.event is not None:
                # woken in the moment of leaving: somebody else can use it
                self._wake(tenant, [waiter.event], only_alone=True)

    def listen(self, tenant: str, heard: Callable[[Sequence[Event]], None]) -> None:
        """Call `heard` on the loop with every event of a tenant, and with none when the server goes. On the loop."""
        self._listeners.setdefault(tenant, {})[heard] = None

    def forget(self, tenant: str, heard: Callable[[Sequence[Event]], None]) -> None:
        """Call `heard` no more. On the loop."""
        listeners = self._listeners.get(tenant, {})
        listeners.pop(heard, None)
        if not listeners:
            self._listeners.pop(tenant, None)

    def publish(self, tenant: str, events: Sequence[Event]) -> None:
        """Tell the waiters of a tenant what was committed."""
        if self._loop is not None and events and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._wake, tenant, list(events))

    def pass_on(self, tenant: str, event: Event, *, after: Waiter) -> None:
        """The one whom an event woke has no use for it: wake the next in line. On the loop."""
        for name in (event.name, ""):
            line = self._lines.get((tenant, name))
            if line is None or after not in line.alone:
                continue
            waiters = iter(line.alone)
            for waiter in waiters:
                if waiter is after:
                    break
            _wake_first(waiters, event)

    def close(self) -> None:
        """Wake everybody for good: the server is going, and each shall be answered with what there is. On the loop."""
        self.closed = True
        for line in self._lines.values():
            for waiter in [*line.all, *line.alone]:
                waiter.wake(None)
        for listeners in self._listeners.values():
            for heard in listeners:
                heard(())

    def _wake(self, tenant: str, events: list[Event], *, only_alone: bool = False) -> None:
        if not only_alone:
            for heard in self._listeners.get(tenant, ()):
                heard(events)
        for event in events:
            for name in (event.name, ""):
                line = self._lines.get((tenant, name))
                if line is None:
                    continue
                _wake_first(iter(line.alone), event)
                for waiter in () if only_alone else line.all:
                    if waiter.wants(event):
                        waiter.wake(event)


def _wake_first(waiters: Iterator[Waiter], event: Event) -> None:
    for waiter in waiters:
        if not waiter.woken and waiter.wants(event):
            waiter.wake(event)
            return
