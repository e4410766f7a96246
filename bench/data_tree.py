"""A version of a million files: what lies in a folder, what its child changed, where one path leads, on the server."""

import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
from blake3 import blake3

from bench.harness import Bench, Failed, Server, median
from bench.table import Row
from larder.contract import datasets, objects
from larder.contract.datasets import (
    Commit,
    DiffQuery,
    Entries,
    EntryQuery,
    FolderQuery,
    ItemQuery,
    NewDataset,
    NewPack,
    NewVersion,
    PackIndex,
    Version,
    WrittenEntries,
)
from larder.transport import Transport

CONTENTS = 1_000
PER_FOLDER = 1_000
PART = 50_000
BAR = 300.0


def measure(bench: Bench) -> Iterator[Row]:
    """Bar D of the data versions."""
    count = 100_000 if bench.quick else 1_000_000
    rounds = 3 if bench.quick else 9
    home = bench.new_folder("data-tree")
    with bench.larder(home=home) as server, _transport(server) as transport:
        began = time.perf_counter()
        parent = _parent(transport, count)
        seconds = time.perf_counter() - began
        kept = _weight(server)
        began = time.perf_counter()
        child = _child(transport, parent)
        small = time.perf_counter() - began
        grown = _weight(server) - kept
    what = f"{count:,} files"
    yield Row(what=f"commit of {what}, their content being there", value=seconds, unit="s")
    yield Row(what="commit of a child with 100 changed", value=1000 * small, unit="ms")
    yield Row(what="bytes that the child's tree takes", value=grown / 1000, unit="kB", bar=100.0)
    calls: dict[str, Callable[[Transport], object]] = {
        "list the root": lambda one: one.call(datasets.FOLDER, FolderQuery(), version_id=child.id),
        "list a folder": lambda one: one.call(
            datasets.FOLDER, FolderQuery(path=_folder(count // 2)), version_id=child.id
        ),
        "diff with the child": lambda one: one.call(datasets.DIFF, DiffQuery(), version_id=child.id),
        "look one path up": lambda one: one.call(datasets.ITEM, ItemQuery(path=_path(count // 3)), version_id=child.id),
        "a page of 50,000 entries": lambda one: one.call(
            datasets.ENTRIES, EntryQuery(after=_path(count // 2)), version_id=child.id
        ),
    }
    for name, call in calls.items():
        # each on a server that has just begun: nothing is decoded yet
        with bench.larder(home=home) as server, _transport(server) as transport:
            transport.call(datasets.VERSION, version_id=child.id)
            times = []
            for _ in range(rounds):
                began = time.perf_counter()
                call(transport)
                times.append(1000 * (time.perf_counter() - began))
        yield Row(what=f"{name} of {what}: the first time", value=times[0], unit="ms",
                  bar=None if name.startswith("a page") else BAR)  # fmt: skip
        yield Row(what=f"{name} of {what}: again", value=median(times[1:]), unit="ms")


@contextmanager
def _transport(server: Server) -> Iterator[Transport]:
    transport = Transport(server.url, server.token, timeout=600.0)
    try:
        yield transport
    finally:
        transport.close()


def _folder(number: int) -> str:
    return f"shelves/{number // PER_FOLDER:04}"


def _path(number: int) -> str:
    return f"{_folder(number)}/photo-{number:07}.jpg"


def _parent(transport: Transport, count: int) -> Version:
    dataset = transport.call(datasets.CREATE, NewDataset(name="million"))
    version = transport.call(datasets.OPEN, NewVersion(), dataset_id=dataset.id)
    rng = random.Random(1)
    contents = [rng.randbytes(200) for _ in range(CONTENTS)]
    hashes = [blake3(content).digest() for content in contents]
    body = b"LPK1" + os.urandom(12) + b"".join(contents)
    name = blake3(body).hexdigest()
    transport.call(datasets.OPEN_PACK, NewPack(hash=name, bytes=len(body)), version_id=version.id)
    transport.upload(objects.PUT, body, hash=name)
    index = PackIndex(
        hashes=b"".join(hashes), offsets=(16 + 200 * np.arange(CONTENTS)).astype("<u4").tobytes(),
        lengths=np.full(CONTENTS, 200, "<u4").tobytes(), sizes=np.full(CONTENTS, 200, "<u4").tobytes(),
    )  # fmt: skip
    transport.call(datasets.CLOSE_PACK, index, version_id=version.id, hash=name)
    for part in range(-(-count // PART)):
        numbers = range(part * PART, min(count, (part + 1) * PART))
        _write(transport, version, part, [(_path(number), hashes[number * 7919 % CONTENTS]) for number in numbers])
    return transport.call(datasets.COMMIT, Commit(), version_id=version.id)


def _child(transport: Transport, parent: Version) -> Version:
    version = transport.call(datasets.OPEN, NewVersion(parents=[parent.id]), dataset_id=parent.dataset)
    step = parent.files // 100
    known = transport.call(datasets.ENTRIES, EntryQuery(limit=200), version_id=parent.id).entries.hashes
    changed = [(_path(number * step), known[32 * number + 32 : 32 * number + 64]) for number in range(100)]
    _write(transport, version, 0, changed)
    done = transport.call(datasets.COMMIT, Commit(), version_id=version.id)
    if not 90 <= done.changed <= 100:
        raise Failed(f"the child has {done.changed} changed files")
    return done


def _write(transport: Transport, version: Version, part: int, rows: list[tuple[str, bytes]]) -> None:
    entries = Entries(
        paths=b"".join(path.encode() + b"\0" for path, _ in rows), hashes=b"".join(hash for _, hash in rows),
        sizes=np.full(len(rows), 200, "<i8").tobytes(), modes=bytes(len(rows)),
    )  # fmt: skip
    transport.call(datasets.WRITE, WrittenEntries(part=part, entries=entries), version_id=version.id)


def _weight(server: Server) -> int:
    return sum(file.stat().st_size for file in (server.home / "objects").rglob("*") if file.is_file())
