"""Ten million points of one series become a chart of a thousand."""

import http.client
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import msgspec
import numpy as np
from tsdownsample import MinMaxDownsampler

from bench.harness import Bench, Failed, median
from bench.ingest import STARTED, STEP_US, noisy
from bench.table import Beside, Row
from larder.contract import ids, runs

SHOWN = 1_000
BATCH = 200_000
ROUNDS = 10


def measure(bench: Bench) -> Iterator[Row]:
    """The rows of this subject."""
    count = 1_000_000 if bench.quick else 10_000_000
    values = noisy(count)
    steps = np.arange(count, dtype="<i8")
    with bench.larder() as server:
        transport = server.transport()
        run, writer = ids.new_id(), ids.new_id()
        opening = runs.Opening(project="bench", name="chart", time=STARTED)
        for index, first in enumerate(range(0, count, BATCH)):
            part = slice(first, first + BATCH)
            series = runs.Series(
                name="train/loss",
                steps=steps[part].tobytes(),
                times=(STARTED + steps[part] * STEP_US).tobytes(),
                values=values[part].tobytes(),
            )
            batch = runs.Batch(
                writer=writer, start=index, end=index + 1, series=[series], opening=None if index else opening
            )
            transport.call(runs.APPEND, batch, run_id=run)
        transport.close()
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)
        path = f"{runs.CHART_METRIC.path.format(run_id=run)}?name={quote('train/loss', safe='')}&points={SHOWN}"
        headers = {"Authorization": f"Bearer {server.token}", "Accept": "application/msgpack"}
        seconds = []
        for _ in range(1 + ROUNDS):
            began = time.perf_counter()
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            body = answer.read()
            seconds.append(time.perf_counter() - began)
            if answer.status != 200:
                raise Failed(f"{answer.status}: {body[:300]!r}")
        connection.close()
    chart = msgspec.msgpack.decode(body, type=runs.Chart)
    if chart.total != count or len(chart.values) > SHOWN:
        raise Failed(f"{len(chart.values)} of {chart.total:,} points in the chart, {count:,} were sent")
    if min(chart.values) != values.min() or max(chart.values) != values.max():
        raise Failed("the chart lacks an extreme")
    reducer: Any = MinMaxDownsampler()  # type: ignore[no-untyped-call]
    limit = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        reducer.downsample(values, n_out=SHOWN)
        limit.append(time.perf_counter() - began)
    yield Row(
        what=f"{count:,} points of one series to a chart of {SHOWN:,}", value=1e3 * median(seconds[1:]), unit="ms", bar=150.0,
        beside=[Beside(name="tsdownsample MinMax of the array in memory", value=1e3 * median(limit), unit="ms")],
        note=f"median of {ROUNDS} over HTTP, SQLite; the first took {1e3 * seconds[0]:.0f} ms, the slowest later"
        f" {1e3 * max(seconds[1:]):.0f} ms; {len(chart.values)} points shown, both extremes among them",
    )  # fmt: skip
