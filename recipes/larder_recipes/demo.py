"""`larder demo`: the first walk in one command, over what every user has: scripts, the server, an agent and the SDK."""

import contextlib
import importlib.util
import json
import os
import select
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType

import click

import larder
from larder.contract.errors import LarderError
from larder.contract.runs import RunStatus
from larder.runs import RecordedRun
from larder.transport import Transport

PROJECT = "demand"
SCORE = "val/wape"
PORT = 8765
HERE = Path(__file__).resolve().parent

UP_SECONDS = 60.0
SCRIPT_SECONDS = 600.0
CLONE_SECONDS = 600.0

ATTRIBUTION = """\
Data: Online Retail, D. Chen (2015), UCI Machine Learning Repository, doi.org/10.24432/C5BW33, CC BY 4.0;
      daily demand of 60 products made from it, as larder_recipes/data/SOURCE.md says."""


@dataclass(frozen=True)
class Script:
    """A script of the demonstration: the name of its run, what it is, and which parameter a clone of it tries."""

    file: str
    name: str
    model: str
    parameter: str
    factor: float


BASELINE = Script("seasonal_naive.py", "seasonal-naive", "same weekday of last week", "weeks", 4)
SCRIPTS = (
    BASELINE,
    Script("smoothing.py", "smoothing", "exponential smoothing", "level", 2),
    Script("ridge.py", "ridge", "ridge regression", "alpha", 10),
    Script("boosted_trees.py", "boosted-trees", "LightGBM", "learning_rate", 0.5),
)


@dataclass(frozen=True, kw_only=True)
class Place:
    """A line of the leaderboard. `improvement` is the part of the baseline's WAPE that is gone, in percent."""

    rank: int
    name: str
    model: str
    wape: float
    mae: float
    improvement: float
    how: str
    run: str
    url: str


@dataclass(frozen=True, kw_only=True)
class Walk:
    """What the demonstration has to show: the leaderboard, best first, and a parameter that nobody has tried yet."""

    board: list[Place]
    next_parameter: str
    next_value: float


