"""LightGBM: parameters and every evaluation of `train`, also within the scikit-learn classes; the model as text."""

import functools
import sys
from collections.abc import Callable
from typing import Any

from larder.integrations import active, boosting, fits

SOURCE = "lightgbm"


def patch_engine(engine: Any) -> None:
    """Extend `train`, and whoever has imported it before us."""
    original = engine.train
    engine.train = _recording(original)
    for name in ("lightgbm", "lightgbm.sklearn"):
        module = sys.modules.get(name)
        if getattr(module, "train", None) is original:
            module.train = engine.train  # type: ignore[union-attr]


def _recording(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def train(params: Any, train_set: Any, *args: Any, **kwargs: Any) -> Any:
        run = None if fits.is_quiet() else active.current(SOURCE)
        if run is None:
            return original(params, train_set, *args, **kwargs)
        alone = fits.is_outermost()  # else a scikit-learn class has recorded its parameters, and will keep the model
        in_full = False
        with active.watched(SOURCE):
            if len(args) < 7:  # given by position, the callbacks are the ninth argument
                kwargs["callbacks"] = [*(kwargs.get("callbacks") or ()), _callback(run)]
            in_full = alone and fits.counted(run, SOURCE)
            if in_full:
                params = boosting.record_params(run, SOURCE, params, args, kwargs, default_rounds=100)
        with fits.under_way():
            booster = original(params, train_set, *args, **kwargs)
        with active.watched(SOURCE):
            if in_full:
                _record_model(run, booster, train_set)
        return booster

    return train


def _callback(run: active.Recorder) -> Callable[[Any], None]:
    def record(env: Any) -> None:
        with active.watched(SOURCE):
            points = {f"lightgbm/{each[0]}/{each[1]}": float(each[2]) for each in env.evaluation_result_list or ()}
            if points:
                run.log(points, step=int(env.iteration))

    return record


def _record_model(run: active.Recorder, booster: Any, train_set: Any) -> None:
    fact: dict[str, Any] = {
        "trees": int(booster.num_trees()),
        "best_iteration": int(booster.best_iteration),
        "features": int(booster.num_feature()),
    }
    try:
        fact["samples"] = int(train_set.num_data())
    except Exception:  # a data set that was freed, or never constructed: a kind of error of their own
        pass
    run.record_fact(SOURCE, fact)
    run.log_artifact("model", booster, kind="model", metadata={"source": SOURCE})
