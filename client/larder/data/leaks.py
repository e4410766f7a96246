"""Leaks: items that lie in more than one part of a split, as they are or nearly so.

Exact copies are found by their content's hash. Images are compared by a difference hash of 64 bits (each bit says whether
a pixel of the picture, made 9 by 8, is darker than its neighbour) and then by the picture made 16 by 16: a copy in another size
or format is found, another picture of the same layout is not. Texts by the share of runs of three words that they have
in common (MinHash to find candidates, the exact share to decide). Rows of tables by their values without the id columns.
"""

import re
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

from larder.contract.errors import Conflict, Invalid
from larder.data import records, verbs
from larder.data.cache import Cache
from larder.data.columns import EXECUTABLE, EXTERNAL, FILE, HASH, Tree
from larder.data.fetching import entries
from larder.data.laying import Laid
from larder.data.progress import Hear
from larder.data.scanning import texts
from larder.data.splitting import Split
from larder.data.tables import format_of
from larder.transport import Transport

IMAGES = (".png", ".jpg", ".jpeg", ".gif", ".webp", ".bmp", ".tif", ".tiff")
TEXTS = (".txt", ".md", ".rst", ".html", ".htm", ".xml", ".log")

MOST = 10_000
"""So many leaks are listed; beyond that they are counted only."""

_BANDS, _ROWS = 32, 4
_WORDS = 3
_ALIKE = 12
"""Mean difference of two pictures made 16 by 16, of 255, up to which they are one."""


class Leak(NamedTuple):
    """One item of one part and one of another that are the same, or nearly so."""

    kind: str
    """`content`, `image`, `text` or `row`."""
    left: str
    right: str
    """Part and path, and for a row its number, counted from 1: `train: a/1.jpg`."""
    distance: float
    """0 for a copy; for images bits of 64 that differ, for texts the share of words' runs that they do not have in common."""


@dataclass
class Leaks:
    """What was found. True when something was."""

    leaks: list[Leak] = field(default_factory=list)
    total: int = 0
    looked_at: dict[str, int] = field(default_factory=dict)
    """Files, images, texts and rows that were compared."""
    unread: list[str] = field(default_factory=list)
    """Items that could not be read as what their names say, and were compared by their content only."""

    def __bool__(self) -> bool:
        return self.total > 0

    def add(self, leak: Leak) -> None:
        """One more."""
        self.total += 1
        if len(self.leaks) < MOST:
            self.leaks.append(leak)

    def refuse(self) -> None:
        """Raise Conflict, which names the first ones, when there are any."""
        if not self:
            return
        first = "; ".join(f"{each.left} is {_WORD[each.kind]} {each.right}" for each in self.leaks[:3])
        more = f"; and {self.total - 3} more" if self.total > 3 else ""
        raise Conflict(
            f"The parts leak into one another: {first}{more}.",
            hint="Split by a group that keeps such items together, or take one of each pair out.",
        )


_WORD = {"content": "a copy of", "image": "nearly the picture", "text": "nearly the text", "row": "the same as"}


def check_leaks(
    parts: "Split | Mapping[str, str] | Sequence[str]",
    *,
    near: bool = True,
    bits: int = 6,
    share: float = 0.8,
    ids: Sequence[str] = (),
    project: str = "",
    progress: Hear = None,
    transport: Transport | None = None,
    cache: Cache | None = None,
) -> Leaks:
    """Items that lie in two of these parts: a `Split`, a mapping of part to address, or a list of addresses.

    `near`: look for near copies, too; without it only whole files are compared, by hash, and nothing is fetched.
    `bits`: of 64, in how many the hashes of one picture may differ. `share`: how much two texts have in common, at least.
    `ids`: columns that tell rows apart without meaning anything; left out when rows are compared.
    Images need Pillow and numpy (`larder[images]`), Parquet needs pyarrow.
    """
    if not 0 <= bits <= 16:
        raise Invalid(f"bits is {bits}; it lies between 0 and 16.", field="bits")
    if not 0 < share <= 1:
        raise Invalid(f"share is {share}; it lies above 0 and at most at 1.", field="share")
    transport, cache = verbs._connected(transport), cache or Cache()
    if isinstance(parts, Split):
        addresses = {part: version.id for part, version in parts.versions.items()}
    elif isinstance(parts, Mapping):
        addresses = dict(parts)
    else:
        addresses = {each: each for each in parts}
    if len(addresses) < 2:
        raise Invalid("A leak is between two parts or more.", hint="Name two versions.")
    work = _Work(transport, cache, progress)
    for part, address in addresses.items():
        version = verbs.resolve(address, project=project, transport=transport)
        work.trees[part] = version, entries(transport, version.id, version.dataset, cache)
    found = Leaks()
    exact = work.exact(found)
    if near:
        work.images(found, bits, exact)
        work.texts(found, share, exact)
        work.rows(found, frozenset(ids))
    found.leaks.sort(key=lambda each: (each.distance, each.left, each.right))
    return found


