"""What looks at the database have found, kept in this process until an event says that it may be otherwise."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from larder_server.kernel.clock import Clock
from larder_server.kernel.notes import Notes
from larder_server.kernel.outbox import Event

Forget = Callable[[Event], tuple[str, str]]
"""Topic and key of the fact that holds no longer after an event."""


@dataclass(frozen=True, kw_only=True)
class Fact:
    """Something found in a transaction; to be looked up again after `seconds`, whether or not an event came."""

    topic: str
    key: str
    value: Any
    seconds: float


class Memory:
    """Facts by tenant, topic and key.

    Promises: a fact is not recalled once `hear` was told of an event that ends it, also when it was found before that
    event and is kept after it. When its time is over, one who asks for it is told nothing and looks again. Who may sleep on a fact stands in the hub's line first and recalls it then: the hub
    lets the memory hear before it wakes. Facts may be lost at any time. Every method may be called from any thread.
    """

    MOST = 50_000

    def __init__(self, forgets: Mapping[str, Forget] | None = None, *, hears_all: bool = True) -> None:
        """`forgets` says by the name of an event what it ends. Without `hears_all` nothing is kept before `listen`."""
        self._forgets = dict(forgets or {})
        self._lock = threading.Lock()
        self._facts: dict[tuple[str, str, str], tuple[float, Any]] = {}
        self._hears_all = hears_all
        self.changes = 0
        """How many events have ended facts; read it before the look at the database."""

    def listen(self) -> None:
        """From now on every event, also of other servers on the same database, comes to `hear`."""
        with self._lock:
            self.changes += 1  # a look that began before this may have missed something
            self._hears_all = True

    def keep(self, tenant: str, facts: Sequence[Fact], *, since: int) -> None:
        """Keep what was found, unless something has changed `since`."""
        until = time.monotonic()
        with self._lock:
            if since != self.changes or not self._hears_all:
                return
            if len(self._facts) + len(facts) > self.MOST:
                self._facts.clear()
            for fact in facts:
                self._facts[tenant, fact.topic, fact.key] = (until + fact.seconds, fact.value)

    def recall(self, tenant: str, topic: str, key: str) -> Any | None:
        """The value of a fact that is known, else None."""
        place = (tenant, topic, key)
        until, value = self._facts.get(place, _UNKNOWN)
        if (now := time.monotonic()) < until:
            return value
        if until:
            with self._lock:
                # one looks again, and meanwhile the fact is good for those who ask in the same moment
                if self._facts.get(place) == (until, value):
                    self._facts[place] = (now + _LOOKING, value)
        return None

    def hear(self, tenant: str, events: Sequence[Event]) -> None:
        """Forget what these events of a tenant may have changed."""
        for event in events:
            if (forget := self._forgets.get(event.name)) is not None:
                topic, key = forget(event)
                with self._lock:
                    self.changes += 1
                    self._facts.pop((tenant, topic, key), None)


_UNKNOWN = (0.0, None)
_LOOKING = 1.0


@dataclass(frozen=True, kw_only=True)
class Recollection:
    """What a server knows of a tenant without its database, and where small facts go: for answers on the event loop."""

    tenant: str
    clock: Clock
    memory: Memory
    notes: Notes

    def recall(self, topic: str, key: str) -> Any | None:
        """The value of a fact that is known, else None."""
        return self.memory.recall(self.tenant, topic, key)

    def note(self, topic: str, key: str, value: Any) -> None:
        """As `Context.note`."""
        self.notes.put(self.tenant, topic, key, value)
