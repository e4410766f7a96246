"""The token of a share opens what it names, from any machine, and nothing else of the server."""

import json
import re

import pytest

import larder
from larder.contract import runs, shares
from larder.contract.errors import Denied, LarderError
from larder.contract.runs import NewRun, Points, PointsBatch
from larder.contract.shares import NewShare, SharePolicy
from larder.shares import find
from larder.transport import Transport
from larder_server import app
from tests.journeys.conftest import fetch


@pytest.fixture
def shared(up):
    """A server, a run, and the token of a share of that run that opens without signing in."""
    server = up()
    call = server.transport.call
    run = call(runs.CREATE, NewRun(project="bakery", name="deep", params={"lr": 0.1}))
    call(runs.LOG_METRICS, PointsBatch(metrics=[Points(name="val/mae", values=[3.0, 2.0])]), run_id=run.id)
    call(shares.CHANGE_POLICY, SharePolicy(public=True))
    share = call(shares.CREATE, NewShare(runs=[run.id], public=True))
    return server, run, share, share.path.removeprefix("/share/")


def test_the_address_opens_by_itself_and_closes_at_once(shared):
    server, _, share, token = shared
    status, _, body = fetch(f"{server.url}/v1/shared/{token}", token=token)
    assert status == 200 and json.loads(body)["headline"] == "deep: val/mae 2"
    assert fetch(f"{server.url}/v1/shared/{token}")[0] == 401
    assert server.transport.call(shares.OPEN, token=token).metric == "val/mae"
    server.transport.call(shares.REVOKE, share_id=share.id)
    assert fetch(f"{server.url}/v1/shared/{token}", token=token)[0] == 401


def test_a_share_reads_and_writes_nothing_else(shared):
    server, run, share, token = shared
    others = [route.endpoint for route in app.ROUTES if route.endpoint is not shares.OPEN]
    assert len(others) > 40 and not any(endpoint.for_shares for endpoint in others)
    for endpoint in others:
        path = re.sub(
            r"{(\w+)}", lambda found: {"run_id": run.id, "share_id": share.id}.get(found[1], "x"), endpoint.path
        )
        body = b"{}" if endpoint.method in ("POST", "PATCH", "PUT") else None
        for how in ({"token": token}, {"headers": {"cookie": f"{app.COOKIE}={token}"}}):
            status, _, said = fetch(f"{server.url}{path}", method=endpoint.method, body=body, **how)
            assert status in (401, 403), f"{endpoint.method} {path}: {status} {said[:200]}"
            assert run.id.encode() not in said
    assert fetch(f"{server.url}/sign-in?token={token}")[0] == 401
    status, headers, _ = fetch(f"{server.url}/sign-in", method="POST", token=token)
    assert status == 403 and "set-cookie" not in headers
    assert server.transport.call(runs.GET, run_id=run.id).name == "deep"


def test_a_share_opens_no_other_share(shared):
    server, run, _, token = shared
    other = server.transport.call(shares.CREATE, NewShare(runs=[run.id], public=True)).path.removeprefix("/share/")
    with pytest.raises(Denied):
        Transport(server.url, token).call(shares.OPEN, token=other)
    with pytest.raises(LarderError):
        Transport(server.url, other[:-1] + "!").call(shares.OPEN, token=other)


def test_the_sdk_makes_lists_and_revokes_shares_and_explains(shared):
    server, run, _, token = shared
    one = larder.run(run.id)
    other = larder.run(
        server.transport.call(runs.CREATE, NewRun(project="bakery", name="deeper", params={"lr": 0.2})).id
    )
    made = one.share(title="For the board", public=True)
    assert made.url.startswith(f"{server.url}/share/share_default.") and made.record.title == "For the board"
    both = larder.compare(one, other).share(days=1)
    assert [str(found) for found in find()][:2] == [both.url, made.url] and len(find(run.id)) == 3
    both.revoke()
    assert len(find()) == 2
    assert one.explain(other).differences[0].name == "lr"
    assert larder.compare(one, other).warnings() == []


def test_one_that_needs_signing_in_says_so(shared):
    server, run, _, _ = shared
    closed = server.transport.call(shares.CREATE, NewShare(runs=[run.id])).path.removeprefix("/share/")
    status, _, said = fetch(f"{server.url}/v1/shared/{closed}", token=closed)
    assert status == 401 and "sign in" in json.loads(said)["message"]
    assert server.transport.call(shares.OPEN, token=closed).kind == "run"
