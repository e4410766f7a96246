"""What the server says at its edge: who may ask, and one shape for every refusal."""

import json
import os
import subprocess
import sys

from tests.journeys.conftest import fetch

RUN = b'{"project": "bakery", "name": "one"}'


def problem(answer):
    status, _, body = answer
    return status, json.loads(body)


def test_it_says_that_it_lives_and_is_ready(up):
    server = up()
    assert fetch(server.url + "/healthz")[0] == fetch(server.url + "/readyz")[0] == 200
    assert b"larder_requests" in fetch(server.url + "/metrics")[2]
    assert json.loads(fetch(server.url + "/openapi.json")[2])["info"]["title"] == "Larder"
    assert fetch(server.url + "/api")[0] == fetch(server.url + "/icon.svg")[0] == 200


def test_without_a_token_nothing_is_answered(up):
    server = up()
    status, body = problem(fetch(server.url + "/v1/runs"))
    assert status == 401 and body["code"] == "unauthenticated" and "larder login" in body["hint"]
    status, body = problem(fetch(server.url + "/v1/runs", token="larder_default.x.y"))
    assert status == 401 and body["code"] == "unauthenticated"


def test_a_viewer_may_look_and_not_touch(up):
    server = up()
    order = b'{"user": "evi", "role": "viewer"}'
    _, _, body = fetch(server.url + "/v1/tokens", token=server.token, method="POST", body=order)
    secret = json.loads(body)["secret"]
    assert fetch(server.url + "/v1/runs", token=secret)[0] == 200
    status, body = problem(fetch(server.url + "/v1/runs", token=secret, method="POST", body=RUN))
    assert status == 403 and "viewer" in body["message"]


def test_a_body_of_the_wrong_type_names_the_field(up):
    server = up()
    answer = fetch(server.url + "/v1/runs", token=server.token, method="POST", body=b'{"project": 3}')
    status, body = problem(answer)
    assert status == 400 and body["field"] == "project" and "str" in body["message"]
    status, body = problem(fetch(server.url + "/v1/runs", token=server.token, method="POST", body=b'{"proj'))
    assert status == 400 and body["code"] == "invalid"


def test_a_misspelt_query_parameter_is_refused(up):
    server = up()
    status, body = problem(fetch(server.url + "/v1/runs?wher=x", token=server.token))
    assert status == 400 and body["field"] == "wher"


def test_a_where_that_does_not_parse_points_at_the_character(up):
    server = up()
    status, body = problem(fetch(server.url + "/v1/runs?where=metrics.loss%20%3C%20%3C", token=server.token))
    assert status == 400 and body["field"] == "where" and body["position"] == 15


def test_unknown_ids_paths_and_methods_have_the_same_shape(up):
    server = up()
    for path in ("/v1/runs/01a0f000-0000-7000-8000-000000000000", "/v1/nothing"):
        status, body = problem(fetch(server.url + path, token=server.token))
        assert status == 404 and body["code"] == "not_found"
    assert fetch(server.url + "/healthz", method="POST", body=b"")[0] == 405


def test_a_local_browser_is_signed_in_and_a_strangers_page_is_not(up):
    server = up()
    _, headers, _ = fetch(server.url + "/")
    cookie = headers["set-cookie"].split(";")[0]
    assert "HttpOnly" in headers["set-cookie"] and "samesite=strict" in headers["set-cookie"].lower()
    assert fetch(server.url + "/v1/runs", headers={"cookie": cookie})[0] == 200
    for foreign in ({"sec-fetch-site": "cross-site"}, {"x-forwarded-for": "10.0.0.1"}, {"host": "evil.example:80"}):
        assert fetch(server.url + "/", headers=foreign)[1]["set-cookie"] is None
    status, _ = problem(
        fetch(
            server.url + "/v1/runs",
            method="POST",
            body=RUN,
            headers={"cookie": cookie, "origin": "http://evil.example"},
        )
    )
    assert status == 401


def test_the_local_token_outlives_a_restart_and_is_for_its_owner_only(up):
    server = up()
    before = server.token
    assert os.stat(server.home / "local-token").st_mode & 0o777 == 0o600
    server.stop()
    server.start()
    assert server.token == before
    assert fetch(server.url + "/v1/whoami", token=before)[0] == 200


def test_a_taken_port_is_said_in_a_sentence(up):
    server = up()
    command = [sys.executable, "-m", "larder_server.cli", "--home", str(server.home), "--port", str(server.port)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and "cannot be listened on" in done.stderr and "Traceback" not in done.stderr


def test_beyond_loopback_nobody_is_signed_in_without_a_token(up):
    server = up(host="127.0.0.2")
    assert server.url.startswith("http://127.0.0.2:")
    assert fetch(server.url + "/")[1]["set-cookie"] is None
    assert fetch(server.url + "/v1/runs")[0] == 401
    assert fetch(server.url + "/v1/runs", token=server.token)[0] == 200


def test_tokens_are_issued_listed_and_revoked_from_the_command_line(up):
    server = up()

    def command(*arguments, **environment):
        return subprocess.run(
            [sys.executable, "-m", "larder.cli", "tokens", *arguments],
            env={**os.environ, **environment}, text=True, capture_output=True, timeout=60,
        )  # fmt: skip

    secret = command("issue", "evi", "--role", "viewer").stdout.strip()
    assert fetch(server.url + "/v1/whoami", token=secret)[0] == 200
    own = json.loads(command("ls", "--json", LARDER_URL=server.url, LARDER_TOKEN=secret).stdout)
    assert [token["user"] for token in own] == ["evi"]  # everybody sees their own, and an admin those of all
    (listed,) = [token for token in json.loads(command("ls", "--json").stdout) if token["user"] == "evi"]
    assert secret.rsplit(".", 1)[1] not in json.dumps(listed)
    assert command("revoke", listed["id"]).returncode == 0
    assert fetch(server.url + "/v1/whoami", token=secret)[0] == 401
    assert command("revoke", listed["id"]).returncode == 4
