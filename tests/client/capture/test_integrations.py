"""Frameworks record their fits, scores, series and figures, once each, and behave as without us."""

import copy
import inspect
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import lightgbm
import matplotlib
import numpy as np
import pytest
import tensorboardX
import xgboost

matplotlib.use("Agg")
import cloudpickle  # type: ignore[import-untyped]
import matplotlib.pyplot as plt
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.ensemble import BaggingRegressor, RandomForestRegressor, VotingRegressor
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, cross_val_score, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from larder.integrations import active, fits, sklearn

from .recorder import FakeRun

X = np.random.default_rng(0).normal(size=(60, 3))
Y = X @ np.array([1.0, 2.0, 3.0])


def models(run: FakeRun) -> list[str]:
    return [type(value).__name__ for name, value, kind, _ in run.artifacts if kind == "model"]


# -- scikit-learn --------------------------------------------------------------------------------------------------


def test_a_fit_is_recorded_with_parameters_sizes_and_model(run: FakeRun) -> None:
    model = Ridge(alpha=0.5).fit(X, Y)
    assert run.params["Ridge.alpha"] == 0.5
    assert run.params["Ridge.fit_intercept"] is True
    fact = run.facts["sklearn.Ridge"]
    assert (fact["estimator"], fact["samples"], fact["features"]) == ("sklearn.linear_model._ridge.Ridge", 60, 3)
    assert models(run) == ["Ridge"]
    assert run.artifacts[0][1] is model


def test_an_override_reaches_the_estimator_before_it_is_fitted(run: FakeRun) -> None:
    run.overrides = {"Ridge.alpha": "2.5", "Ridge.max_iter": 7}
    model = Ridge(alpha=0.5)
    model.fit(X=X, y=Y)
    assert (model.alpha, model.max_iter) == (2.5, 7)


def test_scores_are_recorded_as_a_metric(run: FakeRun) -> None:
    model = Ridge().fit(X, Y)
    score = model.score(X, Y)
    assert run.values("sklearn/Ridge/score") == [score]


def test_the_parts_of_a_pipeline_are_recorded_with_it_only(run: FakeRun) -> None:
    pipeline = make_pipeline(StandardScaler(), Ridge(alpha=2.0)).fit(X, Y)
    pipeline.score(X, Y)
    assert models(run) == ["Pipeline"]
    assert run.params["Pipeline.ridge__alpha"] == 2.0
    assert run.params["Pipeline.ridge"] == "Ridge"
    assert not any(name.startswith("Ridge.") for name in run.params)
    assert set(run.points) == {"sklearn/Pipeline/fit_seconds", "sklearn/Pipeline/score"}


@pytest.mark.parametrize(
    "ensemble",
    [
        lambda: RandomForestRegressor(5, n_jobs=2),
        lambda: BaggingRegressor(Ridge(), 4, n_jobs=2),
        lambda: VotingRegressor([("a", Ridge()), ("b", Ridge(2.0))], n_jobs=2),
    ],
)
def test_members_that_are_fitted_in_threads_are_parts(run: FakeRun, ensemble: Callable[[], Any]) -> None:
    with joblib.parallel_backend("threading"):
        ensemble().fit(X, Y)
    assert len(models(run)) == 1
    assert len(run.points) == 1


def test_a_search_is_one_fit_with_its_best(run: FakeRun) -> None:
    search = GridSearchCV(Ridge(), {"alpha": [0.1, 1.0]}, cv=2).fit(X, Y)
    assert models(run) == ["GridSearchCV"]
    assert run.values("sklearn/GridSearchCV/best_score") == [search.best_score_]
    assert run.facts["sklearn.GridSearchCV"]["best_params"] == search.best_params_
    assert run.params["GridSearchCV.cv"] == 2


def test_a_cross_validation_records_means_and_no_folds(run: FakeRun) -> None:
    scores = cross_val_score(Ridge(), X, Y, cv=3)
    assert models(run) == []
    assert run.values("sklearn/Ridge/cross_validation/score") == [scores.mean()]
    cross_validate(lightgbm.LGBMRegressor(n_estimators=2, verbose=-1, n_jobs=1), X, Y, cv=2)
    assert models(run) == []


def test_a_scaler_alone_is_no_model(run: FakeRun) -> None:
    StandardScaler().fit_transform(X)
    assert run.artifacts == []
    assert run.params["StandardScaler.with_mean"] is True


