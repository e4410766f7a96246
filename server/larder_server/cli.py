"""`larder up`: the server in one process, with what it needs beside it."""

import gc
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import FrameType
from urllib.parse import urlsplit

import click

from larder import config
from larder.contract.errors import LarderError
from larder_server.settings import LOOPBACK, Settings


@click.command(name="up")
@click.option("--home", type=click.Path(file_okay=False, path_type=Path), help="Folder of database, objects, backups.")
@click.option(
    "--host", default="127.0.0.1", show_default=True, help="Address to listen on; beyond loopback, tokens rule."
)
@click.option(
    "--port", default=8765, show_default=True, type=click.IntRange(0, 65535), help="Port; 0 picks a free one."
)
@click.option("--database", default="", envvar="LARDER_DATABASE", help="postgresql://… instead of SQLite in the home.")
@click.option(
    "--objects", default="", envvar="LARDER_OBJECTS", help="s3://bucket/prefix instead of a folder in the home."
)
@click.option(
    "--agents", default=0, show_default=True, type=click.IntRange(0, 64), help="Local agents to start beside."
)
@click.option(
    "--lease-seconds",
    default=30.0,
    show_default=True,
    envvar="LARDER_LEASE_SECONDS",
    type=click.FloatRange(0.5, 3600),
    help="How long an agent may be silent before its runs go to others.",
)
@click.option("--no-local-sign-in", is_flag=True, help="Ask for a token in browsers on this machine too.")
@click.option(
    "--pages",
    envvar="LARDER_PAGES",
    type=click.Path(file_okay=False, path_type=Path),
    help="Another folder of built pages, for those who work on them.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON line when ready.")
def up(
    home: Path | None,
    host: str,
    port: int,
    database: str,
    objects: str,
    agents: int,
    lease_seconds: float,
    no_local_sign_in: bool,
    pages: Path | None,
    as_json: bool,
) -> None:
    """Start the Larder server and keep it running until Ctrl-C."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    listener = _listen(host, port)
    settings = Settings(
        home=(home or config.home() / "server").absolute(),
        host=host,
        port=listener.getsockname()[1],
        database=database,
        objects=objects,
        agents=agents,
        lease_seconds=lease_seconds,
        local_sign_in=not no_local_sign_in,
        pages=pages,
    )
    try:
        _serve(settings, listener, as_json=as_json)
    except LarderError as problem:
        click.echo(f"larder up: {problem}" + (f"\n  {problem.hint}" if problem.hint else ""), err=True)
        sys.exit(problem.exit_code)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio switches Nagle's delay off only for a socket that says it is TCP; with it an answer takes 40 ms longer
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(2048)
    except OSError as problem:
        listener.close()
        click.echo(
            f"larder up: {host}:{port} cannot be listened on: {problem.strerror}\n  choose another with --port",
            err=True,
        )
        sys.exit(1)
    listener.set_inheritable(False)
    return listener


def _serve(settings: Settings, listener: socket.socket, *, as_json: bool) -> None:
    import uvicorn

    from larder_server import app

    server = app.build(settings, local_secret=_remembered_secret(settings))
    _remember_secret(settings, server.local_secret)
    if _is_this_machine(config.load().url):
        config.save(config.Config(settings.url, server.local_secret, config.home()))

    class Edge(uvicorn.Server):
        """A server that, asked to end, first answers its long polls and tells its agents, so that nobody waits."""

        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            server.runtime.hub.close()
            fleet.ask()
            super().handle_exit(sig, frame)

    fleet = Fleet(settings, server.local_secret)
    edge = Edge(
        uvicorn.Config(
            server.asgi, log_config=None, access_log=False, http="httptools", ws="none", lifespan="on",
            timeout_keep_alive=75, timeout_graceful_shutdown=5, proxy_headers=False,
        )
    )  # fmt: skip
    # What is here now stays: thousands of agents that wait would make each pass over it a pause that everybody feels.
    gc.collect()
    gc.freeze()
    ready = threading.Thread(target=_when_ready, args=(edge, settings, fleet, as_json), daemon=True)
    ready.start()
    try:
        edge.run(sockets=[listener])
    finally:
        fleet.stop()
        server.close()


def _when_ready(edge: object, settings: Settings, fleet: "Fleet", as_json: bool) -> None:
    while not getattr(edge, "started", False):
        time.sleep(0.01)
    if as_json:
        click.echo(json.dumps({"url": settings.url, "home": str(settings.home), "pid": os.getpid()}))
    else:
        click.echo(f"Larder is up: {settings.url}   (API: {settings.url}/api, home: {settings.home})", err=True)
        if not settings.on_loopback:
            click.echo(
                f"Listening beyond this machine: every request needs a token. The first admin's is in"
                f" {_secret_file(settings)}; `larder tokens issue USER` makes others.",
                err=True,
            )
        if not settings.agents:
            click.echo(
                "No agent runs here; `larder up --agents 1` or `larder agent start` executes queued runs.", err=True
            )
    sys.stdout.flush()
    fleet.start()


def _is_this_machine(url: str) -> bool:
    """Whether the saved address is this machine's, so that a login to a company's server is never overwritten."""
    return urlsplit(url).hostname in LOOPBACK


def _secret_file(settings: Settings) -> Path:
    return settings.home / "local-token"


def _remembered_secret(settings: Settings) -> str:
    try:
        return _secret_file(settings).read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return ""


def _remember_secret(settings: Settings, secret: str) -> None:
    if secret:
        descriptor = os.open(_secret_file(settings), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(secret)


class Fleet:
    """The local agents: child processes, started again when they die."""

    def __init__(self, settings: Settings, secret: str) -> None:
        self._settings, self._secret = settings, secret
        self._stopping = threading.Event()
        self._children: list[subprocess.Popen[bytes]] = []
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Start as many agents as the settings say."""
        for index in range(self._settings.agents):
            thread = threading.Thread(target=self._keep, args=(index,), daemon=True)
            thread.start()
            self._threads.append(thread)

    def ask(self) -> None:
        """Ask the agents to end."""
        self._stopping.set()
        for child in list(self._children):
            if child.poll() is None:
                child.send_signal(signal.SIGTERM)

    def stop(self) -> None:
        """Ask the agents to end and wait for them a little."""
        self.ask()
        for child in list(self._children):
            try:
                child.wait(timeout=10)
            except subprocess.TimeoutExpired:
                child.kill()

    def _keep(self, index: int) -> None:
        environment = {**os.environ, "LARDER_URL": self._settings.url, "LARDER_TOKEN": self._secret}
        while not self._stopping.is_set():
            child = subprocess.Popen(
                [sys.executable, "-m", "larder.cli", "agent", "start", "--queue", "default", "--name",
                 f"{socket.gethostname()}-{index + 1}"],
                env=environment, stdin=subprocess.DEVNULL,
            )  # fmt: skip
            self._children.append(child)
            child.wait()
            self._children.remove(child)
            # an agent that dies at once must not be started a hundred times a second
            self._stopping.wait(1.0)


if __name__ == "__main__":
    up(prog_name="larder up")
