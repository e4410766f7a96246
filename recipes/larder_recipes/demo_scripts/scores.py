"""The task and its scores: units a day and product, forecast seven days ahead, over the last four weeks."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

import larder
import larder_recipes

DATA = Path("data", "daily_demand.parquet")

HORIZON = 7
"""Days between the last known day and the day that is forecast: goods are ordered a week ahead."""

HOLDOUT = 28
"""Days at the end that no fit and no choice may see."""


@dataclass(frozen=True)
class Task:
    """Demand as days × products. NaN: the shop was closed, or the product had not been sold yet."""

    demand: pd.DataFrame
    names: pd.Series
    holdout: pd.DatetimeIndex


def load() -> Task:
    """The bundled sample, on a calendar without gaps."""
    rows = pd.read_parquet(_file())
    wide = rows.pivot(index="day", columns="product", values="units").astype(float)
    demand = wide.reindex(pd.date_range(wide.index[0], wide.index[-1], name="day"))
    names = rows.drop_duplicates("product").set_index("product").description
    return Task(demand, names, demand.index[-HOLDOUT:])


def known(demand: pd.DataFrame) -> pd.DataFrame:
    """In the row of each day, what is known when that day is forecast: demand up to HORIZON days before."""
    return demand.shift(HORIZON)


def measure(actual: np.ndarray | pd.Series, forecast: np.ndarray | pd.Series) -> dict[str, float]:
    """Errors of forecasts, each beside what was sold. `wape` and `bias` are parts of all units sold."""
    truth, said = np.asarray(actual, float), np.asarray(forecast, float)
    if not (np.isfinite(truth).all() and np.isfinite(said).all()):
        raise ValueError("a forecast or a demand is missing")
    error = said - truth
    return {
        "mae": float(np.abs(error).mean()),
        "rmse": float(np.sqrt((error**2).mean())),
        "wape": float(np.abs(error).sum() / truth.sum()),
        "bias": float(error.sum() / truth.sum()),
    }


def report(run: larder.Run, task: Task, forecast: pd.DataFrame) -> dict[str, float]:
    """Log the errors of the held-out days: all together, by day and by product. Closed days do not count."""
    actual = task.demand.loc[task.holdout].dropna(how="all")
    forecast = forecast.reindex_like(actual)
    for step, day in enumerate(actual.index):
        run.log({"day/sold": actual.loc[day].sum(), "day/forecast": forecast.loc[day].sum()}, step=step)

    miss = (forecast - actual).abs()
    products = pd.DataFrame(
        {
            "description": task.names,
            "sold": actual.sum(),
            "forecast": forecast.sum().round(1),
            "mae": miss.mean().round(2),
            "wape": (miss.sum() / actual.sum()).round(4),
        }
    )
    run.log_table("errors-by-product", products.sort_values("sold", ascending=False).reset_index(names="product"))

    scores = measure(actual.to_numpy(), forecast.to_numpy())
    run.log({f"val/{name}": value for name, value in scores.items()})
    print("  ".join(f"val/{name} {value:.4f}" for name, value in scores.items()))
    return scores


def _file() -> Path:
    """The sample beside the scripts; where only scripts were brought, the one that `larder demo` is installed with."""
    beside = Path(__file__).resolve().parent.parent / DATA
    return beside if beside.exists() else Path(larder_recipes.__file__).parent / DATA
