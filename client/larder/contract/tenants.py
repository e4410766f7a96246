"""Tenants: who may ask. A token belongs to a user of one tenant, has a role and an expiry, is shown once."""

from dataclasses import dataclass

from larder.contract.endpoint import Endpoint, Nothing, Role


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Who a token speaks for."""

    tenant: str
    user: str
    role: Role


@dataclass(frozen=True, kw_only=True)
class NewToken:
    """A wish for a token; `days` until it expires (1 to 3650)."""

    user: str
    role: Role = Role.CONTRIBUTOR
    name: str = ""
    days: int = 90


@dataclass(frozen=True, kw_only=True)
class Token:
    """A token's facts; times are UTC microseconds."""

    id: str
    user: str
    role: Role
    name: str
    created: int
    expires: int
    last_used: int | None = None


@dataclass(frozen=True, kw_only=True)
class IssuedToken:
    """A fresh token; `secret` is shown this once and stored only as a hash."""

    token: Token
    secret: str


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """All living tokens of the tenant."""

    tokens: list[Token]


WHOAMI = Endpoint("GET", "/v1/whoami", Nothing, Identity, "Who this token speaks for")
ISSUE_TOKEN = Endpoint(
    "POST", "/v1/tokens", NewToken, IssuedToken, "Issue a token; its secret is shown once", Role.ADMIN
)
LIST_TOKENS = Endpoint("GET", "/v1/tokens", Nothing, Tokens, "The living tokens of this tenant", Role.ADMIN)
REVOKE_TOKEN = Endpoint("DELETE", "/v1/tokens/{token_id}", Nothing, Nothing, "Revoke a token at once", Role.ADMIN)
