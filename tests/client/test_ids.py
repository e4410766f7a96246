"""Ids sort by the moment they were made and cannot be guessed."""

import time
import uuid

from larder.contract.ids import is_id, new_id


def test_an_id_is_a_uuid_of_version_7():
    parsed = uuid.UUID(new_id())
    assert parsed.version == 7 and parsed.variant == uuid.RFC_4122
    assert abs((parsed.int >> 80) - time.time() * 1000) < 5000
    assert is_id(str(parsed)) and not is_id(str(parsed).upper()) and not is_id("x")


def test_ids_made_one_after_the_other_sort_so_even_within_a_millisecond():
    made = []
    for _ in range(200):
        made.append(new_id())
        time.sleep(0.000001)  # longer than the 244 ns that an id tells apart
    assert made == sorted(made) and len(set(made)) == len(made)
