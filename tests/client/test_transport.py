"""Calls over a real socket and in process: how they travel, what is tried again, which error comes back."""

import gzip
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest

from larder import config
from larder.contract import errors, objects, runs
from larder.contract.endpoint import Bytes, Endpoint, Nothing
from larder.transport import Transport
from tests.client.fakes import FakeServer, serving

MSGPACK = {"Content-Type": "application/msgpack"}
FETCH = Endpoint("GET", "/v1/bytes/{name}", Nothing, Bytes, "Bytes")


class Seen:
    """Answers what it is told to, and remembers what it was asked."""

    def __init__(self, *answers: tuple[int, Mapping[str, str], bytes]) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, str, dict[str, str], bytes | None]] = []

    def send(self, method: str, target: str, headers: dict[str, str], body: bytes | None) -> tuple[int, Any, bytes]:
        self.asked.append((method, target, headers, body))
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def answer(value: Any) -> tuple[int, Mapping[str, str], bytes]:
    return 200, MSGPACK, msgspec.msgpack.encode(value)


PAGE = runs.RunPage(runs=[], total=0)


def test_a_get_carries_its_body_in_the_query() -> None:
    seen = Seen(answer(PAGE))
    query = runs.RunQuery(project="a b", where="metrics.val/mae < 3", descending=None, limit=5, archived=True)
    assert Transport("http://x/", send=seen.send).call(runs.SEARCH, query) == PAGE
    method, target, headers, body = seen.asked[0]
    assert (method, body) == ("GET", None)
    assert "project=a+b" in target
    assert "where=metrics.val%2Fmae+%3C+3" in target
    assert "archived=true" in target
    assert "descending" not in target
    assert headers["Accept"] == "application/msgpack"
    assert "Authorization" not in headers


def test_paths_are_encoded_and_the_token_is_sent() -> None:
    seen = Seen(answer({}))
    Transport("http://x", "secret", send=seen.send).call(runs.DELETE, run_id="../a b")
    assert seen.asked[0][1] == "/v1/runs/..%2Fa%20b"
    assert seen.asked[0][2]["Authorization"] == "Bearer secret"


@pytest.mark.parametrize("kind", [each for each in errors.BY_CODE.values() if each is not errors.LarderError])
@pytest.mark.parametrize("as_json", [True, False])
def test_a_refusal_is_raised_as_its_class(kind: type[errors.LarderError], as_json: bool) -> None:
    problem = {"code": kind.code, "message": "no", "hint": "do so", "field": "where", "position": 3}
    body = json.dumps(problem).encode() if as_json else msgspec.msgpack.encode(problem)
    seen = Seen((kind.status, {"content-type": "application/json"} if as_json else MSGPACK, body))
    with pytest.raises(kind, match="no") as raised:
        Transport("http://x", send=seen.send, retries=0).call(runs.GET, run_id="x")
    assert type(raised.value) is kind
    assert (raised.value.hint, raised.value.field, raised.value.position) == ("do so", "where", 3)


def test_the_page_of_a_proxy_is_an_error_too() -> None:
    seen = Seen((502, {"Content-Type": "text/html"}, b"<h1>Bad Gateway</h1>"))
    with pytest.raises(errors.Unavailable, match="502"):
        Transport("http://x", send=seen.send, retries=1).call(runs.GET, run_id="x")
    assert len(seen.asked) == 2


def test_what_does_harm_twice_is_not_tried_again() -> None:
    busy = Seen((503, MSGPACK, msgspec.msgpack.encode({"code": "unavailable", "message": "busy"})))
    with pytest.raises(errors.Unavailable):
        Transport("http://x", send=busy.send).call(runs.CREATE, runs.NewRun(project="p"))
    assert len(busy.asked) == 1


