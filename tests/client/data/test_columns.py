"""Trees travel as columns and are the same on the other side."""

import pytest
from blake3 import blake3

from larder.contract.datasets import Entries
from larder.data.columns import EXTERNAL, FILE, Tree, entries, paths_column, paths_of, put_entries, record, size_of


def tree(**contents):
    made = Tree()
    for name, text in contents.items():
        made.put(name.encode(), record(blake3(text.encode()).digest(), FILE, len(text)))
    return made


def test_columns_come_back():
    before = tree(a="1", b="22", ü="333")
    before.put(b"far", record(bytes(32), EXTERNAL, 5), external="s3://x/y", metadata={"label": "cat"})
    after = Tree()
    put_entries(after, entries(before, sorted(before.records)))
    assert after == before
    assert after.size == 11


def test_a_path_that_is_sent_again_loses_what_it_had():
    made = tree(a="1")
    made.put(b"a", made.records[b"a"], metadata={"label": "cat"})
    put_entries(made, entries(tree(a="2"), [b"a"]))
    assert made == tree(a="2")


def test_columns_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="equally long"):
        put_entries(Tree(), Entries(paths=b"a\0", hashes=bytes(31), sizes=bytes(8), modes=b"\0"))


def test_changes_and_losses():
    old, new = tree(a="1", b="2", c="3"), tree(a="1", b="other", d="4")
    assert new.changes(old) == [b"b", b"d"]
    assert new.lost(old) == [b"c"]
    tagged = old.copy()
    tagged.put(b"a", tagged.records[b"a"], metadata={"label": "cat"})
    assert tagged.changes(old) == [b"a"] and old.changes(tagged) == [b"a"]


def test_parts_hold_everything_once_and_equal_content_together():
    made = tree(**{f"f{number}": str(number) for number in range(200)}, same="7")
    parts = [made.part(number, 4) for number in range(4)]
    assert sorted(path for part in parts for path in part.records) == sorted(made.records)
    assert any({b"f7", b"same"} <= part.records.keys() for part in parts)
    assert all(len(part) > 20 for part in parts)


def test_sizes_may_be_large():
    assert size_of(record(bytes(32), FILE, 1 << 45)) == 1 << 45


def test_columns_of_paths():
    assert paths_of(paths_column([b"a", b"b/c"])) == [b"a", b"b/c"]
    assert paths_of(b"") == []
