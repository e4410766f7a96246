"""The cache is bounded, and whole or not there."""

import os
import shutil
import time

import pytest
from blake3 import blake3

from larder.contract.errors import Invalid
from larder.data import cache as caches
from larder.data.cache import Cache, parse_size, remove
from larder.data.columns import FILE, Tree, record


@pytest.fixture
def cache(tmp_path):
    made = Cache(tmp_path / "cache", limit=1 << 40)
    made.prepare()
    return made


def content(cache, data, *, executable=False):
    hash = blake3(data).digest()
    draft = cache.root / "making" / hash.hex()
    draft.write_bytes(data)
    cache.adopt(draft, hash, executable=executable)
    draft.unlink()
    return hash


def laid(cache, key, *hashes, used=None):
    draft = cache.draft(key)
    for number, hash in enumerate(hashes):
        os.link(cache.file(hash), draft / str(number))
    cache.publish(draft, key, size=5)
    if used is not None:
        os.utime(cache.root / "trees" / f".{key}.used", (used, used))


def age(cache, monkeypatch, seconds=7200):
    now = time.time() + seconds
    monkeypatch.setattr(caches.time, "time", lambda: now)


def test_contents_have_their_hash_as_name(cache):
    hash = content(cache, b"hello")
    assert cache.file(hash).read_bytes() == b"hello"
    assert not cache.file(hash, executable=True).exists()
    content(cache, b"hello")
    cache.drop(hash)
    assert not cache.file(hash).exists()


def test_a_tree_is_there_when_it_is_complete(cache):
    hash = content(cache, b"hello")
    draft = cache.draft("one")
    os.link(cache.file(hash), draft / "a")
    assert cache.laid_out("one") is None
    cache.publish(draft, "one", size=5)
    assert (cache.laid_out("one") / "a").read_bytes() == b"hello"
    assert cache.size("one") == 5


def test_what_a_killed_one_left_is_gone_with_the_next(cache):
    draft = cache.draft("one")
    (draft / "half").write_bytes(b"half")
    again = cache.draft("one")
    assert list(again.iterdir()) == []
    assert [each.name for each in (cache.root / "making").iterdir()] == [again.name]


def test_the_oldest_goes_first(cache, monkeypatch):
    old, new = content(cache, os.urandom(100_000)), content(cache, os.urandom(100_000))
    loose = content(cache, os.urandom(100_000))
    laid(cache, "old", old, used=time.time() - 500_000)
    laid(cache, "new", new, used=time.time() - 100_000)
    age(cache, monkeypatch)
    cache._limit = 150_000
    cache.sweep()
    assert not cache.file(old).exists() and not cache.file(loose).exists()
    assert not (cache.root / "trees" / "old").exists()
    assert cache.file(new).exists() and (cache.root / "trees" / "new" / "0").exists()


def test_what_is_held_stays(cache, monkeypatch):
    hash = content(cache, os.urandom(100_000))
    laid(cache, "mine", hash, used=time.time() - 500_000)
    other = Cache(cache.root, limit=0)
    assert cache.laid_out("mine") is not None
    os.utime(cache.root / "trees" / ".mine.used", (1, 1))
    age(cache, monkeypatch)
    other.sweep()
    assert (cache.root / "trees" / "mine" / "0").exists()


def test_what_was_used_within_the_hour_stays(cache):
    hash = content(cache, os.urandom(100_000))
    laid(cache, "fresh", hash)
    cache._limit = 0
    cache.sweep()
    assert (cache.root / "trees" / "fresh" / "0").exists()


def test_a_name_outside_keeps_a_content(cache, monkeypatch, tmp_path):
    hash = content(cache, os.urandom(100_000))
    os.link(cache.file(hash), tmp_path / "mine")
    age(cache, monkeypatch)
    cache._limit = 0
    cache.sweep()
    assert cache.file(hash).exists()


def test_bytes_that_came_in_are_counted_and_make_room(cache, monkeypatch):
    hash = content(cache, os.urandom(100_000))
    cache.note(0)
    assert cache.file(hash).exists()
    age(cache, monkeypatch)
    cache._limit = 50_000
    cache.note(1)
    assert not cache.file(hash).exists()


def test_entries_are_kept_and_a_damaged_file_of_them_is_none(cache):
    tree = Tree()
    tree.put(b"a/b", record(blake3(b"x").digest(), FILE, 1), metadata={"label": 3})
    cache.keep_tree("id", tree)
    assert cache.tree("id") == tree
    place = cache.root / "versions" / "id.entries"
    place.write_bytes(place.read_bytes()[:-1] + b"\0")
    assert cache.tree("id") is None and cache.tree("other") is None


def test_folders_are_stamped(cache, tmp_path):
    (tmp_path / "a").mkdir()
    cache.stamp(tmp_path / "a", {"version": "x"})
    assert cache.stamped(tmp_path / "a") == {"version": "x"}
    assert cache.stamped(tmp_path / "b") == {}


def test_read_only_trees_can_be_removed(tmp_path):
    (tmp_path / "t" / "deep").mkdir(parents=True)
    (tmp_path / "t" / "deep" / "f").touch()
    for each in (tmp_path / "t" / "deep", tmp_path / "t"):
        each.chmod(0o555)
    remove(tmp_path / "t")
    assert not (tmp_path / "t").exists()


def test_sizes_are_read():
    assert parse_size("200GB") == 200 * 10**9 and parse_size("1.5 k") == 1500 and parse_size("17") == 17
    for text in ("", "GB", "many", "3PB"):
        with pytest.raises(Invalid, match="LARDER_CACHE_SIZE"):
            parse_size(text)


def test_the_limit_comes_from_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("LARDER_CACHE", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("LARDER_CACHE_SIZE", "3MB")
    made = Cache()
    assert made.root == tmp_path / "elsewhere" and made.limit == 3_000_000
    monkeypatch.delenv("LARDER_CACHE_SIZE")
    assert 0 < Cache().limit <= min(50_000_000_000, shutil.disk_usage(tmp_path).total)