@click.command("demo")
@click.option("--home", type=click.Path(file_okay=False, path_type=Path), help="Folder to keep; else a temporary one.")
@click.option("--port", type=click.IntRange(1, 65535), help=f"Port of the server; {PORT} or a free one when not given.")
@click.option("--exit", "leave", is_flag=True, help="End after printing instead of staying up.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def command(home: Path | None, port: int | None, leave: bool, as_json: bool) -> None:
    """Start everything, train on real retail data, re-run the best model, print a leaderboard."""
    shown = False
    try:
        with _ended_by_signals(), _folder(home) as folder, _server(folder, port) as server:
            walked = walk(folder, server)
            _print(walked, server, folder, as_json=as_json)
            shown = True
            kept = (
                f"what was recorded is kept in {folder}"
                if home
                else "a temporary folder goes with it, --home DIR keeps one"
            )
            if leave:
                _say(f"the server stops now; {kept}")
                return
            _say(f"the server is up until Ctrl-C; {kept}")
            server.wait()
    except KeyboardInterrupt:
        _say("stopped")
        sys.exit(0 if shown else 130)
    except LarderError as error:
        raise click.ClickException(f"{error}" + (f"\n  {error.hint}" if error.hint else "")) from error
    except OSError as error:
        raise click.ClickException(f"the demonstration needs a folder and a port of this machine: {error}") from error


def walk(folder: Path, server: "Server") -> Walk:
    """Run the scripts, clone the best of them through the queue, and rank all."""
    started = time.monotonic()
    before = {run.id for run in larder.runs(project=PROJECT, limit=100_000, transport=server.transport)}
    scripts = _repository(folder / PROJECT)
    for script in SCRIPTS:
        _train(script, scripts, server)
    found = larder.runs(project=PROJECT, order_by=f"metrics.{SCORE}", limit=100_000, transport=server.transport)
    recorded = {run.name: run for run in found if run.id not in before and SCORE in run.metrics}
    missing = [script.name for script in SCRIPTS if script.name not in recorded]
    if missing:
        raise click.ClickException(f"the server has no {SCORE} of {', '.join(missing)}; its log is {server.log}")

    best = min(SCRIPTS, key=lambda script: recorded[script.name].metrics[SCORE].last)
    original = larder.run(recorded[best.name].id, transport=server.transport)
    if best.parameter not in original.params:
        raise click.ClickException(f"the run {original.short} has no recorded parameter {best.parameter}")
    tried = original.params[best.parameter]
    value, other = _scaled(tried, best.factor), _scaled(tried, 1 / best.factor)
    _say(f"cloning {best.name} with {best.parameter}={value:g}, for the agent to run from the recorded code")
    clone = original.clone(params={best.parameter: value}, name=f"{best.name}-clone").enqueue("default")
    try:
        clone.wait(timeout=CLONE_SECONDS)
    except TimeoutError as error:
        raise click.ClickException(
            f"the agent has not run the clone: {error} The server's log is {server.log}"
        ) from error
    if clone.status != RunStatus.COMPLETED or SCORE not in clone.metrics:
        raise click.ClickException(f"the clone {clone.short} is {clone.status}: {clone.reason or f'it has no {SCORE}'}")
    _say(f"{len(SCRIPTS)} runs recorded and one run again in {time.monotonic() - started:.0f} s")

    models = {script.name: script.model for script in SCRIPTS}
    models[clone.name] = f"{best.model}, {best.parameter}={value:g}"
    hows = dict.fromkeys(models, "recorded") | {clone.name: "cloned"}
    ours = [recorded[script.name] for script in SCRIPTS]
    board = _ranked([*ours, clone], models=models, hows=hows, baseline=recorded[BASELINE.name])
    return Walk(board=board, next_parameter=best.parameter, next_value=other)


def _scaled(value: object, factor: float) -> float:
    """A parameter times a factor: counts stay whole, and at least one."""
    if isinstance(value, int) and not isinstance(value, bool):
        return max(1, round(value * factor))
    if isinstance(value, float):
        return float(f"{value * factor:.6g}")
    raise click.ClickException(f"{value!r} is no number to change for a clone")


def _ranked(
    runs: Sequence[RecordedRun], *, models: Mapping[str, str], hows: Mapping[str, str], baseline: RecordedRun
) -> list[Place]:
    reference = baseline.metrics[SCORE].last
    return [
        Place(
            rank=number,
            name=run.name,
            model=models[run.name],
            wape=run.metrics[SCORE].last,
            mae=run.metrics["val/mae"].last,
            improvement=100 * (1 - run.metrics[SCORE].last / reference),
            how=hows[run.name],
            run=run.short,
            url=run.url,
        )
        for number, run in enumerate(sorted(runs, key=lambda run: run.metrics[SCORE].last), start=1)
    ]


# -- the scripts of a data scientist -------------------------------------------------------------------------------


def _repository(root: Path) -> Path:
    """The scripts and their data in a git repository with an uncommitted edit, as on anybody's machine."""
    for folder, source, pattern in (("scripts", "demo_scripts", "*.py"), ("data", "data", "daily_demand.parquet"),
                                    ("data", "data", "SOURCE.md")):  # fmt: skip
        (root / folder).mkdir(parents=True, exist_ok=True)
        for file in sorted((HERE / source).glob(pattern)):
            if not (root / folder / file.name).exists():  # on a kept folder the user's own edits stay
                shutil.copyfile(file, root / folder / file.name)
    scripts = root / "scripts"
    if shutil.which("git") is None:
        _say("git was not found: the runs record the folder of the scripts instead of a commit and a patch")
    elif not (root / ".git").exists():
        (root / ".gitignore").write_text("__pycache__/\n", encoding="utf-8")
        person = ("-c", "user.name=Larder demo", "-c", "user.email=demo@larder.invalid", "-c", "commit.gpgsign=false")
        _git(root, "-c", "init.defaultBranch=main", "init", "--quiet")
        _git(root, "add", ".")
        _git(root, *person, "-c", "core.hooksPath=/dev/null", "commit", "--quiet", "-m", "Daily demand: four models")
        with (scripts / "scores.py").open("a", encoding="utf-8") as edited:
            edited.write("\n\n# An edit that nobody has committed: the runs record it, and a clone gets it back.\n")
    return scripts


def _git(root: Path, *arguments: str) -> None:
    # Variables such as GIT_DIR, set where the demo is started from a hook, would send this to another repository.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    done = subprocess.run(["git", *arguments], cwd=root, env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        raise click.ClickException(f"git {arguments[-1]} failed in {root}: {_last_line(done.stderr)}")


def _train(script: Script, scripts: Path, server: "Server") -> None:
    started = time.monotonic()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LARDER_")}
    environment |= {"LARDER_HOME": str(server.home), "LARDER_URL": server.url, "LARDER_TOKEN": server.token}
    try:
        done = subprocess.run(
            [sys.executable, script.file],
            cwd=scripts,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SCRIPT_SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        raise click.ClickException(f"{script.file} was still running after {error.timeout:g} s") from error
    if done.returncode != 0:
        raise click.ClickException(f"{script.file} ended with status {done.returncode}: {_last_line(done.stderr)}")
    _say(f"python {script.file:<18} {time.monotonic() - started:5.1f} s   {_last_line(done.stdout)}")


# -- the server ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Server:
    """A running server with one agent, in a process group of its own."""

    home: Path
    url: str
    token: str
    log: Path
    process: "subprocess.Popen[str]"

    @property
    def transport(self) -> Transport:
        """The way to it."""
        return Transport(self.url, self.token)

    def wait(self) -> None:
        """Stay until it ends, which it should not do by itself."""
        status = self.process.wait()
        raise click.ClickException(f"the server ended with status {status}: {_last_line(_text(self.log))}")


@contextlib.contextmanager
def _server(home: Path, port: int | None) -> Iterator[Server]:
    if importlib.util.find_spec("larder_server") is None:
        raise click.ClickException("`larder demo` needs the server: pip install larder-server")
    chosen = _port(port)
    log = home / "server.log"
    _say("starting the server and an agent")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LARDER_")}
    with log.open("ab") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "larder_server.cli", "--home", str(home / "server"), "--port", str(chosen),
             "--agents", "1", "--json"],
            env={**environment, "LARDER_HOME": str(home)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,  # Ctrl-C reaches us alone, and we end it in order
        )  # fmt: skip
    try:
        assert process.stdout is not None
        if not select.select([process.stdout], [], [], UP_SECONDS)[0]:
            raise click.ClickException(f"the server said nothing for {UP_SECONDS:g} s; its log is {log}")
        said = process.stdout.readline()  # one line when it is up, the end of the stream when it has died
        try:
            url = str(json.loads(said)["url"])
        except (ValueError, KeyError) as error:
            raise click.ClickException(f"the server did not start: {_last_line(_text(log))}") from error
        _ready(url, process, log)
        token = _text(home / "server" / "local-token").strip()
        yield Server(home, url, token, log, process)
    finally:
        _end(process)


def _port(asked: int | None) -> int:
    """The port that was asked for, which must be free; else the usual one, or 0 where that is taken."""
    wanted = asked or PORT
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError as error:
            if asked:
                raise click.ClickException(
                    f"port {asked} cannot be used: {error.strerror}; leave --port out"
                ) from error
            _say(f"port {PORT} is taken, so another one is used")
            return 0
    return wanted


def _ready(url: str, process: "subprocess.Popen[str]", log: Path) -> None:
    deadline = time.monotonic() + UP_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise click.ClickException(f"the server ended with status {process.returncode}: {_last_line(_text(log))}")
        try:
            with urllib.request.urlopen(f"{url}/readyz", timeout=5):
                return
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            time.sleep(0.1)
    raise click.ClickException(f"the server at {url} was not ready after {UP_SECONDS:g} s; its log is {log}")


def _end(process: "subprocess.Popen[str]") -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)  # an agent that has not ended with its server
    process.wait()


