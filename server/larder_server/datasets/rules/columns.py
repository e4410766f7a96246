"""Entries as columns: stretches of bytes that are cut and joined without a look at each entry."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any, NamedTuple, overload

import numpy as np
import numpy.typing as npt

from larder.contract.datasets import Entries, Mode
from larder.contract.errors import Invalid

HASH = 32
EXTERNAL = Mode.EXTERNAL.number

Ints = npt.NDArray[np.int64]


class Row(NamedTuple):
    """What a path holds; `mode` is the number of a `Mode`."""

    hash: bytes
    size: int
    mode: int
    external: str = ""
    metadata: dict[str, Any] | None = None


class Paths(Sequence[bytes]):
    """Paths in their order, each ended by a NUL."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    @cached_property
    def ends(self) -> Ints:
        """Where the NUL of each path stands, and before the first -1."""
        return np.concatenate(([-1], np.flatnonzero(np.frombuffer(self.data, np.uint8) == 0))).astype(np.int64)

    def __len__(self) -> int:
        return len(self.ends) - 1

    @overload
    def __getitem__(self, place: int) -> bytes: ...
    @overload
    def __getitem__(self, place: slice) -> "Paths": ...
    def __getitem__(self, place: int | slice) -> "bytes | Paths":
        if isinstance(place, slice):
            start, stop, _ = place.indices(len(self))
            return Paths(self.data[self.ends[start] + 1 : self.ends[stop] + 1] if stop > start else b"")
        return self.data[self.ends[place] + 1 : self.ends[place + 1]]

    def split(self) -> list[bytes]:
        """All of them."""
        return self.data.split(b"\0")[:-1]

    def under(self, prefix: bytes) -> tuple[int, int]:
        """The places of those that begin with a prefix: from, to (not included)."""
        if not prefix:
            return 0, len(self)
        return bisect_left(self, prefix), bisect_left(self, after(prefix))


def after(prefix: bytes) -> bytes:
    """What comes after all that begins with the prefix, and before all else. 0xff is in no UTF-8."""
    return prefix + b"\xff"


