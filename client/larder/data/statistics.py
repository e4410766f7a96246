"""Statistics of a version, computed at its commit: how many files of which kinds, pictures, texts, tables, and a preview.

What is known of a content is kept by its hash in the cache of this machine, so that content is looked at once: while it is
read for the commit, never for the statistics alone, except for tables. Other files cost next to nothing.
"""

import contextlib
import os
import re
import struct
import sys
from collections import Counter
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from blake3 import blake3

from larder.data import figures, pictures, profiling
from larder.data.cache import write
from larder.data.columns import EXTERNAL, HASH, LINK, RECORD, Tree, hashes_of, size_of
from larder.data.figures import Document
from larder.data.tables import format_of

LARGEST = 100_000
"""Bytes of the document at most."""

_MOST_GROUPS = 50
_MOST_TABLES = 20
_MOST_PARTS = 32
_MOST_FILES = 200
_MOST_BYTES = 512 << 20
_LONG_TEXT = 16 << 20
_PICTURES, _PREVIEWED = 12, 5
_FORMAT = 1

_FACT = struct.Struct("<BII")
_TEXT, _BROKEN = 100, 101
_CLAMP = (1 << 32) - 1

_IMAGE_ENDS = pictures.ENDINGS
_TEXT_ENDS = frozenset({b"txt", b"text", b"md", b"rst"})
_TABLE_ENDS = frozenset({b"csv", b"tsv", b"parquet", b"pq", b"json", b"jsonl", b"ndjson"})
_LOOKED_AT = frozenset({*_IMAGE_ENDS, *_TEXT_ENDS, *_TABLE_ENDS})

Place = Callable[[bytes], "bytes | str | Path | None"]
"""Where the content of a path of the tree lies on this machine; None when it does not."""


def fact(data: bytes, end: bytes) -> bytes:
    """What is kept of a picture (format, width, height) or of a text (characters, lines), by the end of its name. Pure."""
    if end in _IMAGE_ENDS:
        found = pictures.size(data)
        return _FACT.pack(*found) if found is not None else _FACT.pack(_BROKEN, 0, 0)
    try:
        characters = len(data.decode())
    except UnicodeDecodeError:
        characters = len(data)
    lines = data.count(b"\n") + bool(data and not data.endswith(b"\n"))
    return _FACT.pack(_TEXT, min(_CLAMP, characters), min(_CLAMP, lines))


def ending(path: bytes) -> bytes:
    """What a name ends in, behind its last dot; empty when it has none."""
    name = path[path.rfind(b"/") + 1 :]
    dot = name.rfind(b".")
    return name[dot + 1 :].lower() if dot > 0 else b""


