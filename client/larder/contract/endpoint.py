"""An endpoint is written once; the server binds a function to it, the client calls it, the documents are made from it."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

Body = TypeVar("Body")
Result = TypeVar("Result")


class Role(StrEnum):
    """What a token may do; each role may do all that the roles before it may."""

    VIEWER = "viewer"
    CONTRIBUTOR = "contributor"
    MAINTAINER = "maintainer"
    ADMIN = "admin"

    def includes(self, other: "Role") -> bool:
        """Whether this role may do what `other` may."""
        return _RANKS[self] >= _RANKS[other]


_RANKS = {role: rank for rank, role in enumerate(Role)}


@dataclass(frozen=True)
class Endpoint(Generic[Body, Result]):
    """One operation: `{names}` in the path are arguments; a GET's body travels as query parameters.

    `for_runs`: the token of a run, which an agent hands to what it executes, may call it although it changes something;
    the use case itself sees to it that only that run, and what that run has made, is changed.
    `for_shares`: the token of a share may call it; the use case itself sees to it that only what the share names is read.
    """

    method: str
    path: str
    body: type[Body]
    result: type[Result]
    summary: str
    role: Role = Role.VIEWER
    for_runs: bool = False
    for_shares: bool = False


@dataclass(frozen=True)
class Nothing:
    """An empty body or an empty result."""


@dataclass(frozen=True, kw_only=True)
class Problem:
    """The one shape in which every refusal travels."""

    code: str
    message: str
    hint: str = ""
    field: str = ""
    position: int | None = None


class Bytes:
    """Marks a body or result that is a stream of raw bytes, not a document."""


class Feed:
    """Marks a result that is a stream of server-sent events, which has no end."""