class _Item(NamedTuple):
    part: str
    path: bytes
    hash: bytes

    @property
    def name(self) -> str:
        return f"{self.part}: {texts([self.path])[0]}"


class _Work:
    def __init__(self, transport: Transport, cache: Cache, progress: Hear) -> None:
        self.transport, self.cache, self.progress = transport, cache, progress
        self.trees: dict[str, tuple[Any, Tree]] = {}

    def items(self, fits: Callable[[str], bool]) -> Iterator[_Item]:
        for part, (_, tree) in self.trees.items():
            for path, each in sorted(tree.records.items()):
                if each[32:33] in (FILE, EXECUTABLE, EXTERNAL) and fits(texts([path])[0].lower()):
                    yield _Item(part, path, each[:HASH])

    def exact(self, found: Leaks) -> set[bytes]:
        """Copies by content; the contents that several parts have."""
        first: dict[bytes, dict[str, _Item]] = defaultdict(dict)
        count = 0
        for item in self.items(lambda path: True):
            count += 1
            first[item.hash].setdefault(item.part, item)
        found.looked_at["files"] = count
        shared = {hash: items for hash, items in first.items() if len(items) > 1}
        for items in shared.values():
            for left, right in combinations(items.values(), 2):
                found.add(Leak("content", left.name, right.name, 0))
        return set(shared)

    def files(self, items: Sequence[_Item]) -> dict[_Item, Path]:
        """Where the items lie on this machine; each content once."""
        found: dict[_Item, Path] = {}
        by_part: dict[str, list[_Item]] = defaultdict(list)
        for item in items:
            by_part[item.part].append(item)
        for part, mine in by_part.items():
            version, tree = self.trees[part]
            laid = verbs._files(
                self.transport, self.cache, version, tree.only(each.path for each in mine), self.progress, Laid()
            )
            found.update((each, laid[each.path.decode()]) for each in mine)
        return found

    # -- pictures

    def images(self, found: Leaks, bits: int, exact: set[bytes]) -> None:
        items = _once(each for each in self.items(lambda path: path.endswith(IMAGES)) if each.hash not in exact)
        if len({each.part for each in items}) < 2:
            return
        numpy, pillow = _imaging()
        kept, hashes, thumbs = [], [], []
        for item, place in self.files(items).items():
            try:
                seen = _seen(pillow, place)
            except Exception:  # a damaged picture makes the library raise whatever it likes
                found.unread.append(item.name)
                continue
            kept.append(item)
            hashes.append(difference_hash(seen[0]))
            thumbs.append(seen[1])
        found.looked_at["images"] = len(kept)
        names = numpy.array(hashes, numpy.uint64)
        pixels = numpy.frombuffer(b"".join(thumbs), numpy.uint8).reshape(len(kept), -1).astype(numpy.int16)
        parts = numpy.array([list(self.trees).index(item.part) for item in kept])
        for begin in range(0, len(kept), 64):
            block = slice(begin, begin + 64)
            apart = numpy.bitwise_count(names[block, None] ^ names[None, :])
            # each pair once, and of two parts
            near = (apart <= bits) & (parts[block, None] < parts[None, :])
            for row in numpy.nonzero(near.any(axis=1))[0]:
                others = numpy.nonzero(near[row])[0]
                alike = numpy.abs(pixels[others] - pixels[begin + row]).mean(axis=1) <= _ALIKE
                for other in others[alike]:
                    found.add(Leak("image", kept[begin + row].name, kept[other].name, int(apart[row, other])))

    # -- texts

    def texts(self, found: Leaks, share: float, exact: set[bytes]) -> None:
        items = _once(each for each in self.items(lambda path: path.endswith(TEXTS)) if each.hash not in exact)
        if len({each.part for each in items}) < 2:
            return
        places = self.files(items)
        found.looked_at["texts"] = len(items)

        @lru_cache(maxsize=1_000)
        def runs(item: _Item) -> frozenset[int]:
            return shingles(places[item].read_text("utf-8", "replace"))

        bands: dict[tuple[int, ...], list[_Item]] = defaultdict(list)
        seen: set[tuple[str, tuple[int, ...]]] = set()
        for item in items:
            signature = tuple(sketch(runs(item)))
            if (item.part, signature) in seen:
                continue  # of texts that are all alike one stands for all of its part
            seen.add((item.part, signature))
            for band in range(0, len(signature), _ROWS):
                bands[(band, *signature[band : band + _ROWS])].append(item)
        candidates = {
            (left, right) for near in bands.values() for left, right in combinations(near, 2) if left.part != right.part
        }
        for left, right in sorted(candidates):
            common = in_common(runs(left), runs(right))
            if common >= share:
                found.add(Leak("text", left.name, right.name, round(1 - common, 4)))

    # -- rows

    def rows(self, found: Leaks, ids: frozenset[str]) -> None:
        items = list(self.items(lambda path: bool(format_of(path))))
        if len({each.part for each in items}) < 2:
            return
        places = self.files(items)
        first: dict[bytes, dict[str, str]] = defaultdict(dict)
        count = 0
        known: set[str] = set()
        for item in items:
            try:
                table = records.load(places[item], texts([item.path])[0])
            except Invalid as error:
                if "pyarrow" in str(error):
                    raise
                found.unread.append(item.name)
                continue
            known.update(table.columns)
            # by name, so that the order of columns does not matter; what is empty or not there is the same
            order = sorted(at for at, name in enumerate(table.columns) if name not in ids)
            order.sort(key=lambda at: table.columns[at])
            if not order:
                raise Invalid(f"{item.name} has no columns but ids.", field="ids")
            count += len(table)
            for number, row in enumerate(table.rows, 1):
                values = [(table.columns[at], _plain(row[at])) for at in order if row[at] is not None]
                first[records.key(values)].setdefault(item.part, f"{item.name}, row {number}")
        if unknown := ids - known:
            raise Invalid(f"No table has a column {sorted(unknown)[0]!r}.", field="ids")
        found.looked_at["rows"] = count
        for rows in first.values():
            for left, right in combinations(rows.values(), 2):
                found.add(Leak("row", left, right, 0))


