"""The composition root: the one place that knows every slice."""

import asyncio
import json
import logging
import os
import threading
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from anyio import to_thread
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Match, Mount
from starlette.routing import Route as HttpRoute
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

import larder
import larder_server.migrations
from larder.contract.endpoint import Role
from larder.contract.errors import LarderError, NotFound, Unauthenticated
from larder.contract.tenants import Identity, IssuedToken, NewToken
from larder_server import page_links
from larder_server.comparisons import api as comparisons_api
from larder_server.datasets import api as datasets_api
from larder_server.datasets import jobs as datasets_jobs
from larder_server.kernel import events_api, objects_api, openapi, schema
from larder_server.kernel.actions import Actions
from larder_server.kernel.context import Context
from larder_server.kernel.database import Database
from larder_server.kernel.files import Folder
from larder_server.kernel.http import Edge
from larder_server.kernel.live import Live
from larder_server.kernel.memory import Memory
from larder_server.kernel.objects import ObjectStore
from larder_server.kernel.outbox import Event, Handlers
from larder_server.kernel.routing import Route
from larder_server.kernel.runtime import Background, Chore, Runtime, Timer, system
from larder_server.projects import api as projects_api
from larder_server.queues import api as queues_api
from larder_server.queues import events as queues_events
from larder_server.queues import jobs as queues_jobs
from larder_server.queues import service as queues
from larder_server.runs import api as runs_api
from larder_server.runs import events as runs_events
from larder_server.runs import jobs as runs_jobs
from larder_server.runs import service as runs
from larder_server.schedules import api as schedules_api
from larder_server.schedules import jobs as schedules_jobs
from larder_server.settings import LOOPBACK, Settings
from larder_server.shares import api as shares_api
from larder_server.shares import jobs as shares_jobs
from larder_server.shares import rules as share_rules
from larder_server.shares import service as shares
from larder_server.tenants import api as tenants_api
from larder_server.tenants import jobs as tenants_jobs
from larder_server.tenants import rules as tenant_rules
from larder_server.tenants import service as tenants
from larder_server.views import api as views_api

log = logging.getLogger(__name__)

COOKIE = "larder_session"
SIGNED_IN = "larder_signed_in"
"""A cookie without a secret, for the pages to read: somebody has signed in here, and may sign out."""
_REMEMBERED = 30 * 86400
ACTIONS = Actions({**runs_jobs.ACTIONS, **schedules_jobs.ACTIONS})
ROUTES: list[Route] = [
    *tenants_api.ROUTES,
    *projects_api.ROUTES,
    *views_api.ROUTES,
    *queues_api.ROUTES,
    *datasets_api.ROUTES,
    *runs_api.ROUTES,
    runs_api.taking(queues_api.LEASING),
    *schedules_api.routes(ACTIONS),
    *comparisons_api.ROUTES,
    *shares_api.ROUTES,
    *events_api.ROUTES,
    *objects_api.ROUTES,
]
TIMERS: list[Timer] = [
    *tenants_jobs.TIMERS,
    *queues_jobs.TIMERS,
    *datasets_jobs.TIMERS,
    *runs_jobs.TIMERS,
    *schedules_jobs.TIMERS,
    *shares_jobs.TIMERS,
]
CHORES: list[Chore] = [*datasets_jobs.CHORES]
HANDLERS: Handlers = {name: [handler] for name, handler in runs_jobs.HANDLERS.items()}
NOTICES = frozenset({runs_events.LOGGED, queues_events.AGENT_SEEN})
"""Signals that open pages hear although they are in no outbox."""
FORGETS = queues_jobs.FORGETS


@dataclass(frozen=True, kw_only=True)
class Server:
    """A server ready to answer: its runtime, its ASGI application, and the local user's token."""

    settings: Settings
    runtime: Runtime
    asgi: Starlette
    local_secret: str

    def close(self) -> None:
        """Let go of the database."""
        self.runtime.database.close()


