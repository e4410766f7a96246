"""The runs table of a hundred thousand runs in a real browser: first rows, sorting, filtering, scrolling, grouping."""

from collections.abc import Iterator
from typing import Any

from bench.chromium import chromium, shown, signed_in
from bench.harness import Bench, median, percentile
from bench.search import fill, many_runs
from bench.table import Row

ROWS = "document.querySelectorAll('[data-run]').length > 0"
SORTS = ["val/mae", "learning_rate", "created", "name", "duration"]
FILTERS = [
    "metrics.val/mae < 0.5",
    "user = 'evi'",
    "metrics.val/mae < 3 and (params.depth in (4, 8) or tags has 'candidate')",
    "params.optimizer = 'sgd'",
    "created > 2023-12-01 and created < 2024-02-01",
]
COLUMNS = (
    "status,created,metrics.val/mae,metrics.val/acc,metrics.train/loss,params.depth,params.learning_rate,duration,user"
)

# Milliseconds from an act to the first frame that shows other rows, by the page's own clock.
ACT = """([act, argument]) => new Promise((done) => {
  const first = () => [...document.querySelectorAll('[data-run]')].map((row) => row.dataset.run).join() + !!document.querySelector('[aria-busy=true]');
  const before = first();
  const acts = {
    sort: () => [...document.querySelectorAll('[role=columnheader] [role=button]')].find((head) => head.innerText.trim().startsWith(argument)).click(),
    filter: () => document.querySelector('[role=combobox]').dispatchEvent(new KeyboardEvent('keydown', { key: 'Enter', bubbles: true })),
    scroll: () => { document.querySelector('[role=grid]').scrollTop = argument; },
  };
  const began = performance.now();
  acts[act]();
  const look = () => {
    const rows = document.querySelectorAll('[data-run]').length;
    const busy = document.querySelector('[aria-busy=true]');
    if (rows > 5 && !busy && first() !== before) done(performance.now() - began);
    else if (performance.now() - began > 30000) done(-1);
    else requestAnimationFrame(look);
  };
  requestAnimationFrame(look);
})"""


def measure(bench: Bench) -> Iterator[Row]:
    """The rows of this subject."""
    count = 10_000 if bench.quick else 100_000
    home = bench.new_folder("server")
    with bench.larder(home=home):
        pass  # makes the tables
    fill(home / "larder.sqlite", list(many_runs(count)))
    rounds = 3 if bench.quick else 7
    with bench.larder(home=home) as server, chromium() as browser:
        first = []
        for _ in range(rounds):
            page = signed_in(browser, server)
            page.goto(f"{server.url}/runs", wait_until="commit")
            first.append(shown(page, ROWS))
            page.context.close()
        page = signed_in(browser, server)
        sorts, filters = [], []
        for _ in range(3):
            _open(page, server.url)  # anew, so that no answer is remembered
            sorts += [_act(page, "sort", name) for name in SORTS]
        for _ in range(3):
            _open(page, server.url)
            box = page.get_by_role("combobox", name="Filter")
            for condition in FILTERS:
                box.fill(condition)
                page.wait_for_timeout(400)  # what it offers is fetched beside
                filters.append(_act(page, "filter", ""))
        _open(page, server.url)
        scrolls = [_act(page, "scroll", place) for place in (36 * count // 3, 36 * count // 2, 36 * count - 2000)]
        grouped = []
        for _ in range(3):
            page.goto(f"{server.url}/runs?cols={COLUMNS}&group=params.depth,params.optimizer", wait_until="commit")
            grouped.append(shown(page, "document.querySelector('[role=treegrid] [role=row][aria-expanded]')"))
        page.context.close()
    what = f"runs table, {count:,} runs:"
    yield Row(what=f"{what} first rows, empty cache", value=median(first), unit="ms", bar=500)
    yield Row(what=f"{what} sorted, median", value=median(sorts), unit="ms", bar=150, note=", ".join(SORTS))
    yield Row(what=f"{what} sorted, 95th percentile", value=percentile(sorts, 0.95), unit="ms", bar=150)
    yield Row(what=f"{what} filtered, median", value=median(filters), unit="ms", bar=150, note="; ".join(FILTERS))
    yield Row(what=f"{what} filtered, 95th percentile", value=percentile(filters, 0.95), unit="ms", bar=150)
    yield Row(what=f"{what} scrolled to a third, the middle, the end: slowest", value=max(scrolls), unit="ms")
    yield Row(what=f"{what} grouped by two parameters, three metrics averaged, from the address", value=median(grouped),
              unit="ms", note="over all rows, on the server")  # fmt: skip


def _open(page: Any, url: str) -> None:
    page.goto(f"{url}/runs?cols={COLUMNS}")
    page.locator("[data-run]").first.wait_for()
    page.wait_for_timeout(500)


def _act(page: Any, act: str, argument: object) -> float:
    return float(page.evaluate(ACT, [act, argument]))
