"""Who asks, for which tenant, in which transaction. Every use case takes one."""

from dataclasses import dataclass, field
from typing import Any

from larder.contract.endpoint import Role
from larder.contract.errors import Denied
from larder_server.kernel import outbox
from larder_server.kernel.clock import Clock
from larder_server.kernel.database import Statements
from larder_server.kernel.memory import Fact
from larder_server.kernel.notes import Notes
from larder_server.kernel.objects import ObjectStore
from larder_server.kernel.outbox import Event


@dataclass(frozen=True, kw_only=True)
class Context:
    """One request or job: its tenant, its user, its transaction.

    With `run`, that run's own token asks; with `share`, the token of a share.
    """

    tenant: str
    user: str
    role: Role
    db: Statements
    clock: Clock
    objects: ObjectStore
    team: str = ""
    run: str = ""
    share: str = ""
    token: str = ""
    evaluator: bool = False
    """Whether the token opens what is blind."""
    notes: Notes = field(default_factory=Notes)
    awaited: frozenset[str] = frozenset()
    lease_seconds: float = 30.0
    """How long a holder of leased work may be silent."""
    listening_since: int = 0
    """Since when this server can hear such holders without a break: what they could not tell it was not their fault."""
    emitted: list[Event] = field(default_factory=list)
    found: list[Fact] = field(default_factory=list)

    def emit(self, event: Event) -> None:
        """Write an event into the outbox of this transaction; it is handed out after the commit."""
        outbox.write(self.db, event, time=self.clock.now(), actor=self.user, awaited=event.name in self.awaited)
        self.emitted.append(event)

    def signal(self, event: Event) -> None:
        """Wake those who wait for `event` after the commit, without a trace in the outbox."""
        self.emitted.append(event)

    def note(self, topic: str, key: str, value: Any) -> None:
        """Remember a small fact that need not survive this process; also in a view."""
        self.notes.put(self.tenant, topic, key, value)

    def remember(self, topic: str, key: str, value: Any, *, seconds: float) -> None:
        """Keep a fact found here, for at most so long, until an event ends it; nothing is kept of what was undone."""
        self.found.append(Fact(topic=topic, key=key, value=value, seconds=seconds))

    def take_notes(self, topic: str) -> dict[str, Any]:
        """The facts noted for this tenant since they were last taken, by key."""
        return self.notes.take(self.tenant, topic)

    def require(self, role: Role) -> None:
        """Refuse when the asker's role does not include `role`."""
        require(self.role, role)


def require(held: Role, needed: Role) -> None:
    """Denied unless the role held includes the role needed."""
    if not held.includes(needed):
        raise Denied(
            f"this needs the role {needed}; the token's role is {held}",
            hint="ask an admin of your tenant for a token with that role",
        )
