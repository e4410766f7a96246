"""Why one run came out differently from another: every difference with a score, the most likely reason first. Pure.

A score begins with what differences of its kind usually do. Of a parameter, the earlier runs of the project say more:
how much of the spread of the metric goes with it. That is no proof, and the words for it do not say that it is.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from larder.contract.comparisons import Difference
from larder.contract.directions import lower_is_better
from larder.contract.meanings import names_data, names_seed
from larder.contract.reading import FileDiff
from larder.contract.runs import Run
from larder.contract.values import Param
from larder_server.comparisons.rules import rows

FEWEST = 8
"""Earlier runs with a parameter from which something can be learned of it."""

_DATA, _PARAM, _SEED, _COSMETIC = 0.95, 0.6, 0.25, 0.04
_LENGTH, _STATUS = 0.5, 0.55
_CODE = {"script": 0.75, "source": 0.65, "settings": 0.6, "other": 0.1, "aside": 0.03}
_COSMETIC_WORDS = frozenset((
    "name", "out", "output", "log", "logs", "logdir", "verbose", "verbosity", "debug", "quiet", "workers", "jobs", "cache",
    "wandb", "tensorboard", "port", "host", "save", "plot", "progress", "notes", "tag", "tags", "comment", "threads",
))  # fmt: skip
_SOURCES = (".py", ".ipynb", ".sql", ".sh", ".r", ".jl", ".cpp", ".cu", ".c")
_SETTINGS = (".yaml", ".yml", ".json", ".toml", ".cfg", ".ini")
_VERSION = re.compile(r"\d+")


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What one run is made of, as far as it was recorded."""

    run: Run
    params: Mapping[str, Param] = field(default_factory=dict)
    data: Mapping[str, Param] = field(default_factory=dict)
    packages: Mapping[str, Param] = field(default_factory=dict)
    facts: Mapping[str, Param] = field(default_factory=dict)
    imported: frozenset[str] = frozenset()
    script: str = ""


@dataclass(frozen=True, kw_only=True)
class Earlier:
    """An earlier run: its parameters, and what it reached in the metric."""

    params: Mapping[str, Param]
    value: float


def differences(
    a: Seen, b: Seen, *, metric: str, code: Sequence[FileDiff], earlier: Sequence[Earlier]
) -> list[Difference]:
    """Everything in which two runs differ, the most likely reason first."""
    found = [
        *(_data(row.name, *row.values) for row in rows.rows([a.data, b.data], only_differing=True)),
        *(
            _param(row.name, row.values[0], row.values[1], earlier)
            for row in rows.rows([a.params, b.params], only_differing=True)
        ),
        *(_code(file, script=b.script or a.script) for file in code),
        *(
            _package(row.name, *row.values, imported=a.imported | b.imported)
            for row in rows.rows([a.packages, b.packages], only_differing=True)
        ),
        *_surroundings(a, b),
        *_course(a, b, metric),
    ]
    return sorted(found, key=lambda one: (-one.score, one.kind, one.name))


def sentence(
    a: Run, b: Run, *, metric: str, before: float | None, after: float | None, first: Difference | None
) -> str:
    """What came out, and the first of the reasons."""
    if before is None or after is None:
        outcome = f"{a.name} and {b.name} have no metric in common" if not metric else f"Not both runs have {metric}"
    elif before == after:
        outcome = f"Both runs reached {metric} {shown(after)}"
    else:
        outcome = (
            f"{b.name} reached {metric} {shown(after)}, {change(before, after, metric)} {a.name} ({shown(before)})"
        )
    if first is None:
        return f"{outcome}. Nothing that was recorded differs: same code, parameters, data, packages and machine."
    if first.score <= _COSMETIC * 2:
        return f"{outcome}. What differs should not matter; a seed that was not recorded, or chance, remains."
    return f"{outcome}. The most likely reason: {first.sentence}."


def change(before: float, after: float, metric: str) -> str:
    """“12 % better than”, “0.3 more than”."""
    lower = lower_is_better(metric)
    percent = 100 * abs(after - before) / abs(before) if before else 0.0
    size = shown(abs(after - before)) if not before else f"{percent:,.0f} %" if percent >= 10 else f"{percent:.2g} %"
    if lower is None:
        return f"{size} {'more' if after > before else 'less'} than"
    return f"{size} {'better' if (after < before) is lower else 'worse'} than"


def shown(value: float, digits: int = 4) -> str:
    """A number for a sentence."""
    return f"{value:.{digits}g}" if abs(value) < 1e5 else f"{value:,.0f}"


