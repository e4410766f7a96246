"""Figures of a column of values: extremes, mean, histogram, the most frequent ones; and of several such columns as one. Pure."""

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

BINS = 20
MOST_TOP = 10
LONGEST_TEXT = 100

Document = dict[str, Any]


def short(value: float) -> float:
    """A number with as many digits as anybody looks at."""
    return value if isinstance(value, int) else float(f"{value:.6g}")


def edges(low: float, high: float, bins: int = BINS) -> list[float]:
    """The bounds of equally wide bins; one of no width where all values are the same."""
    if low == high or not math.isfinite(high - low):
        return [low, high]
    return [low, *(short(low + (high - low) * at / bins) for at in range(1, bins)), high]


def numbers(values: Mapping[float, int]) -> Document:
    """Figures of finite numbers, each with how often it is there; empty when there are none."""
    count = sum(values.values())
    if not count:
        return {}
    low, high = min(values), max(values)
    mean = math.fsum(value * often for value, often in values.items()) / count
    spread = math.fsum((value - mean) ** 2 * often for value, often in values.items()) / count
    bounds = edges(low, high)
    counts = [0] * (len(bounds) - 1)
    if len(counts) == 1:
        counts[0] = count
    else:
        scale = BINS / (high - low)
        for value, often in values.items():
            counts[min(BINS - 1, int((value - low) * scale))] += often
    return described(count, low, high, mean, math.sqrt(spread), bounds, counts)


def described(
    count: int, low: float, high: float, mean: float, deviation: float, bounds: Sequence[float], counts: Sequence[int]
) -> Document:
    """The document of such figures."""
    return {
        "count": count, "min": low, "max": high, "mean": short(mean), "deviation": short(deviation),
        "histogram": {"edges": list(bounds), "counts": list(counts)},
    }  # fmt: skip


def top(values: Mapping[str, int], distinct: int) -> list[Document]:
    """The most frequent texts, in an order that does not depend on chance; none where nearly all differ."""
    if distinct > MOST_TOP and max(values.values(), default=0) < 2:
        return []
    chosen = sorted(values.items(), key=lambda each: (-each[1], each[0]))[:MOST_TOP]
    return [{"value": clipped(value), "count": count} for value, count in chosen]


def clipped(text: str) -> str:
    """A text of at most a hundred characters."""
    return text if len(text) <= LONGEST_TEXT else text[: LONGEST_TEXT - 1] + "…"


def powers(sizes: Iterable[int]) -> Document:
    """A histogram whose edges are powers of two, for what spans many magnitudes; zero has a bin of its own."""
    found = Counter(map(int.bit_length, sizes))
    if not found:
        return {}
    least, most = min(found), max(found)
    bounds = [0 if at == 0 else 1 << (at - 1) for at in range(least, most + 2)]
    return {"edges": bounds, "counts": [found[at] for at in range(least, most + 1)]}


# -- several as one --------------------------------------------------------------------------------------------------


def merged_histogram(parts: Sequence[Document], low: float, high: float) -> Document:
    """Histograms as one over the whole range: what a bin holds is taken to be spread evenly over it."""
    bounds = edges(low, high)
    shares = [0.0] * (len(bounds) - 1)
    total = sum(sum(part["counts"]) for part in parts)
    if len(shares) == 1:
        return {"edges": bounds, "counts": [total]}
    width = (high - low) / BINS
    for part in parts:
        for begin, end, count in zip(part["edges"], part["edges"][1:], part["counts"], strict=False):
            if not count:
                continue
            first = min(BINS - 1, max(0, int((begin - low) / width)))
            last = min(BINS - 1, max(first, int((end - low) / width)))
            if first == last or end <= begin:
                shares[first] += count
                continue
            for at in range(first, last + 1):
                inside = min(end, low + (at + 1) * width) - max(begin, low + at * width)
                shares[at] += count * max(0.0, inside) / (end - begin)
    return {"edges": bounds, "counts": _whole(shares, total)}


def merged_numbers(parts: Sequence[Document]) -> Document:
    """Figures of several sets of numbers as those of one; the histogram is approximate."""
    parts = [part for part in parts if part.get("count")]
    if not parts:
        return {}
    count = sum(part["count"] for part in parts)
    low, high = min(part["min"] for part in parts), max(part["max"] for part in parts)
    mean = math.fsum(part["mean"] * part["count"] for part in parts) / count
    square = math.fsum((part["deviation"] ** 2 + part["mean"] ** 2) * part["count"] for part in parts) / count
    histogram = merged_histogram([part["histogram"] for part in parts], low, high)
    deviation = math.sqrt(max(0.0, square - mean * mean))
    return described(count, low, high, mean, deviation, histogram["edges"], histogram["counts"])


