"""Finding a run among a hundred thousand: by condition and order, by words, by a remembered number."""

import json
import random
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from bench.harness import Bench, Failed, Server, median, percentile
from bench.table import Beside, Row
from larder.contract import ids, runs

METRICS = [
    "val/mae", "val/rmse", "val/acc", "val/loss", "train/loss", "train/acc", "test/mae", "test/acc", "epoch/seconds",
    "lr", "grad/norm", "f1", "precision", "recall", "auc", "mape", "smape", "wape", "bias", "coverage",
]  # fmt: skip
PARAMS = [
    "learning_rate", "depth", "optimizer", "seed", "batch", "dropout", "model.name", "model.width", "data.region",
    "data.version", "epochs", "warmup", "weight_decay", "momentum", "scheduler", "loss", "augment", "folds", "clip", "amp",
]  # fmt: skip
PROJECTS, WEIGHTS = ["bakery", "sales", "vision", "pricing", "lab"], [50, 25, 15, 8, 2]
USERS = ["evi", "nikos", "ana", "li", "omar"]
WORDS = [
    "amber",
    "brave",
    "calm",
    "dusty",
    "early",
    "faint",
    "gentle",
    "happy",
    "icy",
    "jolly",
    "keen",
    "lucky",
    "misty",
    "noble",
    "olive",
    "plain",
    "quick",
    "rusty",
    "sunny",
    "tidy",
    "urban",
    "vivid",
    "windy",
    "young",
    "zesty",
    "badger",
    "clover",
    "dune",
    "ember",
    "falcon",
    "grove",
    "heron",
    "iris",
    "juniper",
    "kestrel",
    "lagoon",
    "maple",
    "nectar",
]
TAGS = ["candidate", "baseline", "production", "tuning", "nightly", "broken", "paper"]
NOTES = [
    "leakage suspected in the holiday features", "repeat with the cleaned prices", "best so far, show on Friday",
    "diverged after warm-up", "same as before with another seed",
]  # fmt: skip
STARTED, APART = 1_700_000_000_000_000, 300_000_000

# Wide and narrow, by every kind of field, in both directions: filter, order, descending.
QUERIES: list[tuple[str, str, bool]] = [
    ("metrics.val/mae < 0.5", "metrics.val/mae", False),
    ("metrics.val/mae < 0.01", "metrics.val/mae", False),
    ("metrics.val/mae < 3 and (params.depth in (4, 8) or tags has 'candidate')", "metrics.val/mae", False),
    ("metrics.val/acc > 0.9", "metrics.val/acc", True),
    ("metrics.val/acc > 0.9999", "metrics.val/acc", True),
    ("metrics.val/acc 0.91..0.92", "metrics.train/loss", False),
    ("metrics.train/loss.min < 0.2", "metrics.train/loss.min", False),
    ("metrics.train/loss.max > 1.9", "metrics.train/loss.max", True),
    ("params.depth = 4", "metrics.val/rmse", False),
    ("params.depth in (2, 4, 6)", "metrics.val/rmse", True),
    ("params.learning_rate < 0.001", "metrics.val/loss", False),
    ("params.learning_rate 1e-4..1e-3 and params.optimizer = adam", "metrics.val/loss", False),
    ("params.optimizer = 'sgd'", "metrics.auc", True),
    ("params.optimizer != 'adam' and params.batch >= 64", "metrics.auc", True),
    ("params.seed = 77", "metrics.f1", True),
    ("params.model.name like 'lgb%'", "metrics.mape", False),
    ("project = bakery", "metrics.wape", False),
    ("project = lab", "metrics.wape", False),
    ("project = bakery and user = evi and status = completed", "metrics.smape", False),
    ("status = failed", "metrics.val/mae", False),
    ("status = completed and metrics.coverage > 0.8", "metrics.bias", False),
    ("tags has 'candidate'", "metrics.val/mae", False),
    ("tags has 'paper' and metrics.val/mae < 1", "metrics.val/mae", False),
    ("not tags has 'broken'", "metrics.recall", True),
    ("created > 2023-12-01 and created < 2024-02-01", "metrics.precision", True),
    ("duration > 50m", "metrics.epoch/seconds", True),
    ("name like 'sunny*'", "metrics.test/mae", False),
    ("notes has leakage", "metrics.test/acc", True),
    ("metrics.val/mae < 1 and metrics.val/acc > 0.5 and metrics.f1 > 0.5", "metrics.auc", True),
    ("(params.depth = 8 and params.dropout < 0.2) or metrics.auc > 0.99", "params.learning_rate", False),
]
TEXTS = [
    "sunny", "sunny badger", "leakage", "holiday leakage", "candidate", "clover-77", "candidate maple", "baseline tuning",
    "friday", "no such words",
]  # fmt: skip
PEER_QUERIES = [
    ("metrics.`val/mae` < 0.5", "metrics.`val/mae` ASC"),
    ("metrics.`val/acc` > 0.99", "metrics.`val/acc` DESC"),
    ("params.depth = '4'", "metrics.`val/rmse` ASC"),
    ("params.optimizer = 'sgd'", "metrics.auc DESC"),
    ("metrics.`val/mae` < 1 and metrics.`val/acc` > 0.5 and metrics.f1 > 0.5", "metrics.auc DESC"),
]
PAGE = 50
PATIENCE = 60.0
"""Seconds after which a peer's answer is waited for no longer."""


