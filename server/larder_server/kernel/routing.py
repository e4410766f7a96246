"""Bind an endpoint to the function that answers it; the types must agree."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Concatenate

from larder.contract.endpoint import Body, Bytes, Endpoint, Feed, Nothing, Result
from larder_server.kernel.context import Context
from larder_server.kernel.memory import Recollection
from larder_server.kernel.objects import ObjectStore
from larder_server.kernel.outbox import Event
from larder_server.kernel.steps import Steps


@dataclass(frozen=True, kw_only=True)
class Download:
    """What an endpoint with a `Bytes` result answers: the object to stream.

    With a `media_type` that browsers may be shown it is for a page, sandboxed; without it is for a file.
    """

    hash: str
    size: int
    name: str
    media_type: str = ""


@dataclass(frozen=True, kw_only=True)
class Written:
    """What an endpoint with a `Bytes` result answers when the bytes are made while they are sent.

    Each of `parts` is called in a view of its own, after the one before it was taken by the asker.
    """

    name: str
    media_type: str
    parts: Iterable[Callable[[Context], bytes]]


@dataclass(frozen=True, kw_only=True)
class Stream:
    """What an endpoint with a `Bytes` result answers when it has the bytes in pieces, `size` together.

    `media_type` as with a `Download`; `tag` names the bytes for a browser that has them already.
    """

    name: str
    size: int
    pieces: Iterator[bytes]
    media_type: str = ""
    tag: str = ""


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """How an endpoint waits: until the answer satisfies, for as long as the body allows, woken by wanted events."""

    satisfied: Callable[[Any], bool]
    seconds: Callable[[Any], float]
    wants: Callable[[Any, Event, dict[str, str]], bool]
    alone: bool = False
    """Each event wakes one waiter only: for work that only one can take."""
    woken_is_enough: bool = False
    """Answer after the first wanted event, satisfied or not: for those who look at the state themselves."""
    names: frozenset[str] = frozenset()
    """The names of the events that may be wanted; empty for any."""
    worth: Callable[[Context, Any], bool] | None = None
    """In a view: whether the answer would change or give anything. Until then no transaction is opened."""
    idle: Callable[[Recollection, Any], bool] | None = None
    """Whether it is known without the database that `worth` says no. On the event loop: must not block."""
    nothing: Callable[[Any], Any] | None = None
    """The answer that was never worth giving; goes with `worth`."""
    still: Callable[[Context, Event], bool] | None = None
    """In a view: whether an event that did not satisfy the one whom it woke may be of use to another."""


@dataclass(frozen=True, kw_only=True)
class Route:
    """An endpoint with its answer, ready for the edge."""

    endpoint: Endpoint[Any, Any]
    answer: Callable[..., Any]
    waiting: Waiting | None = None
    steps: bool = False
    """The answer opens its views and transactions itself."""
    foreign: "Foreign | None" = None


Foreign = Callable[[Mapping[str, str], bytes], Any]
"""Reads a body out of headers and bytes, where others say how it travels; None where it travels as all others do."""

Upload = Callable[[ObjectStore, str, AsyncIterator[bytes], str], Awaitable[None]]


def bind(
    endpoint: Endpoint[Body, Result],
    answer: Callable[Concatenate[Context, Body, ...], Result],
    *,
    waiting: Waiting | None = None,
    foreign: Foreign | None = None,
) -> Route:
    """Answer with a function of context, body and the path's arguments."""
    return Route(endpoint=endpoint, answer=answer, waiting=waiting, foreign=foreign)


def bind_steps(endpoint: Endpoint[Body, Result], answer: Callable[Concatenate[Steps, Body, ...], Result]) -> Route:
    """Answer with a function that opens its views and transactions itself: for what would lock the others out too long."""
    return Route(endpoint=endpoint, answer=answer, steps=True)


def bind_stream(endpoint: Endpoint[Body, Bytes], answer: Callable[Concatenate[Steps, Body, ...], Stream]) -> Route:
    """Answer with bytes in pieces, by a function that opens its views and transactions itself."""
    return Route(endpoint=endpoint, answer=answer, steps=True)


def bind_download(
    endpoint: Endpoint[Body, Bytes], answer: Callable[Concatenate[Context, Body, ...], Download | Written]
) -> Route:
    """Answer with the object that the function names, or with what it writes."""
    return Route(endpoint=endpoint, answer=answer)


def bind_upload(endpoint: Endpoint[Bytes, Nothing], answer: Upload) -> Route:
    """Take a stream of bytes: the function is given the object store, the tenant, the stream and the hash."""
    return Route(endpoint=endpoint, answer=answer)


@dataclass(frozen=True, kw_only=True)
class From:
    """Where a feed begins: after the number of an event, or so many microseconds ago."""

    after: int | None = None
    ago: int = 0


def bind_feed(endpoint: Endpoint[Body, Feed], begin: Callable[[Body], From]) -> Route:
    """Answer with what happens in the tenant, from where the function says on."""
    return Route(endpoint=endpoint, answer=begin)