def merged_columns(parts: Sequence[Document]) -> Document:
    """One column of several tables with the same columns as if they were one table."""
    if len(parts) == 1:
        return parts[0]
    kinds = {part["type"] for part in parts if part.get("nulls") != part.get("rows")}
    kind = (
        kinds.pop() if len(kinds) == 1 else "number" if kinds == {"integer", "number"} else "other" if kinds else "text"
    )
    least = [int(part.get("distinct", part.get("distinct_least", 0)) or 0) for part in parts]
    most = [int(part.get("distinct", part.get("distinct_most", 0)) or 0) for part in parts]
    found: Document = {
        "name": parts[0]["name"],
        "type": kind,
        "nulls": sum(part["nulls"] for part in parts),
        # How many values two parts have in common is not known.
        "distinct_least": max(least),
        "distinct_most": sum(most),
    }
    if found["distinct_least"] == found["distinct_most"]:
        found["distinct"] = found.pop("distinct_most")
        del found["distinct_least"]
    if kind in ("integer", "number"):
        found |= merged_numbers(parts)
    elif kind in ("date", "time"):
        bounds = [part for part in parts if "min" in part]
        if bounds:
            found |= {"min": min(part["min"] for part in bounds), "max": max(part["max"] for part in bounds)}
    elif kind != "other":
        counts: Counter[str] = Counter()
        for part in parts:
            for each in part.get("top", ()):
                counts[each["value"]] += each["count"]
        if counts:
            found["top"] = top(counts, len(counts))
        lengths = [part["length"] for part in parts if "length" in part]
        if lengths:
            found["length"] = {
                "min": min(each["min"] for each in lengths),
                "max": max(each["max"] for each in lengths),
                "mean": short(math.fsum(each["mean"] for each in lengths) / len(lengths)),
            }
    return found


def _whole(shares: Sequence[float], total: int) -> list[int]:
    """Whole numbers near these whose sum is `total`: what is left over goes where most was cut off."""
    found = [int(share) for share in shares]
    order = sorted(range(len(shares)), key=lambda at: found[at] - shares[at])
    for at in order[: max(0, total - sum(found))]:
        found[at] += 1
    return found


# -- how far one distribution lies from another ----------------------------------------------------------------------


def shift(before: Sequence[float], after: Sequence[float]) -> float:
    """The population stability index of two lists of counts over the same bins.

    Below 0.1 the distributions are alike, above 0.25 they differ much. A bin that is empty on one side counts as half an
    item, so that the index stays finite.
    """
    all_before, all_after = sum(before), sum(after)
    if not all_before or not all_after:
        return 0.0
    found = 0.0
    for old, new in zip(before, after, strict=True):
        if old or new:
            first, second = max(old, 0.5) / all_before, max(new, 0.5) / all_after
            found += (second - first) * math.log(second / first)
    return found


def distance(before: Document, after: Document) -> float:
    """The Wasserstein distance of two histograms, in the unit of their values: how far, on average, a value has moved."""
    if not sum(before["counts"]) or not sum(after["counts"]):
        return 0.0
    points = sorted({*before["edges"], *after["edges"]})
    found = 0.0
    for begin, end in itertools.pairwise(points):
        left = _share(before, begin) - _share(after, begin)
        right = _share(before, end, without=True) - _share(after, end, without=True)
        # Both shares are straight lines between two edges, so their difference is one, too.
        if left * right >= 0:
            found += (abs(left) + abs(right)) / 2 * (end - begin)
        else:
            found += (left * left + right * right) / (2 * (abs(left) + abs(right))) * (end - begin)
    return found


def _share(histogram: Document, value: float, *, without: bool = False) -> float:
    """The share of values up to one; `without` those that are exactly it and make up a bin of no width."""
    total, below = sum(histogram["counts"]), 0.0
    for begin, end, count in zip(histogram["edges"], histogram["edges"][1:], histogram["counts"], strict=False):
        if value > end or (value == end and not (without and begin == end)):
            below += count
        elif value > begin:
            below += count * (value - begin) / (end - begin)
    return below / total
