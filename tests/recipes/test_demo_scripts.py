"""The scripts of the demonstration: they run as a user starts them, beat the baseline, and know nothing of the future."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import larder_recipes

PACKAGE = Path(larder_recipes.__file__).parent
SCRIPTS = ("seasonal_naive", "smoothing", "ridge", "boosted_trees")

# Runs all scripts on the sample, and on copies of it whose demand is another from a day on; keeps their forecasts.
HARNESS = """
import json, runpy, sys
from pathlib import Path

scripts, out = Path(sys.argv[1]), Path(sys.argv[2])
starts, names = json.loads(sys.argv[3]), json.loads(sys.argv[4])
sys.path.insert(0, str(scripts))
import scores

load = scores.load
for first in starts:
    def changed(first=first):
        task = load()
        if first is not None:
            task.demand.loc[task.holdout[first]:] = task.demand.loc[task.holdout[first]:] * 3 + 100
        return task

    scores.load = changed
    for name in names:
        scores.report = lambda run, task, forecast: forecast.reindex(task.holdout).to_pickle(out / f"{name}-{first}.pickle")
        sys.argv = [name]
        runpy.run_path(str(scripts / f"{name}.py"), run_name="__main__")
"""


@pytest.fixture(scope="module")
def copied(tmp_path_factory):
    """The scripts and their data in a folder of a user's own."""
    folder = tmp_path_factory.mktemp("demand")
    shutil.copytree(PACKAGE / "demo_scripts", folder / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "data").mkdir()
    shutil.copy(PACKAGE / "data" / "daily_demand.parquet", folder / "data")
    return folder


@pytest.mark.slow
def test_a_script_runs_as_a_user_starts_it(copied, tmp_path):
    environment = {**os.environ, "LARDER_HOME": str(tmp_path), "LARDER_MODE": "offline"}
    done = subprocess.run(
        [sys.executable, "smoothing.py", "--level", "0.1"],
        cwd=copied / "scripts", env=environment, capture_output=True, text=True, timeout=100,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(
        r"val/mae \S+  val/rmse \S+  val/wape 0\.7\d+  val/bias \S+", done.stdout.strip().splitlines()[-1]
    )
    assert len(list((tmp_path / "runs").iterdir())) == 1


@pytest.fixture(scope="module")
def forecasts(copied, tmp_path_factory):
    """By script and by the held-out day from which demand was another; None: as it was."""
    out = tmp_path_factory.mktemp("forecasts")
    starts = (None, 0, 11)
    done = subprocess.run(
        [sys.executable, "-c", HARNESS, str(copied / "scripts"), str(out), json.dumps(starts), json.dumps(SCRIPTS)],
        env={**os.environ, "LARDER_MODE": "disabled", "LARDER_HOME": str(out)}, capture_output=True, text=True, timeout=280,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return {(name, first): pd.read_pickle(out / f"{name}-{first}.pickle") for name in SCRIPTS for first in starts}


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", SCRIPTS[1:])
def test_what_is_learned_beats_the_same_weekday_of_last_week(forecasts, name):
    rows = pd.read_parquet(PACKAGE / "data" / "daily_demand.parquet")
    sold = rows.pivot(index="day", columns="product", values="units").loc["2011-11-12":]
    wape = {
        script: (forecasts[script, None].reindex_like(sold) - sold).abs().sum().sum() / sold.sum().sum()
        for script in (SCRIPTS[0], name)
    }
    assert 0.3 < wape[name] < 0.9 * wape[SCRIPTS[0]] < 1.2


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", SCRIPTS)
# Day 0 finds a fit or a choice that has seen held-out days; day 11, a Wednesday, a lag of less than a week: day 0 is a
# Saturday on which nothing is sold, which would hide it.
@pytest.mark.parametrize("first", [0, 11])
def test_no_forecast_knows_demand_of_the_seven_days_before_or_later(forecasts, name, first):
    usual, changed = forecasts[name, None], forecasts[name, first]
    early = usual.index < usual.index[0] + pd.Timedelta(days=first + 7)
    assert early.sum() == first + 7
    np.testing.assert_array_equal(usual[early].to_numpy(), changed[early].to_numpy())
    later = usual.index >= usual.index[first + 8]
    assert not np.allclose(
        usual[later].to_numpy(), changed[later].to_numpy(), equal_nan=True
    )  # the change is felt at all


def test_the_sample_is_small_named_and_complete():
    path = PACKAGE / "data" / "daily_demand.parquet"
    assert path.stat().st_size < 1_000_000
    rows = pd.read_parquet(path)
    assert list(rows.columns) == ["day", "product", "description", "units"]
    assert rows["product"].nunique() == 60 and (rows.units >= 0).all()
    assert (rows.day.min(), rows.day.max()) == (pd.Timestamp("2010-12-01"), pd.Timestamp("2011-12-09"))
    assert not rows.duplicated(["day", "product"]).any()
    source = (PACKAGE / "data" / "SOURCE.md").read_text(encoding="utf-8")
    assert "CC BY 4.0" in source and "Chen" in source and "10.24432/C5BW33" in source


def test_an_order_taken_back_at_once_is_no_demand_and_a_later_return_is():
    sys.path.insert(0, str(PACKAGE / "data"))
    try:
        import make_sample
    finally:
        sys.path.pop(0)
    columns = ["InvoiceNo", "InvoiceDate", "CustomerID", "product", "Quantity"]
    day = pd.Timestamp("2011-03-01")
    orders = pd.DataFrame(
        [
            ["1", day, 7.0, "84077", 48],
            ["2", day, 7.0, "84077", 12],
            ["3", day, 8.0, "84077", 48],
            ["4", day, None, "84077", 48],
        ],
        columns=columns,
    )
    cancellations = pd.DataFrame(
        [
            ["C5", day + pd.Timedelta(hours=1), 7.0, "84077", -48],  # order 1, in full
            ["C6", day + pd.Timedelta(hours=1), 7.0, "84077", -5],  # a part of order 2
            ["C7", day + pd.Timedelta(days=30), 8.0, "84077", -48],  # order 3, long after
        ],
        columns=columns,
    )
    assert make_sample.taken_back(orders, cancellations) == [0]
