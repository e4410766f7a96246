"""From the queue to the first line of a script: through a real agent, with a warm parent and in a cold process."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

from bench.harness import Agent, Bench, Failed, Server, median, percentile
from bench.table import Beside, Row
from larder.contract import runs
from larder.contract.endpoint import Nothing
from larder.transport import Transport

WARM, TAIL, COLD = 120.0, 400.0, 600.0
"""The bars, in milliseconds."""

# The first statement needs no import from a file, so what it prints is when user code began.
SCRIPT = """\
import time; print(time.time_ns())
import larder, numpy
print(time.time_ns(), numpy.__version__)
larder.init(project="bench").log({"loss": 0.5})
"""
BARE = "import time; print(time.time_ns())"


def measure(bench: Bench) -> Iterator[Row]:
    """The rows of this subject."""
    rounds = 30 if bench.quick else 200
    with bench.larder() as server:
        original = recorded(bench, server, SCRIPT)
        with bench.agent(server, "--cpu-only") as agent:
            warm = _started(server, agent, original, rounds, warm=True)
        with bench.agent(server, "--cpu-only", "--cold") as agent:
            cold = _started(server, agent, original, max(10, rounds // 2), warm=False)
    bare = [Beside(name="bare `python -c pass` by hand", value=median(warm.bare), unit="ms")]
    empty = Beside(name="an empty GET on this server", value=median(warm.empty), unit="ms")
    middle = median(warm.first)
    yield Row(
        what="enqueue to the first line, warm: median", value=middle, unit="ms", bar=WARM, beside=[*bare, empty],
        note=f"from before the call that enqueues until the script's first statement; {rounds} runs, one at a time, each"
        " after a rest; a clone of a run recorded in a git repository: its code is put back, its packages are here;"
        f" durable in SQLite at each step; `import numpy` is done {median(warm.imported):.1f} ms after the first line",
    )  # fmt: skip
    yield Row(
        what="enqueue to the first line, warm, over a bare interpreter", value=middle / median(warm.bare), unit="×",
        bar=2.0, beside=bare,
        note=f"the bare interpreter was started and ended by hand in turn with the runs; its own first line came"
        f" {median(warm.bare_first):.1f} ms after its start",
    )  # fmt: skip
    yield Row(
        what="enqueue to the first line, warm: 99th percentile", value=percentile(warm.first, 0.99), unit="ms", bar=TAIL,
        beside=[Beside(name="the same of the bare interpreter", value=percentile(warm.bare, 0.99), unit="ms")],
        note=f"the slowest took {max(warm.first):.0f} ms",
    )  # fmt: skip
    yield Row(
        what="enqueue to the first line, cold process: median", value=median(cold.first), unit="ms", bar=COLD,
        beside=[Beside(name="bare `python -c pass` by hand", value=median(cold.bare), unit="ms")],
        note=f"`larder agent start --cold`, {len(cold.first)} runs, slowest {max(cold.first):.0f} ms; the first line comes"
        f" before the script's imports; `import numpy` is done {median(cold.imported):.0f} ms after it",
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Started:
    """Milliseconds of each run, and of what was done beside it."""

    first: list[float]
    imported: list[float]
    bare: list[float]
    bare_first: list[float]
    empty: list[float]


def recorded(bench: Bench, server: Server, text: str) -> runs.Run:
    """A run of a script in a git repository, recorded as a user records it, for others to be cloned from."""
    project = bench.new_folder("project")
    (project / "script.py").write_text(text, encoding="utf-8")
    me = ["-c", "user.name=bench", "-c", "user.email=bench@localhost"]
    for command in (["init", "--quiet"], ["add", "script.py"], [*me, "commit", "--quiet", "-m", "script"]):
        subprocess.run(["git", *command], cwd=project, check=True, capture_output=True)
    command = [sys.executable, "-m", "larder.cli", "run", "--project", "bench", "--", sys.executable, "script.py"]
    done = subprocess.run(
        command,
        cwd=project,
        env={**_clean(), **server.environment(bench.new_folder("home"))},
        capture_output=True,
        text=True,
        timeout=120,
    )
    if done.returncode:
        raise Failed(f"the script could not be recorded: {done.stderr[-500:]}")
    transport = server.transport()
    try:
        found = transport.call(runs.SEARCH, runs.RunQuery(project="bench", limit=1)).runs
        return ended(transport, found[0].id)
    finally:
        transport.close()


def clone(transport: Transport, original: runs.Run) -> runs.Run:
    """A draft that does the same."""
    return transport.call(runs.CLONE, runs.Clone(), run_id=original.id)


def ended(transport: Transport, run_id: str, *, patience: float = 60.0) -> runs.Run:
    """The run, once it has completed."""
    until = time.monotonic() + patience
    while time.monotonic() < until:
        run = transport.call(runs.GET, Nothing(), run_id=run_id)
        if run.status.final:
            if run.status is not runs.RunStatus.COMPLETED:
                raise Failed(f"run {run_id} ended {run.status}: {run.reason}")
            return run
        time.sleep(0.05)
    raise Failed(f"run {run_id} did not end within {patience:.0f} s")


def printed(transport: Transport, run_id: str) -> list[str]:
    """What the script of a run has printed."""
    found = transport.call(runs.READ_CONSOLE, runs.ConsoleQuery(), run_id=run_id)
    return [
        text for numbered in found.lines if numbered.line.stream == "out" for text in numbered.line.text.splitlines()
    ]


def warm_up(transport: Transport, agent: Agent, original: runs.Run, *, warm: bool) -> None:
    """Let an agent do once what it does once: restore the code, know the interpreter, make the warm parent."""
    until = time.monotonic() + 60.0
    for _ in range(3):
        _enqueue(transport, agent, clone(transport, original).id)
    while time.monotonic() < until:
        draft = clone(transport, original)
        _enqueue(transport, agent, draft.id)
        run = ended(transport, draft.id)
        how = run.facts.get("execution", {}).get("start", "cold")
        if how == ("warm" if warm else "cold"):
            return
        time.sleep(0.5)
    raise Failed("no warm parent was made: " + agent.log.read_text(encoding="utf-8", errors="replace")[-500:])


def _enqueue(transport: Transport, agent: Agent, run_id: str) -> None:
    transport.call(runs.ENQUEUE, runs.Enqueue(queue=agent.queue), run_id=run_id)


def _started(server: Server, agent: Agent, original: runs.Run, rounds: int, *, warm: bool) -> Started:
    told = Started(first=[], imported=[], bare=[], bare_first=[], empty=[])
    transport = server.transport()
    try:
        warm_up(transport, agent, original, warm=warm)
        for _ in range(rounds):
            draft = clone(transport, original)
            time.sleep(0.2)
            began = time.perf_counter()
            transport.call(runs.LIST_METRICS, Nothing(), run_id=draft.id)
            told.empty.append(1e3 * (time.perf_counter() - began))
            enqueued = time.time_ns()
            _enqueue(transport, agent, draft.id)
            run = ended(transport, draft.id)
            how = run.facts["execution"].get("start", "cold")
            if (how == "warm") != warm:
                raise Failed(f"run {run.id} started {how}")
            lines = printed(transport, draft.id)
            first, imported = int(lines[0]), int(lines[1].split()[0])
            told.first.append((first - enqueued) / 1e6)
            told.imported.append((imported - first) / 1e6)
            time.sleep(0.2)
            _bare(told)
    finally:
        transport.close()
    return told


def _bare(told: Started) -> None:
    """A bare interpreter by hand: to its end, and another one to its first line."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", "pass"], check=True, capture_output=True)
    told.bare.append(1e3 * (time.perf_counter() - began))
    at = time.time_ns()
    done = subprocess.run([sys.executable, "-c", BARE], check=True, capture_output=True)
    told.bare_first.append((int(done.stdout) - at) / 1e6)


def _clean() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