def spread(param: str, earlier: Sequence[Earlier]) -> float | None:
    """How much of the spread of the metric over earlier runs goes with a parameter, 0 to 1; None: too few to say.

    Of numbers the share along a line or, with few values, between groups; of texts between groups. Corrected for the
    number of groups, since with many of them a share appears by chance.
    """
    pairs = [(one.params[param], one.value) for one in earlier if param in one.params and math.isfinite(one.value)]
    groups: dict[Param, list[float]] = {}
    for setting, value in pairs:
        groups.setdefault(setting, []).append(value)
    if len(pairs) < FEWEST or len(groups) < 2:
        return None
    values = [value for _, value in pairs]
    mean = sum(values) / len(values)
    total = sum((value - mean) ** 2 for value in values)
    if total <= 0:
        return 0.0
    shares = []
    if len(groups) <= len(pairs) // 2:
        between = sum(len(group) * (sum(group) / len(group) - mean) ** 2 for group in groups.values())
        shares.append(_corrected(between / total, len(pairs), len(groups) - 1))
    numbers = [float(setting) for setting, _ in pairs if isinstance(setting, int | float)]
    if len(numbers) == len(pairs) and all(math.isfinite(number) for number in numbers):
        if min(numbers) > 0 and max(numbers) / min(numbers) > 20:
            numbers = [math.log(number) for number in numbers]
        shares.append(_corrected(_along(numbers, values, total), len(pairs), 1))
    return max(shares, default=None)


def _along(numbers: Sequence[float], values: Sequence[float], total: float) -> float:
    middle, mean = sum(numbers) / len(numbers), sum(values) / len(values)
    width = sum((number - middle) ** 2 for number in numbers)
    both = sum((number - middle) * (value - mean) for number, value in zip(numbers, values, strict=True))
    return both * both / (width * total) if width > 0 else 0.0


def _corrected(share: float, count: int, freedom: int) -> float:
    left = count - freedom - 1
    return 0.0 if left <= 0 else min(1.0, max(0.0, 1 - (1 - share) * (count - 1) / left))


def _data(name: str, a: Param, b: Param) -> Difference:
    return Difference(
        kind="data", name=name, a=a, b=b, score=_DATA, sentence=f"other data: {name} {_from_to(a, b)}",
        evidence="what was learned from, or measured on, is not the same",
    )  # fmt: skip


def _param(name: str, a: Param, b: Param, earlier: Sequence[Earlier]) -> Difference:
    sentence = f"{name} {_from_to(a, b)}"
    if names_data(name) and not _same_file(a, b):
        return Difference(kind="data", name=name, a=a, b=b, score=_DATA - 0.02, sentence=f"other data: {sentence}",
                          evidence="its name says that it chooses the data")  # fmt: skip
    seed = names_seed(name)
    usual = _SEED if seed else _COSMETIC if _is_cosmetic(name) or names_data(name) else _PARAM
    share = spread(name, earlier)
    if share is None:
        evidence = "a seed moves the result a little" if seed else "too few earlier runs to learn from"
        return Difference(kind="seed" if seed else "param", name=name, a=a, b=b, score=usual + _jump(a, b) * usual,
                          sentence=sentence, evidence="" if usual == _COSMETIC else evidence)  # fmt: skip
    known = sum(name in one.params for one in earlier)
    return Difference(
        kind="seed" if seed else "param", name=name, a=a, b=b, score=0.2 * usual + 0.78 * share, sentence=sentence,
        evidence=f"over {known} earlier runs, {100 * share:.0f} % of the spread of the metric goes with it",
    )  # fmt: skip


def _jump(a: Param, b: Param) -> float:
    """A little more for a number that changed much."""
    if isinstance(a, bool) or isinstance(b, bool) or not isinstance(a, int | float) or not isinstance(b, int | float):
        return 0.0
    if not a or not b or a * b < 0 or not math.isfinite(a) or not math.isfinite(b):
        return 0.1
    return min(0.25, abs(math.log10(abs(b / a))) / 8)


def _is_cosmetic(name: str) -> bool:
    words = re.split(r"[\W_]+", re.split(r"[./]", name.lower())[-1])
    return any(word in _COSMETIC_WORDS for word in words)


def _same_file(a: Param, b: Param) -> bool:
    """The same file in another folder."""
    return isinstance(a, str) and isinstance(b, str) and "/" in a + b and _last(a) == _last(b)


def _last(path: str) -> str:
    return path.replace("\\", "/").rstrip("/").rpartition("/")[2]


