"""Splits: train, validation and test parts of a version, each a dataset of its own.

A part is the dataset NAME-train, not a field of one common version: what a run may read is then one address, its lineage
says which part it has read, an alias or a blind mark can be on the test part alone. It costs no stored content: the
parts name the content that the version has already. Only the rows of a table are written anew, as tables of the parts.

Which part an item goes to is decided by its content and the seed, so equal content never lies in two parts, and an item
stays where it is when others come. With `stratify` the shares are exact in each stratum: there the parts made before are
looked at, and what they hold stays in them.
"""

import datetime
import math
import os
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from blake3 import blake3

from larder.contract import datasets as contract
from larder.contract.addresses import check_name
from larder.contract.datasets import WHOLE, Dataset, Version
from larder.contract.errors import Invalid
from larder.contract.paths import shown
from larder.data import records, verbs
from larder.data.cache import Cache
from larder.data.columns import EXTERNAL, HASH, LINK, Tree
from larder.data.committing import Committing, Wish
from larder.data.cutting import Cutter
from larder.data.fetching import entries, relate
from larder.data.laying import Laid
from larder.data.progress import Hear, Meter
from larder.data.scanning import texts
from larder.data.tables import choose
from larder.transport import Transport

_SPACE = 1 << 64


@dataclass(frozen=True, kw_only=True)
class Split:
    """A version in parts. `counts` are items: files, or rows of the table; `left_out` those that no part has."""

    of: Version
    versions: dict[str, Version]
    counts: dict[str, int]
    left_out: int = 0


@dataclass(frozen=True, kw_only=True)
class Unit:
    """Items that stay together, because they are of one group or have equal content."""

    items: int = 1
    stratum: str = ""


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """How a version is to be split; two splits with equal plans go on from one another."""

    fractions: Mapping[str, float]
    stratify: str
    group: str
    time: str
    seed: int
    pattern: str
    table: str

    def document(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__dataclass_fields__} | {"fractions": dict(self.fractions)}


@dataclass
class _Items:
    """Items by number, each with the key of its unit and the values of the fields that the plan asks for."""

    keys: list[bytes] = field(default_factory=list)
    strata: list[str] = field(default_factory=list)
    times: list[Any] = field(default_factory=list)
    names: list[str] = field(default_factory=list)

    def units(self) -> dict[bytes, Unit]:
        found: dict[bytes, Counter[str]] = {}
        for number, key in enumerate(self.keys):
            found.setdefault(key, Counter())[self.strata[number] if self.strata else ""] += 1
        # a group that has items of several strata counts as of the one that it has most of
        return {
            key: Unit(items=each.total(), stratum=min(each, key=lambda stratum: (-each[stratum], stratum)))
            for key, each in found.items()
        }


def split(
    address: str,
    parts: Mapping[str, float],
    *,
    stratify: str = "",
    group: str = "",
    time: str = "",
    seed: int = 0,
    pattern: str = "",
    table: str = "",
    name: str = "",
    project: str = "",
    progress: Hear = None,
    transport: Transport | None = None,
    cache: Cache | None = None,
) -> Split:
    """Split a version into datasets `NAME-train`, `NAME-test` …, by `parts` such as `{"train": 0.8, "test": 0.2}`.

    Items are files, or with `table` (its path) the rows of that table. `stratify`, `group` and `time` name a field: of a
    file's metadata, a part of its path by `pattern` (`{label}/*.jpg`; files that do not match are left out), or a column.
    `stratify`: each part has its share of every value. `group`: items of one value stay in one part. `time`: the first
    part has the earliest items; such a split is made anew each time. `name`: what the datasets are called instead.
    Parts of a blind dataset are blind. Where a part would hold what it holds already its newest version is answered.
    """
    plan = _Plan(
        fractions=check_parts(parts), stratify=stratify, group=group, time=time, seed=seed, pattern=pattern, table=table
    )
    if time and (group or stratify):
        raise Invalid("A split by time goes by nothing else.", field="time", hint="Leave out stratify and group.")
    if table and pattern:
        raise Invalid("A pattern is for files; the rows of a table have columns.", field="pattern")
    transport, cache = verbs._connected(transport), cache or Cache()
    source = verbs.resolve(address, project=project, transport=transport)
    home = name or source.name
    for part in plan.fractions:
        check_name(f"{home}-{part}")
    tree = entries(transport, source.id, source.dataset, cache)
    work = _Rows if table else _Files
    return work(transport, cache, source, tree, plan, home, progress).split()


