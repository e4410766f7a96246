"""Wakes those who wait for an event: long polls and live pages. What is missed here is found by asking again."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from larder_server.kernel.outbox import Event


@dataclass(eq=False)
class Waiter:
    """Somebody who waits for an event that they want."""

    wants: Callable[[Event], bool]
    alone: bool
    woken: asyncio.Event = field(default_factory=asyncio.Event)

    async def wait(self, seconds: float) -> bool:
        """Wait for a wanted event; whether one came."""
        try:
            await asyncio.wait_for(self.woken.wait(), seconds)
        except TimeoutError:
            return False
        self.woken.clear()
        return True


class Hub:
    """The waiters of every tenant. Lives on the event loop; `publish` may be called from any thread."""

    def __init__(self) -> None:
        self._waiters: dict[str, dict[Waiter, None]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self.closed = False

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Name the loop on which the waiters wait."""
        self._loop = loop

    @contextmanager
    def waiter(self, tenant: str, wants: Callable[[Event], bool], *, alone: bool) -> Iterator[Waiter]:
        """Stand in line for events; ask for the state after this, so that nothing falls between."""
        waiter = Waiter(wants, alone)
        line = self._waiters.setdefault(tenant, {})
        line[waiter] = None
        try:
            yield waiter
        finally:
            del line[waiter]
            if not line and self._waiters.get(tenant) is line:
                del self._waiters[tenant]

    def publish(self, tenant: str, events: Sequence[Event]) -> None:
        """Tell the waiters of a tenant what was committed."""
        if self._loop is not None and events and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._wake, tenant, list(events))

    def close(self) -> None:
        """Wake everybody for good: the server is going, and each shall be answered with what there is. On the loop."""
        self.closed = True
        for line in self._waiters.values():
            for waiter in line:
                waiter.woken.set()

    def _wake(self, tenant: str, events: list[Event]) -> None:
        for event in events:
            taken = False
            for waiter in self._waiters.get(tenant, {}):
                if waiter.alone and (taken or waiter.woken.is_set()):
                    continue
                if waiter.wants(event):
                    waiter.woken.set()
                    taken = taken or waiter.alone
