"""Validation at commit: what is declared of files and tables is checked before anything is sent.

What fails refuses the commit, is put aside into the dataset NAME-quarantine with the reason, or is only reported. Rules
on columns are checked by pandera (extra `validate`), pictures by Pillow (extra `images`).
"""

import collections
import datetime
import functools
import io
import json
import math
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import msgspec
from blake3 import blake3

from larder.contract.datasets import Version
from larder.contract.errors import Conflict, Denied, Invalid, NotFound
from larder.data import records, verbs
from larder.data.cache import Cache
from larder.data.columns import HASH, Tree
from larder.data.fetching import entries
from larder.data.laying import Laid
from larder.data.scanning import hash_file, texts
from larder.data.splitting import compiled
from larder.data.tables import format_of
from larder.transport import Transport

REFUSE, QUARANTINE, WARN = "refuse", "quarantine", "warn"
REASON = "larder_reason"
"""The column that says of each row put aside why it was."""

_EXAMPLES, _LISTED = 5, 200


class _Strict(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    pass


class Bounds(_Strict, frozen=True):
    """A number that has to lie in between; an end that is left out is open."""

    min: float | None = None
    max: float | None = None

    def holds(self, value: float) -> bool:
        """Whether it does."""
        return (self.min is None or value >= self.min) and (self.max is None or value <= self.max)

    def __str__(self) -> str:
        return f"{'any' if self.min is None else format(self.min, 'g')} to {'any' if self.max is None else format(self.max, 'g')}"


class Image(_Strict, frozen=True):
    """What is expected of a picture, beside that it can be decoded to its end; sizes in pixels, formats as `JPEG`, `PNG`."""

    width: Bounds = Bounds()
    height: Bounds = Bounds()
    formats: tuple[str, ...] = ()


class Files(_Strict, frozen=True):
    """What is expected of the files that match a pattern: each of them, and how many there are."""

    match: str = "**"
    count: Bounds | None = None
    bytes: Bounds | None = None
    empty: bool = False
    """Whether a file may be empty."""
    text: bool = False
    """Whether it must be text in UTF-8."""
    image: Image | None = None


class Column(_Strict, frozen=True):
    """What is expected of the values of a column. All but `nulls` is for values that are there.

    `min` and `max` for numbers, or for dates and times in ISO form; `matches` is a regular expression for the whole text.
    """

    type: Literal["int", "float", "text", "bool", "date", "time"] | None = None
    nulls: bool = True
    unique: bool = False
    min: float | str | None = None
    max: float | str | None = None
    values: tuple[Any, ...] | None = None
    matches: str = ""
    length: Bounds | None = None
    missing: bool = False
    """Whether the column itself may be missing."""


class Expected(_Strict, frozen=True):
    """What is expected of the tables whose paths match a pattern. `unique`: columns that together name a row.

    `put_aside`: whether single rows or the whole file goes into quarantine for a row that fails.
    """

    match: str
    rows: Bounds | None = None
    columns: dict[str, Column] = {}
    others: bool = True
    """Whether it may have other columns, too."""
    unique: tuple[str, ...] = ()
    put_aside: Literal["rows", "file"] = "rows"


class Suite(_Strict, frozen=True):
    """All that is expected of a version, and what happens to what is not so."""

    files: tuple[Files, ...] = ()
    tables: tuple[Expected, ...] = ()
    invalid: Literal["", "refuse", "quarantine", "warn"] = ""


def suite(given: "Suite | Mapping[str, Any] | str | os.PathLike[str]") -> Suite:
    """A suite of a mapping, or of a file in YAML or JSON; Invalid, with the place, when it is none."""
    if isinstance(given, Suite):
        found = given
    else:
        source = "the expectations" if isinstance(given, Mapping) else str(given)
        try:
            found = msgspec.convert(given if isinstance(given, Mapping) else _document(Path(given)), Suite)
        except msgspec.ValidationError as error:
            raise Invalid(f"{source}: {error}", field="validate", hint=f"Known: {_known()}.") from error
    for pattern in (*(each.match for each in found.files), *(each.match for each in found.tables)):
        compiled(pattern)
    for table in found.tables:
        for name, column in table.columns.items():
            try:
                re.compile(column.matches)
            except re.error as error:
                raise Invalid(
                    f"{column.matches!r}, which {name} must match, is no regular expression: {error}"
                ) from error
            for bound in (column.min, column.max):
                if isinstance(bound, str) and column.type not in ("date", "time"):
                    raise Invalid(
                        f"{name}: {bound!r} can only bound a date or time.", hint="Say its type: date or time."
                    )
                if isinstance(bound, str) and _READ["time"](bound) is None:
                    raise Invalid(f"{name}: {bound!r} is no date or time in ISO form.")
    return found


@dataclass
class Admitted:
    """What the checks found. `left_out` are paths that are not committed, `replaced` tables without their bad rows."""

    report: dict[str, Any]
    failed: int = 0
    left_out: set[str] = field(default_factory=set)
    replaced: dict[str, Path] = field(default_factory=dict)
    aside: dict[str, "Path | bytes"] = field(default_factory=dict)
    reasons: dict[str, dict[str, Any]] = field(default_factory=dict)


def commit(name: str, what: Any, validate: Any, invalid: str = "", **options: Any) -> Version:
    """Commit what passes; see `larder.data.commit`. Conflict, with the first reasons, when the policy is to refuse."""
    expected = suite(validate)
    policy = invalid or expected.invalid or REFUSE
    if policy not in (REFUSE, QUARANTINE, WARN):
        raise Invalid(f"invalid is {policy!r}, and may be 'refuse', 'quarantine' or 'warn'.", field="invalid")
    folder = Path(tempfile.mkdtemp(prefix="larder-validate-"))
    try:
        admitted = admit(what, expected, policy, folder, skip=options.get("skip") or ())
        report = {**(options.pop("report", None) or {}), "validation": admitted.report}
        if admitted.aside:
            metadata = dict(options.get("metadata") or {})
            version = _put_aside(name, admitted, metadata, options)
            admitted.report["quarantine"] = version.address
            options["metadata"] = metadata
        if _is_folder(what):
            options["skip"] = [*(options.get("skip") or ()), *sorted(admitted.left_out), *sorted(admitted.replaced)]
            options["instead"] = admitted.replaced
        elif admitted.aside:
            passed = {path: each for path, each in listed(what).items() if path not in admitted.left_out}
            what = {**passed, **admitted.replaced}
            newest = verbs.resolve(name, **_where(options)) if not what and _has_versions(name, options) else None
            if newest is not None and not options.get("remove") and not options.get("external"):
                return newest  # all of it was put aside
        return verbs.commit(name, what, report=report, **options)
    finally:
        shutil.rmtree(folder)


def _where(options: Mapping[str, Any]) -> dict[str, Any]:
    return {each: options[each] for each in ("project", "transport") if options.get(each)}


def _has_versions(name: str, options: Mapping[str, Any]) -> bool:
    try:
        return verbs.dataset(name, **_where(options)).newest is not None
    except NotFound:
        return False


def _put_aside(name: str, admitted: Admitted, metadata: dict[str, Any], options: Mapping[str, Any]) -> Version:
    opened = verbs._connected(options.get("transport"))
    home = verbs._found_or_made(name, options.get("project") or "", opened)
    aside = f"{home.project}/{home.name}-quarantine"
    verbs.create(aside, blind=home.blind, transport=opened)
    try:
        before = aside_of(f"{home.project}/{home.name}", opened, options.get("cache") or Cache())
    except Denied:  # it is blind
        before = None
    tree = before[1] if before is not None else Tree()
    for path, about in admitted.reasons.items():
        item, had = admitted.aside[path], tree.records.get(path.encode(), b"")
        hash = blake3(item).digest() if isinstance(item, bytes) else hash_file(item)[0]
        known = tree.metadata.get(path.encode(), {})
        if had[:HASH] == hash and known.get("reason") == about["reason"]:
            about.update(known)  # it was put aside before
        own = metadata.get(about["table"]) if "table" in about else metadata.pop(path, None)
        if own is not None:
            about["metadata"] = own
    return verbs.commit(
        aside, admitted.aside, metadata=admitted.reasons, message=f"put aside at a commit of {home.name}", base="any",
        cases=True, progress=options.get("progress"), cache=options.get("cache"), transport=opened,
    )  # fmt: skip


# -- checks ----------------------------------------------------------------------------------------------------------


def admit(what: Any, expected: Suite, policy: str, folder: Path, *, skip: Iterable[str] = ()) -> Admitted:
    """Check what is to be committed. Tables that lose rows, and these rows, are written into `folder`."""
    items = {path: each for path, each in listed(what).items() if path not in set(skip)}
    work = _Work(items, policy, folder)
    for rule in expected.files:
        work.files(rule)
    for table in expected.tables:
        work.table(table)
    return work.done()


def listed(what: Any) -> dict[str, "Path | bytes"]:
    """The files that are to be committed, by their paths in the version; links are left alone."""
    if what is None:
        return {}
    found: dict[str, Path | bytes] = {}
    if _is_folder(what):
        _walk(Path(what).expanduser(), "", found)
        return found
    given = what.items() if isinstance(what, Mapping) else (
        (Path(each).name or Path(each).resolve().name, each) for each in ([what] if isinstance(what, str | os.PathLike) else what)
    )  # fmt: skip
    for path, each in given:
        if isinstance(each, bytes):
            found[str(path)] = each
        elif Path(each).expanduser().is_dir():
            _walk(Path(each).expanduser(), f"{str(path).rstrip('/')}/", found)
        else:
            found[str(path)] = Path(each).expanduser()
    return found


def _is_folder(what: Any) -> bool:
    return isinstance(what, str | os.PathLike) and Path(what).expanduser().is_dir()


def _walk(folder: Path, prefix: str, found: dict[str, "Path | bytes"]) -> None:
    for where, _, names in os.walk(folder):
        inside = Path(where).relative_to(folder).as_posix()
        for each in names:
            place = Path(where) / each
            if place.is_file() and not place.is_symlink():
                found[prefix + (each if inside == "." else f"{inside}/{each}")] = place


class _Work:
    def __init__(self, items: Mapping[str, "Path | bytes"], policy: str, folder: Path) -> None:
        self.items, self.policy, self.folder = items, policy, folder
        self.whole: list[str] = []
        """What is wrong with all of it, and cannot be put aside."""
        self.failed: dict[str, list[str]] = {}
        """Files, each with its reasons."""
        self.rows: dict[str, tuple[records.Records, dict[int, list[str]]]] = {}
        """Tables, each with its rows that fail."""
        self.counts: collections.Counter[str] = collections.Counter()
        self.examples: dict[str, list[str]] = {}
        self.seen_files: set[str] = set()
        self.seen_rows = 0

    def matching(self, pattern: str) -> list[str]:
        expression = compiled(pattern)
        found = [path for path in sorted(self.items) if expression.fullmatch(path)]
        self.seen_files.update(found)
        return found

    def place(self, path: str) -> Path:
        """Where a file lies; bytes are written down."""
        item = self.items[path]
        if isinstance(item, Path):
            return item
        place = self.folder / f"{blake3(item).hexdigest()}{Path(path).suffix}"
        place.write_bytes(item)
        return place

    def fail(self, path: str, reason: str, kind: str) -> None:
        reasons = self.failed.setdefault(path, [])
        if reason not in reasons:
            reasons.append(reason)
            self._count(f"{kind}", path)

    def _count(self, what: str, example: str) -> None:
        self.counts[what] += 1
        if len(examples := self.examples.setdefault(what, [])) < _EXAMPLES:
            examples.append(example)

    # -- files

    def files(self, rule: Files) -> None:
        paths = self.matching(rule.match)
        if rule.count is not None and not rule.count.holds(len(paths)):
            self.whole.append(f"{len(paths)} files match {rule.match}, expected are {rule.count}")
            self._count("number of files", f"{rule.match}: {len(paths)}")
        for path in paths:
            place = self.place(path)
            size = place.stat().st_size
            if not size and not rule.empty:
                self.fail(path, "the file is empty", "empty file")
                continue
            if rule.bytes is not None and not rule.bytes.holds(size):
                self.fail(path, f"it has {size} bytes, expected are {rule.bytes}", "bytes of a file")
            if rule.text:
                self._text(path, place)
            if rule.image is not None:
                self._image(path, place, rule.image)

    def _text(self, path: str, place: Path) -> None:
        try:
            with place.open(encoding="utf-8") as file:
                while file.read(1 << 20):
                    pass
        except UnicodeDecodeError:
            self.fail(path, "it is not text in UTF-8", "text")

    def _image(self, path: str, place: Path, rule: Image) -> None:
        try:
            from PIL import Image as pillow
        except ImportError as error:
            raise Invalid(
                "Checking images needs Pillow, which is not installed.", hint="pip install 'larder[images]'"
            ) from error
        try:
            with pillow.open(place) as picture:
                width, height, form = picture.width, picture.height, picture.format
                picture.load()
        except Exception as error:  # a damaged picture makes the library raise whatever it likes
            self.fail(
                path,
                f"the image is broken: {' '.join(str(error).replace(str(place), path).split())[:150]}",
                "broken image",
            )
            return
        for name, size, bounds in (("wide", width, rule.width), ("high", height, rule.height)):
            if not bounds.holds(size):
                self.fail(path, f"the image is {size} pixels {name}, expected are {bounds}", "size of an image")
        if rule.formats and form not in rule.formats:
            self.fail(path, f"the image is {form}, expected is {' or '.join(rule.formats)}", "format of an image")

    # -- tables

    def table(self, rule: Expected) -> None:
        for path in self.matching(rule.match):
            if not format_of(path):
                self.fail(path, "it is no table", "no table")
                continue
            try:
                found = records.load(self.place(path), path)
            except Invalid as error:
                if "pyarrow" in str(error):
                    raise
                self.fail(path, str(error), "unreadable table")
                continue
            self.seen_rows += len(found)
            self._table(path, found, rule)

    def _table(self, path: str, found: records.Records, rule: Expected) -> None:
        if rule.rows is not None and not rule.rows.holds(len(found)):
            self.fail(path, f"it has {len(found)} rows, expected are {rule.rows}", "number of rows")
        wanted = {name for name, column in rule.columns.items() if not column.missing} | set(rule.unique)
        for name in sorted(wanted - set(found.columns)):
            self.fail(path, f"it has no column {name}", f"{name}: column")
        if not rule.others:
            for name in sorted(set(found.columns) - set(rule.columns)):
                self.fail(path, f"it has a column {name} that nobody expects", f"{name}: column")
        if set(rule.unique) - set(found.columns):
            return
        problems: dict[int, list[str]] = {}
        for number, reason in bad_rows(found, rule):
            problems.setdefault(number, []).append(reason)
            self._count(reason, f"{path}, row {number + 1}")
        if not problems:
            return
        if rule.put_aside == "file":
            reasons = sorted({reason for each in problems.values() for reason in each})
            self.failed.setdefault(path, []).append(f"{len(problems)} rows: {', '.join(reasons)}")
        else:
            had = self.rows.setdefault(path, (found, {}))[1]
            for number, reasons in problems.items():
                had.setdefault(number, []).extend(reasons)

    # -- the end

    def done(self) -> Admitted:
        rows = {path: each for path, each in self.rows.items() if path not in self.failed}
        bad_rows_ = sum(len(problems) for _, problems in rows.values())
        report: dict[str, Any] = {
            "passed": not (self.whole or self.failed or rows),
            "policy": self.policy,
            "checked": {"files": len(self.seen_files), "rows": self.seen_rows},
            "failed": {"files": len(self.failed), "rows": bad_rows_},
            "checks": [
                {"check": check, "failed": count, "examples": self.examples[check]}
                for check, count in self.counts.most_common(_LISTED)
            ],
        }
        admitted = Admitted(report, failed=len(self.failed) + bad_rows_)
        if report["passed"] or self.policy == WARN:
            return admitted
        if self.policy == REFUSE or self.whole:
            self._refuse(rows)
        when = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        for path, reasons in self.failed.items():
            admitted.left_out.add(path)
            admitted.aside[path] = self.items[path]
            admitted.reasons[path] = {"kind": "file", "reason": "; ".join(reasons), "when": when}
        for number, (path, (found, problems)) in enumerate(rows.items()):
            self._part_rows(admitted, number, path, found, problems, when)
        return admitted

    def _part_rows(
        self,
        admitted: Admitted,
        number: int,
        path: str,
        found: records.Records,
        problems: Mapping[int, list[str]],
        when: str,
    ) -> None:
        suffix = Path(path).suffix
        clean, bad = self.folder / f"clean-{number}{suffix}", self.folder / f"bad-{number}{suffix}"
        found.take([at for at in range(len(found)) if at not in problems]).save(clean)
        order = sorted(problems)
        reasons = ["; ".join(dict.fromkeys(problems[at])) for at in order]
        found.take(order).with_column(REASON, reasons).save(bad)
        admitted.replaced[path] = clean
        # by their content, so that rows of a later commit come beside them and equal ones lie there once
        name = f"{path.removesuffix(suffix)}.rows-{blake3(bad.read_bytes()).hexdigest()[:10]}{suffix}"
        admitted.aside[name] = bad
        counted = collections.Counter(reason for each in problems.values() for reason in dict.fromkeys(each))
        admitted.reasons[name] = {
            "kind": "rows", "table": path, "rows": len(order), "when": when,
            "reason": "; ".join(f"{reason} ({count})" for reason, count in counted.most_common(20)),
        }  # fmt: skip

    def _refuse(self, rows: Mapping[str, tuple[records.Records, Mapping[int, list[str]]]]) -> None:
        said = [*self.whole]
        said += [f"{path}: {'; '.join(reasons)}" for path, reasons in self.failed.items()]
        said += [
            f"{path}, row {at + 1}: {'; '.join(reasons)}"
            for path, (_, bad) in rows.items()
            for at, reasons in sorted(bad.items())
        ]
        more = f"; and {len(said) - 3} more" if len(said) > 3 else ""
        hint = "Mend the data, or commit with invalid='quarantine' to put such items aside."
        if self.whole:
            hint = "Mend the data, or the expectations."
        raise Conflict(f"The data does not hold what is expected: {'; '.join(said[:3])}{more}.", hint=hint)


def bad_rows(found: records.Records, rule: Expected) -> Iterator[tuple[int, str]]:
    """Rows, counted from 0, that are not as expected, each with the reason."""
    columns = {name: rule.columns[name] for name in found.columns if name in rule.columns}
    names = [*columns, *(name for name in rule.unique if name not in columns)]
    if not names or not len(found):
        return
    pandas, pandera = _pandera()
    values: dict[str, Any] = {}
    untyped: set[tuple[str, int]] = set()
    for name in names:
        kind, given = _kind(columns.get(name), found.form), found.column(name, "the table")
        read = _READ[kind] if kind else None
        if read is None:
            values[name] = pandas.Series(given, dtype=object)
            continue
        typed = [None if value is None else read(value) for value in given]
        for at, (before, after) in enumerate(zip(given, typed, strict=True)):
            if before is not None and after is None:
                untyped.add((name, at))
                yield at, f"{name}: {kind}"
        values[name] = pandas.Series(typed, dtype=object)
    checks = {name: _checks(pandera, name, columns[name], found.form) for name in columns}
    schema = pandera.DataFrameSchema(
        {
            name: pandera.Column(None, checks=[check for check, _ in checks[name]], nullable=columns[name].nulls)
            for name in columns
        },
        unique=list(rule.unique) or None,
        report_duplicates="exclude_first",
    )
    try:
        schema.validate(pandas.DataFrame(values), lazy=True)
    except pandera.errors.SchemaErrors as errors:
        told = set()
        cases = errors.failure_cases
        for context, name, check, number, at in zip(
            cases["schema_context"], cases["column"], cases["check"], cases["check_number"], cases["index"], strict=True
        ):
            if at is None or at != at:
                raise Invalid(
                    f"The check {check} of the column {name} cannot be made: its values are of several kinds."
                ) from errors
            if check == "multiple_fields_uniqueness":
                reason = f"{' and '.join(rule.unique)}: unique together"
            elif check == "not_nullable":
                if (name, int(at)) in untyped:
                    continue
                reason = f"{name}: no nulls"
            elif context == "Column" and number is not None and number == number:
                reason = checks[name][int(number)][1]
            else:
                reason = f"{name}: {check}"
            if (int(at), reason) not in told:
                told.add((int(at), reason))
                yield int(at), reason


def _checks(pandera: Any, name: str, column: Column, form: str) -> list[tuple[Any, str]]:
    """The checks of a column, each with what it is called in a reason."""
    found: list[tuple[Any, str]] = []

    def each(test: Callable[[Any], bool], word: str) -> None:
        found.append((pandera.Check(test, element_wise=True), f"{name}: {word}"))

    for bound, word, holds in (
        (column.min, "min", lambda end, value: value >= end),
        (column.max, "max", lambda end, value: value <= end),
    ):
        if bound is not None:
            end = _READ["time"](bound) if isinstance(bound, str) else bound
            said = bound if isinstance(bound, str) else format(bound, "g")
            each(functools.partial(holds, end), f"{word} {said}")
    if column.values is not None:
        plain = form == "csv" and column.type is None
        allowed = [str(value) if plain else value for value in column.values]
        each(
            lambda value: value in allowed,
            f"one of {', '.join(map(str, allowed[:10]))}{' …' if len(allowed) > 10 else ''}",
        )
    if column.matches:
        expression = re.compile(column.matches)
        each(lambda value: expression.fullmatch(str(value)) is not None, f"matches {column.matches}")
    if column.length is not None:
        bounds = column.length
        each(lambda value: bounds.holds(len(str(value))), f"length {bounds}")
    if column.unique:
        found.append((pandera.Check(lambda series: ~series.duplicated()), f"{name}: unique"))
    return found


def _kind(column: Column | None, form: str) -> str:
    """The type as which values are read; empty to take them as they are."""
    if column is None:
        return ""
    if column.type:
        return column.type
    # text cannot be compared with a number
    return "float" if form == "csv" and (column.min is not None or column.max is not None) else ""


def _int(value: Any) -> int | None:
    try:
        if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
            return None
        return int(value)
    except (TypeError, ValueError, OverflowError):
        return None


def _float(value: Any) -> float | None:
    try:
        found = float(value)
    except (TypeError, ValueError):
        return None
    return found if math.isfinite(found) and not isinstance(value, bool) else None


def _bool(value: Any) -> bool | None:
    if isinstance(value, bool):
        return value
    return {"true": True, "false": False, "1": True, "0": False, "yes": True, "no": False}.get(
        str(value).strip().lower()
    )


def _time(value: Any) -> datetime.datetime | None:
    if isinstance(value, datetime.datetime):
        found = value
    elif isinstance(value, datetime.date):
        found = datetime.datetime(value.year, value.month, value.day)
    else:
        try:
            found = datetime.datetime.fromisoformat(value.strip())
        except (AttributeError, ValueError):
            return None
    return found if found.tzinfo else found.replace(tzinfo=datetime.UTC)


def _date(value: Any) -> datetime.datetime | None:
    found = _time(value)
    return (
        found
        if found is not None and (found.hour, found.minute, found.second, found.microsecond) == (0, 0, 0, 0)
        else None
    )


_READ: dict[str, Callable[[Any], Any]] = {
    "int": _int, "float": _float, "bool": _bool, "time": _time, "date": _date,
    "text": lambda value: value if isinstance(value, str) else None,
}  # fmt: skip


# -- what was put aside ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Aside:
    """An item in quarantine: a file, or rows of the table `table`, and why and when (ISO) it was put there."""

    path: str
    reason: str
    when: str
    rows: int = 0
    table: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)