def build(settings: Settings, *, local_secret: str = "") -> Server:
    """Open the database and the object store, bring the tables up to date, bind every endpoint.

    `local_secret` is the local user's token from an earlier start; a new one is made when it is no longer good.
    Raises Conflict when the database is newer than this server, Unavailable when a store does not answer.
    """
    settings.home.mkdir(parents=True, exist_ok=True)
    database = Database(settings.database_url)
    objects = ObjectStore(settings.objects_url)
    objects.check()
    schema.migrate(
        database, scripts=Path(str(resources.files(larder_server.migrations))), backups=settings.home / "backups"
    )
    runtime = Runtime(
        database=database,
        objects=objects,
        handlers=HANDLERS,
        # on PostgreSQL other servers change things, too, and are heard when the background has begun
        memory=Memory(FORGETS, hears_all=database.sqlite),
        lease_seconds=settings.lease_seconds,
        shared_signals=NOTICES,
    )
    runtime.transact(system(settings.tenant), lambda context: tenants.ensure(context, user=local_user()))
    if _identify(runtime, local_secret) is None:
        local_secret = runtime.transact(system(settings.tenant), _local_token).secret
    return Server(
        settings=settings,
        runtime=runtime,
        asgi=_application(settings, runtime, local_secret),
        local_secret=local_secret,
    )


def local_user() -> str:
    """The name of the person who started the server."""
    return os.environ.get("USER") or os.environ.get("USERNAME") or "local"


def api_document() -> dict[str, Any]:
    """The OpenAPI document of this server."""
    return openapi.document(ROUTES, version=larder.__version__)


def _local_token(context: Context) -> IssuedToken:
    return tenants.issue(context, NewToken(user=local_user(), role=Role.ADMIN, name="this machine", days=3650))


def _identify(runtime: Runtime, secret_text: str) -> Identity | None:
    if (secret := tenant_rules.parse(secret_text)) is not None:
        return runtime.view(system(secret.tenant), lambda context: tenants.identify(context, secret))
    if (of_run := tenant_rules.parse_run(secret_text)) is not None:
        return runtime.view(system(of_run.tenant), lambda context: _identify_run(context, of_run))
    if (of_share := share_rules.parse(secret_text)) is not None:
        return runtime.view(system(of_share.tenant), lambda context: shares.identify(context, of_share))
    return None


def _identify_run(context: Context, secret: tenant_rules.RunSecret) -> Identity | None:
    """A run's own token speaks for its owner, in the name of the run, while the lease under which it was given lives."""
    if not tenants.is_signed(context, secret):
        return None
    job = queues.holder(context, kind=runs.KIND, subject=secret.run, fence=secret.fence)
    if job is None:
        return None
    return Identity(
        tenant=context.tenant, user=job.owner, role=Role.CONTRIBUTOR, team=job.team, run=secret.run
    )  # fmt: skip


class _Guests:
    """Who has shown which token, so that not every request asks the database.

    On SQLite only: there every change to tokens and users passes this process, and ends what is remembered. Tokens of
    runs and of shares are not remembered: they end without a word to this class.
    """

    SECONDS = 300.0
    """After so long the database is asked again: what somebody changed by hand in its file counts from then on."""
    MOST = 10_000

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._lock = threading.Lock()
        self._known: dict[str, tuple[float, tenants.Guest]] = {}
        self._changes = 0
        runtime.listeners.append(self._hear)

    def remember(self, secret: str) -> Identity | None:
        """Who the secret speaks for, when that is known."""
        until, guest = self._known.get(secret, (0.0, None))
        if guest is None or time.monotonic() >= until:
            return None
        again = tenants.known_again(guest, self._runtime.notes, now=self._runtime.clock.now())
        if again is not guest:
            with self._lock:
                if self._known.get(secret, (0.0, None))[1] is guest:
                    if again is None:
                        del self._known[secret]
                    else:
                        self._known[secret] = (until, again)
        return None if again is None else again.identity

    def ask(self, secret: str) -> Identity | None:
        """Who the secret speaks for, by the database."""
        if not self._runtime.database.sqlite or (parsed := tenant_rules.parse(secret)) is None:
            return _identify(self._runtime, secret)
        changes = self._changes
        guest = self._runtime.view(system(parsed.tenant), lambda context: tenants.recognise(context, parsed))
        if guest is None:
            return None
        with self._lock:
            if len(self._known) >= self.MOST:
                self._known.clear()
            if changes == self._changes:  # else it may be revoked by now
                self._known[secret] = (time.monotonic() + self.SECONDS, guest)
        return guest.identity

    def _hear(self, emitted: Sequence[Event]) -> None:
        if any(event.name.startswith("tenants.") for event in emitted):
            with self._lock:
                self._changes += 1
                self._known.clear()


class _Application(Starlette):
    """Finds an endpoint without arguments in its path by a look into a table.

    The way through middleware and routes costs as much as an agent's idle question itself. Nothing is lost by leaving it
    out: an endpoint's handler answers whatever happens, and no other route has the same path.
    """

    def __init__(self, endpoints: Sequence[HttpRoute], **options: Any) -> None:
        super().__init__(**options)
        self._plain = {(method, one.path): one.endpoint for one in endpoints if "{" not in one.path
                       for method in one.methods or ()}  # fmt: skip

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        handler = self._plain.get((scope["method"], scope["path"])) if scope["type"] == "http" else None
        if handler is None:
            await super().__call__(scope, receive, send)
        else:
            response = await handler(Request(scope, receive, send))
            await response(scope, receive, send)


