"""What a token looks like and when it is good. Pure."""

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass

from larder.contract.endpoint import Role
from larder.contract.errors import Denied, Invalid
from larder.contract.tenants import NewToken, Token

DAY = 86_400_000_000
"""Microseconds in a day."""


@dataclass(frozen=True, kw_only=True)
class Secret:
    """The parts of a token's secret: `larder_TENANT.ID.RANDOM`."""

    tenant: str
    id: str
    random: str

    def __str__(self) -> str:
        return f"larder_{self.tenant}.{self.id}.{self.random}"

    @property
    def digest(self) -> str:
        """SHA-256 of the random part: 256 random bits need no slow hash."""
        return hashlib.sha256(self.random.encode()).hexdigest()


def new_secret(tenant: str, id: str) -> Secret:
    """A secret with 256 random bits."""
    return Secret(tenant=tenant, id=id, random=secrets.token_urlsafe(32))


def parse(text: str) -> Secret | None:
    """The parts of a secret, None when the text has another shape."""
    head, _, rest = text.partition("_")
    parts = rest.split(".")
    if head != "larder" or len(parts) != 3 or not all(parts) or len(text) > 500 or not text.isprintable():
        return None
    return Secret(tenant=parts[0], id=parts[1], random=parts[2])


@dataclass(frozen=True, kw_only=True)
class RunSecret:
    """The parts of the secret of a run's own token: `larder_TENANT.run-RUN.FENCE.SIGNATURE`. It is stored nowhere."""

    tenant: str
    run: str
    fence: int
    signature: str

    def __str__(self) -> str:
        return f"larder_{self.tenant}.run-{self.run}.{self.fence}.{self.signature}"

    def signed_by(self, key: str) -> bool:
        """Whether the signature is that of a key."""
        good = signature(key, tenant=self.tenant, run=self.run, fence=self.fence)
        return bool(key) and hmac.compare_digest(good, self.signature)


def new_key() -> str:
    """A key with which the tokens of a tenant's runs are signed."""
    return secrets.token_hex(32)


def signature(key: str, *, tenant: str, run: str, fence: int) -> str:
    """HMAC-SHA-256 of what a run's token says."""
    return hmac.new(bytes.fromhex(key), f"{tenant}\n{run}\n{fence}".encode(), hashlib.sha256).hexdigest()


def parse_run(text: str) -> RunSecret | None:
    """The parts of the secret of a run's token, None when the text has another shape."""
    head, _, rest = text.partition("_")
    parts = rest.split(".")
    if head != "larder" or len(parts) != 4 or len(text) > 500 or not text.isascii() or not text.isprintable():
        return None
    tenant, run, fence, signed = parts
    if not tenant or not run.startswith("run-") or not re.fullmatch(r"[1-9]\d{0,17}|0", fence) or not signed:
        return None
    return RunSecret(tenant=tenant, run=run.removeprefix("run-"), fence=int(fence), signature=signed)


def lifetime(days: int) -> int:
    """A token's lifetime in microseconds; Invalid outside 1 to 3650 days."""
    if not 1 <= days <= 3650:
        raise Invalid(f"a token lives 1 to 3650 days, not {days}", field="days")
    return days * DAY


def user_name(name: str) -> str:
    """The name, when it may be a user's; Invalid otherwise."""
    if not 0 < len(name) <= 200 or not name.isprintable():
        raise Invalid("a user's name has 1 to 200 printable characters", field="user")
    return name


def team_name(name: str) -> str:
    """The name, when it may be a team's; Invalid otherwise. A user needs none."""
    if len(name) > 100 or not name.isprintable() or name != name.strip():
        raise Invalid("a team's name has at most 100 printable characters and no space at its ends", field="team")
    return name


def token_name(name: str) -> str:
    """The name, when it may be a token's; Invalid otherwise. A token needs none."""
    if len(name) > 200 or not name.isprintable():
        raise Invalid("a token's name has at most 200 printable characters", field="name")
    return name


LONGEST_OWN = 365
"""Days that a token lives at most when who is no admin has made it."""


def of_a_person(run: str) -> None:
    """Denied when a run asks: it has one token, which ends with it."""
    if run:
        raise Denied(f"the token of run {run} may not do this: manage tokens", hint="use a token of your own")


def may_issue(order: NewToken, *, user: str, asking: str, held: Role) -> None:
    """Denied, unless an admin asks, for a token of somebody else, with more rights, or for more than a year."""
    if held.includes(Role.ADMIN):
        return
    if order.evaluator:
        raise Denied("only an admin makes tokens that open what is blind", field="evaluator")
    if user != asking:
        raise Denied(f"only an admin makes tokens for others; this token is {asking}'s", field="user")
    if not held.includes(order.role):
        raise Denied(f"a token with the role {held} makes none with the role {order.role}", field="role")
    if order.days > LONGEST_OWN:
        raise Denied(f"a token that you make for yourself lives at most {LONGEST_OWN} days", field="days")


def may_manage(token: Token, asking: str, held: Role) -> bool:
    """Whether somebody sees and revokes a token."""
    return held.includes(Role.ADMIN) or token.user == asking