def quarantined(
    name: str, *, project: str = "", transport: Transport | None = None, cache: Cache | None = None
) -> list[Aside]:
    """What is in the quarantine of a dataset, by path; nothing where it has none."""
    transport, cache = verbs._connected(transport), cache or Cache()
    found = aside_of(name, transport, cache, project=project)
    return [] if found is None else _asides(found[1])


def restore(
    name: str,
    paths: "str | Sequence[str] | None" = None,
    *,
    message: str = "",
    project: str = "",
    transport: Transport | None = None,
    cache: Cache | None = None,
) -> Version:
    """Put items back from the quarantine of a dataset into its newest version: files, rows at the end of their table.

    `paths`: files and folders of the quarantine; by default all. They are not checked again.
    """
    transport, cache = verbs._connected(transport), cache or Cache()
    home = verbs.dataset(name, project=project, transport=transport)
    found = aside_of(f"{home.project}/{home.name}", transport, cache)
    asides = _asides(found[1]) if found is not None else []
    wanted = [paths] if isinstance(paths, str) else paths
    if wanted is not None:
        for each in wanted:
            if not any(one.path == each or one.path.startswith(f"{each.rstrip('/')}/") for one in asides):
                raise NotFound(f"The quarantine of {home.name} has no file or folder {each!r}.")
        asides = [
            one
            for one in asides
            if any(one.path == each or one.path.startswith(f"{each.rstrip('/')}/") for each in wanted)
        ]
    if found is None or not asides:
        raise NotFound(f"Nothing of {home.name} is in quarantine.")
    version, tree = found
    files = verbs._files(transport, cache, version, tree.only(one.path.encode() for one in asides), False, Laid())
    folder = Path(tempfile.mkdtemp(prefix="larder-restore-"))
    try:
        back: dict[str, Any] = {one.path: files[one.path] for one in asides if not one.rows}
        tables: dict[str, records.Records] = {}
        before = home.newest
        theirs = entries(transport, before.id, home.id, cache) if before is not None else Tree()
        for number, one in enumerate(each for each in asides if each.rows):
            rows = records.load(files[one.path], one.path).without_column(REASON)
            table = tables.get(one.table)
            if table is None and one.table.encode() in theirs.records and before is not None:
                laid = verbs._files(transport, cache, before, theirs.only([one.table.encode()]), False, Laid())
                table = records.load(laid[one.table], one.table)
            tables[one.table] = rows if table is None else table.joined(rows, one.table)
            back[one.table] = folder / f"{number}{Path(one.table).suffix}"
            tables[one.table].save(back[one.table])
        own = {one.path: one.metadata for one in asides if one.metadata and not one.rows}
        made = verbs.commit(
            f"{home.project}/{home.name}", back, metadata=own, message=message or f"restored {len(asides)} items from quarantine",
            progress=False, transport=transport, cache=cache, cases=True,
        )  # fmt: skip
    finally:
        shutil.rmtree(folder)
    left = len(tree) == len(asides)
    verbs.commit(
        f"{home.project}/{home.name}-quarantine", remove=[] if left else [one.path for one in asides], empty=left,
        message=f"restored into {made.address}", progress=False, transport=transport, cache=cache, cases=True,
    )  # fmt: skip
    return made