def _application(settings: Settings, runtime: Runtime, local_secret: str) -> Starlette:
    guests = _Guests(runtime)
    live = Live(runtime, notices=NOTICES, version=larder.__version__)
    edge = Edge(runtime, guests.ask, COOKIE, live=live, remember=guests.remember)
    background = Background(runtime, TIMERS, lambda: runtime.view(system(""), tenants.every_tenant), CHORES)
    pages = Folder(settings.pages or Path(str(resources.files("larder_server"))) / "pages")
    document = json.dumps(api_document(), indent=1)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        runtime.hub.attach(asyncio.get_running_loop())
        background.start()
        yield
        await to_thread.run_sync(background.stop)

    async def healthz(_: Request) -> Response:
        return JSONResponse({"status": "ok", "version": larder.__version__, "time": runtime.clock.now()})

    async def readyz(_: Request) -> Response:
        def check() -> None:
            with runtime.database.read() as connection:
                connection.exec_driver_sql("select 1")
            runtime.objects.check()

        try:
            await to_thread.run_sync(check)
        except Exception as problem:  # whatever it is, the answer is "not ready", with the reason
            return JSONResponse({"status": "not ready", "reason": str(problem)}, 503)
        return JSONResponse({"status": "ready", "version": larder.__version__})

    async def metrics(_: Request) -> Response:
        from prometheus_client import generate_latest

        return PlainTextResponse(generate_latest(edge.telemetry.registry), media_type="text/plain; version=0.0.4")

    async def openapi_json(_: Request) -> Response:
        return Response(document, media_type="application/json")

    def whole_page(request: Request, status: int = 200) -> Response:
        headers = dict(_PAGE_HEADERS)
        if links := page_links.links(request.scope["path"], request.query_params, pages.text("manifest.json") or "{}"):
            headers["link"] = links
        found = pages.answer(request, "index.html", headers=headers, status=status)
        return found or PlainTextResponse("The pages are not built. In the repository: `make web`.", 503)

    async def page(request: Request) -> Response:
        response = whole_page(request)
        if COOKIE not in request.cookies and settings.local_sign_in and settings.on_loopback and _is_local(request):
            response.set_cookie(COOKIE, local_secret, httponly=True, samesite="strict", max_age=_REMEMBERED)
        return response

    def remember(response: Response, request: Request, secret: str) -> Response:
        secure = request.url.scheme == "https"
        response.set_cookie(COOKIE, secret, httponly=True, samesite="strict", secure=secure, max_age=_REMEMBERED)
        response.set_cookie(SIGNED_IN, "1", samesite="strict", secure=secure, max_age=_REMEMBERED)
        return response

    async def sign_in(request: Request) -> Response:
        """The page that asks for a token; with one in the address, in and on to the page that is wanted."""
        if "token" not in request.query_params:
            return whole_page(request)
        secret = request.query_params["token"]
        identity = await to_thread.run_sync(_identify, runtime, secret)
        if identity is None or identity.share:
            return PlainTextResponse("This token is unknown, revoked or expired. Make one with `larder login`.", 401)
        # back to the page that asked; a path of this server, never another site
        wanted = urlsplit(request.query_params.get("next", "/"))
        path = wanted.path if wanted.path.startswith("/") and not wanted.path.startswith(("//", "/\\")) else "/"
        return remember(RedirectResponse(path + (f"?{wanted.query}" if wanted.query else ""), 303), request, secret)

    async def sign_in_typed(request: Request) -> Response:
        """A token that was typed comes in a header, which no other site can send, and so stands in no address or log."""
        scheme, _, secret = request.headers.get("authorization", "").partition(" ")
        try:
            if scheme.lower() != "bearer" or not secret.strip():
                raise Unauthenticated("no token was given", hint="send the header Authorization: Bearer …")
            await edge.identity(request)
        except LarderError as problem:
            return edge.refuse(request, problem)
        return remember(Response(status_code=204), request, secret.strip())

    async def sign_out(request: Request) -> Response:
        """Forgets the token in this browser; the token itself stays good."""
        response = Response(status_code=204)
        for name in (COOKIE, SIGNED_IN):
            response.delete_cookie(
                name, httponly=name == COOKIE, samesite="strict", secure=request.url.scheme == "https"
            )
        return response

    async def shared_page(request: Request) -> Response:
        # whoever follows a share is nobody here, on this machine too
        return whole_page(request)

    async def page_file(request: Request) -> Response:
        found = pages.answer(request, request.url.path.removeprefix("/"))
        return found or edge.refuse(
            request, NotFound("there is no such file; was the server updated? load the page anew")
        )

    async def api_page(request: Request) -> Response:
        found = pages.answer(request, "api.html", headers=_API_PAGE_HEADERS)
        return found or PlainTextResponse("The pages are not built. In the repository: `make web`.", 503)

    async def not_found(request: Request, _: Exception) -> Response:
        by_hand = request.method == "GET" and "text/html" in request.headers.get("accept", "")
        if by_hand and not request.url.path.startswith("/v1/"):
            return whole_page(request, 404)  # a person's browser: the pages say that there is nothing, and lead back
        return edge.refuse(request, NotFound(f"there is nothing at {request.method} {request.url.path[:200]}"))

    async def wrong_method(request: Request, problem: Exception) -> Response:
        refusal = LarderError(f"{request.url.path[:200]} does not take {request.method[:20]}")
        refusal.status = 405
        response = edge.refuse(request, refusal)
        response.headers["allow"] = ", ".join(_allowed(request) or ["GET"])
        return response

    async def failed(request: Request, problem: Exception) -> Response:
        return edge.refuse(request, problem)

    endpoints = edge.routes(ROUTES)
    application = _Application(
        endpoints,
        routes=[
            *endpoints,
            HttpRoute("/healthz", healthz),
            HttpRoute("/readyz", readyz),
            HttpRoute("/metrics", metrics),
            HttpRoute("/openapi.json", openapi_json),
            *(HttpRoute(path, page) for path in _PAGES),
            HttpRoute("/share/{token}", shared_page),
            *(HttpRoute(path, page_file) for path in _PAGE_FILES),
            HttpRoute("/sign-in", sign_in),
            HttpRoute("/sign-in", sign_in_typed, methods=["POST"]),
            HttpRoute("/sign-out", sign_out, methods=["POST"]),
            HttpRoute("/api", api_page),
            Mount("/api-viewer", StaticFiles(directory=_viewer())),
        ],
        lifespan=lifespan,
        exception_handlers={404: not_found, 405: wrong_method, Exception: failed},
    )
    # a name that ends in a slash is another name, not the same one
    application.router.redirect_slashes = False
    return application


