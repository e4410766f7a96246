"""The baseline: what was sold on the same weekday of the week before."""

import argparse

import pandas as pd
import scores

import larder


def forecast(demand: pd.DataFrame, *, weeks: int) -> pd.DataFrame:
    """The mean of the same weekday over the last weeks; a closed day is replaced by the open one a week earlier."""
    last = scores.known(demand).groupby(demand.index.day_of_week).ffill()
    return sum((last.shift(7 * week) for week in range(1, weeks)), start=last) / weeks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weeks", type=int, default=1, help="weeks to average")
    arguments = parser.parse_args()

    run = larder.init(project="demand", name="seasonal-naive", tags=["baseline"])
    task = scores.load()
    scores.report(run, task, forecast(task.demand, weeks=arguments.weeks))
    run.finish()


if __name__ == "__main__":
    main()
