"""Scripts as users write them, executed in processes of their own against a fake server."""

import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.client.fakes import FakeServer, serving

SILENT = "{'code': False, 'packages': False, 'machine': False}"
"""Sources that take longer than the test."""


class Bench:
    """A home folder, a fake server on a port, and a way to execute scripts against them."""

    def __init__(self, home: Path, server: FakeServer, url: str) -> None:
        self.home = home
        self.server = server
        self.url = url

    @property
    def env(self) -> dict[str, str]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("LARDER_")}
        return {**clean, "LARDER_HOME": str(self.home), "LARDER_URL": self.url, "LARDER_LINGER": "0.5"}

    def start(self, code: str, *arguments: str, **env: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(code), *arguments],
            env={**self.env, **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.home,
        )

    def execute(self, code: str, *arguments: str, **env: str) -> "subprocess.CompletedProcess[str]":
        process = self.start(code, *arguments, **env)
        out, err = process.communicate(timeout=60)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    @property
    def left(self) -> list[str]:
        folder = self.home / "runs"
        return sorted(each.name for each in folder.glob("[!.]*")) if folder.exists() else []

    def run(self) -> str:
        (only,) = self.server.batches
        return only

    def steps(self, name: str, run: str = "") -> list[int]:
        return [step for step, _ in self.server.points(run or self.run(), name)]


@contextmanager
def bench(home: Path) -> Iterator[Bench]:
    server = FakeServer()
    with serving(server) as url:
        yield Bench(home, server, url)


def eventually(check: Callable[[], object], *, seconds: float = 15.0) -> None:
    """Waits until the check holds."""
    until = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < until, "it did not come true in time"
        time.sleep(0.02)
