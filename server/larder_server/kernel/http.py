"""The edge: HTTP in, one context and one transaction, HTTP out. The only place that knows Starlette."""

import logging
import math
import re
import time
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import lru_cache
from typing import Any, TypeVar, get_origin, get_type_hints
from urllib.parse import quote, unquote_to_bytes, urlsplit

import msgspec
from anyio import to_thread
from prometheus_client import CollectorRegistry, Counter, Histogram
from sqlalchemy.exc import DataError, DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.datastructures import QueryParams
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route as HttpRoute

from larder.contract.endpoint import Bytes, Endpoint, Feed, Nothing, Problem, Role
from larder.contract.errors import Conflict, Denied, Invalid, LarderError, Unauthenticated, Unavailable
from larder.contract.tenants import Identity
from larder_server.kernel import bounds
from larder_server.kernel.context import Context, require
from larder_server.kernel.live import Live
from larder_server.kernel.outbox import Event
from larder_server.kernel.routing import Download, From, Route, Stream, Written
from larder_server.kernel.runtime import Runtime
from larder_server.kernel.steps import Steps

log = logging.getLogger(__name__)

MSGPACK = "application/msgpack"
LARGEST_BODY = 64 << 20
"""Bytes that a document's body may have; streams of bytes have no limit but the disk."""

_STILL = "sandbox; default-src 'none'; img-src 'self' data:; style-src 'unsafe-inline'; frame-ancestors 'self'"
_ALIVE = (
    "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval' data: blob:;"
    " style-src 'unsafe-inline'; img-src data: blob:; font-src data:; worker-src blob:; frame-ancestors 'self'"
)
SHOWN = {
    **dict.fromkeys(("image/png", "image/jpeg", "image/gif", "image/webp", "image/avif", "image/bmp"), _STILL),
    "image/svg+xml": _STILL,
    "text/plain; charset=utf-8": _STILL,
    "text/html; charset=utf-8": _ALIVE,
}
"""What a browser may be shown of what users uploaded, each with the policy it goes out with: of an origin of its own,
without a way to the network; everything else is downloaded. A page (a figure) may run its scripts in there."""

Answer = TypeVar("Answer")
Identify = Callable[[str], Identity | None]
_to_msgpack = msgspec.msgpack.Encoder(enc_hook=str)
_to_json = msgspec.json.Encoder(enc_hook=str)


