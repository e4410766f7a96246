"""scikit-learn: the outermost fits with parameters and data sizes, scores, search results, fitted models."""

import functools
import pickle
import sys
import time
import types
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from larder import params
from larder.integrations import active, fits

SOURCE = "sklearn"

LARGEST_MODEL = 200_000_000
"""Bytes of a pickled model that is still kept."""

_FITS = ("fit", "fit_transform", "fit_predict")
_BOOSTERS = ("lightgbm", "xgboost")
_CROSS_VALIDATIONS = ("_fit_and_score", "_fit_and_predict", "_permutation_test_score", "_incremental_fit_estimator")


def patch_base(base: Any) -> None:
    """Extend every estimator class, those that exist and those that will be defined."""
    for kind in (base.BaseEstimator, *_subclasses(base.BaseEstimator)):
        _extend(kind)
    for mixin in ("ClassifierMixin", "RegressorMixin", "ClusterMixin", "OutlierMixin", "TransformerMixin"):
        _extend(getattr(base, mixin, None))
    own = vars(base.BaseEstimator).get("__init_subclass__")

    def init_subclass(cls: type, /, **kwargs: Any) -> None:
        if own is None:
            super(base.BaseEstimator, cls).__init_subclass__(**kwargs)
        else:
            own.__func__(cls, **kwargs)
        with active.watched(SOURCE):
            _extend(cls)

    base.BaseEstimator.__init_subclass__ = classmethod(init_subclass)


def patch_validation(validation: Any) -> None:
    """Keep the folds of cross-validations quiet, and record what `cross_validate` found."""
    for name in _CROSS_VALIDATIONS:
        if hasattr(validation, name):
            setattr(validation, name, _quiet(getattr(validation, name)))
    validation.cross_validate = _recording_scores(validation.cross_validate)
    for module in ("sklearn.model_selection", "sklearn.model_selection._search"):
        for name in (*_CROSS_VALIDATIONS, "cross_validate"):
            if hasattr(sys.modules.get(module), name):  # whoever imported them before us
                setattr(sys.modules[module], name, getattr(validation, name))


def _subclasses(kind: type) -> Iterator[type]:
    seen: set[type] = set()
    waiting = [kind]
    while waiting:
        below: list[type] = type.__subclasses__(waiting.pop())
        for each in below:
            if each not in seen:
                seen.add(each)
                waiting.append(each)
                yield each


def _extend(kind: type | None) -> None:
    for name in (*_FITS, "score"):
        method = None if kind is None else vars(kind).get(name)
        extend = _recording_fit if name in _FITS else _recording_score
        if isinstance(method, types.FunctionType) and not hasattr(method, "_larder"):
            setattr(kind, name, extend(method))
        inner = getattr(method, "fn", None)  # scikit-learn's descriptor of methods that are there when a part has them
        if isinstance(inner, types.FunctionType) and not hasattr(inner, "_larder"):
            method.fn = extend(inner)  # type: ignore[union-attr]


# These two close over the original only, and call functions of this module by name, so that a class that is pickled
# by value (one defined in a notebook, sent to a worker) can still be pickled.


