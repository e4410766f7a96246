"""Trees, whatever is done to them, equal a plain dict."""

import random

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from larder_server.datasets.rules import columns, trees
from larder_server.datasets.rules.columns import Columns, Row
from larder_server.datasets.rules.trees import Changes, Totals, Tree


class Kept:
    """Objects in a dict; counts what is read."""

    def __init__(self):
        self.objects = {}
        self.read = 0

    def whole(self, name, decode):
        self.read += len(self.objects[name])
        return decode(self.objects[name])

    def part(self, name, start, length, decode):
        self.read += length
        return decode(self.objects[name][start : start + length])

    def parts(self, wanted, decode):
        return [self.part(*one, decode) for one in wanted]

    def tree(self, base="", delta=""):
        return Tree(
            base=trees.read_base(self, base), delta=trees.read_delta(self, delta), base_name=base, delta_name=delta
        )


class Line:
    """Versions one after the other, each with the dict that it should equal."""

    def __init__(self, kept, names=("", ""), model=None, totals=Totals()):
        self.kept, self.names, self.model, self.totals = kept, names, model or {}, totals

    @property
    def tree(self):
        return self.kept.tree(*self.names)

    def changed(self, news):
        """The version with these changes (None takes a path away)."""
        model = {**self.model, **news}
        model = {path: row for path, row in model.items() if row is not None}
        came = columns.of_rows((path, row) for path, row in sorted(news.items()) if row is not None)
        changes = Changes(came, sorted(path for path, row in news.items() if row is None))
        applied = trees.apply(self.tree, self.totals, changes)
        self.kept.objects.update(applied.objects)
        old = self.model
        assert applied.added == len(model.keys() - old.keys())
        assert applied.removed == len(old.keys() - model.keys())
        assert applied.changed == sum(old[path] != row for path, row in model.items() if path in old)
        assert (applied.files, applied.size) == (len(model), sum(row.size for row in model.values()))
        totals = Totals(applied.files, applied.size, applied.total)
        return Line(self.kept, (applied.base, applied.delta), model, totals)

    def check(self):
        tree, model = self.tree, self.model
        whole = tree.all()
        assert dict(zip(whole.paths.split(), whole.rows())) == model
        assert whole.paths.split() == sorted(model)
        assert self.totals.total == trees.sum_of(whole)
        for path in [*list(model)[:5], b"no", b"f0/no", b"zz/zz"]:
            assert tree.find(path) == model.get(path)


def row(number, size=None, mode=0):
    return Row(number.to_bytes(32, "big"), number % 1000 if size is None else size, mode)


def listed_of(model, path):
    folders, direct = {}, 0
    for name, one in model.items():
        if name.startswith(path):
            first, slash, _ = name[len(path) :].partition(b"/")
            if slash:
                counts = folders.setdefault(first, [0, 0])
                counts[0] += 1
                counts[1] += one.size
            else:
                direct += 1
    return sorted((name, *counts) for name, counts in folders.items()), direct