def measure(bench: Bench) -> Iterator[Row]:
    """The rows of this subject."""
    count = 10_000 if bench.quick else 100_000
    home = bench.new_folder("server")
    with bench.larder(home=home):
        pass  # makes the tables
    made = list(many_runs(count))
    began = time.monotonic()
    size = fill(home / "larder.sqlite", made)
    bench.say(f"  {count:,} runs in {time.monotonic() - began:.0f} s, {size / 1e6:,.0f} MB")
    bare = [_bare_page(home / "larder.sqlite", METRICS[turn % len(METRICS)]) for turn in range(10)]
    with bench.larder(home=home) as server:
        filtered = _ask(server, [runs.RunQuery(where=w, order_by=o, descending=d, limit=PAGE) for w, o, d in QUERIES])
        texts = _ask(server, [runs.RunQuery(text=text, limit=PAGE) for text in TEXTS])
        numbers = _ask(server, [runs.RunQuery(text=text, limit=PAGE) for text in remembered(made)])
    limit = Beside(name="bare SQL for a page, without search", value=1e3 * median(bare), unit="ms")
    peer = _mlflow(bench, made)
    size_note = f"{count:,} runs × {len(METRICS)} metrics × {len(PARAMS)} parameters on SQLite, {size / 1e6:,.0f} MB"
    for what, told, bar in (
        ("filter + sort by a metric + first page", filtered, 50.0),
        ("free text", texts, 200.0),
        ("a remembered number", numbers, 200.0),
    ):
        for name, value in (("median", median(told.warm)), ("95th percentile", percentile(told.warm, 0.95))):
            yield Row(
                what=f"{what}, {count:,} runs: {name}", value=1e3 * value, unit="ms", bar=bar,
                beside=[limit, *peer] if told is filtered else [limit],
                note=f"{size_note}; {len(told.warm) // TURNS} queries, {TURNS} times each, over HTTP with {PAGE} whole runs"
                f" in the answer; first asked: 95th percentile {1e3 * percentile(told.cold, 0.95):.0f} ms;"
                f" slowest {1e3 * max(told.warm):.0f} ms: {told.slowest}"
                if name == "median" else "",
            )  # fmt: skip


# -- the runs ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Made:
    """A run as both stores get it."""

    id: str
    project: str
    name: str
    status: str
    user: str
    created: int
    seconds: int
    notes: str
    tags: tuple[str, ...]
    params: tuple[Any, ...]
    metrics: tuple[tuple[float, float, float], ...]
    """last, min, max"""


def many_runs(count: int) -> Iterator[Made]:
    """The same runs each time."""
    chance = random.Random(11)
    pick, uniform = chance.choice, chance.uniform
    for number in range(count):
        values = []
        for metric in METRICS:
            last = (
                chance.random() if metric.endswith(("acc", "f1", "auc", "precision", "recall")) else uniform(0, 2) ** 2
            )
            values.append((last, last * uniform(0.5, 1.0), last * uniform(1.0, 2.0)))
        params = (
            round(10 ** uniform(-5, -1), 6), pick((2, 4, 6, 8, 10)), pick(("adam", "sgd", "adamw", "rmsprop")), number % 1000,
            pick((16, 32, 64, 128)), round(uniform(0, 0.5), 2), pick(("lgbm", "ridge", "resnet", "naive", "lgb-dart")),
            pick((64, 128, 256)), pick(("north", "south", "east", "west")), f"v{chance.randrange(20)}", pick((10, 50, 100)),
            chance.randrange(1000), pick((0.0, 1e-4, 1e-3)), round(uniform(0.8, 0.99), 3), pick(("cosine", "step", None)),
            pick(("mse", "mae", "huber")), chance.random() < 0.5, pick((3, 5, 10)), round(uniform(0, 5), 2), chance.random() < 0.5,
        )  # fmt: skip
        yield Made(
            id=ids.new_id(),
            project=chance.choices(PROJECTS, WEIGHTS)[0],
            name=f"{pick(WORDS)}-{pick(WORDS)}-{number % 997}",
            status=chance.choices(["completed", "failed", "stopped"], [85, 12, 3])[0],
            user=pick(USERS),
            created=STARTED + number * APART + chance.randrange(APART),
            seconds=chance.randrange(5, 3600),
            notes=pick(NOTES) if chance.random() < 0.1 else "",
            tags=tuple(sorted({pick(TAGS) for _ in range(chance.choices([0, 1, 2], [5, 3, 2])[0])})),
            params=params,
            metrics=tuple(values),
        )


