"""XGBoost: parameters and every evaluation of `train`, also within the scikit-learn classes; the model as JSON."""

import functools
import sys
from collections.abc import Callable, Mapping
from typing import Any

from larder.integrations import active, boosting, fits

SOURCE = "xgboost"


def patch_training(training: Any) -> None:
    """Extend `train`, and whoever has imported it before us."""
    original = training.train
    training.train = _recording(original, training)
    for name in ("xgboost", "xgboost.sklearn"):
        module = sys.modules.get(name)
        if getattr(module, "train", None) is original:
            module.train = training.train  # type: ignore[union-attr]


def _recording(original: Callable[..., Any], training: Any) -> Callable[..., Any]:
    @functools.wraps(original)
    def train(params: Any, dtrain: Any, *args: Any, **kwargs: Any) -> Any:
        run = None if fits.is_quiet() else active.current(SOURCE)
        if run is None:
            return original(params, dtrain, *args, **kwargs)
        alone = fits.is_outermost()  # else a scikit-learn class has recorded its parameters, and will keep the model
        in_full = False
        with active.watched(SOURCE):
            kwargs["callbacks"] = [*(kwargs.get("callbacks") or ()), _callback(run, training)]
            in_full = alone and fits.counted(run, SOURCE)
            if in_full:
                params = boosting.record_params(run, SOURCE, params, args, kwargs, default_rounds=10)
        with fits.under_way():
            booster = original(params, dtrain, *args, **kwargs)
        with active.watched(SOURCE):
            if in_full:
                _record_model(run, booster, dtrain)
        return booster

    return train


def _callback(run: active.Recorder, training: Any) -> Any:
    # The base class exists only once xgboost is there.
    class Recording(training.TrainingCallback):  # type: ignore[misc]
        def after_iteration(self, model: Any, epoch: int, evals_log: Mapping[str, Mapping[str, Any]]) -> bool:
            with active.watched(SOURCE):
                points = {
                    f"xgboost/{data}/{metric}": _number(values[-1])
                    for data, metrics in evals_log.items()
                    for metric, values in metrics.items()
                }
                if points:
                    run.log(points, step=int(epoch))
            return False

    return Recording()


def _number(value: Any) -> float:
    return float(value[0] if isinstance(value, tuple) else value)  # with its deviation, in a cross-validation


def _record_model(run: active.Recorder, booster: Any, dtrain: Any) -> None:
    fact = {
        "rounds": int(booster.num_boosted_rounds()),
        "features": int(booster.num_features()),
        "samples": int(dtrain.num_row()),
    }
    run.record_fact(SOURCE, fact)
    run.log_artifact("model", booster, kind="model", metadata={"source": SOURCE})