class Gathering:
    """The statistics of one commit. `look` is called for each file that the commit reads, `document` at its end.

    `place`: the file of this machine in which facts of the contents of a dataset are kept; None keeps none.
    """

    def __init__(self, place: Path | None = None) -> None:
        self._place = place
        self._facts: dict[bytes, bytes] = {}
        self._tables: dict[bytes, Document] = {}
        self._lie: dict[bytes, bytes] = {}
        self._loaded = self._fresh = False

    def look(self, path: bytes, record: bytes, data: bytes | None, place: bytes) -> None:
        """A file was read: its path in the tree, its record, its content where it is short, and where it lies."""
        end = path[path.rfind(b".") + 1 :].lower()
        if end not in _LOOKED_AT:
            return
        if not self._loaded:
            self._load()
        if end in _TABLE_ENDS:
            self._lie[path] = place
        elif record[:HASH] not in self._facts:
            if data is not None:
                self._facts[record[:HASH]] = fact(data, end)
                self._fresh = True
                return
            with contextlib.suppress(OSError):  # gone since it was read: then it was not looked at
                self._learn(record, end, place)

    def document(self, tree: Tree, base: Tree, parent: Mapping[str, Any], place_of: Place) -> Document:
        """The statistics of a tree. `base` is the tree of the parent and `parent` its statistics: what cannot be looked at
        here and has not changed is taken from there."""
        records = tree.records
        notes: list[str] = []
        modes, sizes = _modes_and_sizes(records.values())
        found: Document = {"form": _FORMAT, "files": len(records), "bytes": sum(sizes)}
        if links := modes.count(LINK):
            found["links"] = links
        if external := modes.count(EXTERNAL):
            found["external"] = external
        if records:
            found["sizes"] = figures.powers(sizes)
        groups = _groups(records, sizes)
        found["extensions"] = _extensions(groups)
        if folders := _folders(groups):
            found["folders"] = folders
        images, texts, tables = (
            [path for (_, end), each in groups.items() if end.lower() in ends for path in each.paths or ()]
            for ends in (_IMAGE_ENDS, _TEXT_ENDS, _TABLE_ENDS)
        )
        if images or texts or tables:
            if not self._loaded:
                self._load()
            changed = {path for path, _ in records.items() ^ base.records.items()} if parent else set()
            if images:
                found["images"] = self._section("images", images, tree, changed, parent, place_of, notes)
                step = max(1, len(images) // _PICTURES)
                found["previews"] = {"images": [path.decode() for path in sorted(images)[::step][:_PICTURES]]}
            if texts:
                found["texts"] = self._section("texts", texts, tree, changed, parent, place_of, notes)
            if tables:
                self._add_tables(found, sorted(tables), tree, changed, parent, place_of, notes)
            self._save(tree)
        if notes:
            found["notes"] = notes
        return bounded(found)

    # -- pictures and texts

    def _section(
        self,
        name: str,
        chosen: Sequence[bytes],
        tree: Tree,
        changed: set[bytes],
        parent: Mapping[str, Any],
        place_of: Place,
        notes: list[str],
    ) -> Document:
        facts, records = self._facts, tree.records
        known = Counter(map(facts.get, [records[path][:HASH] for path in chosen]))
        if known[None]:
            carried = parent.get(name)
            ends: Container[bytes] = _IMAGE_ENDS if name == "images" else _TEXT_ENDS
            if isinstance(carried, dict) and not any(ending(path) in ends for path in changed):
                return dict(carried)
            for path in chosen:
                if records[path][:HASH] in facts or records[path][HASH : HASH + 1] in (EXTERNAL, LINK):
                    continue
                place = place_of(path)
                if place is not None:
                    with contextlib.suppress(OSError):
                        self._learn(records[path], ending(path), os.fsencode(place))
            known = Counter(map(facts.get, [records[path][:HASH] for path in chosen]))
        unknown = known.pop(None, 0)
        found: Document = {"files": len(chosen), "looked_at": len(chosen) - unknown}
        found |= _images(known) if name == "images" else _texts(known)  # type: ignore[arg-type]
        if unknown:
            notes.append(
                f"{unknown} of {len(chosen)} {name} were not looked at: too long, or not on the machine of the commit."
            )
        return found

    def _learn(self, record: bytes, end: bytes, place: bytes) -> None:
        if end in _TEXT_ENDS and size_of(record) > _LONG_TEXT:
            return
        with open(place, "rb") as file:
            data = file.read(pictures.HEAD if end in _IMAGE_ENDS else -1)
        self._facts[record[:HASH]] = fact(data, end)
        self._fresh = True

    # -- tables

    def _add_tables(
        self,
        found: Document,
        paths: Sequence[bytes],
        tree: Tree,
        changed: set[bytes],
        parent: Mapping[str, Any],
        place_of: Place,
        notes: list[str],
    ) -> None:
        folders: dict[tuple[str, str], list[bytes]] = {}
        for path in paths:
            if tree.records[path][HASH : HASH + 1] not in (EXTERNAL, LINK):
                text = path.decode()
                folders.setdefault((_home(text), format_of(text)), []).append(path)
        read = count = 0
        profiles: dict[bytes, Document] = {}
        for group in folders.values():
            step = max(1, len(group) // _MOST_PARTS)
            for path in group[::step][:_MOST_PARTS]:
                record = tree.records[path]
                known = self._tables.get(record[:HASH])
                if known is None:
                    size = size_of(record)
                    if count >= _MOST_FILES or (read and read + size > _MOST_BYTES):
                        continue
                    place = self._lie.get(path) or place_of(path)
                    if place is None:
                        continue
                    count, read = count + 1, read + min(size, 4 * profiling.LARGE)
                    try:
                        known = profiling.profile(os.fsdecode(place), path.decode())
                    except OSError:  # gone meanwhile; the commit itself says what is to be said
                        continue
                    self._tables[record[:HASH]] = known
                    self._fresh = True
                profiles[path] = known
        carried = {each.get("path"): each for each in parent.get("tables", ()) if isinstance(each, dict)}
        tables: list[Document] = []
        heads: list[Document] = []
        for (_, form), group in folders.items():
            tables += _tables_of(group, form, tree, profiles, changed, carried, heads, notes)
        for head in parent.get("previews", {}).get("tables", ()) if carried else ():
            if all(each["path"] != head.get("path") for each in heads) and any(
                each == carried.get(each["path"]) for each in tables
            ):
                heads.append(head)
        if tables:
            tables.sort(key=lambda each: str(each["path"]))
            if len(tables) > _MOST_TABLES:
                notes.append(f"{len(tables) - _MOST_TABLES} of {len(tables)} tables are not described.")
            found["tables"] = tables[:_MOST_TABLES]
        if heads:
            found.setdefault("previews", {})["tables"] = heads[:_PREVIEWED]

    # -- what is kept on this machine

    def _load(self) -> None:
        self._loaded = True
        if self._place is None:
            return
        try:
            form, check, document = msgspec.msgpack.decode(self._place.read_bytes())
            if form != _FORMAT or blake3(document).digest() != check:
                return
            hashes, facts, tables = msgspec.msgpack.decode(document)
        except (OSError, ValueError, TypeError, msgspec.MsgspecError):
            return
        width = _FACT.size
        self._facts = dict(
            zip(hashes_of(hashes), (facts[at : at + width] for at in range(0, len(facts), width)), strict=False)
        )
        self._tables = tables

    def _save(self, tree: Tree) -> None:
        if self._place is None or not self._fresh:
            return
        facts, tables = self._facts, self._tables
        if len(facts) + len(tables) > 2 * len(tree) + 1_000:
            # Of what went out of the dataset long ago nobody asks again.
            kept = {each[:HASH] for each in tree.records.values()}
            facts = {hash: each for hash, each in facts.items() if hash in kept}
            tables = {hash: each for hash, each in tables.items() if hash in kept}
        document = msgspec.msgpack.encode((b"".join(facts), b"".join(facts.values()), tables))
        with contextlib.suppress(OSError):  # without it the next commit looks once more; that is all
            self._place.parent.mkdir(parents=True, exist_ok=True)
            write(self._place, msgspec.msgpack.encode((_FORMAT, blake3(document).digest(), document)))


# -- pure ------------------------------------------------------------------------------------------------------------


def _images(facts: Counter[bytes]) -> Document:
    formats: Counter[str] = Counter()
    sizes: Counter[tuple[int, int]] = Counter()
    broken = 0
    for each, count in facts.items():
        kind, width, height = _FACT.unpack(each)
        if kind == _BROKEN:
            broken += count
        elif kind < len(pictures.FORMATS):
            formats[pictures.FORMATS[kind]] += count
            sizes[width, height] += count
    if not formats:
        return {"broken": broken}
    widths: Counter[float] = Counter()
    heights: Counter[float] = Counter()
    for (width, height), count in sizes.items():
        widths[width] += count
        heights[height] += count
    most = sorted(sizes.items(), key=lambda each: (-each[1], each[0]))[:_MOST_GROUPS]
    return {
        "broken": broken,
        "formats": dict(sorted(formats.items())),
        "sizes": [{"width": width, "height": height, "files": count} for (width, height), count in most],
        "width": figures.numbers(widths),
        "height": figures.numbers(heights),
    }


def _texts(facts: Counter[bytes]) -> Document:
    characters: Counter[float] = Counter()
    lines: Counter[float] = Counter()
    for each, count in facts.items():
        kind, first, second = _FACT.unpack(each)
        if kind == _TEXT:
            characters[first] += count
            lines[second] += count
    return {"characters": figures.numbers(characters), "lines": figures.numbers(lines)}


@dataclass
class _Group:
    """Files of one folder whose names have the same end; their paths where they are looked at."""

    paths: list[bytes] | None
    files: int = 0
    bytes: int = 0


def _modes_and_sizes(records: Iterable[bytes]) -> tuple[bytes, Sequence[int]]:
    """The columns of modes and of sizes. Bytes are taken with a stride: this is asked of every file of every commit."""
    joined = b"".join(records)
    column = bytearray(len(joined) // RECORD * 8)
    for at in range(8):
        column[at::8] = joined[HASH + 1 + at :: RECORD]
    if sys.byteorder == "big":
        return joined[HASH::RECORD], struct.unpack(f"<{len(column) // 8}q", column)
    return joined[HASH::RECORD], memoryview(column).cast("q").tolist()


def _groups(paths: Iterable[bytes], sizes: Iterable[int]) -> dict[tuple[bytes, bytes], _Group]:
    """Files by folder and end of the name."""
    found: dict[tuple[bytes, bytes], _Group] = {}
    for path, size in zip(paths, sizes, strict=True):
        folder, _, name = path.rpartition(b"/")
        stem, _, end = name.rpartition(b".")
        key = (folder, end if stem else b"")
        each = found.get(key)
        if each is None:
            each = found[key] = _Group([] if key[1].lower() in _LOOKED_AT else None)
        each.files += 1
        each.bytes += size
        if each.paths is not None:
            each.paths.append(path)
    return found


def _extensions(groups: Mapping[tuple[bytes, bytes], _Group]) -> list[Document]:
    counts: dict[str, list[int]] = {}
    for (_, end), each in groups.items():
        total = counts.setdefault(f".{end.lower().decode()}" if end else "", [0, 0])
        total[0] += each.files
        total[1] += each.bytes
    return _most("extension", [(end, files, size) for end, (files, size) in counts.items()])


def _folders(groups: Mapping[tuple[bytes, bytes], _Group]) -> list[Document]:
    """Folders of the second level, or of the first where these would be too many."""
    counts: dict[bytes, list[int]] = {}
    for depth in (2, 1):
        counts = {}
        for (folder, _), each in groups.items():
            total = counts.setdefault(b"/".join(folder.split(b"/", depth)[:depth]), [0, 0])
            total[0] += each.files
            total[1] += each.bytes
        if len(counts) <= _MOST_GROUPS:
            break
    if counts.keys() <= {b""}:
        return []
    return _most("folder", [(name.decode(), files, size) for name, (files, size) in counts.items()])


def _most(key: str, groups: list[tuple[str, int, int]]) -> list[Document]:
    """The largest groups, and what the others have together under the name `…`."""
    groups.sort(key=lambda each: (-each[1], each[0]))
    rest = groups[_MOST_GROUPS:]
    if rest:
        groups = [*groups[:_MOST_GROUPS], ("…", sum(each[1] for each in rest), sum(each[2] for each in rest))]
    return [{key: name, "files": count, "bytes": size} for name, count, size in groups]


def _home(path: str) -> str:
    """The folder whose parts make up one table: folders such as `day=2026-03-01` are a part of it."""
    folder = path.rpartition("/")[0]
    return re.sub(r"(^|/)[^/=]+=.*", "", folder)


def _tables_of(
    paths: Sequence[bytes],
    form: str,
    tree: Tree,
    profiles: Mapping[bytes, Document],
    changed: set[bytes],
    carried: Mapping[Any, Document],
    heads: list[Document],
    notes: list[str],
) -> list[Document]:
    """The tables of a folder: files with the same columns are parts of one."""
    alike: dict[tuple[str, ...], list[bytes]] = {}
    for path in paths:
        each = profiles.get(path)
        if each is not None and "columns" in each:
            alike.setdefault(tuple(column["name"] for column in each["columns"]), []).append(path)
        elif each is not None and each.get("problem") and form != "json":  # a configuration is no table, and no trouble
            notes.append(f"{path.decode()} {each['problem']}.")
    unknown = [path for path in paths if path not in profiles]
    name = _pattern(paths)
    if not alike:
        # Nothing of it can be looked at here; what the parent says is true as long as nothing has changed.
        return [dict(carried[name])] if unknown and changed.isdisjoint(paths) and name in carried else []
    found = []
    for names, parts in alike.items():
        every = [*parts, *unknown] if len(alike) == 1 else parts
        name = _pattern(every)
        if len(every) > len(parts) and changed.isdisjoint(every) and name in carried:
            found.append(dict(carried[name]))
            continue
        found.append(_table(name, form, every, parts, tree, [profiles[part] for part in parts]))
        heads.append(
            {"path": name, "columns": list(names)[: profiling.HEAD_COLUMNS], "rows": profiles[parts[0]]["head"]}
        )
    return found


def _pattern(paths: Sequence[bytes]) -> str:
    """How a table is called: its file, or `folder/*.csv` for several."""
    if len(paths) == 1:
        return paths[0].decode()
    text = paths[0].decode()
    home, end = _home(text), ending(paths[0]).decode()
    deep = any(path.decode().rpartition("/")[0] != home for path in paths)
    return f"{home}/{'**/' if deep else ''}*.{end}".lstrip("/")


def _table(
    path: str, form: str, every: Sequence[bytes], parts: Sequence[bytes], tree: Tree, profiles: Sequence[Document]
) -> Document:
    rows = sum(each["rows"] for each in profiles)
    size = sum(size_of(tree.records[each]) for each in every)
    found: Document = {"path": path, "files": len(every), "format": form, "bytes": size, "rows": rows}
    if any(each.get("rows_estimated") for each in profiles):
        found["rows_estimated"] = True
    if any("sampled_rows" in each for each in profiles):
        found["sampled_rows"] = sum(each.get("sampled_rows", each["rows"]) for each in profiles)
    if len(parts) < len(every):
        looked = sum(size_of(tree.records[each]) for each in parts)
        found |= {
            "rows": round(rows * size / max(1, looked)),
            "rows_estimated": True,
            "sampled_rows": rows,
            "sampled_files": len(parts),
        }
    columns = []
    for at in range(len(profiles[0]["columns"])):
        merged = figures.merged_columns([each["columns"][at] for each in profiles])
        columns.append({key: value for key, value in merged.items() if key != "rows"})
    found["columns"] = columns
    return found


def bounded(document: Document) -> Document:
    """The document with so much left out that it is no longer than `LARGEST`; a note says so. Pure."""
    cuts: Sequence[tuple[str, Callable[[Document], None]]] = (
        ("the previews of tables", _cut_previews),
        ("the most frequent values", lambda found: _cut_columns(found, "top")),
        ("the histograms of columns", lambda found: _cut_columns(found, "histogram")),
        ("columns after the 20th", lambda found: _cut_many(found, 20)),
        ("the columns of tables", lambda found: _cut_many(found, 0)),
        ("tables and folders", _cut_all),
    )
    found = document
    if len(msgspec.json.encode(found)) <= LARGEST:
        return found
    found = msgspec.json.decode(msgspec.json.encode(found), type=dict[str, Any])
    for name, cut in cuts:
        cut(found)
        found["notes"] = [*found.get("notes", [])[:20], f"Left out, because it would be too long: {name}."]
        if len(msgspec.json.encode(found)) <= LARGEST:
            break
    return found


def _cut_previews(found: Document) -> None:
    found.get("previews", {}).pop("tables", None)


def _cut_all(found: Document) -> None:
    for key in ("tables", "folders", "previews"):
        found.pop(key, None)


def _cut_columns(found: Document, key: str) -> None:
    for table in found.get("tables", ()):
        for column in table.get("columns", ()):
            column.pop(key, None)


def _cut_many(found: Document, most: int) -> None:
    for table in found.get("tables", ()):
        table["columns"] = table.get("columns", [])[:most]


__all__ = ["LARGEST", "Gathering", "bounded", "ending", "fact"]
