"""XGBoost: parameters and every evaluation of `train`, also within the scikit-learn classes; the model as JSON."""

import functools
import sys
from collections.abc import Callable, Mapping
from typing import Any

from larder import params
from larder.integrations import active, fits

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
                params = _record(run, params, args, kwargs)
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


def _record(
    run: active.Recorder, given: Mapping[str, Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Mapping[str, Any]:
    """Record the parameters; answers them with the overrides in, and puts that of the number of rounds in place."""
    found = {key: value for key, value in given.items() if not callable(value)}
    rounds = args[0] if args else kwargs.get("num_boost_round", 10)
    run.record_params({SOURCE: {"num_boost_round": rounds, **found}}, source=SOURCE)
    changed = dict(given)
    for key, value in found.items():
        override = run.overrides.get(f"{SOURCE}.{key}", value)
        if override != params.plain(value):
            changed[key] = params.revived(override, value)
    override = run.overrides.get(f"{SOURCE}.num_boost_round")
    if override is not None and not args:
        kwargs["num_boost_round"] = int(override)
    return changed


def _record_model(run: active.Recorder, booster: Any, dtrain: Any) -> None:
    fact = {
        "rounds": int(booster.num_boosted_rounds()),
        "features": int(booster.num_features()),
        "samples": int(dtrain.num_row()),
    }
    run.record_fact(SOURCE, fact)
    run.log_artifact("model", booster, kind="model", metadata={"source": SOURCE})
