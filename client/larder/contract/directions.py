"""What the name of a metric says: which way is better, and which of several metrics a run is about."""

import re
from collections.abc import Iterable

_LOWER = frozenset((
    "loss", "logloss", "mae", "mse", "rmse", "rmsle", "error", "err", "mape", "wape", "wmape", "smape", "mase", "rmsse",
    "wrmsse", "perplexity", "pinball", "deviance", "nll", "l1", "l2",
))  # fmt: skip
_HIGHER = frozenset((
    "acc", "accuracy", "auc", "auroc", "f1", "score", "r2", "precision", "recall", "ndcg", "map", "mrr", "hit", "iou",
    "dice", "bleu", "rouge", "reward",
))  # fmt: skip
_FIRST = ("test", "val", "valid", "validation", "eval", "valid_0", "valid_1", "dev", "holdout")
_RANK = re.compile(r"rank\.\d+/")


def lower_is_better(metric: str) -> bool | None:
    """What a metric's name says about its direction; None when it says nothing."""
    words = _words(metric)
    if words & _LOWER:
        return True
    return False if words & _HIGHER else None


def main_metric(names: Iterable[str]) -> str:
    """The metric that a run is about: of a test before one of training, with a direction before one without.

    Empty where there is none: the load of the machine and the series of other ranks are never it.
    """
    chosen = [name for name in names if not name.startswith("system/") and not _RANK.match(name)]

    def order(name: str) -> tuple[bool, int, bool, int, str]:
        words = _words(name)
        first = next((place for place, word in enumerate(_FIRST) if word in words), len(_FIRST))
        return (lower_is_better(name) is None, first, bool(words & {"seconds", "time"}), len(name), name)

    return min(chosen, key=order, default="")


def _words(metric: str) -> set[str]:
    words = set(re.split(r"[\s/.:\-]+", metric.lower()))
    return words | {part for word in words for part in word.split("_")}