def _recording_fit(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def fit(self: Any, *args: Any, **kwargs: Any) -> Any:
        return _fit(original, self, args, kwargs)

    fit._larder = True  # type: ignore[attr-defined]
    return fit


def _recording_score(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def score(self: Any, *args: Any, **kwargs: Any) -> Any:
        return _score(original, self, args, kwargs)

    score._larder = True  # type: ignore[attr-defined]
    return score


def _fit(original: Callable[..., Any], estimator: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    run = active.current(SOURCE) if fits.is_outermost() else None
    if run is None:
        return original(estimator, *args, **kwargs)
    in_full = False
    with active.watched(SOURCE):
        in_full = fits.counted(run, type(estimator).__name__)
        if in_full:
            _record_params(run, estimator)
    begun = time.perf_counter()
    with fits.under_way():
        result = original(estimator, *args, **kwargs)
    seconds = time.perf_counter() - begun
    with active.watched(SOURCE):
        _record_fit(run, estimator, args[0] if args else kwargs.get("X"), seconds=seconds)
        if in_full:
            _record_model(run, estimator)
    return result


def _score(original: Callable[..., Any], estimator: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    run = active.current(SOURCE) if fits.is_outermost() else None
    if run is None:
        return original(estimator, *args, **kwargs)
    with fits.under_way():
        result = original(estimator, *args, **kwargs)
    with active.watched(SOURCE):
        run.log({f"sklearn/{type(estimator).__name__}/score": float(result)})
    return result


def _record_params(run: active.Recorder, estimator: Any) -> None:
    name = type(estimator).__name__
    given = {key: value for key, value in estimator.get_params(deep=True).items() if not _holds_estimators(value)}
    found = {key: _said(value) for key, value in given.items()}
    run.record_params({name: found}, source=SOURCE)
    for key, value in found.items():
        override = run.overrides.get(f"{name}.{key}", value)
        if override != params.plain(value):
            with active.watched(SOURCE):  # one that does not fit leaves the others
                estimator.set_params(**{key: params.revived(override, given[key])})


def _said(value: Any) -> Any:
    return type(value).__name__ if hasattr(value, "get_params") else value


def _holds_estimators(value: Any) -> bool:
    # The steps of a pipeline and their like: `get_params` lists what is in them beside them.
    if not isinstance(value, list | tuple):
        return False
    return any(hasattr(each, "get_params") or _holds_estimators(each) for each in value)


def _record_fit(run: active.Recorder, estimator: Any, data: Any, *, seconds: float) -> None:
    name = type(estimator).__name__
    shape = getattr(data, "shape", None)
    fact: dict[str, Any] = {"estimator": f"{type(estimator).__module__}.{name}", "seconds": round(seconds, 6)}
    if shape is not None and len(shape) > 0:
        fact |= {"samples": int(shape[0]), "features": int(shape[1]) if len(shape) > 1 else 1}
    elif hasattr(data, "__len__"):
        fact["samples"] = len(data)
    points = {f"sklearn/{name}/fit_seconds": seconds}
    best = getattr(estimator, "best_score_", None)
    if isinstance(best, int | float):
        points[f"sklearn/{name}/best_score"] = float(best)
        found = getattr(estimator, "best_params_", {})
        fact["best_params"] = {key: params.plain(value) for key, value in found.items()}
    run.log(points)
    run.record_fact(f"sklearn.{name}", fact)


def _record_model(run: active.Recorder, estimator: Any) -> None:
    if not hasattr(estimator, "predict"):
        return  # a scaler or an encoder alone is no model
    if type(estimator).__module__.partition(".")[0] not in _BOOSTERS and not _fits_in(estimator, LARGEST_MODEL):
        return
    run.log_artifact("model", estimator, kind="model", metadata={"source": SOURCE})


def _fits_in(value: Any, limit: int) -> bool:
    """Whether the pickle of a value exists and is no larger than `limit`; nothing is kept."""
    with suppress(Exception):  # pickling calls code of any class, and what cannot be pickled is no model we can keep
        pickle.Pickler(_Counter(limit), protocol=5).dump(value)
        return True
    return False


class _Counter:
    def __init__(self, limit: int) -> None:
        self._left = limit

    def write(self, data: Any) -> int:
        size = memoryview(data).nbytes
        self._left -= size
        if self._left < 0:
            raise OverflowError
        return size


def _quiet(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def quietly(*args: Any, **kwargs: Any) -> Any:
        with fits.quiet():
            return original(*args, **kwargs)

    return quietly


def _recording_scores(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def cross_validate(estimator: Any, *args: Any, **kwargs: Any) -> Any:
        run = active.current(SOURCE) if fits.is_outermost() else None
        if run is None:
            return original(estimator, *args, **kwargs)
        with active.watched(SOURCE):
            _record_params(run, estimator)
        with fits.under_way():
            result: Mapping[str, Any] = original(estimator, *args, **kwargs)
        with active.watched(SOURCE):
            name = type(estimator).__name__
            run.log(
                {
                    f"sklearn/{name}/cross_validation/{key.removeprefix('test_')}": float(values.mean())
                    for key, values in result.items()
                    if key.startswith("test_")
                }
            )
        return result

    return cross_validate
