"""A real `larder up` in a process of its own, on each kind of store."""

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from larder import config
from larder.transport import Transport


@dataclass
class Up:
    """A running server: its address, its local token, its process."""

    home: Path
    database: str = ""
    objects: str = ""
    agents: int = 0
    port: int = 0
    host: str = "127.0.0.1"
    url: str = ""
    token: str = ""
    process: subprocess.Popen[bytes] | None = None
    environment: dict[str, str] = field(default_factory=dict)

    def start(self) -> "Up":
        command = [sys.executable, "-m", "larder_server.cli", "--home", str(self.home), "--json", "--host", self.host]
        command += ["--port", str(self.port), "--agents", str(self.agents)]
        command += ["--database", self.database] if self.database else []
        command += ["--objects", self.objects] if self.objects else []
        log = open(self.home.parent / "server.log", "ab")
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=log, env={**os.environ, **self.environment}
        )
        line = self.process.stdout.readline()
        assert line, (self.home.parent / "server.log").read_text()
        said = json.loads(line)
        self.url, self.port = said["url"], int(said["url"].rsplit(":", 1)[1])
        self.token = (self.home / "local-token").read_text()
        return self

    def stop(self, *, kill: bool = False) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill() if kill else self.process.terminate()
            self.process.wait(timeout=30)

    @property
    def transport(self) -> Transport:
        return Transport(self.url, self.token)


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Callable[..., Up]]:
    """Starts servers and ends them after the test; the client's configuration points at the newest."""
    started: list[Up] = []

    def start(**options: object) -> Up:
        server = Up(home=tmp_path / "server", **options).start()
        config.save(config.Config(server.url, server.token, config.home()))
        started.append(server)
        return server

    yield start
    for server in started:
        server.stop()


@pytest.fixture(
    params=[
        "sqlite-folder",
        pytest.param("sqlite-s3", marks=pytest.mark.s3),
        pytest.param("postgres-folder", marks=pytest.mark.postgres),
        pytest.param("postgres-s3", marks=[pytest.mark.postgres, pytest.mark.s3]),
    ]
)
def stores(request: pytest.FixtureRequest) -> dict[str, str]:
    """`database=` and `objects=` for each kind of store."""
    database, _, objects = request.param.partition("-")
    return {
        "database": request.getfixturevalue("postgres_url") if database == "postgres" else "",
        "objects": request.getfixturevalue("s3_url") if objects == "s3" else "",
    }


def eventually(question: Callable[[], object], *, seconds: float = 20.0) -> object:
    """Ask until the answer is true; the answer."""
    deadline = time.monotonic() + seconds
    while True:
        answer = question()
        if answer or time.monotonic() > deadline:
            assert answer, "it did not come true in time"
            return answer
        time.sleep(0.05)


def fetch(
    url: str, *, token: str = "", method: str = "GET", body: bytes | None = None, headers: dict[str, str] | None = None
):
    """A plain HTTP request: status, headers, body."""
    request = urllib.request.Request(url, body, {"content-type": "application/json", **(headers or {})}, method=method)
    if token:
        request.add_header("authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as problem:
        return problem.code, problem.headers, problem.read()
