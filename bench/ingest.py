"""How fast points become durable through a real socket, from batches and from journals, and what a point weighs."""

import http.client
import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import numpy as np
import numpy.typing as npt

from bench import harness
from bench.harness import Bench, Failed, Mlflow, Server
from bench.table import Beside, Row
from larder.contract import ids, runs

SERIES, POINTS = 100, 1_000
"""A batch: so many series, so many points of each."""
CLIENTS = 2
PER_REQUEST = 1_000
"""Points in a request to MLflow, which takes no more."""
STARTED = 1_700_000_000_000_000
STEP_US, JITTER_US = 50_000, 100.0
"""Steps of 50 ms that come 0.1 ms early or late: what a steady training loop looks like."""

noise = np.random.default_rng(7)


def measure(bench: Bench) -> Iterator[Row]:
    """The rows of this subject."""
    batches = 6 if bench.quick else 60
    peer, weight = _mlflow(bench)
    with bench.larder() as server:
        sqlite = _larder(server, batches)
        copied = _copy_rate(batches)
    with bench.postgres() as database, bench.larder(database=database) as server:
        postgres = _larder(server, batches)
    size = f"{SERIES} series × {POINTS:,} points a batch, {CLIENTS} clients, {sqlite.points / 1e6:.1f} M points"
    for name, told in (("SQLite", sqlite), ("PostgreSQL", postgres)):
        yield Row(
            what=f"ingest of columnar batches, durable, {name}", value=told.rate, unit="points/s", bar=1e6,
            better="high", beside=[Beside(name="the same bytes through a bare socket", value=copied, unit="points/s"), peer],
            note=f"{size}; {1e6 * told.cpu / told.points:.2f} µs of the server's processor a point;"
            f" slowest answer {1e3 * told.slowest:.0f} ms",
        )  # fmt: skip
    for name, told in (("SQLite", sqlite), ("PostgreSQL", postgres)):
        yield Row(
            what=f"ingest over MLflow's log-batch, {name}", value=told.rate / peer.value if peer.value else None, unit="×",
            bar=100.0, better="high", beside=[peer],
            note=f"MLflow: {PER_REQUEST:,} metrics a request, the most it takes; the better of 1 and {CLIENTS} clients;"
            " JSON made beforehand",
        )  # fmt: skip
    yield from _weights(bench, weight)
    yield from _journals(bench)


# -- columnar batches --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Told:
    """What a load did."""

    points: int
    seconds: float
    cpu: float
    slowest: float

    @property
    def rate(self) -> float:
        """Points a second."""
        return self.points / self.seconds


Column = npt.NDArray[np.float64]
Values = Callable[[int], Column]


def noisy(count: int) -> Column:
    """A falling curve with noise in every bit."""
    return 2.0 * np.exp(-np.linspace(0, 3, count)) + noise.normal(0.0, 0.1, count)


def few_digits(count: int) -> Column:
    """The same curve as people round it: four decimals."""
    return np.round(noisy(count), 4)


def batches_of(count: int, *, values: Values = noisy, ended: bool = False) -> list[bytes]:
    """Bodies of a run that logs `SERIES` metrics and then perhaps ends, ready to be sent."""
    writer, opening = ids.new_id(), runs.Opening(project="bench", name="ingest", time=STARTED)
    bodies = []
    for index in range(count):
        steps = np.arange(index * POINTS, (index + 1) * POINTS, dtype="<i8")
        # One call logs all metrics of a step, so they share their times.
        times = (STARTED + steps * STEP_US + noise.normal(0.0, JITTER_US, POINTS)).astype("<i8")
        columns = steps.tobytes(), times.tobytes()
        series = [
            runs.Series(
                name=f"metric/{number:03}",
                steps=columns[0],
                times=columns[1],
                values=values(POINTS).astype("<f8").tobytes(),
            )
            for number in range(SERIES)
        ]
        last = index == count - 1
        batch = runs.Batch(
            writer=writer, start=index * 1000, end=(index + 1) * 1000, opening=None if index else opening, series=series,
            ending=runs.Ending(status=runs.RunStatus.COMPLETED, time=int(times[-1])) if last and ended else None,
        )  # fmt: skip
        bodies.append(msgspec.msgpack.encode(batch))
    return bodies