class Telemetry:
    """Counts for `/metrics`, one registry a server."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter("larder_requests", "Requests answered", ["endpoint", "status"], registry=self.registry)
        self.seconds = Histogram(
            "larder_request_seconds", "Time to answer, without the waiting of long polls", ["endpoint"],
            registry=self.registry, buckets=(0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0),
        )  # fmt: skip
        self.bytes_in = Counter("larder_received_bytes", "Bytes of bodies received", registry=self.registry)


class Edge:
    """Turns routes into HTTP handlers."""

    def __init__(
        self, runtime: Runtime, identify: Identify, cookie: str, *, live: Live, remember: Identify | None = None
    ) -> None:
        """`identify` asks the database who a secret speaks for; `remember` may know it at once, and must not block."""
        self._runtime, self._identify, self._cookie, self._remember = runtime, identify, cookie, remember
        self._live = live
        self.telemetry = Telemetry()

    def routes(self, routes: Sequence[Route]) -> list[HttpRoute]:
        """One HTTP route for each path; static paths come before those with arguments."""
        ordered = sorted(routes, key=lambda route: route.endpoint.path.count("{"))
        return [
            HttpRoute(route.endpoint.path, self._handler(route), methods=[route.endpoint.method]) for route in ordered
        ]

    async def identity(self, request: Request, *, shares: bool = False) -> Identity:
        """Who asks, by the bearer token or by the pages' cookie; Unauthenticated otherwise.

        Denied to the token of a share, unless `shares` says that it is expected.
        """
        scheme, _, secret = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not secret:
            secret = request.cookies.get(self._cookie, "")
            if secret and request.method not in ("GET", "HEAD") and not _same_origin(request):
                raise Unauthenticated("a page of another origin may not act with this browser's sign-in")
        if not secret:
            raise Unauthenticated(
                "no token was given", hint="`larder login URL`, or the header Authorization: Bearer …"
            )
        secret = secret.strip()
        identity = self._remember(secret) if self._remember is not None else None
        if identity is None:
            identity = await to_thread.run_sync(self._identify, secret)
        if identity is None:
            raise Unauthenticated("this token is unknown, revoked or expired", hint="`larder login` with a new one")
        if identity.share and not shares:
            raise Denied("the token of a share opens what it names and nothing else", hint="sign in to see more")
        return identity

    def _handler(self, route: Route) -> Callable[[Request], Awaitable[Response]]:
        endpoint = route.endpoint
        name = f"{endpoint.method} {endpoint.path}"
        read_json = msgspec.json.Decoder(endpoint.body) if endpoint.body is not Bytes else None
        read_msgpack = msgspec.msgpack.Decoder(endpoint.body) if endpoint.body is not Bytes else None
        by_query = endpoint.method in ("GET", "DELETE")

        async def decode(request: Request) -> Any:
            if by_query:
                return _from_query(request.query_params, endpoint.body)
            _from_query(request.query_params, Nothing)
            raw = await _body(request)
            self.telemetry.bytes_in.inc(len(raw))
            if route.foreign is not None and (body := route.foreign(request.headers, raw)) is not None:
                return body
            if not raw and endpoint.body is Nothing:
                return Nothing()
            assert read_json is not None and read_msgpack is not None
            packed = request.headers.get("content-type", "").startswith(MSGPACK)
            return (read_msgpack if packed else read_json).decode(raw)

        async def perform(identity: Identity, body: Any, arguments: dict[str, str]) -> Any:
            def work(context: Context) -> Any:
                context.require(endpoint.role)
                return route.answer(context, body, **arguments)

            if route.steps:
                steps = Steps(runtime=self._runtime, identity=identity, role=endpoint.role)
                return await to_thread.run_sync(lambda: route.answer(steps, body, **arguments))
            run = self._runtime.view if endpoint.method == "GET" else self._runtime.transact
            return await to_thread.run_sync(run, identity, work)

        async def handle(request: Request) -> Response:
            began = time.perf_counter()
            status = 500
            waits = False
            try:
                identity = await self.identity(request, shares=endpoint.for_shares)
                require(identity.role, endpoint.role)
                _check_run(identity, endpoint)
                arguments = _arguments(request)
                if endpoint.body is Bytes:
                    _from_query(request.query_params, Nothing)
                    await route.answer(self._runtime.objects, identity.tenant, request.stream(), **arguments)
                    response = self._respond(request, Nothing())
                else:
                    body = await _sound(decode(request))
                    if endpoint.result is Feed:
                        waits = True
                        response = self._follow(request, identity, route.answer(body))
                        self.telemetry.requests.labels(name, "200").inc()
                        return response
                    if route.waiting is not None and route.waiting.seconds(body) > 0:
                        waits = True
                        answer = await self._wait(route, identity, body, arguments, perform, request)
                    else:
                        answer = await perform(identity, body, arguments)
                    if isinstance(answer, Download):
                        response = await self._download(request, identity, answer)
                    elif isinstance(answer, Stream):
                        response = self._stream(request, answer)
                    elif isinstance(answer, Written):
                        response = self._write(identity, answer, endpoint.role)
                    else:
                        response = self._respond(request, answer)
            except ClientDisconnect:
                response = Response(status_code=400)
            except Exception as problem:  # the edge of the process: whatever happened becomes one shape
                response = self._refuse(request, problem, name)
            status = response.status_code
            self.telemetry.requests.labels(name, str(status)).inc()
            if not waits:
                self.telemetry.seconds.labels(name).observe(time.perf_counter() - began)
            return response

        return handle

    async def _wait(
        self,
        route: Route,
        identity: Identity,
        body: Any,
        arguments: dict[str, str],
        perform: Callable[[Identity, Any, dict[str, str]], Awaitable[Any]],
        request: Request,
    ) -> Any:
        waiting = route.waiting
        assert waiting is not None
        hub, deadline = self._runtime.hub, _deadline(waiting.seconds(body))
        known = self._runtime.recollection(identity.tenant)
        with hub.waiter(
            identity.tenant,
            lambda event: waiting.wants(body, event, arguments),
            alone=waiting.alone,
            names=waiting.names,
        ) as waiter:
            answer = waiting.nothing(body) if waiting.nothing is not None else None
            woken: Event | None = None
            while True:
                # in line first, then what is known: an event that ends it comes to those in line
                idle = waiting.idle is not None and waiting.idle(known, body)
                if not idle and (
                    waiting.worth is None or await self._view(identity, waiting.worth, body, role=route.endpoint.role)
                ):
                    answer = await perform(identity, body, arguments)
                    if waiting.satisfied(answer):
                        return answer
                if (left := deadline - time.monotonic()) <= 0 or hub.closed:
                    return answer
                if woken is not None and waiting.woken_is_enough:
                    return answer
                # what is of no use to this one, such as a job for which it has no room, may be to the next
                if (
                    woken is not None
                    and waiting.still is not None
                    and await self._view(identity, waiting.still, woken, role=route.endpoint.role)
                ):
                    hub.pass_on(identity.tenant, woken, after=waiter)
                rung = await waiter.wait(min(left, self._runtime.ask_again))
                woken = waiter.event if rung else None
                if not rung and time.monotonic() >= deadline:
                    return answer
                if await request.is_disconnected():
                    # who has hung up must not be given what only one can take
                    if woken is not None and waiting.alone:
                        hub.pass_on(identity.tenant, woken, after=waiter)
                    return answer

    async def _view(self, identity: Identity, question: Callable[[Context, Any], bool], of: Any, *, role: Role) -> bool:
        def work(context: Context) -> bool:
            context.require(role)
            return question(context, of)

        return await to_thread.run_sync(self._runtime.view, identity, work)

    def _follow(self, request: Request, identity: Identity, begin: From) -> Response:
        """What happens in the tenant, told as long as this asker may hear it."""
        if re.fullmatch(r"[0-9]{1,18}", last := request.headers.get("last-event-id", "")):
            begin = From(after=int(last))

        async def alive() -> bool:
            try:
                return (await self.identity(request)).tenant == identity.tenant
            except Unauthenticated:
                return False
            except Exception:  # the database may be away for a while: that is no reason to send the page away
                return True

        return StreamingResponse(
            self._live.follow(identity.tenant, begin, alive),
            media_type="text/event-stream",
            headers={"cache-control": "no-store", "x-accel-buffering": "no"},
        )

    def _respond(self, request: Request, answer: Any, status: int = 200) -> Response:
        if MSGPACK in request.headers.get("accept", ""):
            return Response(_to_msgpack.encode(answer), status, media_type=MSGPACK)
        return Response(_to_json.encode(answer), status, media_type="application/json")

    async def _download(self, request: Request, identity: Identity, item: Download) -> Response:
        headers = _of_file(item.name, item.media_type, tag=item.hash)
        if headers["etag"] in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        chunks = await to_thread.run_sync(self._runtime.objects.chunks, identity.tenant, item.hash)
        return StreamingResponse(
            chunks,
            media_type=item.media_type if item.media_type in SHOWN else "application/octet-stream",
            headers={**headers, "content-length": str(item.size)},
        )

    def _stream(self, request: Request, item: Stream) -> Response:
        headers = _of_file(item.name, item.media_type, tag=item.tag)
        if item.tag and headers["etag"] in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return StreamingResponse(
            item.pieces,
            media_type=item.media_type if item.media_type in SHOWN else "application/octet-stream",
            headers={**headers, "content-length": str(item.size)},
        )

    def _write(self, identity: Identity, item: Written, role: Role) -> Response:
        async def chunks() -> AsyncIterator[bytes]:
            for part in item.parts:

                def work(context: Context, part: Callable[[Context], bytes] = part) -> bytes:
                    context.require(role)
                    return part(context)

                yield await to_thread.run_sync(self._runtime.view, identity, work)

        return StreamingResponse(
            chunks(),
            media_type=item.media_type,
            headers={
                "content-disposition": f"attachment; filename*=UTF-8''{quote(item.name)}",
                "cache-control": "no-store",
                "content-security-policy": "sandbox",
                "x-content-type-options": "nosniff",
            },
        )

    def refuse(self, request: Request, problem: Exception) -> Response:
        """A problem in the one shape; for handlers that are not endpoints."""
        return self._refuse(request, problem, request.url.path)

    def _refuse(self, request: Request, problem: Exception, name: str) -> Response:
        error = _as_error(problem)
        if error.status == 500 or isinstance(problem, _UNFIT):
            log.error("%s failed", name, exc_info=problem)
        body = Problem(code=error.code, message=str(error), hint=error.hint, field=error.field, position=error.position)
        response = self._respond(request, body, error.status)
        if error.status == 401:
            response.headers["www-authenticate"] = "Bearer"
        return response


def _of_file(name: str, media_type: str, *, tag: str) -> dict[str, str]:
    """The headers of a file: what a user uploaded never runs as a page of ours."""
    show = media_type in SHOWN
    headers = {
        "content-disposition": f"{'inline' if show else 'attachment'}; filename*=UTF-8''{quote(name.rsplit('/', 1)[-1])}",
        "cache-control": "private, no-cache" if tag else "no-store",
        "content-security-policy": SHOWN[media_type] if show else "sandbox",
        "x-content-type-options": "nosniff",
    }
    return {**headers, "etag": f'"{tag}"'} if tag else headers


def _check_run(identity: Identity, endpoint: Endpoint[Any, Any]) -> None:
    """Denied when a run's own token would change something that is not the run's affair."""
    if identity.run and endpoint.role is not Role.VIEWER and not endpoint.for_runs:
        raise Denied(
            f"the token of run {identity.run} may not do this: {endpoint.summary[:1].lower()}{endpoint.summary[1:]}",
            hint="a run reads, and writes for itself and for the runs that it has made; use a token of your own",
        )


def _as_error(problem: Exception) -> LarderError:
    if isinstance(problem, LarderError):
        return problem
    if isinstance(problem, msgspec.ValidationError):
        # msgspec ends its sentence with the place: "Expected `int`, got `str` - at `$.step`"
        message, _, place = str(problem).partition(" - at ")
        field = re.sub(r"\[(\d+)\]", r".\1", place.rpartition("$")[2].strip("`")).replace("[...]", "").lstrip(".")
        if missing := re.fullmatch(r"Object missing required field `(\w+)`", message):
            field = f"{field}.{missing[1]}" if field else missing[1]
        return Invalid(f"{field + ': ' if field else ''}{message}", field=field)
    if isinstance(problem, msgspec.DecodeError):
        return Invalid(
            f"the body is not readable: {problem}", hint="send JSON or MessagePack and say which in Content-Type"
        )
    if isinstance(problem, _UNFIT):
        # the last line: a slice should have refused it by name
        return Invalid("something in this request does not fit into the database, such as a number beyond 64 bits")
    if isinstance(problem, DBAPIError) and problem.connection_invalidated:
        return Unavailable("the database went away for a moment", hint="try again")
    if isinstance(problem, PoolTimeout) or (isinstance(problem, OperationalError) and _unreachable(problem)):
        return Unavailable("the database cannot be reached now", hint="try again")
    if isinstance(problem, DBAPIError) and "locked" in str(problem.orig):
        return Unavailable("the database is busy", hint="try again")
    if isinstance(problem, DBAPIError) and "disk is full" in str(problem.orig):
        return Unavailable("the server's disk is full", hint="free some space, then try again")
    if isinstance(problem, DBAPIError) and "UNIQUE" in str(problem.orig).upper():
        return Conflict("that exists already")
    return LarderError("the server failed on this request; its log says why")


_UNFIT = (DataError, OverflowError)


def _unreachable(problem: OperationalError) -> bool:
    """Whether PostgreSQL was not there: no state at all, or one of the classes connection, resources, intervention."""
    state = getattr(problem.orig, "sqlstate", "")  # SQLite's errors have none
    return state is None or state[:2] in ("08", "53", "57")


def _deadline(seconds: float) -> float:
    """When a poll that waits so long is answered. Those who wait long are answered together, a little early: what
    answers them lies in the processor's caches then, and each costs less than half of what one alone would."""
    deadline = time.monotonic() + seconds
    return deadline if seconds < _LONG else math.floor(deadline / _TOGETHER) * _TOGETHER


