"""What must not happen: bad input, foreign ids and too small a role change nothing, and say why in one shape."""

import functools
import gzip
import http.client
import json
import os
import random
import re
import socket
import struct
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

import msgspec
import pytest
from blake3 import blake3

from larder.contract import datasets, doors, events, objects, projects, queues, reading, runs, shares, tenants, views
from larder.contract.endpoint import Bytes, Endpoint, Feed, Role
from larder.contract.ids import new_id
from larder.contract.tenants import IssuedToken, NewToken
from larder.transport import Transport
from larder_server.app import ROUTES
from larder_server.kernel.database import Database
from larder_server.kernel.objects import ObjectStore
from larder_server.kernel.runtime import Runtime, system
from larder_server.tenants import service as tenant_service
from tests.journeys.conftest import Up

pytestmark = pytest.mark.journey

JSON, MSGPACK = "application/json", "application/msgpack"
UNKNOWN = "01a0f000-0000-7000-8000-000000000000"
SHAPE = {"code", "message", "hint", "field", "position"}
ENDPOINTS = [route.endpoint for route in ROUTES]
WITH_ID = [
    endpoint
    for endpoint in ENDPOINTS
    if re.search("{(run_id|job_id|token_id|view_id|share_id|door|agent|user|dataset_id|version_id)}", endpoint.path)
    and endpoint is not doors.SET  # it makes the door that nobody has
    and endpoint is not queues.AGENT_HISTORY  # an agent that nobody knows has none, like a queue
]


@dataclass(frozen=True)
class Answer:
    """What a server said."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def data(self) -> Any:
        return json.loads(self.body)

    def refused(self, status: int, field: str | None = None) -> dict[str, Any]:
        """The problem, which has the one shape."""
        assert self.status == status, self.body[:500]
        assert self.headers["content-type"] == JSON
        problem: dict[str, Any] = self.data
        assert problem.keys() == SHAPE and problem["code"] and problem["message"]
        assert len(self.body) < 5_000, "a refusal does not send the bad input back"
        if field is not None:
            assert problem["field"] == field, problem
        return problem

    def done(self) -> Any:
        assert self.status == 200, self.body[:500]
        return self.data


@dataclass
class Server:
    """A server with an admin of one tenant; `ask` never lets a failure of the server pass."""

    up: Up
    secrets: list[str] = field(default_factory=list)

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: str | None = None,
        query: Any = None,
        kind: str = JSON,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        raw = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        target = path + (f"?{urlencode(query)}" if query else "")
        given = {"content-type": kind, **(headers or {})}
        secret = self.up.token if token is None else token
        if secret:
            given["authorization"] = f"Bearer {secret}"
        connection = http.client.HTTPConnection("127.0.0.1", self.up.port, timeout=30)
        try:
            connection.request(method, target, raw, given)
            said = connection.getresponse()
            answer = Answer(said.status, said.headers, said.read())
        finally:
            connection.close()
        assert answer.status < 500, (method, path, answer.body[:500])
        return answer

    def call(self, endpoint: Endpoint[Any, Any], body: Any = None, *, token: str | None = None, **path: str) -> Answer:
        """Ask an endpoint; a GET's body is its query."""
        address = endpoint.path.format(**{name: quote(value, safe="") for name, value in path.items()})
        if endpoint.method in ("GET", "DELETE"):
            return self.ask(endpoint.method, address, query=body, token=token)
        return self.ask(endpoint.method, address, body if body is not None else {}, token=token)

    def send(self, data: bytes, *, end: bool = False) -> bytes:
        """Bytes as they are, and what comes back before the server closes; `end` closes our half in between."""
        with socket.create_connection(("127.0.0.1", self.up.port), timeout=20) as connection:
            connection.sendall(data)
            if end:
                connection.shutdown(socket.SHUT_WR)
            parts = []
            while part := connection.recv(1 << 16):
                parts.append(part)
            return b"".join(parts)

    def cut(self, data: bytes) -> None:
        """Send these bytes and no more, once by closing our half and once by going away."""
        self.send(data, end=True)
        socket.create_connection(("127.0.0.1", self.up.port), timeout=20).sendall(data)

    def token(self, role: Role) -> str:
        secret: str = self.call(tenants.ISSUE_TOKEN, {"user": f"a {role}", "role": role}).done()["secret"]
        self.secrets.append(secret)
        return secret

    def issue(self, tenant: str, *, days: int = 1, ago: int = 0, role: Role = Role.ADMIN) -> str:
        """A token made beside the server, in the same database: for another tenant, or one of the past."""

        class Clock:
            def now(self) -> int:
                return time.time_ns() // 1000 - ago * 86_400_000_000

        database = Database(self.up.database or f"sqlite:///{self.up.home / 'larder.sqlite'}")
        runtime = Runtime(database=database, objects=ObjectStore("memory://"), clock=Clock())

        def make(context: Any) -> IssuedToken:
            tenant_service.ensure(context, user="bob")
            return tenant_service.issue(context, NewToken(user="bob", role=role, days=days))

        secret = runtime.transact(system(tenant), make).secret
        database.close()
        self.secrets.append(secret)
        return secret

    @property
    def transport(self) -> Transport:
        return Transport(self.up.url, self.up.token, retries=0)

    def draft(self, *, token: str | None = None, **fields: Any) -> str:
        run_id: str = self.call(runs.CREATE, {"project": "bakery", **fields}, token=token).done()["id"]
        return run_id

    def put(self, data: bytes, *, token: str | None = None) -> str:
        hash = blake3(data).hexdigest()
        self.ask("PUT", f"/v1/objects/{hash}", data, token=token).done()
        return hash


