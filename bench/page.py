"""The page of a run in a real browser: fifty charts, the pointer over one, and a point that arrives."""

import math
import random
import time
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from bench.chromium import chromium, shown, signed_in
from bench.harness import Bench, Server, median
from bench.table import Row
from larder.contract import runs
from larder.contract.runs import NewRun, Points, PointsBatch

CHARTS, POINTS = 50, 10_000
VISIBLE = "document.querySelectorAll('figure canvas').length >= 6"
_FRAMES = """seconds => new Promise((done) => {
  const frames = []; const began = performance.now();
  const next = (now) => { frames.push(now); now - began < seconds * 1000 ? requestAnimationFrame(next) : done(frames); };
  requestAnimationFrame(next);
})"""


def measure(bench: Bench) -> Iterator[Row]:
    """Times from the address to what is seen; every round begins with an empty cache."""
    rounds = 3 if bench.quick else 9
    with bench.larder() as server, chromium() as browser:
        run_id = _record(server)
        address = f"{server.url}/runs/{run_id}/metrics"
        seen, mounted = [], 0
        for _ in range(rounds):
            page = signed_in(browser, server)
            page.goto(address, wait_until="commit")
            seen.append(shown(page, VISIBLE))
            mounted = max(mounted, page.locator("canvas").count())
            page.context.close()
        yield Row(what=f"a run of {CHARTS} charts of {POINTS:,} points: the visible ones", value=median(seen), unit="ms",
                  bar=700, note=f"{mounted} of {CHARTS} are mounted")  # fmt: skip
        page = signed_in(browser, server)
        page.goto(address)
        shown(page, VISIBLE)
        yield Row(what="the pointer over a chart: a frame", value=_hover(page), unit="ms", bar=1000 / 60 * 1.2)
        page.goto(f"{server.url}/runs/{run_id}/metrics?find=layer/00")
        shown(page, "document.querySelectorAll('figure canvas').length === 1")
        yield Row(what="a point from its logging to the page", value=median(_arrives(server, page, run_id, rounds)),
                  unit="ms", bar=1000)  # fmt: skip


def _record(server: Server) -> str:
    call = server.transport().call
    run = call(runs.CREATE, NewRun(project="bakery", name="many charts"))
    chance = random.Random(7)
    for number in range(CHARTS):
        values = [2 * math.exp(-step / 2_000) + chance.gauss(0, 0.05) for step in range(POINTS)]
        call(runs.LOG_METRICS, PointsBatch(metrics=[Points(name=f"layer/{number:02d}", values=values)]), run_id=run.id)
    return run.id


def _hover(page: Any) -> float:
    """The usual time between two frames while the pointer moves over a chart."""
    box = page.locator("figure .u-over").first.bounding_box()
    page.mouse.move(box["x"] + 5, box["y"] + 20)
    frames = page.evaluate_handle(f"() => {{ window.frames_ = ({_FRAMES})(1.5); }}")
    until = time.monotonic() + 1.4
    at = 0.0
    while time.monotonic() < until:
        at = (at + 3) % (box["width"] - 10)
        page.mouse.move(box["x"] + 5 + at, box["y"] + 20 + at % 40)
    del frames
    stamps = page.evaluate("() => window.frames_")
    return median([after - before for before, after in pairwise(stamps)])


def _arrives(server: Server, page: Any, run_id: str, rounds: int) -> list[float]:
    taken = []
    call = server.transport().call
    for number in range(rounds):
        value = 100 + number
        began = time.perf_counter()
        call(
            runs.LOG_METRICS,
            PointsBatch(metrics=[Points(name="layer/00", values=[float(value)], steps=[POINTS + number])]),
            run_id=run_id,
        )
        shown(page, f"document.querySelector('figure .push')?.textContent === '{value}'")
        taken.append((time.perf_counter() - began) * 1000)
        time.sleep(1.0)
    return taken