def test_loops_over_many_models_are_recorded_in_full_at_first(run: FakeRun) -> None:
    for _ in range(fits.MOST + 5):
        Ridge().fit(X, Y)
    assert len(models(run)) == fits.MOST
    assert len(run.points["sklearn/Ridge/fit_seconds"]) == fits.MOST + 5


def test_models_that_are_too_big_or_cannot_be_pickled_are_left(run: FakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    class Local(RegressorMixin, BaseEstimator):  # type: ignore[misc]
        def fit(self, X: Any, y: Any) -> "Local":
            self.function_ = lambda x: x
            return self

        def predict(self, X: Any) -> Any:
            return np.zeros(len(X))

    Local().fit(X, Y).score(X, Y)
    assert "sklearn/Local/score" in run.points
    monkeypatch.setattr(sklearn, "LARGEST_MODEL", 100)
    Ridge().fit(X, Y)
    assert models(run) == []


def test_what_a_fit_raises_reaches_the_user_and_the_next_fit_is_the_outermost_again(run: FakeRun) -> None:
    with pytest.raises(ValueError, match="inconsistent"):
        Ridge().fit(X, Y[:-1])
    Ridge().fit(X, Y)
    assert models(run) == ["Ridge"]


def test_estimators_are_cloned_copied_and_pickled_as_before(run: FakeRun) -> None:
    model = Ridge(alpha=3.0).fit(X, Y)
    assert clone(model).get_params() == model.get_params()
    assert np.allclose(copy.deepcopy(model).predict(X), model.predict(X))
    assert np.allclose(pickle.loads(pickle.dumps(model)).predict(X), model.predict(X))
    assert list(inspect.signature(Ridge.fit).parameters) == ["self", "X", "y", "sample_weight"]


def test_a_class_of_a_notebook_can_still_be_sent_to_a_worker(run: FakeRun) -> None:
    scope: dict[str, Any] = {"__name__": "__main__", "BaseEstimator": BaseEstimator}
    exec("class Own(BaseEstimator):\n    def fit(self, X, y=None):\n        return self\n", scope)
    assert hasattr(scope["Own"].fit, "_larder")
    again = pickle.loads(cloudpickle.dumps(scope["Own"]()))
    assert type(again.fit(X)).__name__ == "Own"


def test_without_a_run_or_switched_off_nothing_is_recorded(run: FakeRun) -> None:
    active.begin(run, off=frozenset({"sklearn"}))
    Ridge().fit(X, Y).score(X, Y)
    active.end(run)
    Ridge().fit(X, Y)
    assert (run.params, run.points, run.artifacts) == ({}, {}, [])


def test_a_failing_record_stays_away_from_the_user(
    run: FakeRun, warnings: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "log", lambda *args, **kwargs: 1 / 0)
    Ridge().fit(X, Y)
    assert warnings == {"sklearn"}
    assert run.states["sklearn"] == "failed: ZeroDivisionError: division by zero"
    warnings.clear()


# -- LightGBM and XGBoost ------------------------------------------------------------------------------------------


def test_lightgbm_records_parameters_every_evaluation_and_the_model(run: FakeRun) -> None:
    run.overrides = {"lightgbm.num_leaves": "5", "lightgbm.num_boost_round": 4}
    data = lightgbm.Dataset(X, Y)
    booster = lightgbm.train(
        params={"objective": "l2", "metric": ["l1", "l2"], "num_leaves": 7, "verbose": -1, "num_threads": 1},
        train_set=data,
        num_boost_round=6,
        valid_sets=[data],
        valid_names=["train"],
    )
    assert booster.num_trees() == 4
    assert booster.params["num_leaves"] == 5
    assert run.params["lightgbm.metric"] == '["l1", "l2"]'
    assert [step for step, _ in run.points["lightgbm/train/l1"]] == [0, 1, 2, 3]
    assert run.values("lightgbm/train/l2")[-1] < run.values("lightgbm/train/l2")[0]
    assert run.facts["lightgbm"] == {"trees": 4, "best_iteration": 0, "features": 3, "samples": 60}
    assert models(run) == ["Booster"]


def test_lightgbm_stops_early_as_before(run: FakeRun) -> None:
    data = lightgbm.Dataset(X, Y)
    booster = lightgbm.train(
        {"objective": "l2", "verbose": -1, "learning_rate": 1e-9, "num_threads": 1},
        data,
        50,
        valid_sets=[lightgbm.Dataset(X, -Y, reference=data)],
        callbacks=[lightgbm.early_stopping(2, verbose=False)],
    )
    assert booster.best_iteration >= 1
    assert len(run.points["lightgbm/valid_0/l2"]) < 50


@pytest.mark.filterwarnings("ignore:The argument 'eval_set'")
def test_lightgbms_estimators_record_evaluations_and_one_model(run: FakeRun) -> None:
    model = lightgbm.LGBMRegressor(n_estimators=3, verbose=-1, n_jobs=1).fit(X, Y, eval_set=[(X, Y)])
    assert len(run.points["lightgbm/training/l2"]) == 3
    assert run.params["LGBMRegressor.n_estimators"] == 3
    assert "lightgbm.num_boost_round" not in run.params
    assert [value for _, value, _, _ in run.artifacts] == [model]


def test_xgboost_records_parameters_every_evaluation_and_the_model(run: FakeRun) -> None:
    run.overrides = {"xgboost.max_depth": 1, "xgboost.num_boost_round": 3}
    data = xgboost.DMatrix(X, Y)
    history: dict[str, Any] = {}
    booster = xgboost.train(
        {"max_depth": 2, "eval_metric": "mae", "nthread": 1},
        data,
        num_boost_round=5,
        evals=[(data, "train")],
        evals_result=history,
        verbose_eval=False,
    )
    assert booster.num_boosted_rounds() == 3
    assert run.values("xgboost/train/mae") == history["train"]["mae"]
    assert run.params["xgboost.max_depth"] == 1
    assert run.facts["xgboost"] == {"rounds": 3, "features": 3, "samples": 60}
    assert models(run) == ["Booster"]


def test_xgboosts_estimators_record_evaluations_and_one_model(run: FakeRun) -> None:
    model = xgboost.XGBRegressor(n_estimators=3, n_jobs=1)
    model.fit(X, Y, eval_set=[(X, Y)], verbose=False)
    assert len(run.points["xgboost/validation_0/rmse"]) == 3
    assert [value for _, value, _, _ in run.artifacts] == [model]


# -- TensorBoard and matplotlib ------------------------------------------------------------------------------------


def test_a_tensorboard_writer_gives_the_same_series(run: FakeRun, tmp_path: Path) -> None:
    with tensorboardX.SummaryWriter(str(tmp_path)) as writer:
        for step in range(3):
            writer.add_scalar("train/loss", np.float32(1 / (step + 1)), step)
        writer.add_scalars("acc", {"train": 0.5, "val": 0.25}, global_step=7)
        writer.add_histogram("weights", np.array([0.0, 1.0, np.nan]), 2)
        writer.add_image("shelf", np.zeros((3, 4, 5)), 1)
        writer.add_images("shelves", np.zeros((2, 3, 4, 5)), 1)
        writer.add_text("note", "hello", 1)
        writer.add_figure("fit", plt.figure(), 1)
        writer.add_hparams({"lr": 0.1}, {"best": 0.9})
    assert [step for step, _ in run.points["train/loss"]] == [0, 1, 2]
    assert run.values("train/loss")[0] == 1.0
    assert run.points["acc/train"] == [(7, 0.5)]
    assert run.points["weights/mean"] == [(2, 0.5)]
    assert [(name, kind, step) for name, _, kind, step in run.artifacts] == [("weights", "histogram", 2)]
    assert b'"counts"' in run.files["weights"]
    assert run.images == [("shelf", (4, 5, 3), 1), ("shelves", (4, 10, 3), 1)]
    assert run.texts == {"note": "hello"}
    assert run.figures == ["fit"]
    assert run.params["lr"] == 0.1
    assert run.points["best"] == [(None, 0.9)]
    assert any(tmp_path.glob("events*")), "the event file is written as before"


def test_a_writer_that_refuses_says_so_to_the_user(run: FakeRun, tmp_path: Path, warnings: set[str]) -> None:
    with tensorboardX.SummaryWriter(str(tmp_path)) as writer, pytest.raises(TypeError):
        writer.add_scalar()
    warnings.clear()


def test_figures_are_recorded_when_they_are_shown_or_saved(run: FakeRun, tmp_path: Path) -> None:
    plt.close("all")
    figure, axes = plt.subplots()
    axes.set_title("Demand")
    plt.savefig(tmp_path / "demand.png")
    figure.savefig(tmp_path / "again.svg")
    plt.figure()
    current = plt.gcf()
    plt.show()
    assert plt.gcf() is current
    plt.close("all")
    assert run.figures == ["demand", "again", "Demand", "figure 2"]
    assert (tmp_path / "demand.png").stat().st_size > 0
