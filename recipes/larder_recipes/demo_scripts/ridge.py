"""Ridge regression on calendar and lags, one set of weights for all products (scikit-learn)."""

import argparse

import features
import numpy as np
import pandas as pd
import scores
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import Ridge
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

import larder


def model(alpha: float) -> Pipeline:
    """Weights on square roots: demand that is ten times larger varies about three times more, not ten."""
    past = make_pipeline(SimpleImputer(strategy="median"), FunctionTransformer(np.sqrt), StandardScaler())
    columns = make_column_transformer(
        (past, features.PAST),
        (make_pipeline(SimpleImputer(), StandardScaler()), ["sold_28", "to_christmas"]),
        (OneHotEncoder(handle_unknown="ignore"), ["weekday", "product"]),
    )
    return make_pipeline(columns, Ridge(alpha=alpha))


def forecast(fitted: Pipeline, table: features.Table) -> np.ndarray:
    """Units for each row of the table."""
    return np.square(np.maximum(fitted.predict(table.features), 0.0))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--alpha", type=float, default=100.0, help="how strongly weights are drawn to zero")
    arguments = parser.parse_args()

    run = larder.init(project="demand", name="ridge")
    task = scores.load()
    table = features.build(task.demand)
    begin, end = task.holdout[0], task.holdout[-1] + pd.Timedelta(days=1)

    # Does more history help? Fits on the last 8, 16, … weeks, judged on the four weeks before the held-out ones.
    tune = begin - pd.Timedelta(days=scores.HOLDOUT)
    judged = table.between(tune, begin)
    for weeks in (8, 16, 24, 32, 40):
        learned = table.between(tune - pd.Timedelta(weeks=weeks), tune)
        fitted = model(arguments.alpha).fit(learned.features, np.sqrt(learned.units))
        errors = scores.measure(judged.units, forecast(fitted, judged))
        run.log({"tune/wape": errors["wape"], "tune/mae": errors["mae"]}, step=weeks)

    learned = table.between(table.days.min(), begin)
    fitted = model(arguments.alpha).fit(learned.features, np.sqrt(learned.units))
    ahead = table.between(begin, end)
    scores.report(run, task, ahead.wide(forecast(fitted, ahead)))
    run.log_artifact("model", fitted)
    run.finish()


if __name__ == "__main__":
    main()