_LONG, _TOGETHER = 10.0, 0.25


async def _sound(decoding: Awaitable[Any]) -> Any:
    """The decoded body, when its texts are Unicode, its nesting has an end and its integers fit into 64 bits."""
    try:
        body = await decoding
    except RecursionError:
        raise Invalid("the body is nested too deep") from None
    except UnicodeError as problem:
        raise Invalid(f"the body holds text that is not UTF-8: {problem}") from None
    bounds.check(body)
    return body


def _arguments(request: Request) -> dict[str, str]:
    """The path's arguments; Invalid unless the whole address is UTF-8, so that nothing is looked up under a guess."""
    for raw in (request.scope.get("raw_path", b""), request.scope.get("query_string", b"")):
        try:
            unquote_to_bytes(raw).decode()
        except UnicodeDecodeError:
            raise Invalid("the address is not UTF-8", hint="percent-encode the UTF-8 bytes of each name") from None
    arguments: dict[str, str] = dict(request.path_params)
    for name, value in arguments.items():
        if len(value) > _LONGEST_ARGUMENT or "\0" in value:
            raise Invalid(f"{name} has at most {_LONGEST_ARGUMENT:,} characters and no NUL", field=name)
    return arguments


_LONGEST_ARGUMENT = 1_000


async def _body(request: Request) -> bytes:
    if int(request.headers.get("content-length") or 0) > LARGEST_BODY:
        raise Invalid(f"the body is larger than {LARGEST_BODY >> 20} MB", hint="send it in smaller parts")
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > LARGEST_BODY:
            raise Invalid(f"the body is larger than {LARGEST_BODY >> 20} MB", hint="send it in smaller parts")
        parts.append(part)
    raw = b"".join(parts)
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding == "gzip":
        return _inflate(raw)
    if encoding != "identity":
        raise Invalid(f"the content encoding {encoding[:100]!r} is not known", hint="send the body plain or as gzip")
    return raw


