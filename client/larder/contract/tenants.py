"""Tenants: who may ask. A token belongs to a user of one tenant, has a role and an expiry, is shown once."""

from dataclasses import dataclass

from larder.contract.endpoint import Endpoint, Nothing, Role


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Who a token speaks for. With `run`, the token is that run's own: it reads, and writes for this run only.

    With `share`, it is that of a share: it reads what the share names and nothing else. `token` is the id of the token itself.
    With `evaluator` it opens what is blind.
    """

    tenant: str
    user: str
    role: Role
    team: str = ""
    run: str = ""
    share: str = ""
    token: str = ""
    evaluator: bool = False


@dataclass(frozen=True, kw_only=True)
class NewToken:
    """A wish for a token; `days` until it expires (1 to 3650); for oneself when `user` is empty.

    Who is no admin makes tokens for themselves only, with no more rights than they have, for at most 365 days. Only an
    admin makes one with `evaluator`: it reads the items of blind datasets, and each such read is written down.
    """

    user: str = ""
    role: Role = Role.CONTRIBUTOR
    name: str = ""
    days: int = 90
    evaluator: bool = False


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
    evaluator: bool = False


@dataclass(frozen=True, kw_only=True)
class IssuedToken:
    """A fresh token; `secret` is shown this once and stored only as a hash."""

    token: Token
    secret: str


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """The living tokens: an admin sees those of the tenant, others see their own."""

    tokens: list[Token]


@dataclass(frozen=True, kw_only=True)
class User:
    """A user of the tenant. Queues share their places fairly between teams."""

    name: str
    role: Role
    team: str = ""


@dataclass(frozen=True, kw_only=True)
class Users:
    """The users of the tenant, by name."""

    users: list[User]


@dataclass(frozen=True, kw_only=True)
class ChangeUser:
    """What changes on a user; None leaves as is."""

    team: str | None = None


WHOAMI = Endpoint("GET", "/v1/whoami", Nothing, Identity, "Who this token speaks for")
ISSUE_TOKEN = Endpoint("POST", "/v1/tokens", NewToken, IssuedToken, "Issue a token; its secret is shown once")
LIST_TOKENS = Endpoint("GET", "/v1/tokens", Nothing, Tokens, "The living tokens: all for an admin, else one's own")
REVOKE_TOKEN = Endpoint("DELETE", "/v1/tokens/{token_id}", Nothing, Nothing, "Revoke a token at once")
LIST_USERS = Endpoint("GET", "/v1/users", Nothing, Users, "The users of this tenant with their teams")
CHANGE_USER = Endpoint("PATCH", "/v1/users/{user}", ChangeUser, User, "Put a user into a team", Role.ADMIN)
