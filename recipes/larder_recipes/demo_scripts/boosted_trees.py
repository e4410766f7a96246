"""Gradient-boosted trees on calendar and lags, one model for all products (LightGBM)."""

import argparse

import features
import lightgbm
import numpy as np
import pandas as pd
import scores

import larder

SETTINGS = {"objective": "l1", "metric": "None", "feature_fraction": 0.8, "seed": 1, "num_threads": 1, "verbose": -1}
"""Absolute errors, which bulk orders pull less than squared ones; one thread, so that each machine grows the same trees."""


def dataset(table: features.Table) -> lightgbm.Dataset:
    """Units as square roots: the trees shall not spend themselves on a few very large orders."""
    return lightgbm.Dataset(table.features, np.sqrt(table.units))


def units(roots: np.ndarray) -> np.ndarray:
    """Units from what the trees say."""
    return np.square(np.maximum(roots, 0.0))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--learning-rate", type=float, default=0.05)
    parser.add_argument("--num-leaves", type=int, default=15)
    parser.add_argument("--rounds", type=int, default=200, help="number of trees")
    arguments = parser.parse_args()
    settings = SETTINGS | {"learning_rate": arguments.learning_rate, "num_leaves": arguments.num_leaves}

    run = larder.init(project="demand", name="boosted-trees")
    task = scores.load()
    table = features.build(task.demand)
    begin, end = task.holdout[0], task.holdout[-1] + pd.Timedelta(days=1)

    # How the errors fall from tree to tree, on the four weeks before the held-out ones. Larder records what LightGBM
    # evaluates by itself, as lightgbm/tune/wape and so on.
    tune = begin - pd.Timedelta(days=scores.HOLDOUT)
    earlier, judged = table.between(table.days.min(), tune), table.between(tune, begin)

    def errors(roots: np.ndarray, _: lightgbm.Dataset) -> list[tuple[str, float, bool]]:
        return [(name, value, False) for name, value in scores.measure(judged.units, units(roots)).items()]

    tuning = {"valid_sets": [dataset(judged)], "valid_names": ["tune"], "feval": errors}
    lightgbm.train(settings, dataset(earlier), arguments.rounds, **tuning)

    booster = lightgbm.train(settings, dataset(table.between(table.days.min(), begin)), arguments.rounds)
    ahead = table.between(begin, end)
    scores.report(run, task, ahead.wide(units(booster.predict(ahead.features))))
    run.log_artifact("model", booster)
    run.finish()


if __name__ == "__main__":
    main()
