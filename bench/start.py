"""How long things take to begin and to end: the import, `init`, `finish`, the server."""

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import psutil

from bench import harness
from bench.harness import Bench, Server, median, percentile
from bench.table import Beside, Row
from larder.contract import runs

_THIRD_PARTY = """
import sys
before = set(sys.modules)
import larder
new = {name.partition(".")[0] for name in set(sys.modules) - before}
print(*sorted(new - set(sys.stdlib_module_names) - {"larder"}))
"""


def measure(bench: Bench) -> Iterator[Row]:
    """The rows of this subject."""
    yield from _imports(bench)
    with bench.larder() as server:
        yield from _run(bench, server)
    yield from _server(bench)


def _imports(bench: Bench) -> Iterator[Row]:
    rounds = 10 if bench.quick else 40
    bare, larder = _interpreters(bench, sys.executable, ["pass", "import larder"], rounds)

    def peers() -> list[float]:
        codes = ["pass", "import mlflow", "import tensorboardX"]
        peer_bare, mlflow, tensorboard = _interpreters(bench, bench.peers.python, codes, max(3, rounds // 8))
        return [mlflow / peer_bare, tensorboard / peer_bare]

    beside = [Beside(name="bare interpreter", value=1e3 * bare, unit="ms")]
    beside += bench.beside(["MLflow", "tensorboardX"], "×", peers)
    yield Row(
        what="`import larder` over a bare interpreter", value=larder / bare, unit="×", bar=3.0, beside=beside,
        note=f"{1e3 * larder:.1f} ms with the import, {1e3 * bare:.1f} ms without; medians of {rounds} processes, in turn",
    )  # fmt: skip
    told = subprocess.run([sys.executable, "-c", _THIRD_PARTY], capture_output=True, text=True, cwd=bench.folder)
    found = told.stdout.split()
    yield Row(
        what="third-party modules that `import larder` loads", value=float(len(found)), unit="", bar=0.0,
        beside=[Beside(name="limit", value=0.0)], note=", ".join(found),
    )  # fmt: skip


def _interpreters(bench: Bench, python: Path | str, codes: list[str], rounds: int) -> list[float]:
    """Median seconds of each of the codes in a fresh interpreter, the codes taking turns."""
    seconds: list[list[float]] = [[] for _ in codes]
    for turn in range(rounds + 1):
        for index, code in enumerate(codes):
            began = time.perf_counter()
            subprocess.run([str(python), "-c", code], check=True, cwd=bench.folder, capture_output=True)
            if turn:  # the first turn warms the disk
                seconds[index].append(time.perf_counter() - began)
    return [median(one) for one in seconds]


def _run(bench: Bench, server: Server) -> Iterator[Row]:
    rounds = 5 if bench.quick else 15
    told = []
    for _ in range(rounds):
        home = bench.new_folder("home")
        told.append(bench.child("init_finish", environment=server.environment(home), folder=home))
    inits, finishes = [one["init_ms"] for one in told], [one["finish_ms"] for one in told]

    def mlflow() -> list[float]:
        with bench.mlflow() as server:
            others = [
                bench.child("mlflow_init", server.url, python=bench.peers.python, folder=server.folder)
                for _ in range(max(2, rounds // 3))
            ]
        return [median([one["init_ms"] for one in others]), median([one["finish_ms"] for one in others])]

    begun, ended = bench.beside(["MLflow start_run", "MLflow end_run"], "ms", mlflow)
    yield Row(
        what="`larder.init` in a fresh process", value=median(inits), unit="ms", bar=150.0, beside=[begun],
        note=f"with all sources on and the companion started; slowest of {rounds}: {max(inits):.0f} ms."
        " MLflow's is two calls to its server; its import came before",
    )  # fmt: skip
    yield Row(
        what="`finish` with an empty queue", value=median(finishes), unit="ms", bar=300.0, beside=[ended],
        note=f"until the server has acknowledged the end; slowest of {rounds}: {max(finishes):.0f} ms",
    )  # fmt: skip


def _server(bench: Bench) -> Iterator[Row]:
    seconds, resident, processes = [], [], []
    for _ in range(2 if bench.quick else 5):
        with bench.larder() as server:
            seconds.append(server.seconds)
            _first_answers(server)
            resident.append(harness.resident(server.pid))
            processes.append(1 + len(psutil.Process(server.pid).children(recursive=True)))

    def mlflow_server() -> list[float]:
        with bench.mlflow() as server:
            server.post("runs/search", {"experiment_ids": ["0"], "max_results": 10})
            count = 1 + len(psutil.Process(server.pid).children(recursive=True))
            return [server.seconds, harness.resident(server.pid), float(count)]

    begun, weight, count = bench.beside(["mlflow server"] * 3, "", mlflow_server)
    yield Row(
        what="`larder up` on an empty home to its first answer", value=median(seconds), unit="s", bar=3.0,
        beside=[replace(begun, unit="s")],
        note=f"from the start of the process, with the migrations; slowest of {len(seconds)}: {max(seconds):.2f} s",
    )  # fmt: skip
    yield Row(
        what="`larder up` resident after its first answers", value=max(resident), unit="MB", bar=150.0,
        beside=[replace(weight, unit="MB")],
        note=f"largest of {len(resident)}; MB of a million bytes; MLflow without the workers of its job queue",
    )  # fmt: skip
    yield Row(
        what="processes of `larder up`", value=float(percentile(processes, 1.0)), unit="", bar=1.0,
        beside=[Beside(name="limit", value=1.0), count],
    )  # fmt: skip


def _first_answers(server: Server) -> None:
    """One of each kind: a run, points, a search, a chart, the documents."""
    transport = server.transport()
    run = transport.call(runs.CREATE, runs.NewRun(project="bench", name="first"))
    points = runs.Points(name="loss", values=[1.0 / step for step in range(1, 1001)])
    transport.call(runs.LOG_METRICS, runs.PointsBatch(metrics=[points]), run_id=run.id)
    transport.call(runs.SEARCH, runs.RunQuery(where="metrics.loss < 1", order_by="metrics.loss"))
    transport.call(runs.CHART_METRIC, runs.ChartQuery(name="loss", points=100), run_id=run.id)
    for path in ("/readyz", "/metrics", "/openapi.json", "/"):
        with suppress(OSError), urllib.request.urlopen(f"{server.url}{path}", timeout=10) as answer:
            body = answer.read()
            if path == "/openapi.json":
                json.loads(body)
    transport.close()