# -- around it -----------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _folder(home: Path | None) -> Iterator[Path]:
    if home is not None:
        home.mkdir(parents=True, exist_ok=True)
        yield home.resolve()
        return
    folder = Path(tempfile.mkdtemp(prefix="larder-demo-")).resolve()
    try:
        yield folder
    finally:
        for _ in range(10):  # the last words of a run's companion may be written at this moment
            shutil.rmtree(folder, ignore_errors=True)
            if not folder.exists():
                break
            time.sleep(0.2)


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    """SIGTERM and a closed terminal end the demo as Ctrl-C does, so that nothing is left running."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    # What the caller has told us to ignore, as `nohup` does, stays ignored.
    heard = [number for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, interrupt) for number in heard}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _print(walked: Walk, server: Server, folder: Path, *, as_json: bool) -> None:
    best = walked.board[0]
    addresses = {"pages": server.url, "run": best.url, "api": f"{server.url}/api"}
    if as_json:
        board = [asdict(place) for place in walked.board]
        click.echo(json.dumps({"leaderboard": board, "addresses": addresses, "data": ATTRIBUTION}, indent=2))
        return
    rows = [("", "run", "model", SCORE, "val/mae", "vs naive", "", "id")]
    rows += [
        (str(place.rank), place.name, place.model, f"{place.wape:.4f}", f"{place.mae:.2f}", _percent(place.improvement),
         place.how, place.run)
        for place in walked.board
    ]  # fmt: skip
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    click.echo("\nDaily demand of 60 products, forecast 7 days ahead for each of the last 28 days\n")
    for row in rows:
        cells = [
            cell.rjust(width) if 3 <= column <= 5 else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        click.echo("  " + "  ".join(cells).rstrip())
    click.echo(f"\n{ATTRIBUTION}\n")
    click.echo(f"  pages     {addresses['pages']}")
    click.echo(f"  best run  {addresses['run']}")
    click.echo(f"  API       {addresses['api']}\n")
    program = "larder" if shutil.which("larder") else shlex.quote(str(Path(sys.executable).with_name("larder")))
    change = f"{walked.next_parameter}={walked.next_value:g}"
    click.echo("Try next, in another terminal while this one stays up:")
    click.echo(f"  export LARDER_HOME={shlex.quote(str(folder))}")
    click.echo(f'  {program} runs ls --project {PROJECT} --where "metrics.{SCORE} < 0.8" --sort metrics.{SCORE}')
    click.echo(f"  {program} runs clone {best.run} --param {change} --enqueue default --wait\n")


def _percent(improvement: float) -> str:
    return "0 %" if abs(improvement) < 0.05 else f"{improvement:+.1f} %"


def _last_line(text: str) -> str:
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "it said nothing")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return ""


def _say(text: str) -> None:
    click.echo(f"demo: {text}", err=True)