class Columns:
    """Entries in the order of the bytes of their paths."""

    __slots__ = ("external", "hashes", "metadata", "modes", "paths", "sizes")

    def __init__(
        self,
        *,
        paths: bytes = b"",
        hashes: bytes = b"",
        sizes: bytes = b"",
        modes: bytes = b"",
        external: dict[int, str] | None = None,
        metadata: dict[int, dict[str, Any]] | None = None,
    ) -> None:
        self.paths, self.hashes, self.sizes, self.modes = Paths(paths), hashes, sizes, modes
        self.external, self.metadata = external or {}, metadata or {}

    def __len__(self) -> int:
        return len(self.modes)

    @property
    def bytes_of(self) -> Ints:
        """The sizes."""
        return np.frombuffer(self.sizes, "<i8")

    def row(self, place: int) -> Row:
        """What one entry holds."""
        return Row(
            self.hashes[place * HASH : place * HASH + HASH],
            int.from_bytes(self.sizes[place * 8 : place * 8 + 8], "little", signed=True),
            self.modes[place],
            self.external.get(place, ""),
            self.metadata.get(place),
        )

    def rows(self) -> list[Row]:
        """What all entries hold."""
        hashes, sizes, modes = self.hashes, self.bytes_of.tolist(), self.modes
        if not self.external and not self.metadata:
            return [
                Row(hashes[place * HASH : place * HASH + HASH], size, modes[place]) for place, size in enumerate(sizes)
            ]
        return [self.row(place) for place in range(len(self))]

    def find(self, path: bytes) -> Row | None:
        """What a path holds, None where it is not there."""
        place = bisect_left(self.paths, path)
        return self.row(place) if place < len(self) and self.paths[place] == path else None

    def cut(self, start: int, stop: int) -> "Columns":
        """The entries from, to (not included)."""
        if start == 0 and stop == len(self):
            return self
        return Columns(
            paths=self.paths[start:stop].data,
            hashes=self.hashes[start * HASH : stop * HASH],
            sizes=self.sizes[start * 8 : stop * 8],
            modes=self.modes[start:stop],
            external=_moved(self.external, start, stop),
            metadata=_moved(self.metadata, start, stop),
        )

    def chosen(self, places: Ints) -> "Columns":
        """The entries at these places, which rise."""
        if len(places) == len(self):
            return self
        kept = {int(old): new for new, old in enumerate(places)} if self.external or self.metadata else {}
        return Columns(
            paths=b"".join([self.paths[place] + b"\0" for place in places.tolist()]),
            hashes=np.frombuffer(self.hashes, f"V{HASH}")[places].tobytes(),
            sizes=self.bytes_of[places].tobytes(),
            modes=np.frombuffer(self.modes, np.uint8)[places].tobytes(),
            external={kept[place]: value for place, value in self.external.items() if place in kept},
            metadata={kept[place]: value for place, value in self.metadata.items() if place in kept},
        )

    def of_part(self, part: int, parts: int) -> "Columns":
        """The entries that belong to one of so many parts, by the hash of their content."""
        first = np.frombuffer(self.hashes, ">u8")[:: HASH // 8]
        return self.chosen(np.flatnonzero(first % np.uint64(parts) == np.uint64(part)))

    def entries(self) -> Entries:
        """As they travel."""
        return Entries(
            paths=self.paths.data, hashes=self.hashes, sizes=self.sizes, modes=self.modes, external=self.external,
            metadata=self.metadata,
        )  # fmt: skip


def _moved(values: dict[int, Any], start: int, stop: int) -> dict[int, Any]:
    return {place - start: value for place, value in values.items() if start <= place < stop} if values else {}


class Builder:
    """Puts columns together from stretches and single rows, in order."""

    def __init__(self) -> None:
        self._paths: list[bytes] = []
        self._hashes: list[bytes] = []
        self._sizes: list[bytes] = []
        self._modes: list[bytes] = []
        self._external: dict[int, str] = {}
        self._metadata: dict[int, dict[str, Any]] = {}
        self.count = 0

    def add(self, columns: Columns, start: int = 0, stop: int | None = None) -> None:
        """A stretch of entries."""
        stop = len(columns) if stop is None else stop
        if stop <= start:
            return
        self._paths.append(
            columns.paths.data
            if start == 0 and stop == len(columns)
            else columns.paths.data[columns.paths.ends[start] + 1 : columns.paths.ends[stop] + 1]
        )
        self._hashes.append(columns.hashes[start * HASH : stop * HASH])
        self._sizes.append(columns.sizes[start * 8 : stop * 8])
        self._modes.append(columns.modes[start:stop])
        for values, into in self._pairs(columns):
            if values:
                moved = _moved(values, start, stop)
                into.update({place + self.count: value for place, value in moved.items()})
        self.count += stop - start

    def _pairs(self, columns: Columns) -> tuple[tuple[dict[int, Any], dict[int, Any]], ...]:
        return (columns.external, self._external), (columns.metadata, self._metadata)

    def put(self, path: bytes, row: Row) -> None:
        """One entry."""
        self._paths.append(path + b"\0")
        self._hashes.append(row.hash)
        self._sizes.append(row.size.to_bytes(8, "little", signed=True))
        self._modes.append(bytes((row.mode,)))
        if row.external:
            self._external[self.count] = row.external
        if row.metadata:
            self._metadata[self.count] = row.metadata
        self.count += 1

    def columns(self) -> Columns:
        """All of it."""
        return Columns(
            paths=b"".join(self._paths), hashes=b"".join(self._hashes), sizes=b"".join(self._sizes),
            modes=b"".join(self._modes), external=self._external, metadata=self._metadata,
        )  # fmt: skip


def of_rows(items: Iterable[tuple[bytes, Row]]) -> Columns:
    """Columns of single rows, in order."""
    builder = Builder()
    for path, row in items:
        builder.put(path, row)
    return builder.columns()


def overlay(columns: Columns, changes: Sequence[tuple[bytes, Row | None]], into: Builder) -> None:
    """The entries with changes (sorted; None for a path that is gone) laid over them."""
    start = 0
    paths = columns.paths
    for path, row in changes:
        place = bisect_left(paths, path, start)
        into.add(columns, start, place)
        start = place + 1 if place < len(columns) and paths[place] == path else place
        if row is not None:
            into.put(path, row)
    into.add(columns, start)


def between(keys: Sequence[bytes], low: bytes | None, high: bytes | None) -> tuple[int, int]:
    """The places of sorted keys after `low`, up to `high`; None for no bound."""
    start = 0 if low is None else bisect_right(keys, low)
    return start, len(keys) if high is None else bisect_right(keys, high)


def below(keys: Sequence[bytes], prefix: bytes) -> tuple[int, int]:
    """The places of sorted keys that begin with a prefix."""
    return (bisect_left(keys, prefix), bisect_left(keys, after(prefix))) if prefix else (0, len(keys))


def check(entries: Entries, removed: bytes) -> Columns:
    """The columns, in order; Invalid, with the field, where they do not fit together. Paths are for others to judge."""
    count = entries.paths.count(b"\0")
    if entries.paths and not entries.paths.endswith(b"\0"):
        raise Invalid("the last path is not ended by a NUL", field="entries.paths")
    if removed and not removed.endswith(b"\0"):
        raise Invalid("the last removed path is not ended by a NUL", field="removed")
    for name, data, width in (
        ("hashes", entries.hashes, HASH),
        ("sizes", entries.sizes, 8),
        ("modes", entries.modes, 1),
    ):
        if len(data) != count * width:
            raise Invalid(
                f"there are {count} paths, so {name} has {count * width} bytes, not {len(data)}",
                field=f"entries.{name}",
            )
    columns = Columns(
        paths=entries.paths, hashes=entries.hashes, sizes=entries.sizes, modes=entries.modes,
        external=entries.external, metadata={place: value for place, value in entries.metadata.items() if value},
    )  # fmt: skip
    if count:
        if int(columns.bytes_of.min()) < 0:
            raise Invalid("a size is negative", field="entries.sizes")
        if max(entries.modes) >= len(Mode):
            raise Invalid(f"there is no mode of the number {max(entries.modes)}", field="entries.modes")
    for field, places in (("external", entries.external), ("metadata", entries.metadata)):
        if places and not all(0 <= place < count for place in places):
            raise Invalid(f"entries.{field} names an entry that is not there", field=f"entries.{field}")
    for place, address in entries.external.items():
        if not address or len(address) > 4_096 or "\0" in address or entries.modes[place] != EXTERNAL:
            raise Invalid("an external address has 1 to 4096 characters and belongs to an entry of the mode external",
                          field="entries.external")  # fmt: skip
    if entries.modes.count(EXTERNAL) != len(entries.external):
        raise Invalid("an entry of the mode external has an address", field="entries.external")
    return columns
