"""A server that keeps the promises of the contract for journals, objects and checkpoints, in memory: in process or
over a socket."""

import array
import gzip
import math
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import msgspec
from blake3 import blake3

from larder.contract import errors, objects, runs
from larder.contract.endpoint import Problem

MSGPACK = {"Content-Type": "application/msgpack"}


class FakeServer:
    """Stores batches once by offset, refuses gaps, late metrics and old attempts, keeps objects by hash."""

    def __init__(self) -> None:
        self.offsets: dict[tuple[str, str], int] = {}
        self.batches: dict[str, list[runs.Batch]] = {}
        self.objects: dict[str, bytes] = {}
        self.ended: dict[str, runs.Ending] = {}
        self.attempts: dict[str, int] = {}
        self.refuse_token = False
        self.stop: set[str] = set()
        self.fail_next = 0
        self.lose_answer = 0
        self.bad_metric = ""
        self.movable = True
        self.moved: dict[str, runs.Enqueue] = {}
        self.calls = 0
        self._lock = threading.Lock()

    def send(
        self, method: str, target: str, headers: dict[str, str], body: bytes | None
    ) -> tuple[int, Mapping[str, str], bytes]:
        """The shape that `Transport(send=...)` wants."""
        with self._lock:
            self.calls += 1
            try:
                if self.fail_next:
                    self.fail_next -= 1
                    raise errors.Unavailable("The fake server is busy.")
                if self.refuse_token:
                    raise errors.Unauthenticated("The token is unknown.")
                packed = headers.get("Content-Encoding") == "gzip"
                content = gzip.decompress(body or b"") if packed else body or b""
                if target.partition("?")[0].endswith("/artifact-file"):
                    return 200, {"Content-Type": "application/octet-stream"}, self._file(target)
                answer = self._answer(method, target.partition("?")[0], content)
                if self.lose_answer:
                    self.lose_answer -= 1
                    raise errors.Unavailable("The answer got lost.")
            except errors.LarderError as error:
                problem = Problem(code=error.code, message=str(error), hint=error.hint, field=error.field)
                return error.status, MSGPACK, msgspec.msgpack.encode(problem)
            return 200, MSGPACK, msgspec.msgpack.encode(answer)

    def _answer(self, method: str, path: str, body: bytes) -> Any:
        if path == objects.MISSING.path:
            asked = msgspec.msgpack.decode(body, type=objects.Hashes)
            return objects.Hashes(hashes=[name for name in asked.hashes if name not in self.objects])
        if match := re.fullmatch(r"/v1/objects/(\w+)", path):
            if blake3(body).hexdigest() != match[1]:
                raise errors.Invalid("The bytes do not have the hash.")
            self.objects[match[1]] = body
            return {}
        if match := re.fullmatch(r"/v1/runs/([^/]+)/journal", path):
            return self._append(match[1], msgspec.msgpack.decode(body, type=runs.Batch))
        if match := re.fullmatch(r"/v1/runs/([^/]+)/artifacts", path):
            return runs.Artifacts(artifacts=self.stored(match[1]))
        if (match := re.fullmatch(r"/v1/runs/([^/]+)/enqueue", path)) and method == "POST":
            if not self.movable:
                raise errors.Conflict("The code of this run was not recorded.")
            self.moved[match[1]] = msgspec.msgpack.decode(body, type=runs.Enqueue)
            return self._run(match[1])
        if (match := re.fullmatch(r"/v1/runs/([^/]+)", path)) and method == "GET" and match[1] in self.batches:
            return self._run(match[1])
        raise errors.NotFound(f"{method} {path}")

    def stored(self, run: str) -> list[runs.Artifact]:
        """The artifacts of a run, with their versions."""
        found: list[runs.Artifact] = []
        for new in self.listed(run, "artifacts"):
            version = 1 + sum(each.name == new.name for each in found)
            found.append(
                runs.Artifact(
                    name=new.name,
                    version=version,
                    kind=new.kind,
                    format=new.format,
                    files=new.files,
                    size=sum(file.size for file in new.files),
                    created=new.time,
                    step=new.step,
                    metadata=new.metadata,
                )
            )
        return found

    def _run(self, run: str) -> runs.Run:
        states = [each for each in self.stored(run) if each.kind == "checkpoint"]
        last = max(states, key=lambda each: (each.step or 0, each.version), default=None)
        opening = next(batch.opening for batch in self.batches[run] if batch.opening)
        return runs.Run(
            id=run, project=opening.project, name=opening.name, created=opening.time,
            status=self.ended[run].status if run in self.ended else runs.RunStatus.RUNNING,
            params=self.gathered(run, "params"),
            checkpoint=None
            if last is None
            else runs.Checkpoint(run=run, name=last.name, version=last.version, step=last.step or 0),
        )  # fmt: skip

    def _file(self, target: str) -> bytes:
        parts = urlsplit(target)
        query = dict(parse_qsl(parts.query))
        for artifact in self.stored(parts.path.split("/")[3]):
            for file in artifact.files:
                if (artifact.name, str(artifact.version), file.path) == (
                    query["name"],
                    query["version"],
                    query["path"],
                ):
                    return self.objects[file.hash]
        raise errors.NotFound(target)

    def _append(self, run: str, batch: runs.Batch) -> runs.Acknowledged:
        if batch.attempt < self.attempts.get(run, 0):
            raise errors.Conflict("A newer attempt of this run goes on.", field="attempt")
        if run in self.moved and not batch.attempt:
            raise errors.Conflict("An agent goes on with this run.", field="attempt")
        stored = self.offsets.get((run, batch.writer), 0)
        answer = runs.Acknowledged(offset=stored, stop=run in self.stop)
        if batch.end <= stored:
            return answer
        if batch.start != stored:
            raise errors.Conflict("The journal is known up to another offset.", hint=f"offset={stored}")
        if run in self.ended and not (batch.opening and batch.opening.resumed) and (batch.series or batch.console):
            raise errors.Conflict("The run has ended.")
        if self.bad_metric and any(series.name == self.bad_metric for series in batch.series):
            raise errors.Invalid("That metric has a bad name.", field="series")
        for artifact in batch.artifacts:
            assert all(file.hash in self.objects for file in artifact.files)
        self.offsets[run, batch.writer] = batch.end
        self.batches.setdefault(run, []).append(batch)
        if batch.ending and run not in self.ended:
            self.ended[run] = batch.ending
        return runs.Acknowledged(offset=batch.end, stop=run in self.stop)

    # -- what arrived

    def points(self, run: str, name: str) -> list[tuple[int, float]]:
        """Steps and values in order of arrival."""
        found: list[tuple[int, float]] = []
        for batch in self.batches.get(run, []):
            for series in batch.series:
                if series.name == name:
                    steps, values = array.array("q", series.steps), array.array("d", series.values)
                    found += zip(steps, values, strict=True)
        return found

    def gathered(self, run: str, what: str) -> dict[str, Any]:
        """Parameters or facts, the last of a name."""
        found: dict[str, Any] = {}
        for batch in self.batches.get(run, []):
            found |= getattr(batch, what)
        return found

    def listed(self, run: str, what: str) -> list[Any]:
        """Console lines, artifacts, added tags in order of arrival."""
        return [each for batch in self.batches.get(run, []) for each in getattr(batch, what)]


@contextmanager
def serving(server: FakeServer, port: int = 0) -> Iterator[str]:
    """The fake over a socket of this machine; yields its address."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, headers, content = server.send(self.command, self.path, dict(self.headers), body)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_DELETE = answer

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    http = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    http.daemon_threads = True
    thread = threading.Thread(target=http.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{http.server_port}"
    finally:
        http.shutdown()
        http.server_close()


def same(left: float, right: float) -> bool:
    """Equal, and NaN equals NaN."""
    return left == right or (math.isnan(left) and math.isnan(right))