def test_the_journal_is_tried_again() -> None:
    busy = (503, MSGPACK, msgspec.msgpack.encode({"code": "unavailable", "message": "busy"}))
    seen = Seen(busy, answer(runs.Acknowledged(offset=0)))
    Transport("http://x", send=seen.send).call(runs.APPEND, runs.Batch(writer="w", start=0, end=0), run_id="r")
    assert len(seen.asked) == 2


def test_an_answer_that_makes_no_sense_is_said_so() -> None:
    with pytest.raises(errors.Unavailable, match="makes no sense"):
        Transport("http://x", send=Seen((200, {}, b"<html>")).send).call(runs.GET, run_id="x")


def test_a_server_that_is_not_there_is_named_with_what_to_do() -> None:
    with pytest.raises(errors.Unavailable, match=r"http://127\.0\.0\.1:9 ") as raised:
        Transport("http://127.0.0.1:9", retries=0).call(runs.GET, run_id="x")
    assert "larder up" in raised.value.hint


def test_files_travel_over_a_socket(tmp_path: Path) -> None:
    from blake3 import blake3

    file = tmp_path / "big"
    file.write_bytes(bytes(range(256)) * 20_000)
    name = blake3(file.read_bytes()).hexdigest()
    sent: list[int] = []
    server = FakeServer()
    with serving(server) as url:
        Transport(url).upload(objects.PUT, file, sent.append, hash=name)
    assert server.objects[name] == file.read_bytes()
    assert sum(sent) == file.stat().st_size


@contextmanager
def bytes_server(content: bytes, promised: int) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(promised))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=http.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{http.server_port}"
    http.shutdown()
    http.server_close()


def test_a_download_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "sub" / "file"
    with bytes_server(b"x" * 5000, 5000) as url:
        assert Transport(url).download(FETCH, None, target, name="a").read_bytes() == b"x" * 5000
    target.unlink()
    with bytes_server(b"x" * 5000, 9000) as url, pytest.raises(errors.Unavailable):
        Transport(url, retries=0).download(FETCH, None, target, name="a")
    assert list(target.parent.iterdir()) == []


# -- settings


def test_what_was_saved_is_loaded_by_its_owner_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = config.save(config.Config("http://localhost:1234/", "secret", tmp_path))
    assert path.stat().st_mode & 0o777 == 0o600
    assert config.load(home=tmp_path) == config.Config("http://127.0.0.1:1234", "secret", tmp_path)
    monkeypatch.setenv("LARDER_TOKEN", "other")
    assert config.load(home=tmp_path).token == "other"


def test_a_saved_token_goes_to_no_other_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config.save(config.Config("http://127.0.0.1:1234", "secret", tmp_path))
    monkeypatch.setenv("LARDER_URL", "http://elsewhere:1234")
    assert config.load(home=tmp_path) == config.Config("http://elsewhere:1234", "", tmp_path)


def test_without_settings_it_is_the_server_of_this_machine(tmp_path: Path) -> None:
    assert config.load(home=tmp_path) == config.Config(config.DEFAULT_URL, "", tmp_path)


@pytest.mark.parametrize("url", ["ftp://x", "http://", "http://a b", "http://a\n"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(errors.Invalid):
        config.normal(url if url != "http://a\n" else "http://a\nb")


def test_damaged_settings_are_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(errors.Invalid, match=r"config\.json"):
        config.load(home=tmp_path)


@pytest.mark.parametrize(("url", "packed"), [("http://ml.example.org", True), ("http://127.0.0.1:8765", False)])
def test_a_large_body_is_packed_on_its_way_to_another_machine(url: str, packed: bool) -> None:
    seen = Seen(answer(runs.Acknowledged(offset=1)))
    batch = runs.Batch(writer="w", start=0, end=1, notes="bread " * 10_000)
    Transport(url, send=seen.send).call(runs.APPEND, batch, run_id="r")
    _, _, headers, body = seen.asked[0]
    assert (headers.get("Content-Encoding") == "gzip") is packed
    assert msgspec.msgpack.decode(gzip.decompress(body) if packed else body, type=runs.Batch) == batch
