"""How far a run has come, and when it may end."""

from collections.abc import Mapping
from typing import Any

FACT = "progress"
"""The fact in which a run says how many `steps` it will take."""

_STEPS = (
    "total_steps", "max_steps", "num_steps", "n_steps", "train_steps", "num_train_steps", "num_training_steps",
    "training_steps", "max_iters", "max_iterations", "num_iterations", "n_iterations", "n_iters", "num_boost_round",
    "n_estimators",
)  # fmt: skip
_EPOCHS = ("epochs", "num_epochs", "n_epochs", "max_epochs", "num_train_epochs")
_EPOCH = ("epoch", "epochs", "current_epoch", "train/epoch", "trainer/epoch")

LONGEST = 10 * 365 * 86_400
"""Seconds; what is expected to take longer is not expected."""


def total(facts: Mapping[str, Any], params: Mapping[str, Any], *, step: int | None) -> int | None:
    """How many steps there will be: as the run has said, else as a parameter of a well-known name says."""
    said = facts.get(FACT)
    if (steps := _count(said.get("steps") if isinstance(said, Mapping) else None)) is not None:
        return steps
    named = {name.lower().replace("-", "_").rpartition(".")[2]: value for name, value in params.items()}
    found = next((count for name in _STEPS if (count := _count(named.get(name))) is not None), None)
    # more steps than that were logged: the parameter speaks of something else
    return found if found is not None and (step is None or step < found) else None


def epochs(params: Mapping[str, Any], last: Mapping[str, float]) -> float | None:
    """Which part of its epochs a run has done, where it logs the one that it is in; None where nothing tells."""
    named = {name.lower().replace("-", "_").rpartition(".")[2]: value for name, value in params.items()}
    whole = next((count for name in _EPOCHS if (count := _count(named.get(name))) is not None), None)
    done = next((last[name] for name in _EPOCH if name in last), None)
    if whole is None or done is None or not 0 <= done <= whole:
        return None
    return done / whole


def left(*, step: int, steps: int, rate: float) -> float | None:
    """Seconds until the last step is done; None where that cannot be told. Steps count from 0."""
    if rate <= 0:
        return None
    seconds = max(0, steps - 1 - step) / rate
    return seconds if seconds < LONGEST else None


def _count(value: object) -> int | None:
    if isinstance(value, str) and value.isdecimal() and len(value) < 16:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 1 < value < 2**53:
        return None
    return int(value)