def _allowed(request: Request) -> list[str]:
    """The methods that the address takes."""
    methods: set[str] = set()
    for route in request.app.routes:
        match, _ = route.matches(request.scope)
        if match is not Match.NONE:
            methods |= getattr(route, "methods", None) or {"GET", "HEAD"}
    return sorted(methods)


_PAGES = (
    "/",
    "/runs",
    "/runs/{run}",
    "/runs/{run}/{tab}",
    "/projects/{project:path}",
    "/compare",
    "/queues",
    "/queues/{queue:path}",
    "/agents",
    "/datasets",
    "/datasets/{dataset}",
    "/datasets/{dataset}/{version}",
    "/datasets/{dataset}/{version}/{section}",
    "/settings",
    "/settings/{section}",
)
"""The addresses of web/src/router.tsx, but for shares and the sign-in."""
_PAGE_FILES = ("/assets/{name}", "/theme.js", "/api.js", "/icon.svg")
_POLICY = (
    "default-src 'self'; img-src 'self' data: blob:; object-src 'none'; base-uri 'none'; form-action 'self';"
    " frame-ancestors 'none'"
)
_PAGE_HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
}
# the viewer of the API writes styles into its page
_API_PAGE_HEADERS = {**_PAGE_HEADERS, "content-security-policy": f"{_POLICY}; style-src 'self' 'unsafe-inline'"}


def _viewer() -> Path:
    folder = Path(str(resources.files("swagger_ui_bundle"))) / "vendor"
    return next(folder.glob("swagger-ui-*"))


def _is_local(request: Request) -> bool:
    """Whether a person's browser on this machine asks directly: no proxy, no other site's link, no borrowed name."""
    host = (request.headers.get("host") or "").rsplit(":", 1)[0].strip("[]")
    return (
        request.client is not None
        and request.client.host in LOOPBACK
        and host in LOOPBACK
        and "x-forwarded-for" not in request.headers
        and "forwarded" not in request.headers
        and request.headers.get("sec-fetch-site", "none") in ("none", "same-origin")
    )
