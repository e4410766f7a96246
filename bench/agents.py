"""Two thousand agents wait for work: what they cost the server, and how soon one of them has it."""

import json
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from bench import harness
from bench.harness import CHILDREN, Bench, Failed, Server, median
from bench.table import Beside, Row
from larder.contract import runs
from larder.contract.endpoint import Nothing

SHARE, WAKE = 5.0, 200.0
"""The bars: percent of one core, and milliseconds."""

Heard = queue.SimpleQueue[dict[str, Any]]


def measure(bench: Bench) -> Iterator[Row]:
    """The rows of this subject."""
    # A real agent's question waits for 55 s: in twice that time each of them asks anew twice.
    count, wait, idle, rounds = (500, 15.0, 30.0, 10) if bench.quick else (2_000, 55.0, 110.0, 50)
    with bench.larder() as server:
        alone = _share(server, idle / 4)
        with simulated(server, count, wait) as heard:
            resident = harness.resident(server.pid)
            share = _share(server, idle)
            took, empty = _woken(server, heard, rounds)
    questions = count / wait
    yield Row(
        what=f"{count:,} agents that wait, of one core of the server", value=share, unit="%", bar=SHARE,
        beside=[Beside(name="the same server without agents", value=alone, unit="%")],
        note=f"over {idle:.0f} s; each waits for {wait:.0f} s in a question and then asks again, over a connection of its"
        f" own: {questions:.0f} questions a second, {10 * (share - alone) / questions:.2f} ms of the server's processor each;"
        f" {resident:.0f} MB resident; the agents are simulated by one other process",
    )  # fmt: skip
    yield Row(
        what=f"enqueue to the answer at one of {count:,} waiting agents: median", value=median(took), unit="ms", bar=WAKE,
        beside=[Beside(name="an empty GET on this server", value=median(empty), unit="ms")],
        note=f"from before the call that enqueues until an agent reads its lease, {rounds} times; each run was given to one"
        " agent only",
    )  # fmt: skip
    yield Row(
        what=f"enqueue to the answer at one of {count:,} waiting agents: slowest", value=max(took), unit="ms", bar=WAKE,
        beside=[Beside(name="the slowest empty GET", value=max(empty), unit="ms")],
    )  # fmt: skip


def _share(server: Server, seconds: float) -> float:
    """Percent of one core that the server takes."""
    before, began = harness.cpu_seconds(server.pid), time.perf_counter()
    time.sleep(seconds)
    return 100 * (harness.cpu_seconds(server.pid) - before) / (time.perf_counter() - began)


@contextmanager
def simulated(server: Server, count: int, wait: float) -> Iterator[Heard]:
    """Simulated agents, all of them waiting; what they hear."""
    command = [sys.executable, str(CHILDREN / "idle_agents.py"), server.url, server.token, str(count), str(wait)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    output, errors = process.stdout, process.stderr
    assert output is not None and errors is not None
    heard: Heard = queue.SimpleQueue()

    def listen() -> None:
        for line in output:
            heard.put(json.loads(line))
        heard.put({"over": errors.read()[-500:]})

    listening = threading.Thread(target=listen, daemon=True)
    listening.start()
    try:
        first = heard.get(timeout=120.0)
        if first.get("waiting") != count:
            raise Failed(f"the agents did not all wait: {first}")
        time.sleep(2.0)
        yield heard
    finally:
        process.kill()
        process.wait()
        listening.join(5)
        output.close()
        errors.close()


def _woken(server: Server, heard: Heard, rounds: int) -> tuple[list[float], list[float]]:
    """Milliseconds from an enqueue to the lease, and those of an empty question."""
    transport = server.transport()
    took, empty = [], []
    try:
        for index in range(rounds):
            draft = transport.call(runs.CREATE, runs.NewRun(project="bench", name=f"woken-{index}"))
            time.sleep(0.3)
            began = time.perf_counter()
            transport.call(runs.LIST_METRICS, Nothing(), run_id=draft.id)
            empty.append(1e3 * (time.perf_counter() - began))
            enqueued = time.time_ns()
            transport.call(runs.ENQUEUE, runs.Enqueue(queue="bench"), run_id=draft.id)
            try:
                told = heard.get(timeout=10.0)
            except queue.Empty:
                raise Failed("nobody was woken within 10 s") from None
            if told.get("run") != draft.id:
                raise Failed(f"an agent heard something else: {told}")
            took.append((told["at"] - enqueued) / 1e6)
        time.sleep(1.0)
        if not heard.empty():
            raise Failed(f"a run was given away twice: {heard.get()}")
    finally:
        transport.close()
    return took, empty