def check_parts(parts: Mapping[str, float]) -> dict[str, float]:
    """The shares of the parts, which are at least two, each above 0, and 1 together; Invalid otherwise."""
    found: dict[str, float] = {}
    for part, share in parts.items():
        if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share < 1:
            raise Invalid(f"The part {part!r} has the share {share!r}; it must be above 0 and below 1.", field="parts")
        found[str(part)] = float(share)
    if len(found) < 2:
        raise Invalid("A split has two parts or more.", field="parts", hint='Write {"train": 0.8, "test": 0.2}.')
    if abs(sum(found.values()) - 1) > 1e-6:
        raise Invalid(f"The shares add up to {sum(found.values()):g}, not to 1.", field="parts")
    return found


# -- who goes where; pure --------------------------------------------------------------------------------------------


def place_of(key: bytes, seed: int) -> int:
    """Where a unit falls between 0 and 2^64: the same on every machine, whatever else is there."""
    return int.from_bytes(blake3(b"larder split %d\0" % seed + key).digest()[:8], "big")


def by_hash(keys: Iterable[bytes], parts: Mapping[str, float], seed: int) -> dict[bytes, str]:
    """Each unit's part by itself alone; the shares come out about right."""
    bounds, total = [], 0.0
    for part, share in parts.items():
        total += share
        bounds.append((total * _SPACE, part))
    last = bounds[-1][1]
    found = {}
    for key in keys:
        place = place_of(key, seed)
        found[key] = next((part for bound, part in bounds if place < bound), last)
    return found


def by_strata(
    units: Mapping[bytes, Unit], parts: Mapping[str, float], seed: int, kept: Mapping[bytes, str]
) -> dict[bytes, str]:
    """Each unit's part, so that the shares are as exact in every stratum as whole units allow; `kept` ones stay."""
    strata: dict[str, list[bytes]] = {}
    for key, unit in units.items():
        strata.setdefault(unit.stratum, []).append(key)
    found: dict[bytes, str] = {}
    for keys in strata.values():
        total = sum(units[key].items for key in keys)
        lacking = {part: share * total for part, share in parts.items()}
        fresh = []
        for key in keys:
            part = kept.get(key)
            if part in lacking:
                found[key] = part
                lacking[part] -= units[key].items
            else:
                fresh.append(key)
        # large groups first: what is small fills the gaps that they leave
        for key in sorted(fresh, key=lambda key: (-units[key].items, place_of(key, seed))):
            part = max(lacking, key=lambda part: lacking[part])
            found[key] = part
            lacking[part] -= units[key].items
    return found


def by_time(times: Sequence[Any], parts: Mapping[str, float]) -> list[str]:
    """The part of each item by its time, the earliest first; items of one time stay together."""
    counts = Counter(times)
    bounds, total = [], 0.0
    for part, share in parts.items():
        total += share
        bounds.append((total * len(times), part))
    found, before = {}, 0
    for moment in sorted(counts):
        middle = before + counts[moment] / 2
        found[moment] = next((part for bound, part in bounds if middle <= bound), bounds[-1][1])
        before += counts[moment]
    return [found[moment] for moment in times]


def moment(value: Any, name: str) -> float:
    """A time as a number: of a number itself, of an ISO date or time its seconds since 1970 (UTC where none is said)."""
    if isinstance(value, datetime.datetime):
        when = value
    elif isinstance(value, datetime.date):
        when = datetime.datetime(value.year, value.month, value.day)
    else:
        try:
            number = float("nan" if isinstance(value, bool) else value)
            if math.isfinite(number):
                return number
        except (TypeError, ValueError):
            pass
        try:
            when = datetime.datetime.fromisoformat(str(value).strip())
        except ValueError:
            raise Invalid(f"{name} has the time {value!r}, which is no number and no ISO date.", field="time") from None
    return (when if when.tzinfo else when.replace(tzinfo=datetime.UTC)).timestamp()


