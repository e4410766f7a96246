"""A new environment of scikit-learn and lightgbm, with all packages in the cache of the installer."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from bench.harness import Bench, Failed, median
from bench.table import Beside, Row
from larder.agent import environments
from tools import setup

PACKAGES = ("scikit-learn", "lightgbm")
BAR = 5.0
"""The bar, in seconds."""


def measure(bench: Bench) -> Iterator[Row]:
    """The rows of this subject."""
    rounds = 2 if bench.quick else 7
    what = f"new environment of {' and '.join(PACKAGES)}, packages in the cache"
    settings = setup.pip_settings(Path(sys.executable))
    # A cache of its own beside the environments, on the same disk: what lies in it came from this measurement.
    variables = {**setup.uv_environment(settings), "UV_CACHE_DIR": str(bench.new_folder("cache"))}
    variables.pop("VIRTUAL_ENV", None)
    if setup.uv_arguments(settings):
        variables["UV_NO_INDEX"] = "1"
    by_hand = "`uv venv` and `uv pip install` by hand"
    try:
        _by_hand(bench, variables)  # fetches
    except Failed as problem:
        why = f"the packages cannot be fetched ({problem})"
        yield Row(what=what, value=None, unit="s", bar=BAR, beside=[Beside(name=by_hand, why=why)])
        return
    hand, ours, packages = [], [], 0
    for _ in range(rounds):
        hand.append(_by_hand(bench, variables))
        told = bench.child("build_environment", bench.new_folder("environments"), *PACKAGES, environment=variables)
        if told["reused"]:
            raise Failed("the environment was not new")
        if subprocess.run([told["python"], "-c", "import lightgbm, sklearn"], capture_output=True).returncode:
            raise Failed("the environment does not work")
        ours.append(told["seconds"])
        packages = told["packages"]
    yield Row(
        what=what, value=median(ours), unit="s", bar=BAR, beside=[Beside(name=by_hand, value=median(hand), unit="s")],
        note=f"resolved anew against the index, {packages} packages, linked from the cache; medians of {rounds}, in turn,"
        f" slowest {max(ours):.2f} s; ours writes a lock first, and neither compiles modules before it is ready",
    )  # fmt: skip


def _by_hand(bench: Bench, variables: Mapping[str, str]) -> float:
    """Seconds for the same by hand."""
    uv = environments.installer()
    if not uv:
        raise Failed("uv is not installed; `make setup` brings it")
    place = bench.new_folder("hand") / "venv"
    began = time.perf_counter()
    for command in (
        [uv, "venv", "--quiet", "--python", sys.executable, str(place)],
        [uv, "pip", "install", "--quiet", "--python", str(place / "bin" / "python"), *PACKAGES],
    ):
        done = subprocess.run(command, env={**os.environ, **variables}, capture_output=True, text=True)
        if done.returncode:
            raise Failed((done.stderr.strip().splitlines() or ["no reason given"])[-1].strip()[:160])
    return time.perf_counter() - began