def check_folders(line):
    folders = {b""} | {path[: place + 1] for path in line.model for place, sign in enumerate(path) if sign == 47}
    for path in sorted(folders)[:20]:
        expected, direct = listed_of(line.model, path)
        found = trees.listed(line.tree, path)
        assert (found.folders, found.direct) == (expected, direct)
        names = {name[len(path) :].partition(b"/")[0] for name in line.model if name.startswith(path)}
        assert trees.names_in(line.tree, path) == names
        assert found.files == direct + sum(count for _, count, _ in expected)
        files = [(name, line.model[name]) for name in sorted(line.model)
                 if name.startswith(path) and b"/" not in name[len(path) :]]  # fmt: skip
        for skip, limit in ((0, 10_000), (1, 3), (len(files) // 2, 2), (len(files), 5)):
            assert trees.direct_files(line.tree, path, skip=skip, limit=limit) == files[skip : skip + limit]
    assert trees.listed(line.tree, b"nowhere/") is None


def check_pages(line, rng):
    paths = sorted(line.model)
    for prefix in (b"", b"f1", b"f1/", b"nowhere"):
        for limit in (1_000_000, max(1, len(paths) // 3)):
            found, low = [], None
            while True:
                page = trees.page(line.tree, low=low, prefix=prefix, limit=limit)
                found += zip(page.entries.paths.split(), page.entries.rows())
                assert len(page.entries) <= limit
                if not page.next:
                    break
                low = page.next
            assert found == [(path, line.model[path]) for path in paths if path.startswith(prefix)]
    parts = 3
    of_parts = [
        trees.page(line.tree, low=None, prefix=b"", limit=1_000_000, part=part, parts=parts) for part in range(parts)
    ]
    for part, page in enumerate(of_parts):
        assert page.entries.paths.split() == [
            path for path in paths if int.from_bytes(line.model[path].hash[:8]) % parts == part
        ]


def check_difference(one, other):
    expected = sorted(
        (path, one.model.get(path), other.model.get(path))
        for path in {*one.model, *other.model}
        if one.model.get(path) != other.model.get(path)
    )
    assert trees.difference(one.tree, other.tree) == expected


@pytest.fixture
def small(monkeypatch):
    """Blocks and deltas so small that a few hundred entries meet every case."""
    for name, value in (("LEAST", 2), ("MOST", 16), ("ONE_IN", 8), ("SMALL", 6), ("SEGMENTS", 4), ("SEGMENT", 2_000)):
        monkeypatch.setattr(trees, name, value)


names = st.builds(lambda *parts: "/".join(parts).encode(), st.sampled_from(["f0", "f1", "f1-x", "g"]),
                  st.sampled_from(["a", "b", "é", "a.b", "sub/q", "sub/r/s"]), st.integers(0, 12).map(str))  # fmt: skip
rows = st.builds(row, st.integers(0, 2**40), st.integers(0, 50), st.sampled_from([0, 1, 2])) | st.builds(
    lambda number: Row(number.to_bytes(32, "big"), 7, columns.EXTERNAL, f"s3://b/{number}", {"label": number}),
    st.integers(1, 9),
)
edits = st.dictionaries(names, rows | st.none(), max_size=25)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(st.integers(0, 9), edits), min_size=1, max_size=9), st.integers(0, 2**32))
def test_trees_equal_a_plain_dict(small, history, seed):
    rng = random.Random(seed)
    kept = Kept()
    lines = [Line(kept)]
    for parent, news in history:
        if rng.random() < 0.3:  # much at a time, so that a new base is written
            news = {**news, **{f"m/{rng.randrange(60)}".encode(): row(rng.randrange(2**40)) for _ in range(40)}}
        line = lines[parent % len(lines)].changed(news)
        lines.append(line)
        line.check()
    for line in lines[-2:]:
        check_folders(line)
        check_pages(line, rng)
    for _ in range(4):
        check_difference(rng.choice(lines), rng.choice(lines))
    same = {}
    for line in lines:
        assert same.setdefault(trees.named(line.totals), line.model) == line.model


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(edits, edits, edits, st.sampled_from(["ours", "theirs"]))
def test_a_merge_is_what_both_changed(small, first, left, right, prefer):
    kept = Kept()
    ancestor = Line(kept).changed(first)
    ours, theirs = ancestor.changed(left), ancestor.changed(right)
    merged = trees.merged(
        trees.difference(ancestor.tree, ours.tree), trees.difference(ancestor.tree, theirs.tree), prefer=prefer
    )
    expected, conflicts = dict(ours.model), set()
    for path in {*ancestor.model, *ours.model, *theirs.model}:
        base, one, other = (line.model.get(path) for line in (ancestor, ours, theirs))
        if other in (base, one):
            continue
        if one != base:
            conflicts.add(path)
            if prefer == "ours":
                continue
        expected[path] = other
    assert set(merged.conflicts) == conflicts
    result = ours.changed(dict(merged.changes))
    assert result.model == {path: row for path, row in expected.items() if row is not None}


def test_a_small_change_of_a_large_tree_costs_kilobytes_and_a_new_base_shares_its_blocks():
    kept = Kept()
    first = Line(kept).changed(
        {f"folder{number % 40:02}/{number:06}.jpg".encode(): row(number + 1) for number in range(60_000)}
    )
    first.check()
    before = len(kept.objects)
    child = first.changed({f"folder{number:02}/new.jpg".encode(): row(number + 9) for number in range(40)})
    assert child.names[0] == first.names[0] and len(kept.objects) == before + 1
    assert len(kept.objects[child.names[1]]) < 10_000
    check_difference(first, child)
    # so much in one folder that a new base is written: the blocks of the others are those of the old one
    size = sum(map(len, kept.objects.values()))
    grown = first.changed({f"folder07/{number:06}x.jpg".encode(): row(number + 5) for number in range(3_000)})
    assert grown.names[0] != first.names[0] and not grown.names[1]
    assert sum(map(len, kept.objects.values())) - size < 300_000
    grown.check()
    check_difference(child, grown)


def test_one_path_is_looked_up_without_reading_the_tree():
    kept = Kept()
    line = Line(kept).changed({f"a/{number:06}".encode(): row(number + 1) for number in range(50_000)})
    tree = line.tree
    kept.read = 0
    assert tree.find(b"a/025000") == row(25_001)
    assert kept.read < sum(map(len, kept.objects.values())) / 4


def test_a_renamed_file_is_told_as_one():
    old = {b"a/x": row(1, 5), b"b/x": row(2, 5), b"gone": row(3, 5), b"stays": row(4, 5), b"empty": row(5, 0)}
    new = {b"c/x": row(1, 5), b"d/x": row(2, 5), b"came": row(6, 5), b"stays": row(7, 5), b"empty2": row(5, 0)}
    kept = Kept()
    one, other = Line(kept).changed(old), Line(kept).changed(new)
    told = {(moved.kind, moved.path, moved.before) for moved in trees.told(trees.difference(one.tree, other.tree))}
    assert told == {
        ("renamed", b"c/x", b"a/x"), ("renamed", b"d/x", b"b/x"), ("removed", b"gone", b""), ("added", b"came", b""),
        ("changed", b"stays", b""), ("removed", b"empty", b""), ("added", b"empty2", b""),
    }  # fmt: skip


def test_what_a_later_part_says_counts():
    one = columns.of_rows([(b"a", row(1)), (b"b", row(2))])
    two = columns.of_rows([(b"b", row(3)), (b"c", row(4))])
    changes = trees.gathered([(one, [b"x"]), (two, [b"a"])])
    assert changes.rows() == {b"a": None, b"x": None, b"b": row(3), b"c": row(4)}
    assert changes.columns.paths.split() == [b"b", b"c"]
    mixed = columns.of_rows([(b"b", row(3)), (b"a", row(4))])
    assert trees.gathered([(mixed, [])]).columns.paths.split() == [b"a", b"b"]


def test_blocks_end_where_their_paths_say():
    paths = [f"{number:07}".encode() for number in range(30_000)]
    cuts = trees.cuts(paths)
    lengths = np.diff([0, *cuts])
    assert cuts[-1] == 30_000 and lengths.max() <= trees.MOST and lengths[:-1].min() >= trees.LEAST
    # one path less moves the end of one block, or of the two beside it
    assert len(set(cuts) - {place + 1 for place in trees.cuts(paths[:15_000] + paths[15_001:])}) < len(cuts)
    assert trees.cuts([]) == []
    assert Columns().rows() == []
