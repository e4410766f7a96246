"""What one `run.log` of one value costs the training process, call by call."""

from collections.abc import Iterator

from bench.harness import Bench
from bench.table import Beside, Row

MEDIAN, TAIL = 5.0, 30.0
"""The bars, in microseconds."""


def measure(bench: Bench) -> Iterator[Row]:
    """The rows of this subject."""
    calls = 20_000 if bench.quick else 100_000
    with bench.larder() as server:
        home = bench.new_folder("home")
        online = bench.child("log_calls", calls, environment=server.environment(home))
        paced = bench.child("log_calls", calls // 20, 1e-3, environment=server.environment(home))
    home = bench.new_folder("home")
    offline = bench.child("log_calls", calls, environment={"LARDER_MODE": "offline", "LARDER_HOME": str(home)})
    peers = dict(zip(("median_us", "p99_us"), _peers(bench, calls), strict=True))
    for mode, told, note in (
        ("server up, companion sending", online,
         f"{calls:,} calls as fast as they go, on the processors that companion and server want, too"),
        ("offline", offline, f"{calls:,} calls as fast as they go"),
    ):  # fmt: skip
        lost = f"{told['lost']} records lost" if told["lost"] else "nothing lost"
        yield Row(
            what=f"`run.log` of one value, {mode}: median", value=told["median_us"], unit="µs", bar=MEDIAN,
            beside=[_limit(told, "median_us"), *peers["median_us"]],
            note=f"{note}; a record has {told['bytes']} bytes; {lost}",
        )  # fmt: skip
        yield Row(
            what=f"`run.log` of one value, {mode}: 99th percentile", value=told["p99_us"], unit="µs", bar=TAIL,
            beside=[_limit(told, "p99_us"), *peers["p99_us"]],
            note=f"the longest took {told['max_us'] / 1e3:.1f} ms",
        )  # fmt: skip
    yield Row(
        what="`run.log` of one value once a millisecond: median", value=paced["median_us"], unit="µs",
        beside=[_limit(paced, "median_us")],
        note=f"{calls // 20:,} calls, each after a sleep: the processor has slept and its caches hold something else",
    )  # fmt: skip


def _limit(told: dict[str, float], key: str) -> Beside:
    return Beside(name="bare os.write", value=told[f"write_{key}"], unit="µs")


def _peers(bench: Bench, calls: int) -> tuple[list[Beside], list[Beside]]:
    """Medians and 99th percentiles of the peers."""

    def tensorboard() -> list[float]:
        told = bench.child("peer_log", "tensorboardX", calls, bench.new_folder("board"), python=bench.peers.python)
        return [told["median_us"], told["p99_us"]]

    def mlflow() -> list[float]:
        with bench.mlflow() as server:
            # Fewer calls, since each of them has to get into MLflow's database before its process may end.
            told = bench.child("peer_log", "mlflow", calls // 20, server.url, python=bench.peers.python)
        return [told["median_us"], told["p99_us"]]

    found = [
        bench.beside([name] * 2, "µs", measured)
        for name, measured in (
            ("tensorboardX add_scalar", tensorboard),
            ("MLflow log_metric(synchronous=False)", mlflow),
        )
    ]
    return [one[0] for one in found], [one[1] for one in found]