def compiled(pattern: str) -> "re.Pattern[str]":
    """A pattern of paths as an expression: `{name}` and `*` stand for text without `/`, `**` for any, `?` for one."""
    out, at, names = [], 0, set()
    for match in re.finditer(r"\{(\w*)\}|(\*\*/|\*\*|\*|\?)", pattern):
        out.append(re.escape(pattern[at : match.start()]))
        at = match.end()
        name, sign = match.groups()
        if sign:
            out.append({"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}[sign])
        elif not name.isidentifier() or name in names:
            raise Invalid(
                f"{match[0]!r} in the pattern {pattern!r} is no fresh name.",
                field="pattern",
                hint="Write {label}/*.jpg.",
            )
        else:
            names.add(name)
            out.append(f"(?P<{name}>[^/]+)")
    rest = pattern[at:]
    if "{" in rest or "}" in rest:
        raise Invalid(
            f"The pattern {pattern!r} has a brace that does not close.", field="pattern", hint="Write {label}/*.jpg."
        )
    return re.compile("".join([*out, re.escape(rest)]), re.S)


# -- the work --------------------------------------------------------------------------------------------------------


class _Work:
    """Splits one version."""

    def __init__(
        self, transport: Transport, cache: Cache, source: Version, tree: Tree, plan: _Plan, home: str, progress: Hear
    ) -> None:
        self.transport, self.cache, self.source, self.tree = transport, cache, source, tree
        self.plan, self.home, self.progress = plan, home, progress
        self.left_out = 0

    def split(self) -> Split:
        items = self.items()
        chosen = self._assigned(items)
        counts = Counter(chosen)
        for part in self.plan.fractions:
            if not counts[part]:
                raise Invalid(
                    f"The part {part!r} would be empty: there are {len(chosen)} items for {len(self.plan.fractions)} parts.",
                    hint="Take more items, a larger share, or another seed.",
                )
        found = {}
        for part in self.plan.fractions:
            report = self.plan.document() | {
                "of": self.source.address,
                "version": self.source.id,
                "part": part,
                "counts": dict(counts),
                "left_out": self.left_out,
            }
            numbers = [number for number, each in enumerate(chosen) if each == part]
            found[part] = self.commit(part, numbers, f"{part} of {self.source.address}", {"split": report})
        return Split(
            of=self.source, versions=found, counts={part: counts[part] for part in found}, left_out=self.left_out
        )

    def items(self) -> _Items:
        raise NotImplementedError

    def commit(self, part: str, numbers: Sequence[int], message: str, report: Mapping[str, Any]) -> Version:
        raise NotImplementedError

    def of_part(self, version: Version) -> _Items:
        """The items that a part holds."""
        raise NotImplementedError

    def _assigned(self, items: _Items) -> list[str]:
        plan = self.plan
        if plan.time:
            times = [moment(value, name) for value, name in zip(items.times, items.names, strict=True)]
            return by_time(times, plan.fractions)
        if plan.stratify:
            of = by_strata(items.units(), plan.fractions, plan.seed, self._kept())
        else:
            of = by_hash(set(items.keys), plan.fractions, plan.seed)
        return [of[key] for key in items.keys]

    def _kept(self) -> dict[bytes, str]:
        """Where the units are that an earlier split by the same plan has placed."""
        kept: dict[bytes, str] = {}
        for part in self.plan.fractions:
            home = self._home(part, make=False)
            version = home.newest if home is not None else None
            said = version.report.get("split") if version is not None else None
            if version is None or not isinstance(said, dict):
                continue
            if all(said.get(name) == value for name, value in self.plan.document().items()):
                kept.update(dict.fromkeys(self.of_part(version).keys, part))
        return kept

    def _home(self, part: str, *, make: bool) -> Dataset | None:
        name = f"{self.home}-{part}"
        if make:
            return verbs.create(name, project=self.source.project, blind=self.source.blind, transport=self.transport)
        page = self.transport.call(contract.LIST, contract.DatasetQuery(project=self.source.project, text=name))
        return next((each for each in page.datasets if each.name == name), None)

    def _key(self, group: Any, content: bytes) -> bytes:
        return content if not self.plan.group else b"group\0" + str(group).encode("utf-8", "surrogateescape")

    def _add(self, items: _Items, name: str, content: bytes, value: Mapping[str, Any]) -> None:
        plan = self.plan
        for wanted in (plan.stratify, plan.group, plan.time):
            if wanted and value.get(wanted) is None:
                raise Invalid(f"{name} has no {wanted!r}.", hint=self.hint)
        items.keys.append(self._key(value.get(plan.group), content))
        items.names.append(name)
        if plan.stratify:
            items.strata.append(str(value[plan.stratify]))
        if plan.time:
            items.times.append(value[plan.time])

    hint = ""


class _Files(_Work):
    hint = "A field is one of the items' metadata, or a part of their paths: pattern='{label}/*.jpg'."

    def items(self) -> _Items:
        items, self.paths = _Items(), []
        for path, name, value in self._matching(self.tree):
            self._add(items, name, self.tree.records[path][:HASH], value)
            self.paths.append(path)
        if not self.paths:
            raise Invalid(f"No file of {self.source.address} matches {self.plan.pattern!r}.", field="pattern")
        self.left_out = len(self.tree) - len(self.paths)
        return items

    def _matching(self, tree: Tree) -> Iterator[tuple[bytes, str, dict[str, Any]]]:
        expression = compiled(self.plan.pattern) if self.plan.pattern else None
        for path in sorted(tree.records):
            if tree.records[path][32:33] == LINK:
                continue
            (name,) = texts([path])
            value: dict[str, Any] = {}
            if expression is not None:
                match = expression.fullmatch(name)
                if match is None:
                    continue
                value.update(match.groupdict())
            yield path, name, value | tree.metadata.get(path, {})

    def of_part(self, version: Version) -> _Items:
        tree, items = entries(self.transport, version.id, version.dataset, self.cache), _Items()
        for path, name, value in self._matching(tree):
            self._add(items, name, tree.records[path][:HASH], value)
        return items

    def commit(self, part: str, numbers: Sequence[int], message: str, report: Mapping[str, Any]) -> Version:
        home = self._home(part, make=True)
        assert home is not None
        tree = self.tree.only(self.paths[number] for number in numbers)
        return put_tree(
            home, tree, self.source, message=message, report=report, progress=self.progress,
            transport=self.transport, cache=self.cache,
        )  # fmt: skip


class _Rows(_Work):
    hint = "A field is a column of the table."

    def items(self) -> _Items:
        self.path, self.found = self._load(self.source, self.tree)
        self.left_out = 0
        return self._of(self.found)

    def _load(self, version: Version, tree: Tree) -> tuple[str, records.Records]:
        paths = choose(texts(sorted(tree.records)), self.plan.table, version.address)
        files = verbs._files(
            self.transport, self.cache, version, tree.only(path.encode() for path in paths), self.progress, Laid()
        )
        found = records.load(files[paths[0]], paths[0])
        for path in paths[1:]:
            found = found.joined(records.load(files[path], path), path)
        # the parts of one table become one file of its folder
        return (paths[0] if len(paths) == 1 else f"{paths[0].rpartition('/')[0]}/rows{Path(paths[0]).suffix}"), found

    def _of(self, found: records.Records) -> _Items:
        items, plan = _Items(), self.plan
        wanted = [each for each in (plan.stratify, plan.group, plan.time) if each]
        columns = {name: found.column(name, plan.table) for name in wanted}
        for number, row in enumerate(found.rows):
            value = {name: column[number] for name, column in columns.items()}
            self._add(items, f"{plan.table}, row {number + 1}", records.key(row), value)
        return items

    def of_part(self, version: Version) -> _Items:
        tree = entries(self.transport, version.id, version.dataset, self.cache)
        return self._of(self._load(version, tree)[1])

    def commit(self, part: str, numbers: Sequence[int], message: str, report: Mapping[str, Any]) -> Version:
        home = self._home(part, make=True)
        assert home is not None
        folder = Path(tempfile.mkdtemp(prefix="larder-split-"))
        try:
            self.found.take(numbers).save(folder / self.path)
            return verbs.commit(
                f"{home.project}/{home.name}", folder, message=message, report=report, progress=self.progress,
                transport=self.transport, cache=self.cache,
            )  # fmt: skip
        finally:
            shutil.rmtree(folder)


def put_tree(
    home: Dataset,
    tree: Tree,
    source: Version,
    *,
    message: str,
    report: Mapping[str, Any],
    progress: Hear,
    transport: Transport,
    cache: Cache,
    empty: bool = False,
) -> Version:
    """Commit a tree whose content the version `source` holds: nothing is sent, unless one of the two is blind.

    The newest version is answered where it holds this tree already.
    """
    before = home.newest
    base = entries(transport, before.id, home.id, cache) if before is not None else Tree()
    metadata = {path.decode(): each for path, each in tree.metadata.items()}

    def contents(hash: bytes) -> Iterator[bytes]:
        path = next(path for path, each in tree.records.items() if each[:HASH] == hash)
        if tree.records[path][32:33] in (LINK, EXTERNAL):
            raise Invalid(f"{shown(path)} of {source.address} is a link, which cannot leave its blind dataset.")
        files = verbs._files(transport, cache, source, tree.only([path]), progress, Laid())
        return _chunks(files[path.decode()])

    wish = Wish(
        tree=tree,
        contents=contents,
        metadata=metadata,
        message=message,
        report=report,
        newest=True,
        cases=True,
        empty=empty,
    )
    with Meter(f"commit {home.name}", progress) as meter:
        made = Committing(transport, cache, home, [before] if before is not None else [], base, wish).commit(meter)
    if made is None:
        assert before is not None
        return before
    relate(cache, home.id, made.id)
    return made


def _chunks(place: Path) -> Iterator[bytes]:
    """The chunks of a file, cut as a commit cuts it."""
    if os.path.getsize(place) <= WHOLE:
        yield place.read_bytes()
        return
    cutter = Cutter()
    with place.open("rb") as file:
        while piece := file.read(1 << 22):
            yield from cutter.feed(piece)
    yield from cutter.finish()
