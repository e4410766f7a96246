"""What the boosting libraries share: parameters in a mapping, the number of rounds beside it, both to be overridden."""

from collections.abc import Mapping
from typing import Any

from larder import params
from larder.integrations import active


def record_params(
    run: active.Recorder,
    source: str,
    given: Mapping[str, Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    *,
    default_rounds: int,
) -> Mapping[str, Any]:
    """Record the parameters of a call of `train`, whose `args` and `kwargs` follow the data.

    Answers the parameters with the overrides in, and puts an override of the number of rounds into `kwargs`, unless
    they were given by position or, as LightGBM allows, among the parameters.
    """
    found = {key: value for key, value in given.items() if not callable(value)}
    rounds = args[0] if args else kwargs.get("num_boost_round", default_rounds)
    run.record_params({source: {"num_boost_round": rounds, **found}}, source=source)
    changed = dict(given)
    for key, value in found.items():
        override = run.overrides.get(f"{source}.{key}", value)
        if override != params.plain(value):
            changed[key] = params.revived(override, value)
    override = run.overrides.get(f"{source}.num_boost_round")
    if override is not None and not args and "num_boost_round" not in found:
        kwargs["num_boost_round"] = int(override)
    return changed
