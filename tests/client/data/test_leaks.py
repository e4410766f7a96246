"""Near copies, each by its own measure."""

import random

import pytest

from larder.data.leaks import difference_hash, in_common, shingles, sketch

WORDS = ["cola", "shelf", "price", "store", "left", "milk", "bread", "row", "label", "facing", "promo", "empty"]


def prose(seed, count=200):
    chance = random.Random(seed)
    return [chance.choice(WORDS) + str(chance.randrange(40)) for _ in range(count)]


def meets(left, right):
    left, right = sketch(left), sketch(right)
    return any(left[at : at + 4] == right[at : at + 4] for at in range(0, 128, 4))


def test_near_texts_meet_and_share_much():
    met = 0
    for seed in range(40):
        words = prose(seed)
        changed = [*words]
        changed[50] = "other"
        changed.append("more")
        left, right = shingles(" ".join(words)), shingles("  ".join(changed).upper() + ".")
        assert in_common(left, right) > 0.9
        met += meets(left, right)
    assert met == 40


def test_other_texts_share_little():
    assert all(in_common(shingles(" ".join(prose(a))), shingles(" ".join(prose(a + 100)))) < 0.05 for a in range(20))


@pytest.mark.parametrize(
    ("left", "right", "same"), [("a b", "A, b!", True), ("a b", "a c", False), ("", "", True), ("a", "", False)]
)
def test_short_texts_are_one_run(left, right, same):
    assert (in_common(shingles(left), shingles(right)) == 1) is same
    assert meets(shingles(left), shingles(right)) is same


def test_the_hash_says_where_it_gets_brighter():
    rising, falling = bytes(range(9)) * 8, bytes(reversed(range(9))) * 8
    assert difference_hash(rising) == 2**64 - 1 and difference_hash(falling) == 0
    assert difference_hash(bytes([*range(9)] * 7 + [*reversed(range(9))])) == (2**64 - 1) ^ 0xFF