def remembered(made: Sequence[Made]) -> list[str]:
    """Numbers as somebody remembers them of some run: three or four digits, alone or with the metric's name."""
    chance = random.Random(5)
    found = []
    for turn in range(10):
        place = chance.randrange(len(METRICS))
        number = f"{chance.choice(made).metrics[place][0]:.{3 + turn % 2}f}"
        found.append(f"{METRICS[place]} {number}" if turn % 3 == 2 else number)
    return found


def fill(database: Path, made: Sequence[Made]) -> int:
    """Put the runs into an empty database of Larder; its size."""
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        execute, many = connection.execute, connection.executemany
        execute("pragma synchronous=off")
        # Indexes are made after the rows, which is many times faster; they are the same in the end.
        tables = "('runs', 'run_tags', 'run_params', 'metric_summaries')"
        indexes = execute(
            f"select name, sql from sqlite_master where type = 'index' and sql is not null and tbl_name in {tables}"
        ).fetchall()
        execute("begin")
        for name, _ in indexes:
            execute(f'drop index "{name}"')
        projects = [("default", ids.new_id(), name, "", STARTED) for name in PROJECTS]
        many("insert into projects (tenant, id, name, description, created) values (?, ?, ?, ?, ?)", projects)
        many("insert into metric_names (seq, tenant, name) values (?, 'default', ?)", enumerate(METRICS, 1))
        many("insert into param_names (seq, tenant, name) values (?, 'default', ?)", enumerate(PARAMS, 1))
        many(
            "insert into runs (seq, tenant, id, project, name, status, kind, actor, created, started, ended, heartbeat, host,"
            " branch, commit_id, notes, words) values (?, 'default', ?, ?, ?, ?, 'train', ?, ?, ?, ?, ?, 'bench', 'main',"
            " '3f2a9c', ?, ?)",
            (
                (seq, one.id, one.project, one.name, one.status, one.user, one.created, one.created,
                 one.created + one.seconds * 1_000_000, one.created, one.notes,
                 "\n".join((one.name, *one.tags, one.notes)).lower())
                for seq, one in enumerate(made, 1)
            ),
        )  # fmt: skip
        many(
            "insert into run_tags (tenant, run, tag) values ('default', ?, ?)",
            ((seq, tag) for seq, one in enumerate(made, 1) for tag in one.tags),
        )
        many(
            "insert into run_params (tenant, run, param, value, number) values ('default', ?, ?, ?, ?)",
            (
                (seq, place, json.dumps(value), float(value) if isinstance(value, int | float) else None)
                for seq, one in enumerate(made, 1)
                for place, value in enumerate(one.params, 1)
            ),
        )
        many(
            "insert into metric_summaries (tenant, run, metric, last, last_step, min, min_step, max, max_step, total, numbers,"
            " count, last_time) values ('default', ?, ?, ?, 99, ?, 50, ?, 0, ?, 100, 100, ?)",
            (
                (seq, place, last, low, high, 100 * last, one.created)
                for seq, one in enumerate(made, 1)
                for place, (last, low, high) in enumerate(one.metrics, 1)
            ),
        )
        for _, sql in indexes:
            execute(sql)
        execute("commit")
        execute("pragma wal_checkpoint(truncate)")
    return database.stat().st_size


# -- questions ---------------------------------------------------------------------------------------------------------

TURNS = 3


@dataclass(frozen=True, kw_only=True)
class Told:
    """Seconds of the questions: when asked first, and later; and which was the slowest."""

    cold: list[float]
    warm: list[float]
    slowest: str


