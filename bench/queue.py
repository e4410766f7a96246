"""A thousand runs that do nothing but print a line, one after the other through one agent with two slots."""

import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from bench import harness, starts
from bench.harness import Agent, Bench, Failed, Server
from bench.table import Beside, Row
from larder.contract import queues, runs
from larder.transport import Transport

SCRIPT = 'print("nothing to do")\n'
LINE = "nothing to do"
SLOTS = 2
RATE = 25.0
"""The bar, in runs a second."""

PATIENCE = 600.0


def measure(bench: Bench) -> Iterator[Row]:
    """The rows of this subject."""
    count = 100 if bench.quick else 1_000
    with bench.larder() as server:
        original = starts.recorded(bench, server, SCRIPT)
        with bench.agent(server, "--cpu-only", "--slots", str(SLOTS)) as agent:
            transport = server.transport()
            try:
                starts.warm_up(transport, agent, original, warm=True)
                told = _through(transport, server, agent, original, count)
                scripts = _check(transport, original, told.ids)
            finally:
                transport.close()
    by_hand = _by_hand(bench, count)
    yield Row(
        what=f"{count:,} queued runs that do nothing, one agent, {SLOTS} slots", value=count / told.seconds,
        unit="runs/s", bar=RATE, better="high",
        beside=[Beside(name=f"the script by hand, {SLOTS} at a time", value=by_hand, unit="runs/s")],
        note=f"from the moment the queue opens until the last has ended; each has completed, with its line of console, its"
        f" parent, its code and its attempt; {1e3 * told.submitting / count:.1f} ms to clone and enqueue one; processor time"
        f" a run: server {1e3 * told.server / count:.1f} ms, agent {1e3 * told.agent / count:.1f} ms, script"
        f" {1e3 * scripts / count:.1f} ms",
    )  # fmt: skip


class _Told:
    """What became of the runs, and what it took."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.submitting = self.seconds = self.server = self.agent = 0.0


def _through(transport: Transport, server: Server, agent: Agent, original: runs.Run, count: int) -> _Told:
    """Enqueue all while the queue is paused, then open it and wait for the last."""
    told = _Told()
    transport.call(queues.CHANGE, queues.ChangePolicy(paused=True), queue=agent.queue)
    began = time.perf_counter()
    for _ in range(count):
        draft = starts.clone(transport, original)
        transport.call(runs.ENQUEUE, runs.Enqueue(queue=agent.queue), run_id=draft.id)
        told.ids.append(draft.id)
    told.submitting = time.perf_counter() - began
    time.sleep(2.0)
    before = harness.cpu_seconds(server.pid), harness.own_cpu_seconds(agent.pid)
    began = time.perf_counter()
    transport.call(queues.CHANGE, queues.ChangePolicy(paused=False), queue=agent.queue)
    while _left(transport, agent.queue):
        time.sleep(0.1)  # to look costs the server little, and counts for us: the last look comes late by this at most
        if time.perf_counter() - began > PATIENCE:
            raise Failed(f"the queue was not empty after {PATIENCE:.0f} s")
    told.seconds = time.perf_counter() - began
    told.server = harness.cpu_seconds(server.pid) - before[0]
    told.agent = harness.own_cpu_seconds(agent.pid) - before[1]
    return told


def _left(transport: Transport, queue: str) -> int:
    """How many runs of the queue have not ended."""
    return sum(one.waiting + one.leased for one in transport.call(queues.LIST).queues if one.name == queue)


def _check(transport: Transport, original: runs.Run, ids: list[str]) -> float:
    """Each run has its end, its console and its lineage; the processor time of all scripts, as recorded."""
    seconds = 0.0
    for run_id in ids:
        run = starts.ended(transport, run_id)
        if starts.printed(transport, run_id) != [LINE]:
            raise Failed(f"run {run_id} has not the console that it printed")
        if run.parent != original.id or run.facts.get("code") != original.facts["code"] or run.attempt != 1:
            raise Failed(f"run {run_id} has not the lineage of a clone in its first attempt")
        execution = run.facts.get("execution") or {}
        if "environment" not in run.facts or "cpu_seconds" not in execution:
            raise Failed(f"run {run_id} does not say how it was executed")
        seconds += execution["cpu_seconds"]
    return seconds


def _by_hand(bench: Bench, count: int) -> float:
    """Runs a second of the bare script, as many at a time."""
    script = bench.new_folder("hand") / "script.py"
    script.write_text(SCRIPT, encoding="utf-8")

    def execute(_: int) -> None:
        subprocess.run([sys.executable, str(script)], check=True, capture_output=True)

    rounds = max(50, count // 5)
    with ThreadPoolExecutor(SLOTS) as pool:
        list(pool.map(execute, range(SLOTS)))
        began = time.perf_counter()
        list(pool.map(execute, range(rounds)))
        return rounds / (time.perf_counter() - began)