def _code(file: FileDiff, *, script: str) -> Difference:
    path = file.path.lower()
    name = path.rpartition("/")[2]
    if re.search(r"(^|/)(tests?|docs?|\.github|\.vscode)/", path) or path.endswith((".md", ".rst", ".lock")):
        kind = "aside"
    elif script and name == _last(script).lower():
        kind = "script"
    elif path.endswith(_SOURCES):
        kind = "source"
    elif path.endswith(_SETTINGS):
        kind = "settings"
    else:
        kind = "other"
    lines = [line for line in file.diff.splitlines() if line[:1] in "+-" and line[:3] not in ("+++", "---")]
    told = [line[1:].strip() for line in lines]
    only_words = bool(told) and all(not line or line.startswith("#") for line in told)
    score = _CODE["aside"] if only_words else _CODE[kind] + min(0.1, len(lines) / 1000)
    evidence = {"script": "it is the script that was run", "aside": "it is not executed"}.get(kind, "")
    return Difference(
        kind="code", name=file.path, a=None, b=None, score=score,
        sentence=f"{file.path} was {file.change}"
        + (f" ({_lines(file.added)} added, {_lines(file.removed)} removed)" if file.diff else ""),
        evidence="only comments and empty lines" if only_words else evidence, diff=file.diff,
    )  # fmt: skip


def _lines(count: int) -> str:
    return "1 line" if count == 1 else f"{count:,} lines"


def _package(name: str, a: Param, b: Param, *, imported: frozenset[str]) -> Difference:
    used = _is_imported(name, imported)
    step = _step(a, b)
    if name == "python":
        score = 0.3 if step < 2 else 0.1
    elif not imported:
        score = (0.3, 0.2, 0.12)[step]
    else:
        score = (0.5, 0.4, 0.25)[step] if used else 0.05
    said = "the script imports it" if used else "the script does not import it" if imported and name != "python" else ""
    return Difference(kind="package", name=name, a=a, b=b, score=score, sentence=f"{name} {_from_to(a, b)}",
                      evidence=said)  # fmt: skip


def _is_imported(name: str, imported: frozenset[str]) -> bool:
    own = {"scikit-learn": "sklearn", "pillow": "PIL", "pyyaml": "yaml", "opencv-python": "cv2"}
    return own.get(name, name.replace("-", "_")) in imported or name in imported


def _step(a: Param, b: Param) -> int:
    """0: the first number of the version differs, or there is none; 1: the second; 2: a later one."""
    if a is None or b is None:
        return 0
    old, new = (_VERSION.findall(str(version).split(" @ ")[0]) for version in (a, b))
    return next((min(place, 2) for place, (one, other) in enumerate(zip(old, new, strict=False)) if one != other), 2)


def _surroundings(a: Seen, b: Seen) -> list[Difference]:
    scores = {"machine.gpus": 0.35, "machine.processors": 0.1, "machine.memory": 0.06, "machine.system": 0.07,
              "machine.host": 0.05}  # fmt: skip
    found = []
    for row in rows.rows([a.facts, b.facts], only_differing=True):
        score = scores.get(row.name)
        if row.name == "environment.PYTHONHASHSEED":
            found.append(Difference(kind="seed", name="PYTHONHASHSEED", a=row.values[0], b=row.values[1], score=0.2,
                                    sentence=f"PYTHONHASHSEED {_from_to(*row.values)}"))  # fmt: skip
        elif score is not None:
            name = row.name.partition(".")[2]
            found.append(Difference(kind="machine", name=name, a=row.values[0], b=row.values[1], score=score,
                                    sentence=f"another machine: {name} {_from_to(*row.values)}"))  # fmt: skip
    return found


def _course(a: Seen, b: Seen, metric: str) -> list[Difference]:
    """How the runs went: one was longer, or one did not come to its end."""
    found = []
    if a.run.status is not b.run.status:
        found.append(
            Difference(
                kind="status", name="status", a=str(a.run.status), b=str(b.run.status), score=_STATUS,
                sentence=f"{a.run.name} {_ended(a.run)}, {b.run.name} {_ended(b.run)}",
            )
        )  # fmt: skip
    one, other = a.run.metrics.get(metric), b.run.metrics.get(metric)
    if one and other and one.last_step > 0 and other.last_step > 0:
        ratio = max(one.last_step, other.last_step) / min(one.last_step, other.last_step)
        if ratio >= 1.2:
            found.append(
                Difference(
                    kind="length", name="steps", a=one.last_step, b=other.last_step,
                    score=_LENGTH + min(0.1, math.log10(ratio) / 10),
                    sentence=f"one trained longer: the last step {_from_to(one.last_step, other.last_step)}",
                )
            )  # fmt: skip
    return found


def _ended(run: Run) -> str:
    return {"completed": "was completed", "draft": "has not begun", "queued": "has not begun",
            "running": "is still running", "lost": "was lost", "stopped": "was stopped"}.get(str(run.status), f"has {run.status}")  # fmt: skip


def _from_to(a: Param, b: Param) -> str:
    return f"from {_said(a)} to {_said(b)}"


def _said(value: Param) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, float):
        return shown(value, 6)
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
