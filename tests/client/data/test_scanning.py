"""A folder is read once, honestly, and what a version cannot hold is refused by name."""

import os
import random
import socket
import time

import pytest
from blake3 import blake3

from larder.contract.errors import Conflict, Invalid
from larder.data import scanning
from larder.data.columns import EXECUTABLE, FILE, LINK, record
from larder.data.scanning import Stats, read, scan

OLD = time.time() - 3600


def never(*_):
    raise AssertionError("nothing was to be handed on")


def silent(count):
    pass


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "photos"
    (place / "deep" / "er").mkdir(parents=True)
    for name, text in (("a.txt", "one"), ("deep/b.txt", "two"), ("deep/er/c.txt", "three")):
        (place / name).write_text(text)
        os.utime(place / name, (OLD, OLD))
    return place


def root(folder):
    return os.fsencode(folder)


def learn(folder, place, *, later=3_000_000_000):
    """What a commit does: scan, read, remember."""
    stats = Stats(place)
    found = scan(root(folder), stats)
    for path, _ in found.fresh:
        took = read(root(folder) + b"/" + path, path, never, silent)
        stats.known[path] = took.signature + took.record
    stats.save(since=found.began + later)  # as if the files had been made long before: their change time is now
    return found


def test_everything_is_found(folder):
    found = scan(root(folder), Stats())
    assert sorted(found.fresh) == [(b"a.txt", 3), (b"deep/b.txt", 3), (b"deep/er/c.txt", 5)]
    assert found.unread == 11 and not found.records


def test_what_has_not_changed_is_not_read_again(folder, tmp_path):
    learn(folder, tmp_path / "stats")
    (folder / "a.txt").write_text("new")
    found = scan(root(folder), Stats(tmp_path / "stats"))
    assert found.fresh == [(b"a.txt", 3)]
    assert found.records[b"deep/b.txt"] == record(blake3(b"two").digest(), FILE, 3)


def test_what_was_modified_just_now_is_not_trusted(folder, tmp_path):
    learn(folder, tmp_path / "stats", later=0)
    assert len(scan(root(folder), Stats(tmp_path / "stats")).fresh) == 3


def test_a_change_that_keeps_size_and_time_is_seen(folder, tmp_path):
    learn(folder, tmp_path / "stats")
    (folder / "a.txt").write_text("eno")
    os.utime(folder / "a.txt", (OLD, OLD))
    assert scan(root(folder), Stats(tmp_path / "stats")).fresh == [(b"a.txt", 3)]


def test_a_damaged_cache_of_signatures_is_as_good_as_none(folder, tmp_path):
    (tmp_path / "stats").write_bytes(b"no such thing")
    assert len(scan(root(folder), Stats(tmp_path / "stats")).fresh) == 3


def test_links_within_the_folder(folder):
    (folder / "deep" / "link").symlink_to("../a.txt")
    (folder / "absolute").symlink_to(folder / "deep")
    found = scan(root(folder), Stats())
    assert found.links == {b"deep/link": b"../a.txt", b"absolute": b"deep"}
    assert found.records[b"deep/link"] == record(blake3(b"../a.txt").digest(), LINK, 8)


@pytest.mark.parametrize("target", ["/etc/passwd", "../outside", "deep/../../outside"])
def test_links_out_of_the_folder_are_refused(folder, target):
    (folder / "bad").symlink_to(target)
    with pytest.raises(Invalid, match=r"The link 'bad' .* leads"):
        scan(root(folder), Stats())


def test_pipes_and_sockets_are_refused(folder, monkeypatch):
    os.mkfifo(folder / "pipe")
    monkeypatch.chdir(folder)
    with socket.socket(socket.AF_UNIX) as opened:
        opened.bind("socket")
        with pytest.raises(Invalid, match=r"no file: 'pipe' \(a pipe\), 'socket' \(a socket\)"):
            scan(root(folder), Stats())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes devices")
def test_devices_are_refused(folder):
    try:
        os.mknod(folder / "null", 0o600 | 0o020000, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("no devices here")
    with pytest.raises(Invalid, match="a device"):
        scan(root(folder), Stats())


def test_names_not_in_utf_8_are_refused(folder):
    with open(root(folder) + b"/b\xe4d.txt", "wb"):
        pass
    with pytest.raises(Invalid, match=r"not in UTF-8: 'b\\\\xe4d.txt'"):
        scan(root(folder), Stats())


def test_the_young_is_set_aside(folder):
    (folder / "fresh.txt").write_text("being written")
    found = scan(root(folder), Stats(), settle=10)
    assert b"fresh.txt" in found.young
    assert b"fresh.txt" not in dict(found.fresh)


def test_executables(folder):
    (folder / "run.sh").write_text("#!/bin/sh")
    (folder / "run.sh").chmod(0o755)
    assert read(root(folder / "run.sh"), b"run.sh", never, silent).record[32:33] == EXECUTABLE


def test_long_content_is_handed_on_in_chunks(tmp_path):
    data = random.Random(1).randbytes(9 << 20)
    (tmp_path / "long").write_bytes(data)
    chunks = []
    took = read(root(tmp_path / "long"), b"long", lambda hash, chunk: chunks.append((hash, chunk)), silent)
    assert b"".join(chunk for _, chunk in chunks) == data
    assert took.data is None and took.chunks == [hash for hash, _ in chunks]
    assert took.record == record(blake3(data).digest(), FILE, len(data))


def test_a_sparse_file_is_read_as_what_it_is(tmp_path):
    with open(tmp_path / "sparse", "wb") as file:
        file.truncate(12 << 20)
    took = read(root(tmp_path / "sparse"), b"sparse", lambda hash, chunk: None, silent)
    assert took.record[:32] == blake3(bytes(12 << 20)).digest()
    assert len(set(took.chunks)) == 1


def test_a_file_that_keeps_changing_is_refused_by_name(tmp_path):
    """Whoever reads it hears of each piece; at that moment somebody writes."""
    place = tmp_path / "busy.bin"
    place.write_bytes(bytes(3 << 20))
    tries = []

    def write(count):
        if count > 0:
            tries.append(count)
            with place.open("ab") as file:
                file.write(b"more")

    with pytest.raises(Conflict, match=r"'busy.bin' changed while it was read, 3 times"):
        read(root(place), b"busy.bin", lambda hash, chunk: None, write)
    assert len(tries) >= 3


def test_a_file_that_changes_once_is_read_again(tmp_path):
    place = tmp_path / "busy.bin"
    place.write_bytes(bytes(3 << 20))
    wrote = []

    def write(count):
        if not wrote:
            wrote.append(count)
            place.write_bytes(b"x" * (2 << 20))

    took = read(root(place), b"busy.bin", lambda hash, chunk: None, write)
    assert took.record[:32] == blake3(b"x" * (2 << 20)).digest()


def test_a_short_file_that_changes_is_noticed(tmp_path, monkeypatch):
    place = tmp_path / "short.txt"
    place.write_text("before")
    wrote = []

    def hashed(data):
        if not wrote:
            wrote.append(data)
            place.write_text("behind")
        return blake3(data)

    monkeypatch.setattr(scanning, "blake3", hashed)
    assert read(root(place), b"short.txt", never, silent).data == b"behind"


def test_what_cannot_be_read_is_named(folder, monkeypatch):
    with pytest.raises(Invalid, match=r"'gone.txt' cannot be read: No such file"):
        read(root(folder / "gone.txt"), b"gone.txt", never, silent)


def test_hashing_a_file(folder):
    assert scanning.hash_file(folder / "a.txt") == (blake3(b"one").digest(), 3)