def aside_of(name: str, transport: Transport, cache: Cache, *, project: str = "") -> tuple[Version, Tree] | None:
    """The newest version of the quarantine of a dataset with its tree; None where it has none."""
    home = verbs.dataset(name, project=project, transport=transport)
    try:
        version = verbs.resolve(f"{home.project}/{home.name}-quarantine", transport=transport)
    except NotFound:
        return None
    return version, entries(transport, version.id, version.dataset, cache)


def _asides(tree: Tree) -> list[Aside]:
    found = []
    for path in sorted(tree.records):
        about = tree.metadata.get(path, {})
        found.append(
            Aside(
                path=texts([path])[0], reason=str(about.get("reason", "")), when=str(about.get("when", "")),
                rows=int(about.get("rows") or 0), table=str(about.get("table", "")), metadata=about.get("metadata") or {},
            )
        )  # fmt: skip
    return found


# -- libraries -------------------------------------------------------------------------------------------------------


def _document(place: Path) -> Any:
    try:
        text = place.expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Invalid(f"The expectations {str(place)!r} cannot be read: {error}.", field="validate") from error
    if place.suffix.lower() == ".json":
        try:
            return json.loads(text)
        except ValueError as error:
            raise Invalid(f"{place} is no JSON: {error}.", field="validate") from error
    try:
        import yaml
    except ImportError as error:
        raise Invalid(
            "Reading YAML needs PyYAML, which is not installed.", hint="pip install 'larder[validate]', or write JSON"
        ) from error
    try:
        return yaml.load(io.StringIO(text), Loader=yaml.SafeLoader) or {}
    except yaml.YAMLError as error:
        raise Invalid(f"{place} is no YAML: {' '.join(str(error).split())[:300]}.", field="validate") from error


def _pandera() -> tuple[Any, Any]:
    try:
        import pandas
        import pandera.pandas
    except ImportError as error:
        raise Invalid(
            "Checking the columns of tables needs pandera, which is not installed.",
            hint="pip install 'larder[validate]'",
        ) from error
    return pandas, pandera.pandas


def _known() -> str:
    return "; ".join(
        f"{name}: {', '.join(kind.__struct_fields__)}"
        for name, kind in (
            ("top", Suite),
            ("files", Files),
            ("image", Image),
            ("tables", Expected),
            ("columns", Column),
        )
    )


verbs.checked[:] = [commit]
