"""Reads the objects of trees, and keeps what it has decoded for a while."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

from larder_server.datasets.rules import trees
from larder_server.datasets.rules.trees import Tree
from larder_server.datasets.store.versions import Kept
from larder_server.kernel.objects import ObjectStore

LARGEST = 256 << 20
"""Bytes, roughly, of decoded blocks, roots and deltas that a server keeps."""

_GROWS = 6
"""How many bytes of memory a byte of an object takes when it is decoded, roughly."""


class Decoded:
    """Decoded objects by tenant, name and place. An object never changes, so what is kept is right for good."""

    def __init__(self, largest: int = LARGEST) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, str, int], tuple[int, Any]] = OrderedDict()
        self._bytes, self._largest = 0, largest

    def get(self, key: tuple[str, str, int]) -> Any:
        """What is kept, else None."""
        with self._lock:
            found = self._kept.get(key)
            if found is None:
                return None
            self._kept.move_to_end(key)
            return found[1]

    def put(self, key: tuple[str, str, int], value: Any, bytes: int) -> None:
        """Keep a decoded object that has so many bytes."""
        weight = bytes * _GROWS
        with self._lock:
            if key in self._kept or weight > self._largest // 4:
                return
            self._kept[key] = (weight, value)
            self._bytes += weight
            while self._bytes > self._largest:
                self._bytes -= self._kept.popitem(last=False)[1][0]


_decoded = Decoded()


class Reader:
    """Reads the objects of one tenant's trees."""

    def __init__(self, objects: ObjectStore, tenant: str, decoded: Decoded = _decoded) -> None:
        self._objects, self._tenant, self._decoded = objects, tenant, decoded

    def whole(self, name: str, decode: Callable[[bytes], Any]) -> Any:
        """As `trees.Objects` says."""
        found = self._decoded.get((self._tenant, name, -1))
        if found is None:
            data = self._objects.read(self._tenant, name)
            found = decode(data)
            self._decoded.put((self._tenant, name, -1), found, len(data))
        return found

    def part(self, name: str, start: int, length: int, decode: Callable[[bytes], Any]) -> Any:
        """As `trees.Objects` says."""
        return self.parts([(name, start, length)], decode)[0]

    def parts(self, wanted: Sequence[tuple[str, int, int]], decode: Callable[[bytes], Any]) -> list[Any]:
        """As `trees.Objects` says."""
        found = [self._decoded.get((self._tenant, name, start)) for name, start, _ in wanted]
        lacking: dict[str, list[int]] = {}
        for place, one in enumerate(found):
            if one is None:
                lacking.setdefault(wanted[place][0], []).append(place)
        for name, places in lacking.items():
            ranges = [(wanted[place][1], wanted[place][1] + wanted[place][2]) for place in places]
            for place, data in zip(places, self._objects.ranges(self._tenant, name, ranges), strict=True):
                found[place] = decode(data)
                self._decoded.put((self._tenant, name, wanted[place][1]), found[place], len(data))
        return found

    def tree(self, kept: Kept) -> Tree:
        """The tree of a version; of an open one that with which it began."""
        return self.named(kept.base, kept.delta)

    def named(self, base: str, delta: str) -> Tree:
        """The tree of a base and a delta."""
        return Tree(
            base=trees.read_base(self, base), delta=trees.read_delta(self, delta), base_name=base, delta_name=delta
        )