def fresh_postgres(url: str) -> str:
    import psycopg
    from sqlalchemy.engine import make_url

    name = f"larder_{uuid.uuid4().hex}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f'create database "{name}"')
    return make_url(url).set(database=name).render_as_string(hide_password=False)


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all tests of this file; at its end, its log shows no failure, and neither log nor counts a token."""
    folder = tmp_path_factory.mktemp("bad-input")
    url = fresh_postgres(request.getfixturevalue("postgres_server")) if request.param == "postgres" else ""
    found = Server(Up(home=folder / "server", database=url, environment={"LARDER_HOME": str(folder / "home")}).start())
    found.secrets.append(found.up.token)
    yield found
    counts = found.ask("GET", "/metrics", token="").body.decode()
    found.up.stop()
    log = (folder / "server.log").read_text()
    assert "Traceback" not in log and " failed" not in log, log[-5_000:]
    for secret in found.secrets:
        assert secret.rsplit(".", 1)[1] not in log + counts


# -- wrong types, wrong bytes --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("endpoint", "body", "field"),
    [
        (runs.CREATE, {"project": 3}, "project"),
        (runs.CREATE, {}, "project"),
        (runs.CREATE, {"project": "x", "tags": ["a", 5]}, "tags.1"),
        (runs.CREATE, {"project": "x", "params": {"lr": [1]}}, "params"),
        (runs.CREATE, {"project": "x", "status": "finished"}, "status"),
        (runs.CREATE, {"project": "x", "status": "running"}, "status"),
        (runs.CREATE, {"project": "x", "started": "today"}, "started"),
        (runs.CREATE, {"project": "x", "status": "completed", "started": -1}, "started"),
        (runs.CREATE, {"project": "x", "status": "completed", "ended": 2**62}, "ended"),
        (runs.CREATE, {"project": "x", "started": 10**30}, "started"),
        (runs.CREATE, {"project": "x", "params": {"seed": 2**63}}, "params.seed"),
        (runs.CREATE, {"project": "x", "facts": {"big": {"n": 10**30}}}, "facts.big"),
        (runs.CREATE, {"project": "x", "id": "../x"}, "id"),
        (projects.CREATE, {"name": "../x"}, "name"),
        (projects.CREATE, {"name": "a\nb"}, "name"),
        (projects.CREATE, {"name": "x", "description": "\0"}, "description"),
        (projects.CREATE, {"name": "x", "description": "x" * 10_000_000}, "description"),
        (queues.LEASE, {"queues": [], "agent": "a"}, "queues"),
        (queues.LEASE, {"queues": ["a/b"], "agent": "a"}, "queue"),
        (queues.LEASE, {"queues": ["default"], "agent": "a\0"}, "agent"),
        (queues.LEASE, {"queues": ["default"], "agent": "a" * 10_000_000}, "agent"),
        (queues.LEASE, {"queues": ["default"]}, "agent"),
        (tenants.ISSUE_TOKEN, {"user": "x", "days": 0}, "days"),
        (tenants.ISSUE_TOKEN, {"user": "x", "days": 10**40}, "days"),
        (tenants.ISSUE_TOKEN, {"user": "x\n"}, "user"),
        (tenants.ISSUE_TOKEN, {"user": "x", "name": "\0"}, "name"),
        (tenants.ISSUE_TOKEN, {"user": "x", "name": "n" * 10_000_000}, "name"),
        (tenants.ISSUE_TOKEN, {"user": "x", "role": "root"}, "role"),
        (doors.RECEIVE, {"id": "1", "source": "x"}, "type"),
        (doors.RECEIVE, {"id": "", "source": "x", "type": "t"}, "id"),
        (doors.RECEIVE, {"id": "1", "source": "x", "type": "t", "specversion": "0.3"}, "specversion"),
        (doors.RECEIVE, {"id": "1", "source": "x" * 10_000_000, "type": "t"}, "source"),
        (objects.MISSING, {"hashes": ["../../etc/passwd"]}, "hash"),
        (objects.MISSING, {"hashes": ["a" * 64] * 10_001}, "hashes"),
    ],
)
def test_a_bad_field_is_named(server, endpoint, body, field):
    server.call(endpoint, body).refused(400, field)


@pytest.mark.parametrize(
    "name", ["../x", "a/../b", "/etc/passwd", "a\\b", "C:/x", "a\nb", "a\0b", "\x1b[31m", "\u2028"]
)
def test_a_name_that_is_a_way_out_or_cannot_be_printed_is_refused(server, name):
    server.call(runs.CREATE, {"project": "bakery", "name": name}).refused(400, "name")
    server.call(runs.CHANGE, {"name": name}, run_id=server.draft()).refused(400, "name")
    if "/" not in name and "\\" not in name:
        server.call(runs.CHANGE, {"add_tags": [name]}, run_id=server.draft()).refused(400, "tags")
        server.call(runs.CREATE, {"project": "bakery", "params": {name: 1}}).refused(400, "params")
        server.call(runs.ENQUEUE, {"queue": name}, run_id=server.draft()).refused(400, "queue")
    if name != "C:/x" and "\\" not in name:
        server.call(runs.CREATE, {"project": name}).refused(400, "project")


def test_a_name_of_ten_megabytes_is_refused(server):
    long = "x" * 10_000_000
    run_id = server.draft()
    server.call(runs.CREATE, {"project": "bakery", "name": long}).refused(400, "name")
    server.call(runs.CREATE, {"project": long}).refused(400, "project")
    server.call(runs.CREATE, {"project": "bakery", "facts": {long: 1}}).refused(400, "facts")
    server.call(runs.CHANGE, {"add_tags": [long]}, run_id=run_id).refused(400, "tags")
    server.call(runs.CHANGE, {"notes": long}, run_id=run_id).refused(400, "notes")
    server.call(runs.ENQUEUE, {"queue": long}, run_id=run_id).refused(400, "queue")
    server.call(runs.LOG_METRICS, {"metrics": [{"name": long, "values": [1]}]}, run_id=run_id).refused(400)
    server.call(runs.SEARCH, {"where": long[:20_000]}).refused(400, "where")
    server.call(runs.GET, run_id=long[:20_000]).refused(400, "run_id")
    assert server.call(runs.GET, run_id=long).status == 400  # by the HTTP parser, which takes no such address
    assert server.call(runs.GET, run_id=run_id).done()["status"] == "draft"


RAW = {
    "cut": b'{"project": "x',
    "empty": b"",
    "a list": b"[]",
    "null": b"null",
    "not a number": b'{"project": "x", "params": {"a": NaN}}',
    "infinite": b'{"project": "x", "params": {"a": Infinity}}',
    "too large": b'{"project": "x", "params": {"a": 1e999}}',
    "thousands of digits": b'{"project": "x", "started": ' + b"9" * 5_000 + b"}",
    "no UTF-8": b'{"project": "\xff\xfe"}',
    "half a surrogate": b'{"project": "\\ud800"}',
    "a lone low surrogate": b'{"project": "\\udc00x"}',
    "two halves": b'{"project": "\\ud83d\\ud83d"}',
    "deep": b'{"project": "x", "facts": {"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}}",
    "deep enough for the reader": b'{"project": "x", "facts": {"a": ' + b"[" * 400 + b"]" * 400 + b"}}",
    "deep where nobody looks": b'{"project": "x", "zzz": ' + b'{"a":' * 50_000 + b"1" + b"}" * 50_000 + b"}",
}


@pytest.mark.parametrize("raw", RAW.values(), ids=RAW.keys())
def test_a_body_that_is_no_document_is_refused(server, raw):
    server.ask("POST", "/v1/runs", raw).refused(400)


def test_messagepack_garbage_is_refused(server):
    chance = random.Random(7)
    good = msgspec.msgpack.encode({"writer": "w", "start": 0, "end": 9, "facts": {"a": {"b": [1, 2.5, "x"]}}})
    bodies = [chance.randbytes(chance.randrange(60)) for _ in range(60)]
    bodies += [good[:length] for length in range(0, len(good), 3)]
    bodies += [b"\x81\xa5facts" + b"\x81\xa1a" * 5_000 + b"\xc0", b"\xdf\xff\xff\xff\xff", b"\xc1", b"\xc7\xff"]
    for position in range(len(good)):
        bodies.append(good[:position] + bytes([chance.randrange(256)]) + good[position + 1 :])
    for body in bodies:
        server.ask("POST", f"/v1/runs/{UNKNOWN}/journal", body, kind=MSGPACK).refused(404 if _is_batch(body) else 400)


def _is_batch(body: bytes) -> bool:
    from larder_server.runs.rules import names

    try:
        names.batch(msgspec.msgpack.decode(body, type=runs.Batch))
    except Exception:
        return False
    return True


def test_what_messagepack_holds_and_a_document_does_not_is_refused(server):
    run_id = server.draft()
    when = msgspec.msgpack.Ext(5, b"x")
    for value in (b"bytes", {(1, 2): 3}, when, {"deep": [{"x": when}]}):
        body = msgspec.msgpack.encode({"writer": "w", "start": 0, "end": 9, "facts": {"odd": value}})
        server.ask("POST", f"/v1/runs/{run_id}/journal", body, kind=MSGPACK).refused(400, "facts.odd")


def test_a_large_body_is_refused_unread(server):
    head = f"POST /v1/runs HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {server.up.token}\r\nconnection: close\r\n"
    began = time.monotonic()
    said = server.send(f"{head}content-length: 1000000000000\r\n\r\n".encode())
    assert said.startswith(b"HTTP/1.1 400") and b"larger than" in said and time.monotonic() - began < 5
    for length in ("-5", "x", "9" * 40):
        assert server.send(f"{head}content-length: {length}\r\n\r\n".encode()).startswith(b"HTTP/1.1 400")


def test_gzip_is_taken_and_a_bomb_or_half_a_stream_is_not(server):
    packed = gzip.compress(b'{"project": "bakery"}')
    headers = {"content-encoding": "gzip"}
    server.ask("POST", "/v1/runs", packed, headers=headers).done()
    bomb = gzip.compress(b'{"project": "' + b"x" * (100 << 20) + b'"}', 1)
    began = time.monotonic()
    assert "larger" in server.ask("POST", "/v1/runs", bomb, headers=headers).refused(400)["message"]
    assert time.monotonic() - began < 5
    for bad in (packed[:-4], packed[:-9], packed + packed, b"no gzip", b""):
        server.ask("POST", "/v1/runs", bad, headers=headers).refused(400)
    server.ask("POST", "/v1/runs", packed, headers={"content-encoding": "br"}).refused(400)


# -- addresses -----------------------------------------------------------------------------------------------------


def test_a_parameter_that_is_unknown_or_given_twice_is_refused(server):
    run_id = server.draft()
    server.ask("GET", "/v1/runs?wher=x").refused(400, "wher")
    server.ask("GET", "/v1/runs?limit=1&limit=2").refused(400, "limit")
    server.ask("GET", "/v1/projects?x=1").refused(400, "x")
    server.ask("DELETE", f"/v1/runs/{run_id}?really=no").refused(400, "really")
    server.ask("POST", "/v1/runs?project=x", {"project": "y"}).refused(400, "project")
    server.ask("PUT", f"/v1/objects/{'0' * 64}?x=1", b"").refused(400, "x")
    server.call(runs.GET, run_id=run_id).done()


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=-1", "limit"), ("limit=x", "limit"), ("limit=1.5", "limit"), (f"limit={10**30}", "limit"),
        (f"limit={'9' * 5000}", "limit"), (f"offset={2**63 - 1}", "offset"), (f"offset={10**30}", "offset"),
        ("archived=perhaps", "archived"), ("descending=7", "descending"), ("order_by=", None), ("order_by=%00", "order_by"),
        ("order_by=created%20down", "order_by"), ("project=%00", "project"), ("where=%00", "where"), ("text=%00", "text"),
        ("where=name%20like", "where"), ("where=" + "(" * 5_000, "where"), ("where=not%20" * 900, "where"),
    ],
)  # fmt: skip
def test_a_query_that_makes_no_sense_is_refused(server, query, field):
    answer = server.ask("GET", f"/v1/runs?{query}")
    answer.done() if field is None else answer.refused(400, field)


def test_numbers_at_the_ends_of_64_bits_are_answered(server):
    run_id = server.draft()
    points = {"name": "m", "values": [1.0, -1e308, 1e308, 5e-324], "steps": [0, 2**63 - 1, -(2**63), 1],
              "times": [-(2**63), 0, 2**63 - 1, 1]}  # fmt: skip
    server.call(runs.LOG_METRICS, {"metrics": [points]}, run_id=run_id).done()
    low, high = -(2**63), 2**63 - 1
    for ends in ({}, {"first_step": low, "last_step": high}, {"first_step": high, "last_step": low}):
        server.call(runs.CHART_METRIC, {"name": "m", **ends}, run_id=run_id).done()
        server.call(runs.READ_METRIC, {"name": "m", **ends}, run_id=run_id).done()
    server.call(runs.CHART_METRIC, {"name": "m", "last_step": high + 1}, run_id=run_id).refused(400, "last_step")
    server.call(runs.CHART_METRIC, {"name": "m", "points": 10**9}, run_id=run_id).refused(400, "points")
    server.call(runs.READ_CONSOLE, {"after": high, "limit": high, "wait": "nan"}, run_id=run_id).done()
    server.call(runs.READ_CONSOLE, {"after": high + 1}, run_id=run_id).refused(400, "after")
    server.call(runs.READ_CONSOLE, {"tail": -1}, run_id=run_id).refused(400, "tail")
    server.call(events.LIST, {"after": high, "limit": high, "wait": "-inf"}).done()
    server.call(events.LIST, {"after": high + 1}).refused(400, "after")
    server.call(runs.READ_FILE, {"name": "x", "version": high}, run_id=run_id).refused(404)
    server.call(queues.RENEW, {"fence": high + 1}, job_id=UNKNOWN).refused(400, "fence")
    for steps in ([high + 1], [10**30]):
        batch = {"metrics": [{"name": "n", "values": [1], "steps": steps}]}
        server.call(runs.LOG_METRICS, batch, run_id=run_id).refused(400)


@pytest.mark.parametrize("odd", ["%ff", "%c3%28", "%ed%a0%80", "%00", "a%00b"])
def test_an_address_that_is_not_text_is_refused(server, odd):
    server.ask("GET", f"/v1/runs/{odd}").refused(400)
    server.ask("GET", f"/v1/queues/{odd}").refused(400)
    server.ask("GET", f"/v1/runs?project={odd}").refused(400)
    server.ask("GET", f"/v1/runs/{UNKNOWN}/artifact-file?name={odd}").refused(400)
    server.ask("DELETE", f"/v1/tokens/{odd}").refused(400)
    server.ask("POST", f"/v1/jobs/{odd}/renew", {"fence": 1}).refused(400)
    server.ask("PUT", f"/v1/objects/{odd}", b"").refused(400)
    assert server.ask("GET", f"/static/{odd}").status in (400, 404)
    assert server.ask("GET", f"/sign-in?token=larder_{odd}.x.y").status == 401


def test_wrong_methods_and_unknown_addresses_have_the_same_shape(server):
    taken: dict[str, set[str]] = {}
    for endpoint in ENDPOINTS:
        taken.setdefault(endpoint.path, set()).add(endpoint.method)
    for path in taken:  # as far as the address goes, `missing` is an object of that name, and `table` a run
        taken[path] |= {one.method for one in ENDPOINTS if re.fullmatch(re.sub("{.*?}", "[^/]+", one.path), path)}
    for path, methods in taken.items():
        address = re.sub("{.*?}", UNKNOWN, path)
        for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"} - methods:
            answer = server.ask(method, address)
            answer.refused(405)
            assert methods <= set(answer.headers["allow"].split(", "))
    for path in ("/v1", "/v1/", "/v1/runs/", "//v1/runs", "/v1/../etc/passwd", "/v1/runs/x/y/z", "/static/../app.py",
                 "/static/%2e%2e/app.py", "/static/..%2f..%2fapp.py", "/static/", "/x" * 5_000):  # fmt: skip
        server.ask("GET", path).refused(404)
    server.ask("POST", "/healthz").refused(405)
    server.ask("POST", "/icon.svg").refused(405)


# -- who may -------------------------------------------------------------------------------------------------------


def test_each_role_may_do_what_it_may_and_no_more(server):
    tokens = {role: server.token(role) for role in Role}
    for endpoint in ENDPOINTS:
        address = re.sub("{hash}", "0" * 64, re.sub("{queue}", "default", re.sub("{.*?_id}", UNKNOWN, endpoint.path)))
        for role, token in tokens.items():
            body = b"" if endpoint.body is Bytes else None if endpoint.method in ("GET", "DELETE") else b"{"
            if endpoint.result is Feed and role.includes(endpoint.role):
                continue  # it has no end
            answer = server.ask(endpoint.method, address, body, token=token)
            if role.includes(endpoint.role):
                assert answer.status not in (401, 403), (endpoint, role)
            else:
                assert answer.refused(403)["code"] == "denied"
        assert server.ask(endpoint.method, address, token="").refused(401)["code"] == "unauthenticated"


def test_a_token_that_is_expired_revoked_or_made_up_opens_nothing(server):
    living, past = server.issue("default", days=1), server.issue("default", days=1, ago=2)
    gone = server.issue("default", days=1)
    assert server.call(tenants.WHOAMI, token=living).done()["user"] == "bob"
    server.call(tenants.WHOAMI, token=gone).done()
    server.call(tenants.REVOKE_TOKEN, token_id=gone.split(".")[1]).done()
    head, id, secret = living.split(".")
    false = [past, gone, living[:-1], living + "x", f"larder_other.{id}.{secret}", f"{head}.{UNKNOWN}.{secret}", "x",
             f"{head}.{id}.", "larder_..", "." * 1_000, "larder_' or 1=1 --.x.y", "larder_d\xe9fault.x.y",
             head + "." + id + "." + "x" * 20_000]  # fmt: skip
    for token in false:
        said = server.call(tenants.WHOAMI, token=token)
        assert said.refused(401)["code"] == "unauthenticated" and said.headers["www-authenticate"] == "Bearer"
        cookie = {"cookie": f'larder_session="{token}"'}
        server.ask("GET", "/v1/whoami", token="", headers=cookie).refused(401)
        assert server.ask("GET", f"/sign-in?token={quote(token)}", token="").status == 401
        said = server.ask("POST", "/sign-in", token=token)
        said.refused(401)
        assert "set-cookie" not in said.headers
    # a cookie may say any byte in octal
    server.ask("GET", "/v1/whoami", token="", headers={"cookie": r'larder_session="larder_a\000.b.c"'}).refused(401)
    ids = [token["id"] for token in server.call(tenants.LIST_TOKENS).done()["tokens"]]
    assert id in ids and past.split(".")[1] not in ids and gone.split(".")[1] not in ids
    server.call(tenants.REVOKE_TOKEN, token_id=gone.split(".")[1]).refused(404)


# -- another tenant ------------------------------------------------------------------------------------------------

STRETCH = {"writer": "w", "start": 0, "end": 9}
BODIES: dict[Endpoint[Any, Any], Any] = {
    runs.CHANGE: {"name": "mine now"}, runs.ENQUEUE: {"queue": "default"}, runs.START: {"fence": 1},
    runs.FINISH: {"status": "failed"}, runs.APPEND: STRETCH, runs.LOG_METRICS: {"metrics": [{"name": "m", "values": [1]}]},
    runs.READ_METRIC: {"name": "m"}, runs.CHART_METRIC: {"name": "m"}, runs.READ_FILE: {"name": "model"},
    reading.CODE_FILE: {"path": "train.py"}, views.CHANGE: {"name": "mine"},
    queues.RENEW: {"fence": 1}, queues.COMPLETE: {"fence": 1}, queues.GIVE_BACK: {"fence": 1},
    tenants.CHANGE_USER: {"team": "mine"},
    datasets.CHANGE: {"name": "mine"}, datasets.WRITE: {"part": 0}, datasets.LACKING: {"hashes": ""},
    datasets.PLACES: {"hashes": ""}, datasets.OPEN_PACK: {"hash": "0" * 64, "bytes": 99},
    datasets.CLOSE_PACK: {"hashes": "", "offsets": "", "lengths": "", "sizes": ""}, datasets.ITEM: {"path": "a"},
    datasets.READ: {"path": "a"}, datasets.PACK_BYTES: {"ranges": "0-1"}, datasets.SET_ALIAS: {"version": UNKNOWN},
    datasets.MERGE: {"ours": UNKNOWN, "theirs": new_id()}, datasets.USE: {"run": "r"},
}  # fmt: skip
"""A good body for each endpoint that takes an id and needs one."""


@dataclass(frozen=True)
class Foreign:
    """What another tenant has: one of everything."""

    token: str
    runs: list[str]
    jobs: list[str]
    token_id: str
    hash: str
    view_id: str
    share_id: str
    door: str
    dataset_id: str
    version_ids: list[str]


@pytest.fixture(scope="module")
def foreign(server: Server) -> Foreign:
    token = server.issue("globex")
    server.call(tenants.ISSUE_TOKEN, {"user": "keeper-of-the-vault"}, token=token).done()
    hash = server.put(b"the secret recipe", token=token)
    done = server.draft(token=token, project="vault", name="classified", tags=["hush"], params={"hidden": 42})
    file = {"path": "recipe.txt", "hash": hash, "size": 17}
    artifact = {"name": "model", "kind": "model", "format": "text", "files": [file]}
    opening = {"project": "vault", "name": "classified", "time": 1}
    batch = {**STRETCH, "opening": opening, "artifacts": [artifact], "console": [{"time": 1, "text": "psst"}]}
    server.call(runs.APPEND, batch, token=token, run_id=done).done()
    points = {"metrics": [{"name": "m", "values": [1, 2]}, {"name": "hidden_loss", "values": [0.123456]}]}
    server.call(runs.LOG_METRICS, points, token=token, run_id=done).done()
    queued = [server.draft(token=token, project="vault") for _ in range(2)]
    for run_id in queued:
        server.call(runs.ENQUEUE, {"queue": "vault"}, token=token, run_id=run_id).done()
    order = {"queues": ["vault"], "agent": "the-vaults-own"}
    assert server.call(queues.LEASE, order, token=token).done()["job"]["fence"] == 1
    jobs = [job["id"] for job in server.call(queues.SHOW, token=token, queue="vault").done()["jobs"]]
    view = server.call(views.CREATE, {"state": "where=hidden", "name": "ours"}, token=token)
    share = server.call(shares.CREATE, {"runs": [done]}, token=token)
    door = {"type": "vault.opened", "action": "runs.repeat", "arguments": {"run": done}}
    server.call(doors.SET, door, token=token, door="theirs").done()
    dataset = server.call(datasets.CREATE, {"name": "secrets", "project": "vault"}, token=token).done()["id"]
    versions = [server.call(datasets.OPEN, {}, token=token, dataset_id=dataset).done() for _ in range(2)]
    server.call(datasets.COMMIT, {}, token=token, version_id=versions[0]["id"]).done()
    return Foreign(
        token, [done, *queued], jobs, token.split(".")[1], hash, view.done()["id"], share.done()["id"], "theirs",
        dataset, [version["id"] for version in versions],
    )  # fmt: skip


def everything(server: Server, foreign: Foreign) -> list[Any]:
    """All that the other tenant sees."""
    ask = functools.partial(server.call, token=foreign.token)
    return [
        [ask(runs.GET, run_id=run_id).done() for run_id in foreign.runs],
        [ask(endpoint, run_id=foreign.runs[0]).done() for endpoint in (runs.LIST_METRICS, runs.READ_CONSOLE, runs.LIST_ARTIFACTS)],
        ask(queues.SHOW, queue="vault").done(),
        # `last_used` follows what we ask here, some seconds later
        [{**token, "last_used": None} for token in ask(tenants.LIST_TOKENS).done()["tokens"]],
        ask(tenants.LIST_USERS).done(),
        ask(queues.AGENTS).done(),
        ask(doors.LIST).done(),
        ask(projects.LIST).done(),
        ask(events.LIST, {"limit": 1000}).done(),
        ask(datasets.LIST).done(),
        ask(datasets.VERSION, version_id=foreign.version_ids[1]).done(),
        ask(runs.READ_FILE, {"name": "model"}, run_id=foreign.runs[0]).body.decode(),
    ]  # fmt: skip


@pytest.mark.parametrize("endpoint", WITH_ID, ids=lambda endpoint: f"{endpoint.method} {endpoint.path}")
def test_another_tenants_id_is_an_unknown_id(server, foreign, endpoint):
    arguments = {
        "run_id": foreign.runs, "job_id": foreign.jobs, "token_id": [foreign.token_id],
        "view_id": [foreign.view_id], "share_id": [foreign.share_id], "door": [foreign.door], "agent": ["the-vaults-own"], "user": ["keeper-of-the-vault"],
        "dataset_id": [foreign.dataset_id], "version_id": foreign.version_ids,
    }  # fmt: skip
    ((name, theirs),) = [(name, ids) for name, ids in arguments.items() if f"{{{name}}}" in endpoint.path]
    before = everything(server, foreign)
    beside = {
        more: text for more, text in {"alias": "ready", "hash": "0" * 64}.items() if f"{{{more}}}" in endpoint.path
    }
    unknown = server.call(endpoint, BODIES.get(endpoint), **{name: UNKNOWN}, **beside)
    expected = unknown.refused(404)
    for id in theirs:
        answer = server.call(endpoint, BODIES.get(endpoint), **{name: id}, **beside)
        assert json.loads(answer.body.replace(id.encode(), UNKNOWN.encode())) == expected
        assert answer.status == 404 and {*answer.headers} == {*unknown.headers}
    assert everything(server, foreign) == before


def test_every_address_with_an_argument_is_looked_at():
    arguments = {name for endpoint in ENDPOINTS for name in re.findall(r"{(\w+)}", endpoint.path)}
    known = {"run_id", "job_id", "token_id", "view_id", "share_id", "door", "agent", "user", "queue", "hash", "dataset_id",
             "version_id", "alias"}  # fmt: skip
    # the token of a share is looked at by tests/journeys/test_shares.py
    assert arguments == {*known, "token"}, "the test above does not know this one"


def test_nothing_of_another_tenant_is_seen_or_used(server, foreign):
    before = everything(server, foreign)
    mine = server.draft()
    for query in ({"where": "params.hidden = 42"}, {"text": "classified"}, {"where": "tags has 'hush'"}, {"text": "0.123456"},
                  {"project": "vault"}, {"where": f"id = '{foreign.runs[0]}'"}, {"where": "metrics.hidden_loss > 0"},
                  {"where": "user = 'bob'"}):  # fmt: skip
        assert server.call(runs.SEARCH, query).done()["runs"] == []
        if query.keys() != {"where"} or "hidden" not in query["where"]:
            assert server.call(runs.SEARCH, query, token=foreign.token).done()["runs"]
    hint = server.call(runs.SEARCH, {"where": "hidden_los > 0"}).refused(400)["hint"]
    assert "hidden_loss" not in hint
    assert server.call(queues.SHOW, queue="vault").done() == {"jobs": []}
    assert server.call(queues.AGENT_HISTORY, agent="the-vaults-own").done() == {"stays": []}
    assert "vault" not in [queue["name"] for queue in server.call(queues.LIST).done()["queues"]]
    assert "vault" not in [project["name"] for project in server.call(projects.LIST).done()["projects"]]
    assert foreign.token_id not in server.call(tenants.LIST_TOKENS).body.decode()
    seen = server.call(events.LIST, {"limit": 1000}).body.decode()
    assert not [id for id in (*foreign.runs, *foreign.jobs) if id in seen] and "vault" not in seen
    assert server.call(events.LIST, {"subject": foreign.runs[0]}).done()["events"] == []
    assert server.call(queues.LEASE, {"queues": ["vault"], "agent": "a"}).done()["job"] is None
    # their bytes are not there for us, whoever says their hash
    assert server.call(objects.MISSING, {"hashes": [foreign.hash]}).done() == {"hashes": [foreign.hash]}
    file = {"path": "x", "hash": foreign.hash, "size": 17}
    stolen = {"name": "x", "kind": "file", "format": "", "files": [file]}
    opening = {"project": "bakery", "name": "x", "time": 1}
    server.call(runs.APPEND, {**STRETCH, "opening": opening, "artifacts": [stolen]}, run_id=mine).refused(409)
    # nor their things as part of ours
    server.call(runs.CREATE, {"project": "bakery", "parent": foreign.runs[0]}).refused(404)
    server.call(runs.ENQUEUE, {"queue": "mine"}, run_id=mine).done()
    job = server.call(queues.SHOW, queue="mine").done()["jobs"][0]["id"]
    assert server.call(queues.MOVE, {"before": foreign.jobs[1]}, job_id=job).refused(404, "before")
    assert everything(server, foreign) == before
    # the same id in two tenants is two runs
    server.call(runs.CREATE, {"project": "bakery", "id": foreign.runs[1], "name": "ours"}).done()
    server.call(runs.DELETE, run_id=foreign.runs[1]).done()
    assert everything(server, foreign) == before


# -- runs ----------------------------------------------------------------------------------------------------------


def test_a_finished_run_takes_no_metrics(server):
    run_id = server.draft()
    points = {"metrics": [{"name": "m", "values": [1.0]}]}
    server.call(runs.LOG_METRICS, points, run_id=run_id).done()
    server.call(runs.FINISH, {"status": "completed"}, run_id=run_id).done()
    before = server.call(runs.GET, run_id=run_id).done()
    assert "completed" in server.call(runs.LOG_METRICS, points, run_id=run_id).refused(409)["message"]
    opening = {"project": "bakery", "name": "late", "time": 2**50}
    server.call(runs.APPEND, {**STRETCH, "opening": opening, "params": {"a": 1}}, run_id=run_id).refused(409)
    server.call(runs.ENQUEUE, {}, run_id=run_id).refused(409)
    server.call(runs.STOP, {}, run_id=run_id).refused(409)
    assert server.call(runs.GET, run_id=run_id).done() == before


def test_a_batch_half_of_which_is_bad_is_refused_whole(server):
    run_id = server.draft()
    start = {"project": "bakery", "name": "half", "time": 1}
    server.call(runs.APPEND, {**STRETCH, "end": 5, "opening": start}, run_id=run_id).done()
    before = server.call(runs.GET, run_id=run_id).done()
    good = {"name": "good", "values": [1, 2, 3]}
    for bad in ({"name": "bad\n", "values": [1]}, {"name": "bad", "values": [1, "x"]}, {"name": "bad", "values": [None]},
                {"name": "bad", "values": [1], "steps": [1, 2]}, {"name": "", "values": [1]}, {"values": [1]},
                {"name": "bad", "values": [1], "times": [2**64]}):  # fmt: skip
        server.call(runs.LOG_METRICS, {"metrics": [good, bad]}, run_id=run_id).refused(400)
    one = struct.pack("<q", 1)
    hash = server.put(b"here")
    file = {"path": "a.txt", "hash": hash, "size": 4}

    def artifact(*files: Any, name: str = "a", **more: Any) -> dict[str, Any]:
        return {"artifacts": [{"name": name, "kind": "file", "format": "", "files": [file, *files], **more}]}

    absent = blake3(b"nowhere").hexdigest()
    parts: list[tuple[int, dict[str, Any]]] = [
        (400, {"series": [_series("bad", one, one, b"1234567")]}),
        (400, {"series": [_series("bad\0", one, one, one)]}),
        (400, {"params": {"a": 2**63}}),
        (400, {"facts": {"a\nb": 1}}),
        (400, {"facts": {"deep": functools.reduce(lambda inner, _: [inner], range(150), 1)}}),
        (400, {"add_tags": ["ok", ""]}),
        (400, {"console": [{"time": 1, "text": "x"}, {"time": 2**63, "text": "y"}]}),
        (400, {"ending": {"status": "running", "time": 1}}),
        (400, {"ending": {"status": "failed", "time": 2**62}}),
        (400, artifact({**file, "path": "../../etc/passwd"})),
        (400, artifact({**file, "path": "/etc/passwd"})),
        (400, artifact({**file, "path": "a\\b"})),
        (400, artifact({**file, "path": "b/./c"})),
        (400, artifact({**file, "path": "b//c"})),
        (400, artifact({**file, "path": "a.txt"})),
        (400, artifact({**file, "path": "b", "size": 5})),
        (400, artifact({**file, "path": "b", "size": -1})),
        (400, artifact({**file, "path": "b", "hash": "../" * 20 + "abcd"})),
        (400, artifact(name="../up")),
        (400, artifact(step=2**63)),
        (400, artifact(time=2**62)),
        (400, artifact(metadata=functools.reduce(lambda inner, _: {"a": inner}, range(150), {}))),
        (409, artifact({"path": "b", "hash": absent, "size": 7})),
    ]
    for status, part in parts:
        batch = {"writer": "w", "start": 5, "end": 90, "params": {"half": 1}, "console": [{"time": 1, "text": "half"}],
                 "add_tags": ["half"], "notes": "half", **part}  # fmt: skip
        batch["series"] = [_series("good", one, one, struct.pack("<d", 1.0)), *part.get("series", [])]
        raw = msgspec.msgpack.encode(batch)
        answer = server.ask("POST", f"/v1/runs/{run_id}/journal", raw, kind=MSGPACK)
        assert answer.refused(status)["field"] or status == 409, part
    assert server.call(runs.GET, run_id=run_id).done() == before
    assert server.call(runs.READ_CONSOLE, run_id=run_id).done()["total"] == 0
    assert server.call(runs.LIST_ARTIFACTS, run_id=run_id).done() == {"artifacts": []}
    assert server.call(runs.APPEND, {"writer": "w", "start": 0, "end": 0}, run_id=run_id).done()["offset"] == 5


def _series(name: str, steps: bytes, times: bytes, values: bytes) -> dict[str, Any]:
    return {"name": name, "steps": steps, "times": times, "values": values}


def test_facts_of_any_shape_do_not_break_what_reads_them(server):
    odd = {"overrides": 5, "command": "text", "code": [1], "machine": {"host": 3}, "packages": None, "n": 2**64 - 1}
    run_id = server.draft(facts=odd, params={"a": 1})
    clone = server.call(runs.CLONE, {"params": {"a": 2}}, run_id=run_id).done()
    assert clone["params"] == {"a": 2} and clone["facts"]["overrides"] == {"a": 2}
    server.call(runs.SEARCH, {"facts": "true"}).done()
    assert server.ask("GET", f"/v1/runs/{run_id}", headers={"accept": MSGPACK}).status == 200


KEYS = [
    "val/mae", "it's", 'a "quoted" name', "back`tick", "back\\slash", "a.b.c", "loss.min", "params.lr", "..", "../x", "%", "_",
    "µ²/π", "損失", "🥖/🧁", "e\u0301", "\u202eabc", " ", " a ", "a,b;c", "a=b&c", "a#b?c", "null", "1e5", "and", "not", "(", ")",
    "'; drop table runs; --", "x" * 500, "🥖" * 500, "<script>alert(1)</script>", "{run_id}", ":tenant", "a\u00a0b", "\u200b",
]  # fmt: skip


def test_a_metric_or_a_parameter_may_have_any_printable_name(server):
    run_id = server.draft(params={key: index for index, key in enumerate(KEYS)}, project="names")
    server.draft(project="names")
    points = [{"name": key, "values": [index + 0.5, index + 1.5]} for index, key in enumerate(KEYS)]
    server.call(runs.LOG_METRICS, {"metrics": points}, run_id=run_id).done()
    assert server.call(runs.LIST_METRICS, run_id=run_id).done()["metrics"].keys() == set(KEYS)
    assert server.call(runs.GET, run_id=run_id).done()["params"] == {key: index for index, key in enumerate(KEYS)}
    transport = server.transport
    for index, key in enumerate(KEYS):
        assert server.call(runs.CHART_METRIC, {"name": key}, run_id=run_id).done()["values"] == [
            index + 0.5,
            index + 1.5,
        ]
        series = transport.call(runs.READ_METRIC, runs.MetricQuery(name=key), run_id=run_id)
        assert series.name == key and struct.unpack("<2d", series.values) == (index + 0.5, index + 1.5)
        name = '"' + key.replace("\\", "\\\\").replace('"', '\\"') + '"'
        for where in (f"metrics.{name} = {index + 1.5}", f"metrics.{name}.min = {index + 0.5}", f"params.{name} = {index}",
                      f"metrics has {name}", f"not metrics.{name} > {index + 1.5} and params.{name} in ({index}, -7)"):  # fmt: skip
            found = server.call(runs.SEARCH, {"where": where, "project": "names"}).done()["runs"]
            assert [run["id"] for run in found[:1]] == [run_id], where
        order = {"order_by": f"metrics.{name}.max", "project": "names"}
        assert server.call(runs.SEARCH, order).done()["runs"][0]["id"] == run_id
        server.call(runs.SEARCH, {"text": key}).done()


INJECTIONS = [
    "'; drop table runs; --", "1' or '1'='1", "x\" or \"1\"=\"1", "1; select pg_sleep(5)", "') union select digest from tokens --",
    "created; delete from runs", "created desc, (select 1)", "params.\"a' or 1=1 --\"", "metrics.`x; drop table runs`", "%' --",
    ":tenant", "name like '%' escape '\\'", "\\'; drop table runs; --", "r.seq", "(select secret from tokens)", "created--", "{0}",
    "tags has '\\' or 1=1 --'", "name = 'x' -- '", "/**/", "0x31", "$1", "?", "%s", "%(tenant)s",
]  # fmt: skip


@pytest.mark.parametrize("text", INJECTIONS)
def test_sql_in_a_search_is_text(server, text):
    marker = server.draft(project="injection", name="marker")
    began = time.monotonic()
    for query in ({"where": text}, {"order_by": text}, {"text": text}, {"project": text}, {"where": f"name = '{text}'"},
                  {"where": f'params."{text}" = 1'}, {"where": "created < now", "order_by": f'params."{text}"'}):  # fmt: skip
        answer = server.call(runs.SEARCH, query)
        assert answer.status in (200, 400)
        if answer.status == 200 and ("text" in query or "project" in query or "name =" in query.get("where", "")):
            assert marker not in [run["id"] for run in answer.data["runs"]], query
    server.call(runs.CHART_METRIC, {"name": text}, run_id=marker).refused(404)
    server.call(runs.LIST_ARTIFACTS, {"name": text}, run_id=marker).done()
    server.call(runs.GET, run_id=text.replace("/", "")).refused(404)
    assert time.monotonic() - began < 5
    assert server.call(runs.GET, run_id=marker).done()["name"] == "marker"


@pytest.mark.parametrize(
    "where",
    [
        "a = " + "1" * 9_900 + "x", "name like '" + "%a" * 4_000 + "b'", "lr in (" + "1," * 999 + "1)", "name = '" + "\\" * 9_000,
        "tag:" + "a" * 9_000, "created > " + "9" * 9_000, "created > -" + "9" * 9_000 + "d", "`" * 9_999, '"' * 9_999,
    ],
)  # fmt: skip
def test_a_long_condition_is_answered_soon(server, where):
    server.draft(notes="a" * 100_000, name="a" * 500)
    began = time.monotonic()
    assert server.call(runs.SEARCH, {"where": where}).status in (200, 400)
    assert server.call(runs.SEARCH, {"text": where}).status in (200, 400)
    assert time.monotonic() - began < 3


# -- uploads -------------------------------------------------------------------------------------------------------


def test_an_upload_cut_in_the_middle_leaves_nothing(server):
    data = random.Random(3).randbytes(3 << 20)
    hash = blake3(data).hexdigest()
    start = f"PUT /v1/objects/{hash} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {server.up.token}\r\n"
    for half in (data[: len(data) // 2], data[:10], b"", data[:-1]):
        server.cut(f"{start}content-length: {len(data)}\r\n\r\n".encode() + half)
        server.cut(f"{start}transfer-encoding: chunked\r\n\r\n{len(data):x}\r\n".encode() + half)
    server.cut(f"{start}content-length: 1000000000000\r\n\r\n".encode() + data[:1000])
    time.sleep(0.3)
    for wrong in (data[:-1], data + b"x", b""):
        server.ask("PUT", f"/v1/objects/{hash}", wrong).refused(400, "hash")
    assert server.call(objects.MISSING, {"hashes": [hash]}).done() == {"hashes": [hash]}
    assert not [path for path in (server.up.home / "objects").rglob("*") if hash[2:] in path.name]
    server.put(data)
    server.put(data)
    assert server.call(objects.MISSING, {"hashes": [hash]}).done() == {"hashes": []}


def test_a_journal_cut_in_the_middle_leaves_nothing(server):
    run_id = new_id()
    opening = {"project": "cut", "name": "cut", "time": 1}
    body = json.dumps({**STRETCH, "opening": opening, "params": {"a": 1}}).encode()
    head = f"POST /v1/runs/{run_id}/journal HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {server.up.token}\r\n"
    for length in (0, 1, len(body) // 2, len(body) - 1):
        server.cut(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body[:length])
    time.sleep(0.3)
    server.call(runs.GET, run_id=run_id).refused(404)
    assert "cut" not in [project["name"] for project in server.call(projects.LIST).done()["projects"]]


def test_a_path_out_of_an_artifact_is_not_read(server):
    hash = server.put(b"fine")
    run_id = server.draft()
    file = {"path": 'a/"b"\u00e9.txt', "hash": hash, "size": 4}
    artifact = {"name": "model", "kind": "model", "format": "", "files": [file]}
    opening = {"project": "bakery", "name": "x", "time": 1}
    server.call(runs.APPEND, {**STRETCH, "opening": opening, "artifacts": [artifact]}, run_id=run_id).done()
    for path in ("../../../../etc/passwd", "/etc/passwd", "..\\x", "a", "a/../a/b", "%2e%2e/x", "\u202e"):
        server.call(runs.READ_FILE, {"name": "model", "path": path}, run_id=run_id).refused(404)
        server.call(runs.READ_FILE, {"name": path}, run_id=run_id).refused(404)
    answer = server.call(runs.READ_FILE, {"name": "model"}, run_id=run_id)
    assert answer.body == b"fine" and answer.headers["content-security-policy"] == "sandbox"
    assert answer.headers["content-disposition"].startswith("attachment")


# -- whatever the document allows ----------------------------------------------------------------------------------


@pytest.mark.timeout(400)
def test_what_the_api_document_allows_is_answered_as_it_says(server):
    import schemathesis
    from hypothesis import HealthCheck, given, settings
    from schemathesis import GenerationMode
    from schemathesis.checks import (
        content_type_conformance,
        not_a_server_error,
        response_schema_conformance,
        status_code_conformance,
    )

    checks = [not_a_server_error, response_schema_conformance, content_type_conformance, status_code_conformance]
    schema = schemathesis.openapi.from_url(f"{server.up.url}/openapi.json")
    headers = {"authorization": f"Bearer {server.up.token}"}
    own_token = server.up.token.split(".")[1]
    ids = [server.draft(params={"a": 1}) for _ in range(3)]
    limits = settings(
        max_examples=5, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
    )
    asked = 0
    for found in schema.get_all_operations():
        operation = found.ok()
        if operation.path == "/v1/live":
            continue  # it has no end
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            if mode is GenerationMode.NEGATIVE and not (operation.query or operation.body):
                continue

            @limits
            @given(case=operation.as_strategy(generation_mode=mode))
            def probe(case: Any) -> None:
                nonlocal asked
                asked += 1
                # long polls are another test's
                for part in (case.query, case.body):
                    if isinstance(part, dict) and "wait" in part:
                        part["wait"] = 0
                if "run_id" in (case.path_parameters or {}) and asked % 2 and case.operation.method != "delete":
                    case.path_parameters["run_id"] = ids[asked % 3]
                if (case.path_parameters or {}).get("token_id") == own_token:
                    return
                answer = case.call(headers=headers)
                case.validate_response(answer, checks=checks)

            probe()
    assert asked > 150


# -- many at once --------------------------------------------------------------------------------------------------


def together(*work: Callable[[], Any]) -> list[Any]:
    """Do all of it at the same time."""
    gate = threading.Barrier(len(work))

    def one(task: Callable[[], Any]) -> Any:
        gate.wait()
        return task()

    with ThreadPoolExecutor(len(work)) as pool:
        return list(pool.map(one, work))


def test_two_writers_append_to_one_run_and_nothing_is_lost_or_mixed(server):
    run_id, batches, points = new_id(), 25, 40
    shared = [f"shared/{index}" for index in range(5)]

    def write(writer: str) -> None:
        transport = Transport(server.up.url, server.up.token, retries=0)
        role = "main" if writer == "0" else "child"
        for number in range(batches):
            steps = struct.pack(f"<{points}q", *range(number * points, (number + 1) * points))
            values = struct.pack(f"<{points}d", *[float(writer)] * points)
            batch = runs.Batch(
                writer=writer, start=number * 10, end=number * 10 + 10,
                opening=runs.Opening(project="both", name="both", time=1, role=role) if not number else None,
                series=[runs.Series(name=name, steps=steps, times=steps, values=values) for name in (*shared, f"own/{writer}")],
                console=[runs.ConsoleLine(time=number, text=f"{writer} {number}")],
                params={f"of {writer}": number, "both": number}, add_tags=[f"t{number}"],
            )  # fmt: skip
            assert transport.call(runs.APPEND, batch, run_id=run_id).offset == batch.end

    together(*[functools.partial(write, str(index)) for index in range(2)])
    metrics = server.call(runs.LIST_METRICS, run_id=run_id).done()["metrics"]
    assert {name: summary["count"] for name, summary in metrics.items()} == {
        **dict.fromkeys(shared, 2 * batches * points), "own/0": batches * points, "own/1": batches * points,
    }  # fmt: skip
    for name in shared:
        series = server.transport.call(runs.READ_METRIC, runs.MetricQuery(name=name), run_id=run_id)
        assert list(struct.unpack(f"<{2 * batches * points}q", series.steps)) == sorted([*range(batches * points)] * 2)
        assert metrics[name]["mean"] == 0.5
    lines = [item["line"]["text"] for item in server.call(runs.READ_CONSOLE, run_id=run_id).done()["lines"]]
    for writer in "01":
        assert [line for line in lines if line[0] == writer] == [f"{writer} {number}" for number in range(batches)]
    run = server.call(runs.GET, run_id=run_id).done()
    assert (
        run["params"] == {"of 0": batches - 1, "of 1": batches - 1, "both": batches - 1} and len(run["tags"]) == batches
    )


def test_one_job_goes_to_one_agent(server):
    for _ in range(5):
        wanted = {server.draft() for _ in range(3)}
        for run_id in wanted:
            server.call(runs.ENQUEUE, {"queue": "race"}, run_id=run_id).done()
        order = [{"queues": ["race"], "agent": f"a{index}"} for index in range(8)]
        leases = together(*[functools.partial(server.call, queues.LEASE, one) for one in order])
        jobs = [lease.done()["job"] for lease in leases if lease.done()["job"]]
        assert sorted(job["subject"] for job in jobs) == sorted(wanted)
        for job in jobs:
            server.call(queues.COMPLETE, {"fence": job["fence"] + 1}, job_id=job["id"]).refused(409)
            server.call(queues.COMPLETE, {"fence": job["fence"]}, job_id=job["id"]).done()
            server.call(queues.COMPLETE, {"fence": job["fence"]}, job_id=job["id"]).refused(404)


def test_the_same_stretch_sent_by_many_is_stored_once(server):
    run_id = new_id()
    one = struct.pack("<q", 1)
    batch = runs.Batch(
        writer="w", start=0, end=10, opening=runs.Opening(project="once", name="once", time=1),
        series=[runs.Series(name="m", steps=one, times=one, values=struct.pack("<d", 1.0))],
    )  # fmt: skip

    def send() -> int:
        return Transport(server.up.url, server.up.token, retries=0).call(runs.APPEND, batch, run_id=run_id).offset

    assert together(*[send] * 8) == [10] * 8
    assert server.call(runs.LIST_METRICS, run_id=run_id).done()["metrics"]["m"]["count"] == 1


@pytest.mark.postgres
def test_two_servers_share_one_database(postgres_url, tmp_path):
    ups = [
        Up(home=tmp_path / name / "server", database=postgres_url, objects=str(tmp_path / "objects"),
           environment={"LARDER_HOME": str(tmp_path / name)})
        for name in ("one", "two")
    ]  # fmt: skip
    for up in ups:
        os.makedirs(up.home.parent)
    try:
        # both on the empty database: one of them makes the tables, the other waits for it
        together(*[up.start for up in ups])
        import psycopg

        with psycopg.connect(postgres_url) as connection:
            assert len(connection.execute("select version_num from alembic_version").fetchall()) == 1
            assert connection.execute("select count(*) from tenants").fetchone() == (1,)
        one, two = (Server(up) for up in ups)
        with ThreadPoolExecutor(2) as pool:
            for asked, told in ((one, two), (two, one), (one, one)):
                run_id = told.draft()
                order = {"queues": ["default"], "agent": "a", "wait": 15}
                lease = pool.submit(asked.call, queues.LEASE, order)
                time.sleep(0.7)
                began = time.monotonic()
                told.call(runs.ENQUEUE, {}, run_id=run_id).done()
                job = lease.result().done()["job"]
                assert job["subject"] == run_id and time.monotonic() - began < 2.0
                asked.call(queues.COMPLETE, {"fence": job["fence"]}, job_id=job["id"]).done()
        # and one job that both are asked for goes to one
        for _ in range(4):
            run_id = one.draft()
            one.call(runs.ENQUEUE, {}, run_id=run_id).done()
            order = {"queues": ["default"], "agent": "a"}
            leases = together(*[functools.partial(which.call, queues.LEASE, order) for which in (one, two) * 3])
            (job,) = [lease.done()["job"] for lease in leases if lease.done()["job"]]
            one.call(queues.COMPLETE, {"fence": job["fence"]}, job_id=job["id"]).done()
        # a token revoked at one is refused by the other
        token = one.token(Role.VIEWER)
        two.call(tenants.WHOAMI, token=token).done()
        one.call(tenants.REVOKE_TOKEN, token_id=token.split(".")[1]).done()
        two.call(tenants.WHOAMI, token=token).refused(401)
    finally:
        for up in ups:
            up.stop()
    for up in ups:
        assert "Traceback" not in (up.home.parent / "server.log").read_text()
