"""What the names of parameters say: which of them name the data, the seed, or how a metric is made. Pure."""

import re

_DATA = frozenset(("data", "dataset", "datasets", "corpus", "dataframe"))
_SETS = frozenset(("testset", "trainset", "valset", "testdata", "traindata", "valdata", "holdout"))
_OF_DATA = _DATA | _SETS | frozenset((
    "version", "hash", "name", "id", "path", "file", "dir", "folder", "root", "url", "uri", "source", "snapshot", "date",
    "train", "test", "val", "valid", "validation", "eval", "digest", "sha", "sha256", "md5", "checksum", "revision",
    "tag", "table", "set", "split", "fold", "from", "until", "since", "start", "end", "cutoff", "input", "raw",
))  # fmt: skip
_PARTS = frozenset(("split", "fold", "holdout"))
_SEED = frozenset(("seed", "seeds"))
_METRIC = frozenset(("metric", "metrics", "scoring", "scorer"))


def names_data(param: str) -> bool:
    """Whether a parameter of this name says which data a run has read: `data_version`, `dataset`, `test_set`, `split`."""
    # `data.version` says it in several parts, `args.data_version` in the last one
    return any(_name_data(_words(param, parts=parts)) for parts in (1, 2, 3))


def names_seed(param: str) -> bool:
    """Whether a parameter of this name is a seed of random numbers."""
    words = _words(param)
    return bool(words & _SEED) or words == {"random", "state"}


def names_metric(param: str) -> bool:
    """Whether a parameter of this name says how a metric is made: `metric`, `eval_metric`, `scoring`."""
    return bool(_words(param) & _METRIC)


def _name_data(words: frozenset[str]) -> bool:
    if not words or not words <= _OF_DATA:
        return False
    pair = "set" in words and words & {"train", "test", "val", "valid", "validation", "eval"}
    return bool(words & (_DATA | _SETS | _PARTS) or pair)


def _words(param: str, *, parts: int = 1) -> frozenset[str]:
    """The words of the last parts of a name."""
    last = "_".join(re.split(r"[./:]", param)[-parts:])
    apart = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", last)
    return frozenset(word for word in re.split(r"[\W_]+", apart.lower()) if word)
