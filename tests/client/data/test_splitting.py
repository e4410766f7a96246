"""Who goes to which part: by the item itself, exact in strata, whole groups, in order of time."""

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from larder.contract.errors import Invalid
from larder.data.splitting import Unit, by_hash, by_strata, by_time, check_parts, compiled, moment

PARTS = {"train": 0.7, "validation": 0.15, "test": 0.15}


def keys(count, begin=0):
    return [b"%d" % number for number in range(begin, begin + count)]


def test_an_items_part_is_its_own_affair():
    few, many = by_hash(keys(1_000), PARTS, 7), by_hash(keys(5_000), PARTS, 7)
    assert all(many[key] == part for key, part in few.items()), "what is added moves nothing"
    counts = Counter(many.values())
    assert abs(counts["train"] / 5_000 - 0.7) < 0.03 and abs(counts["test"] / 5_000 - 0.15) < 0.03
    other = by_hash(keys(1_000), PARTS, 8)
    assert sum(other[key] != part for key, part in few.items()) > 200, "another seed is another split"


def test_the_same_on_every_machine():
    # golden: a change of this breaks the splits that people have
    found = by_hash(keys(12), PARTS, 0)
    assert " ".join(found[key] for key in keys(12)) == GOLDEN


GOLDEN = "validation train train train train train train train train validation train test"


@given(
    labels=st.lists(st.sampled_from("abc"), min_size=1, max_size=120),
    more=st.lists(st.sampled_from("abcd"), max_size=60),
    seed=st.integers(0, 3),
)
@settings(max_examples=100, deadline=None)
def test_every_stratum_has_its_shares_and_nothing_moves(labels, more, seed):
    units = {b"%d" % at: Unit(stratum=label) for at, label in enumerate(labels)}
    first = by_strata(units, PARTS, seed, {})
    assert first.keys() == units.keys()
    for label in set(labels):
        mine = Counter(first[key] for key, unit in units.items() if unit.stratum == label)
        for part, share in PARTS.items():
            assert abs(mine[part] - share * mine.total()) < 1
    grown = {**units, **{b"more %d" % at: Unit(stratum=label) for at, label in enumerate(more)}}
    second = by_strata(grown, PARTS, seed, first)
    assert all(second[key] == part for key, part in first.items())
    for label in set(labels) | set(more):
        mine = Counter(second[key] for key, unit in grown.items() if unit.stratum == label)
        for part, share in PARTS.items():
            assert abs(mine[part] - share * mine.total()) < 1.5


def test_groups_stay_whole():
    chance = random.Random(3)
    units = {b"store %d" % at: Unit(items=chance.randint(1, 40), stratum="") for at in range(60)}
    found = by_strata(units, PARTS, 0, {})
    total = sum(unit.items for unit in units.values())
    for part, share in PARTS.items():
        held = sum(units[key].items for key, where in found.items() if where == part)
        assert abs(held / total - share) < 0.02


def test_time_goes_forward():
    times = [moment(f"2026-{1 + at % 12:02}-01", "x") for at in range(120)]
    parts = by_time(times, PARTS)
    last = {part: max(each for each, where in zip(times, parts, strict=True) if where == part) for part in PARTS}
    first = {part: min(each for each, where in zip(times, parts, strict=True) if where == part) for part in PARTS}
    assert last["train"] < first["validation"] <= last["validation"] < first["test"]
    assert Counter(parts)["train"] == 80, "a month stays together"


def test_times_in_words_and_numbers():
    assert moment("2026-01-01T00:00:00+01:00", "x") + 3600 == moment("2026-01-01", "x")
    assert moment(3, "x") == moment("3.0", "x") == 3
    for bad in ("soon", None, float("nan"), True, []):
        with pytest.raises(Invalid, match=r"a\.jpg has the time"):
            moment(bad, "a.jpg")


@pytest.mark.parametrize(
    ("pattern", "path", "found"),
    [
        ("{label}/*.jpg", "cola/1.jpg", {"label": "cola"}),
        ("{label}/*.jpg", "a/cola/1.jpg", None),
        ("**/{label}/*.jpg", "a/b/cola/1.jpg", {"label": "cola"}),
        ("**/{label}/*.jpg", "cola/1.jpg", {"label": "cola"}),
        ("{store}_{day}.csv", "s(1)_2026-01-01.csv", {"store": "s(1)", "day": "2026-01-01"}),
        ("img[1].p?g", "img[1].png", {}),
        ("img[1].p?g", "img1.png", None),
    ],
)
def test_patterns(pattern, path, found):
    match = compiled(pattern).fullmatch(path)
    assert (match.groupdict() if match else None) == found


@pytest.mark.parametrize("pattern", ["{}/x", "{a}/{a}", "{a-b}/x", "{a/x", "a}/x"])
def test_a_pattern_that_is_none_is_refused(pattern):
    with pytest.raises(Invalid):
        compiled(pattern)


@pytest.mark.parametrize(
    "parts", [{}, {"a": 1.0}, {"a": 0.5, "b": 0.4}, {"a": 0.0, "b": 1.0}, {"a": "x", "b": 0.5}, {"a": True, "b": 0.5}]
)
def test_shares_that_make_no_whole_are_refused(parts):
    with pytest.raises(Invalid):
        check_parts(parts)
