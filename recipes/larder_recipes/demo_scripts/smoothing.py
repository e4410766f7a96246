"""Exponential smoothing, written out: each product has a level and seven weekday effects that follow its demand."""

import argparse
from dataclasses import dataclass

import numpy as np
import pandas as pd
import scores

import larder


@dataclass(frozen=True)
class Smoothed:
    """The forecast of each day as it was said HORIZON days before, and what the last day left behind."""

    forecast: pd.DataFrame
    state: pd.DataFrame


def smooth(demand: pd.DataFrame, *, level: float, weekday: float) -> Smoothed:
    """Follow the demand day by day.

    Smoothing goes over square roots, or one bulk order would lift the level for weeks. A day without demand data
    (closed, or before the first sale) changes nothing.
    """
    roots = np.sqrt(demand.to_numpy())
    days, products = roots.shape
    height = np.full(products, np.nan)
    effects = np.zeros((7, products))
    weekdays = demand.index.day_of_week.to_numpy()
    said = np.full((days + scores.HORIZON, products), np.nan)
    for day, today in enumerate(roots):
        effect = effects[weekdays[day]]
        seen = ~np.isnan(today)
        height = np.where(seen & np.isnan(height), today, height)
        height = np.where(seen, height + level * (today - effect - height), height)
        effect += np.where(seen, weekday * (today - height - effect), 0.0)
        said[day + scores.HORIZON] = height + effects[(weekdays[day] + scores.HORIZON) % 7]
    units = np.square(np.maximum(said[:days], 0.0))
    state = pd.DataFrame(np.vstack([height, effects]).T, demand.columns)
    state.columns = ["level", *(f"weekday_{number}" for number in range(7))]
    return Smoothed(pd.DataFrame(units, demand.index, demand.columns), state)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--level", type=float, default=0.05, help="how fast the level follows, 0 to 1")
    parser.add_argument("--weekday", type=float, default=0.02, help="how fast the weekday effects follow, 0 to 1")
    arguments = parser.parse_args()

    run = larder.init(project="demand", name="smoothing")
    task = scores.load()
    smoothed = smooth(task.demand, level=arguments.level, weekday=arguments.weekday)
    miss = (smoothed.forecast - task.demand).abs().mean(axis=1)
    for step, mae in enumerate(miss[miss.index < task.holdout[0]].dropna()):
        run.log({"train/mae": mae}, step=step)  # each day as it would have gone: what came in, against what was said
    scores.report(run, task, smoothed.forecast)
    run.log_artifact("model", smoothed.state, kind="model")
    run.finish()


if __name__ == "__main__":
    main()
