"""Tells open pages what happens: the outbox of a tenant is read once for all of them, as soon as something is in it."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
from anyio import to_thread

from larder.contract import events as contract
from larder.contract import live
from larder_server.kernel import outbox
from larder_server.kernel.outbox import Event
from larder_server.kernel.routing import From
from larder_server.kernel.runtime import Runtime, system

BEAT = 10.0
"""Seconds of silence after which a page is told that the server lives."""

NOTICES_APART = 0.5
"""Seconds between two notices of one kind about one subject."""

MOST = 200
"""Events that are told one by one; whoever missed more shall look at everything anew."""

BEHIND = 64
"""Messages that may wait for a slow page before they are dropped and it is told so."""

_GATHER = 0.02
_LATE_COMMIT = 2.0
_LONGEST_DATA = 2_000
_PAGE = 1_000
_encode = msgspec.json.Encoder(enc_hook=str).encode

LOST = b"event: lost\ndata: {}\n\n"
_BEAT = b"event: beat\ndata: {}\n\n"


class Live:
    """The open pages of every tenant. Lives on the event loop.

    `notices` are the names of signals, which are in no outbox, that pages hear as well.
    """

    def __init__(self, runtime: Runtime, *, notices: frozenset[str], version: str = "") -> None:
        self._runtime, self._notices, self._version = runtime, notices, version
        self._channels: dict[str, _Channel] = {}

    async def follow(self, tenant: str, begin: From, alive: Callable[[], Awaitable[bool]]) -> AsyncIterator[bytes]:
        """Messages until the server goes, or `alive`, asked now and then, says that this page may hear no more."""
        channel = self._channels.get(tenant)
        if channel is None:
            channel = self._channels[tenant] = _Channel(self._runtime, tenant, self._notices)
        follower = _Follower()
        try:
            # first in line, then the state: nothing falls between
            missed = await channel.join(follower, begin)
            hello = live.Hello(last=missed.last, resumed=missed.resumed, version=self._version)
            yield b"retry: 1000\n" + _message(_encode(hello), mark=missed.last, name="hello")
            if missed.events:
                yield _message(_encode([_short(event) for event in missed.events]), mark=missed.last)
            asked = time.monotonic()
            while not self._runtime.hub.closed:
                message = await follower.next(BEAT)
                if time.monotonic() - asked >= BEAT:
                    asked = time.monotonic()
                    if not await alive():
                        return
                yield message or _BEAT
        finally:
            if channel.leave(follower) and self._channels.get(tenant) is channel:
                del self._channels[tenant]


@dataclass(frozen=True, kw_only=True)
class _Missed:
    last: int
    resumed: bool = False
    events: Sequence[contract.Event] = ()


@dataclass(eq=False)
class _Follower:
    """One open page: the messages that it has still to be sent. The bytes are shared by all pages."""

    waiting: deque[bytes] = field(default_factory=deque)
    rung: asyncio.Event = field(default_factory=asyncio.Event)

    def give(self, message: bytes) -> None:
        if len(self.waiting) >= BEHIND:
            self.waiting.clear()
            message = LOST
        self.waiting.append(message)
        self.rung.set()

    async def next(self, seconds: float) -> bytes:
        """The next message; empty when none came in time, or the server goes."""
        if not self.waiting:
            self.rung.clear()
            try:
                async with asyncio.timeout(seconds):
                    await self.rung.wait()
            except TimeoutError:
                pass
        return self.waiting.popleft() if self.waiting else b""


class _Channel:
    """The pages of one tenant, and the one task that reads for them."""

    def __init__(self, runtime: Runtime, tenant: str, notices: frozenset[str]) -> None:
        self._runtime, self._tenant, self._notices = runtime, tenant, notices
        self._followers: dict[_Follower, None] = {}
        self._rung = asyncio.Event()
        self._unread = False
        self._due: dict[tuple[str, str], Event] = {}
        self._told: dict[tuple[str, str], float] = {}
        self._last = -1
        # numbers above `_last` that were told already: a transaction may take a number early and commit late
        self._given: dict[int, float] = {}
        self._task: asyncio.Task[None] | None = None
        self._begun = asyncio.Lock()

    async def join(self, follower: _Follower, begin: From) -> _Missed:
        self._followers[follower] = None
        async with self._begun:
            if self._task is None:
                self._last = (await self._read(-1)).last
                self._runtime.hub.listen(self._tenant, self._hear)
                self._task = asyncio.create_task(self._run())
        after = begin.after
        if after is None or after < 0:
            recent: Sequence[contract.Event] = ()
            if begin.ago:
                first = self._runtime.clock.now() - begin.ago
                recent = [e for e in (await self._read(max(0, self._last - MOST))).events if e.time >= first]
            return _Missed(last=self._last, events=recent)
        missed = (await self._read(after)).events
        whole = len(missed) <= MOST
        return _Missed(last=self._last, resumed=whole and after <= self._last, events=missed if whole else ())

    def leave(self, follower: _Follower) -> bool:
        """Whether it was the last one."""
        self._followers.pop(follower, None)
        if self._followers:
            return False
        self._runtime.hub.forget(self._tenant, self._hear)
        if self._task is not None:
            self._task.cancel()
        return True

    def _hear(self, emitted: Sequence[Event]) -> None:
        for event in emitted:
            if event.name in self._notices:
                self._due[event.name, event.subject] = event
            else:
                self._unread = True
        self._rung.set()
        if self._runtime.hub.closed:
            for follower in self._followers:
                follower.rung.set()

    async def _run(self) -> None:
        while not self._runtime.hub.closed:
            try:
                async with asyncio.timeout(self._pause()):
                    await self._rung.wait()
            except TimeoutError:
                pass
            await asyncio.sleep(_GATHER)  # what comes together is told together
            self._rung.clear()
            found: list[contract.Event] = []
            if self._unread or self._given:
                self._unread = False
                try:
                    found = await self._news()
                except Exception:  # the database may be away for a while; pages stay, and are told when it is back
                    self._unread = True
                    await asyncio.sleep(1.0)
                    self._rung.set()
                    continue
            self._tell(found)

    def _pause(self) -> float | None:
        """Seconds until there is something to do although nothing rings; None: for ever."""
        now = time.monotonic()
        due = [max(0.0, self._told.get(key, 0.0) + NOTICES_APART - now) for key in self._due]
        if self._given:
            due.append(_LATE_COMMIT)
        return min(due) if due else None

    def _tell(self, found: Sequence[contract.Event]) -> None:
        now = time.monotonic()
        news = [event for event in found if event.sequence not in self._given]
        if self._runtime.database.sqlite:
            if found:
                self._last = found[-1].sequence
        else:
            self._given.update((event.sequence, now) for event in news)
            for sequence in sorted(self._given):
                if now - self._given[sequence] < _LATE_COMMIT:
                    break
                self._last = sequence
                del self._given[sequence]
        if len(news) > MOST:
            self._give(LOST)
        notices = [key for key in self._due if now - self._told.get(key, -NOTICES_APART) >= NOTICES_APART]
        self._told = {key: told for key, told in self._told.items() if now - told < NOTICES_APART}
        self._told.update((key, now) for key in notices)
        said = [_notice(self._due.pop(key)) for key in notices]
        if len(news) <= MOST:
            said = [*map(_short, news), *said]
        if said:
            self._give(_message(_encode(said), mark=self._last))

    def _give(self, message: bytes) -> None:
        for follower in self._followers:
            follower.give(message)

    async def _news(self) -> list[contract.Event]:
        found: list[contract.Event] = []
        after = self._last
        while True:
            page = (await self._read(after, limit=_PAGE)).events
            found += page
            if len(page) < _PAGE:
                return found
            after = page[-1].sequence

    async def _read(self, after: int, *, limit: int = MOST + 1) -> contract.Events:
        query = contract.EventQuery(after=after, limit=limit)
        return await to_thread.run_sync(
            self._runtime.view, system(self._tenant), lambda context: outbox.read(context.db, query)
        )


def _message(data: bytes, *, mark: int, name: str = "") -> bytes:
    kind = f"event: {name}\n" if name else ""
    return f"id: {mark}\n{kind}data: ".encode() + data + b"\n\n"


def _short(event: contract.Event) -> dict[str, Any]:
    said: dict[str, Any] = msgspec.to_builtins(event)
    if len(_encode(event.data)) > _LONGEST_DATA:
        said["data"] = {}
    return said


def _notice(event: Event) -> dict[str, Any]:
    return {"sequence": 0, "name": event.name, "subject": event.subject, "time": 0, "user": "", "data": event.data}