def _larder(server: Server, count: int, *, values: Values = noisy, ended: bool = False) -> Told:
    """Post batches of one run a client as fast as the server takes them."""
    bodies = [batches_of(count // CLIENTS, values=values, ended=ended) for _ in range(CLIENTS)]
    # What a server does once, it has done before.
    _post(server.url, [_larder_request(server, batches_of(1, values=values, ended=ended))])
    before = harness.cpu_seconds(server.pid)
    seconds, slowest = _post(server.url, [_larder_request(server, one) for one in bodies])
    cpu = harness.cpu_seconds(server.pid) - before
    points = sum(map(len, bodies)) * SERIES * POINTS
    return Told(points=points, seconds=seconds, cpu=cpu, slowest=slowest)


@dataclass(frozen=True)
class _Requests:
    """What one client posts, one after the other, over one connection."""

    path: str
    headers: dict[str, str]
    bodies: Sequence[bytes]


def _larder_request(server: Server, bodies: Sequence[bytes]) -> _Requests:
    headers = {
        "Authorization": f"Bearer {server.token}",
        "Content-Type": "application/msgpack",
        "Accept": "application/msgpack",
    }
    return _Requests(runs.APPEND.path.format(run_id=ids.new_id()), headers, bodies)


def _post(url: str, clients: Sequence[_Requests]) -> tuple[float, float]:
    """Seconds until all clients have all their answers, and the slowest answer."""
    place = urlsplit(url).netloc
    slowest: list[float] = []
    problems: list[str] = []
    start = threading.Barrier(len(clients) + 1)

    def post(requests: _Requests) -> None:
        connection = http.client.HTTPConnection(place, timeout=300)
        connection.connect()
        start.wait()
        try:
            for body in requests.bodies:
                began = time.perf_counter()
                connection.request("POST", requests.path, body, requests.headers)
                answer = connection.getresponse()
                text = answer.read()
                slowest.append(time.perf_counter() - began)
                if answer.status != 200:
                    problems.append(f"{answer.status}: {text[:300]!r}")
                    return
        except (OSError, http.client.HTTPException) as problem:
            problems.append(str(problem))
        finally:
            connection.close()

    threads = [threading.Thread(target=post, args=(one,)) for one in clients]
    for thread in threads:
        thread.start()
    start.wait()
    began = time.perf_counter()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - began
    if problems:
        raise Failed(f"a batch was refused: {problems[0]}")
    return seconds, max(slowest)


def _copy_rate(count: int) -> float:
    """The limit: as many bytes through a socket to a reader that throws them away, and a byte back for each batch."""
    import socket

    bodies = batches_of(min(count, 10))
    listener = socket.create_server(("127.0.0.1", 0))

    def read() -> None:
        connection, _ = listener.accept()
        with connection:
            for body in bodies:
                left = len(body)
                while left:
                    left -= len(connection.recv(min(left, 1 << 20)))
                connection.sendall(b"!")

    reader = threading.Thread(target=read)
    reader.start()
    with socket.create_connection(listener.getsockname()) as connection:
        began = time.perf_counter()
        for body in bodies:
            connection.sendall(body)
            connection.recv(1)
        seconds = time.perf_counter() - began
    reader.join()
    listener.close()
    return len(bodies) * SERIES * POINTS / seconds


# -- MLflow ------------------------------------------------------------------------------------------------------------


def _mlflow(bench: Bench) -> tuple[Beside, Beside]:
    """Its points a second and bytes a point."""
    requests = 4 if bench.quick else 20

    def measured() -> list[float]:
        with bench.mlflow() as server:
            _post(server.url, [_mlflow_requests(server, 2)])
            empty = _mlflow_size(server)
            told = [_mlflow_load(server, requests // clients, clients) for clients in (1, CLIENTS)]
            weight = (_mlflow_size(server) - empty) / sum(one.points for one in told)
        return [max(one.rate for one in told), weight]

    rate, weight = bench.beside(["MLflow log-batch", "MLflow, SQLite"], "", measured)
    return replace(rate, unit="points/s"), replace(weight, unit="B")


def _mlflow_load(server: Mlflow, requests: int, clients: int) -> Told:
    before = harness.cpu_seconds(server.pid)
    seconds, slowest = _post(server.url, [_mlflow_requests(server, requests) for _ in range(clients)])
    cpu = harness.cpu_seconds(server.pid) - before
    return Told(points=requests * clients * PER_REQUEST, seconds=seconds, cpu=cpu, slowest=slowest)


def _mlflow_requests(server: Mlflow, count: int) -> _Requests:
    run_id = server.new_run()
    bodies = []
    steps = PER_REQUEST // SERIES
    for index in range(count):
        metrics = [
            {
                "key": f"metric/{number:03}",
                "value": value,
                "step": step,
                "timestamp": (STARTED + step * STEP_US) // 1000,
            }
            for number in range(SERIES)
            for step, value in enumerate(noisy(steps).tolist(), index * steps)
        ]
        bodies.append(json.dumps({"run_id": run_id, "metrics": metrics}).encode())
    return _Requests("/api/2.0/mlflow/runs/log-batch", {"Content-Type": "application/json"}, bodies)


def _mlflow_size(server: Mlflow) -> int:
    with sqlite3.connect(server.folder / "mlflow.db", timeout=60) as connection:
        connection.execute("vacuum")
        pages, size = connection.execute(
            "select page_count, page_size from pragma_page_count, pragma_page_size"
        ).fetchone()
    return int(pages * size)


# -- weight ------------------------------------------------------------------------------------------------------------


def _weights(bench: Bench, peer: Beside) -> Iterator[Row]:
    count = 4 if bench.quick else 20
    for name, values, bar in (("noisy 64-bit values", noisy, 9.0), ("values of 4 decimals", few_digits, 5.0)):
        home = bench.new_folder("server")
        with bench.larder(home=home):
            pass
        empty = _file_size(home)
        with bench.larder(home=home) as server:
            points = _larder(server, count, values=values, ended=True).points + SERIES * POINTS
            _settled(home)
        file = (_file_size(home) - empty) / points
        blocks, rows = _blocks(home)
        yield Row(
            what=f"stored for a point, {name}", value=file, unit="B", bar=bar,
            beside=[Beside(name="raw columns", value=24.0, unit="B"), peer],
            note=f"growth of the whole SQLite file after VACUUM, with summaries and indexes, for {points / 1e6:.1f} M"
            f" points of {CLIENTS + 1} runs that have ended; {blocks / points:.2f} B of it are the {rows:,} compressed blocks;"
            f" steps of {STEP_US // 1000} ms that come {JITTER_US / 1000} ms early or late, times to the µs",
        )  # fmt: skip


def _file_size(home: Path) -> int:
    """Bytes of the database, with nothing left in its log and no free pages."""
    with sqlite3.connect(home / "larder.sqlite") as connection:
        connection.execute("pragma wal_checkpoint(truncate)")
        connection.execute("vacuum")
        connection.execute("pragma wal_checkpoint(truncate)")
    connection.close()
    return (home / "larder.sqlite").stat().st_size


def _settled(home: Path) -> None:
    """Wait until the server has joined the blocks of the runs that have ended."""
    before, since = (-1, -1), time.monotonic()
    while time.monotonic() - since < 2.0:
        found = _blocks(home)
        if found != before:
            before, since = found, time.monotonic()
        time.sleep(0.2)


def _blocks(home: Path) -> tuple[int, int]:
    with sqlite3.connect(home / "larder.sqlite") as connection:
        size, rows = connection.execute("select sum(length(columns)), count(*) from metric_blocks").fetchone()
    connection.close()
    return int(size or 0), int(rows)


# -- from journals -----------------------------------------------------------------------------------------------------


def _journals(bench: Bench) -> Iterator[Row]:
    calls = 20_000 if bench.quick else 100_000
    rounds = 1 if bench.quick else 3
    for width, bar in ((10, 150_000.0), (1, None)):
        with bench.larder() as server:
            told = [_from_journal(bench, server, calls, width) for _ in range(rounds)]
        best = sorted(told, key=lambda one: one["seconds"])[len(told) // 2]
        points = calls * width
        yield Row(
            what=f"from `run.log` to durable, {width} value{'s' * (width > 1)} a call, one process", unit="points/s",
            value=points / best["seconds"], bar=bar, better="high",
            beside=[Beside(name="the calls alone", value=points / best["logging"], unit="points/s")],
            note=f"{calls:,} calls as fast as they go, until the server has acknowledged the last; median of {rounds};"
            f" processor time a point: training process {1e6 * best['logging_cpu'] / points:.2f} µs, companion"
            f" {1e6 * best['companion_cpu'] / points:.2f} µs, server {1e6 * best['server_cpu'] / points:.2f} µs;"
            f" `finish` took another {1e3 * best['finish']:.0f} ms",
        )  # fmt: skip
        if width == 1:
            continue
        offline = [
            bench.child("from_journal", calls, width, environment={"LARDER_MODE": "offline", "LARDER_HOME": str(bench.new_folder("home"))})
            for _ in range(rounds)
        ]  # fmt: skip
        with_, without = (min(one["logging_cpu"] for one in many) for many in (told, offline))
        yield Row(
            what="what shipping takes of the training process a point", value=max(0.0, 1e6 * (with_ - without) / points),
            unit="µs", bar=3.0, beside=[Beside(name="limit", value=0.0, unit="µs")],
            note="processor time of the logging process with the companion sending, less that of the same process"
            f" offline, least of {rounds}: {1e6 * with_ / points:.2f} and {1e6 * without / points:.2f} µs a point, all told;"
            " the companion is a process of its own",
        )  # fmt: skip


def _from_journal(bench: Bench, server: Server, calls: int, width: int) -> dict[str, float]:
    home = bench.new_folder("home")
    before = harness.cpu_seconds(server.pid)
    told = bench.child("from_journal", calls, width, environment=server.environment(home))
    told["server_cpu"] = harness.cpu_seconds(server.pid) - before
    transport = server.transport()
    found = transport.call(runs.LIST_METRICS, run_id=told["run"]).metrics
    transport.close()
    stored = sum(summary.count for name, summary in found.items() if name.startswith("train/"))
    if stored != calls * width:
        raise Failed(f"{stored:,} of {calls * width:,} points arrived")
    return told