def difference_hash(pixels: bytes) -> int:
    """64 bits of a grey picture of 9 by 8 pixels: whether each is darker than the one to its right."""
    bits = 0
    for row in range(8):
        for at in range(row * 9, row * 9 + 8):
            bits = bits << 1 | (pixels[at] < pixels[at + 1])
    return bits


def shingles(text: str) -> frozenset[int]:
    """The runs of three words of a text, as numbers; case, signs and spaces do not count. A shorter text is one run."""
    words = re.findall(r"\w+", text.lower())
    if len(words) <= _WORDS:
        return frozenset([zlib.crc32(" ".join(words).encode())])
    return frozenset(zlib.crc32(" ".join(words[at : at + _WORDS]).encode()) for at in range(len(words) - _WORDS + 1))


def sketch(runs: frozenset[int]) -> list[int]:
    """A MinHash of one permutation: the smallest run in each of 128 bins; an empty bin borrows from the next full one."""
    count = _BANDS * _ROWS
    bins: list[int | None] = [None] * count
    for each in runs:
        mixed = (each * 0x9E3779B97F4A7C15 + 0x7F4A7C15) & 0xFFFFFFFFFFFFFFFF
        mixed ^= mixed >> 31
        at, value = mixed % count, mixed >> 8
        had = bins[at]
        if had is None or value < had:
            bins[at] = value
    found = []
    for at in range(count):
        step = 0
        while (value_ := bins[(at + step) % count]) is None:
            step += 1
        # how far it was borrowed from is a part of it, or short texts would look alike by chance
        found.append(value_ * count + step)
    return found


def in_common(left: frozenset[int], right: frozenset[int]) -> float:
    """The share of runs that both have, of those that either has."""
    return len(left & right) / len(left | right)


def _plain(value: Any) -> str:
    """A value as text, so that a number of CSV is one of Parquet."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _once(items: Iterator[_Item]) -> list[_Item]:
    """One item of each content in each part."""
    return list({(each.part, each.hash): each for each in items}.values())


def _seen(pillow: Any, place: Path) -> tuple[bytes, bytes]:
    """A picture in grey, made 9 by 8 and 16 by 16."""
    with pillow.open(place) as picture:
        picture.draft("L", (128, 128))
        grey = picture.convert("RGB").convert("L")
        box = pillow.Resampling.BOX
        # both from one middle size: then a copy in another size has about the same pixels
        middle = grey.resize((144, 128), pillow.Resampling.BILINEAR)
        return middle.resize((9, 8), box).tobytes(), middle.resize((16, 16), box).tobytes()


def _imaging() -> tuple[Any, Any]:
    try:
        import numpy
        from PIL import Image
    except ImportError as error:
        raise Invalid(
            "Comparing images needs Pillow and numpy, which are not installed.",
            hint="pip install 'larder[images]', or near=False for exact copies only",
        ) from error
    return numpy, Image
