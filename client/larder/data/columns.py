"""A tree in memory: path to a record of 41 bytes. No object per file: a million of them must fit and compare fast."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from larder.contract.datasets import Entries, Mode

HASH = 32

RECORD = 41
"""Bytes of a record: the hash of the content, the number of the mode, the size (little-endian, signed)."""

_FILE, _EXECUTABLE, _LINK, _EXTERNAL = (each.number for each in Mode)
FILE, EXECUTABLE, LINK, EXTERNAL = (bytes([number]) for number in (_FILE, _EXECUTABLE, _LINK, _EXTERNAL))
"""Modes as they stand in a record."""


def record(hash: bytes, mode: bytes, size: int) -> bytes:
    """A record of its parts."""
    return hash + mode + size.to_bytes(8, "little", signed=True)


def size_of(record: bytes) -> int:
    """The size in a record."""
    return int.from_bytes(record[33:41], "little", signed=True)


@dataclass
class Tree:
    """The entries of a version by path. `external` and `metadata` only of those entries that have any."""

    records: dict[bytes, bytes] = field(default_factory=dict)
    external: dict[bytes, str] = field(default_factory=dict)
    metadata: dict[bytes, dict[str, Any]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.records)

    @property
    def size(self) -> int:
        """The sizes of all entries together."""
        return sum(size_of(each) for each in self.records.values())

    def copy(self) -> "Tree":
        """Another one with the same entries."""
        return Tree(dict(self.records), dict(self.external), dict(self.metadata))

    def put(self, path: bytes, record: bytes, *, external: str = "", metadata: Mapping[str, Any] | None = None) -> None:
        """Sets an entry."""
        self.records[path] = record
        for kept, value in ((self.external, external), (self.metadata, metadata)):
            if value:
                kept[path] = value  # type: ignore[assignment,index]
            else:
                kept.pop(path, None)

    def drop(self, path: bytes) -> None:
        """Takes an entry away."""
        for kept in (self.records, self.external, self.metadata):
            kept.pop(path, None)  # type: ignore[attr-defined]

    def changes(self, base: "Tree") -> list[bytes]:
        """The paths, in order, whose entries are new or other than in `base`."""
        found = {path for path, _ in self.records.items() - base.records.items()}
        for mine, other in ((self.external, base.external), (self.metadata, base.metadata)):
            if mine or other:
                found.update(path for path in self.records if mine.get(path) != other.get(path))  # type: ignore[attr-defined]
        return sorted(found)

    def lost(self, base: "Tree") -> list[bytes]:
        """The paths, in order, that `base` has and this tree has not."""
        return sorted(base.records.keys() - self.records.keys())

    def part(self, number: int, parts: int) -> "Tree":
        """The entries of a part; equal content is in one part, and stays there from version to version."""
        return self.only(
            path for path, each in self.records.items() if int.from_bytes(each[:8], "big") % parts == number
        )

    def only(self, paths: Iterable[bytes]) -> "Tree":
        """The entries of these paths."""
        records = {path: self.records[path] for path in paths}
        return Tree(
            records,
            {path: each for path, each in self.external.items() if path in records},
            {path: each for path, each in self.metadata.items() if path in records},
        )


def paths_column(paths: Iterable[bytes]) -> bytes:
    """Paths as a column."""
    return b"".join(path + b"\0" for path in paths)


def paths_of(column: bytes) -> list[bytes]:
    """The paths of a column."""
    return column.split(b"\0")[:-1]


def hashes_of(column: bytes) -> list[bytes]:
    """The hashes of a column."""
    return [column[at : at + HASH] for at in range(0, len(column), HASH)]


def entries(tree: Tree, paths: Sequence[bytes]) -> Entries:
    """Entries of these paths, in this order, as columns."""
    records = [tree.records[path] for path in paths]
    external, metadata = {}, {}
    if tree.external or tree.metadata:
        external = {at: tree.external[path] for at, path in enumerate(paths) if path in tree.external}
        metadata = {at: tree.metadata[path] for at, path in enumerate(paths) if path in tree.metadata}
    return Entries(
        paths=paths_column(paths),
        hashes=b"".join(each[:HASH] for each in records),
        modes=b"".join(each[HASH : HASH + 1] for each in records),
        sizes=b"".join(each[HASH + 1 :] for each in records),
        external=external,
        metadata=metadata,
    )


def put_entries(tree: Tree, page: Entries) -> None:
    """Sets the entries of columns in a tree."""
    paths = paths_of(page.paths)
    for path, each in zip(paths, _records(page, len(paths)), strict=True):
        tree.records[path] = each
    if tree.external or tree.metadata or page.external or page.metadata:
        for at, path in enumerate(paths):
            tree.put(path, tree.records[path], external=page.external.get(at, ""), metadata=page.metadata.get(at))


def _records(page: Entries, count: int) -> Iterator[bytes]:
    hashes, modes, sizes = page.hashes, page.modes, page.sizes
    if not len(hashes) == HASH * count or not len(modes) == count or not len(sizes) == 8 * count:
        raise ValueError("the columns of entries are not equally long")
    return (
        hashes[at * HASH : at * HASH + HASH] + modes[at : at + 1] + sizes[at * 8 : at * 8 + 8] for at in range(count)
    )