def _ask(server: Server, queries: Sequence[runs.RunQuery]) -> Told:
    """Ask each query once, and then all of them again some times."""
    transport = server.transport()
    turns: list[list[float]] = []
    for _ in range(1 + TURNS):
        seconds = []
        for query in queries:
            began = time.perf_counter()
            page = transport.call(runs.SEARCH, query)
            seconds.append(time.perf_counter() - began)
            if len(page.runs) != min(PAGE, page.total):
                raise Failed(f"{len(page.runs)} of {page.total} runs for {query}")
        turns.append(seconds)
    transport.close()
    warm = [one for seconds in turns[1:] for one in seconds]
    mean = [sum(turn[place] for turn in turns[1:]) for place in range(len(queries))]
    worst = queries[mean.index(max(mean))]
    return Told(
        cold=turns[0],
        warm=warm,
        slowest=f"`{worst.where or worst.text}`" + f" by `{worst.order_by}`" * bool(worst.where),
    )


def _bare_page(database: Path, metric: str) -> float:
    """Seconds that SQL alone needs for the best fifty runs of a metric with all they hold."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        for turn in range(2):
            began = time.perf_counter()
            found = connection.execute(
                "select run from metric_summaries where tenant = 'default' and metric ="
                " (select seq from metric_names where tenant = 'default' and name = ?) order by last limit ?",
                (metric, PAGE),
            ).fetchall()
            listed = ", ".join(str(run) for (run,) in found)
            connection.execute(f"select * from runs where seq in ({listed})").fetchall()
            for table in ("run_params", "metric_summaries", "run_tags"):
                connection.execute(f"select * from {table} where tenant = 'default' and run in ({listed})").fetchall()
            seconds = time.perf_counter() - began
            if turn:
                return seconds
    raise AssertionError("the second turn returns")


# -- MLflow ------------------------------------------------------------------------------------------------------------


def _mlflow(bench: Bench, made: Sequence[Made]) -> list[Beside]:
    def measured() -> list[float]:
        with bench.mlflow() as server:
            _fill_mlflow(server.folder / "mlflow.db", made)
            seconds = []
            for where, order in PEER_QUERIES:
                body = {"experiment_ids": ["0"], "filter": where, "order_by": [order], "max_results": PAGE}
                began = time.perf_counter()
                found = server.post("runs/search", body, patience=PATIENCE)
                seconds.append(time.perf_counter() - began)
                if not found.get("runs"):
                    raise Failed(f"nothing was found for {where}")
        return [1e3 * median(seconds)]

    return bench.beside([f"MLflow runs/search, {len(PEER_QUERIES)} such queries"], "ms", measured)


def _fill_mlflow(database: Path, made: Sequence[Made]) -> None:
    """Put the same runs into the database of an MLflow server."""
    hexadecimal: Callable[[Made], str] = lambda one: one.id.replace("-", "")  # noqa: E731
    statuses = {"completed": "FINISHED", "failed": "FAILED", "stopped": "KILLED"}
    with closing(sqlite3.connect(database, timeout=120, isolation_level=None)) as connection:
        connection.execute("pragma synchronous=off")
        connection.execute("begin immediate")
        connection.executemany(
            "insert into runs (run_uuid, name, source_type, source_name, entry_point_name, user_id, status, start_time,"
            " end_time, source_version, lifecycle_stage, artifact_uri, experiment_id) values"
            " (?, ?, 'LOCAL', '', '', ?, ?, ?, ?, '', 'active', '', 0)",
            (
                (hexadecimal(one), one.name, one.user, statuses[one.status], one.created // 1000,
                 one.created // 1000 + one.seconds * 1000)
                for one in made
            ),
        )  # fmt: skip
        connection.executemany(
            "insert into latest_metrics (key, value, timestamp, step, is_nan, run_uuid) values (?, ?, ?, 99, 0, ?)",
            (
                (name, last, one.created // 1000, hexadecimal(one))
                for one in made
                for name, (last, _, _) in zip(METRICS, one.metrics, strict=True)
            ),
        )
        connection.executemany(
            "insert into params (key, value, run_uuid) values (?, ?, ?)",
            (
                (name, msgspec.json.encode(value).decode().strip('"'), hexadecimal(one))
                for one in made
                for name, value in zip(PARAMS, one.params, strict=True)
            ),
        )
        connection.execute("commit")
        # MLflow never does this by itself; without it its search takes minutes.
        connection.execute("analyze")