def _inflate(raw: bytes) -> bytes:
    machine = zlib.decompressobj(wbits=31)
    try:
        data = machine.decompress(raw, LARGEST_BODY)
    except zlib.error as problem:
        raise Invalid(f"the body is not gzip: {problem}") from problem
    if machine.unconsumed_tail:
        raise Invalid(f"the body is larger than {LARGEST_BODY >> 20} MB", hint="send it in smaller parts")
    if not machine.eof or machine.unused_data:
        raise Invalid("the body is not one whole gzip stream: it was cut on the way, or something follows it")
    return data


def _from_query(query: QueryParams, body: type[Any]) -> Any:
    """A GET's body from its query parameters; what is unknown or said twice is refused, so that no filter is lost.

    A list is said once for each of its entries.
    """
    known, lists = _parameters(body)  # type: ignore[arg-type]  # a class has a hash
    given: dict[str, Any] = {}
    for name, value in query.multi_items():
        if name not in known:
            names = f"known: {', '.join(sorted(known))}" if known else "this address takes none"
            raise Invalid(f"there is no parameter {name[:100]!r}; {names}", field=name[:100])
        if name in given and name not in lists:
            raise Invalid(f"the parameter {name!r} is given twice", field=name)
        if "\0" in value:
            raise Invalid(f"the parameter {name!r} holds the character NUL", field=name, position=value.index("\0"))
        if name in lists:
            given.setdefault(name, []).append(value)
        else:
            given[name] = value
    return msgspec.convert(given, body, strict=False)


@lru_cache(maxsize=1000)
def _parameters(body: type[Any]) -> tuple[frozenset[str], frozenset[str]]:
    """The names of a query's parameters, and those among them that are lists: given once for each entry."""
    kinds = get_type_hints(body)
    known = frozenset(kinds)
    return known, frozenset(name for name in known if get_origin(kinds[name]) is list)


def _same_origin(request: Request) -> bool:
    origin = request.headers.get("origin")
    if origin is None:
        return request.headers.get("sec-fetch-site", "none") in ("none", "same-origin")
    return urlsplit(origin).netloc == request.headers.get("host")
