"""Twenty runs side by side in a real browser, and a share on a phone."""

import math
import random
import time
import urllib.request
from collections.abc import Iterator

from bench.chromium import chromium, phone, shown, signed_in
from bench.harness import Bench, Server, median
from bench.table import Row
from larder.contract import runs, shares
from larder.contract.runs import NewRun, Points, PointsBatch
from larder.contract.shares import NewShare, SharePolicy

RUNS, METRICS, POINTS = 20, 20, 1_000
TABLE = "document.querySelectorAll('tbody td').length >= 400"
CHARTS = "document.querySelectorAll('canvas').length >= 3"


def measure(bench: Bench) -> Iterator[Row]:
    """Times from the address to what is seen; every round begins with an empty cache."""
    rounds = 3 if bench.quick else 9
    with bench.larder() as server, chromium() as browser:
        ids = _record(server)
        address = f"{server.url}/compare?runs={','.join(ids)}"
        asked, tables, charts = [], [], []
        for _ in range(rounds):
            page = signed_in(browser, server)
            page.goto(address, wait_until="commit")
            tables.append(shown(page, TABLE))
            charts.append(shown(page, CHARTS))
            page.context.close()
            asked.append(_ask(server, f"/v1/compare?{'&'.join(f'runs={id}' for id in ids)}"))
        what = f"compare of {RUNS} runs × {METRICS} metrics"
        yield Row(what=f"{what}: the table", value=median(tables), unit="ms", bar=800)
        yield Row(what=f"{what}: the table and the visible charts of {POINTS:,} points", value=median(charts), unit="ms",
                  bar=800)  # fmt: skip
        yield Row(what=f"{what}: the answer of the server", value=median(asked), unit="ms")
        server.transport().call(shares.CHANGE_POLICY, SharePolicy(public=True))
        share = server.transport().call(shares.CREATE, NewShare(runs=ids[:5], public=True))
        opened = []
        for _ in range(rounds):
            page = phone(browser)
            page.goto(f"{server.url}{share.path}", wait_until="commit")
            opened.append(shown(page, "document.querySelector('h1') && document.querySelector('canvas')"))
            page.context.close()
        yield Row(what="a share of five runs on a phone: headline and chart", value=median(opened), unit="ms", bar=1500,
                  note="a quarter of this processor, 9 Mbit/s, 60 ms there and back")  # fmt: skip


def _record(server: Server) -> list[str]:
    call = server.transport().call
    chance = random.Random(7)
    ids = []
    for number in range(RUNS):
        params = {f"layer{index}.width": chance.choice([32, 64, 128]) if index < 5 else 64 for index in range(20)}
        packages = {f"package-{index}": f"1.{index}.{number % 2 if index < 5 else 0}" for index in range(150)}
        run = call(
            runs.CREATE, NewRun(project="bakery", name=f"run {number}", params=params, facts={"packages": packages})
        )
        level = chance.uniform(1, 3)
        points = [
            Points(name=f"val/mae_{metric}", values=[level + 2 * math.exp(-step / 200) for step in range(POINTS)])
            for metric in range(METRICS)
        ]
        call(runs.LOG_METRICS, PointsBatch(metrics=points), run_id=run.id)
        ids.append(run.id)
    return ids


def _ask(server: Server, path: str) -> float:
    request = urllib.request.Request(f"{server.url}{path}", headers={"authorization": f"Bearer {server.token}"})
    began = time.perf_counter()
    with urllib.request.urlopen(request, timeout=60) as answer:
        answer.read()
    return 1000 * (time.perf_counter() - began)
