"""A run pinned to a version: the version is here, or is known to be what lies in a folder, before anything starts."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from larder.contract.datasets import Version
from larder.contract.errors import Conflict, Invalid, NotFound
from larder.data import local, uses, verbs
from larder.data.cache import Cache
from larder.transport import Transport


@dataclass(frozen=True)
class Pinned:
    """A version, where it lies on this machine, and the bytes that were here and that came over the network."""

    version: Version
    path: Path
    cached: int = 0
    fetched: int = 0

    @property
    def variable(self) -> str:
        """The name of the environment variable that says where it lies."""
        return "LARDER_DATA_" + re.sub(r"[^A-Z0-9]+", "_", self.version.name.upper()).strip("_")


def pin(
    wishes: Iterable[str], *, project: str = "", transport: Transport | None = None, cache: Cache | None = None
) -> list[Pinned]:
    """Each wish is an address, which is fetched into the cache, or `ADDRESS=FOLDER`: the folder must hold that version.

    A folder, or a tree in the cache, that was altered is refused with Conflict, which names the files.
    """
    transport, cache = verbs._connected(transport), cache or Cache()
    found: list[Pinned] = []
    for wish in wishes:
        address, equals, folder = wish.partition("=")
        if equals and not folder:
            raise Invalid(f"{wish!r} names no folder.", hint="Write ADDRESS=FOLDER, or only ADDRESS.")
        version = verbs.resolve(address, project=project, transport=transport)
        one = _folder(version, Path(folder), transport, cache) if folder else _tree(version, transport, cache)
        if any(each.variable == one.variable for each in found):
            raise Invalid(f"Two of the pinned versions would be told as {one.variable}.", hint="Pin one of them.")
        found.append(one)
    return found


def record(pinned: Iterable[Pinned], run: str, *, transport: Transport | None = None) -> None:
    """Say of a run what it is pinned to."""
    transport = verbs._connected(transport)
    for each in pinned:
        served = {"cached": each.cached, "fetched": each.fetched}
        uses.record(transport, each.version.id, "input", served=served, of=run)


def _tree(version: Version, transport: Transport, cache: Cache) -> Pinned:
    path, laid = verbs._from_cache(transport, cache, version, 0, 0, None)
    if not laid.fetched:
        try:
            verbs.check(path, version.id, transport=transport, cache=cache)
        except Conflict:
            # What was altered has been thrown out of the cache by the check; it is brought anew, and must be right.
            path, laid = verbs._from_cache(transport, cache, version, 0, 0, None)
    return Pinned(version, path, laid.cached, laid.fetched)


def _folder(version: Version, folder: Path, transport: Transport, cache: Cache) -> Pinned:
    if not folder.is_dir():
        raise NotFound(f"There is no folder {str(folder)!r}.")
    found = verbs.verify(version.id, folder, transport=transport, cache=cache)
    if isinstance(found, local.Differences):
        local.refuse(folder, version.address, found)
    return Pinned(version, folder.absolute(), cached=version.bytes)
