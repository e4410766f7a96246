"""A version in one file, or in a plain folder with a manifest: for machines that do not reach the server.

The file is a tar: `larder-version.json` (what the version is), `entries` (its tree as columns), `packs/N` and
`packs/N.index` (its content, each once), `lists` (the chunks of long contents). The folder holds the files as they are, and `larder-version.json` beside them
with path, hash and size of each.
"""

import io
import mmap
import os
import shutil
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
from blake3 import blake3

from larder.contract.datasets import PACK, WHOLE, Entries, PackIndex, Version
from larder.contract.errors import Conflict, Invalid
from larder.contract.paths import path_problem, shown
from larder.data.columns import EXTERNAL, HASH, Tree, entries, hashes_of, put_entries, size_of
from larder.data.cutting import lengths
from larder.data.packing import Chunk, Compressor, build, unpack
from larder.data.scanning import hash_file

MANIFEST = "larder-version.json"
FORM = 1


def about(version: Version) -> dict[str, Any]:
    """What is said of an exported version."""
    return {
        "larder": FORM,
        "address": version.address,
        "message": version.message,
        "tags": version.tags,
        "files": version.files,
        "bytes": version.bytes,
        "tree": version.tree,
        "statistics": version.statistics,
        "report": version.report,
    }


def write_file(to: Path, version: Version, tree: Tree, content: "Any") -> Path:
    """Write a tar; `content(path)` is the file of a path here."""
    compressor = Compressor()
    draft = to.with_name(f".{to.name}.{os.getpid()}.part")
    to.parent.mkdir(parents=True, exist_ok=True)
    try:
        with tarfile.open(draft, "w") as tar:
            _add(tar, MANIFEST, msgspec.json.format(msgspec.json.encode(about(version)), indent=2))
            _add(tar, "entries", msgspec.msgpack.encode(entries(tree, sorted(tree.records))))
            lists: dict[bytes, bytes] = {}
            for number, chunks in enumerate(_packfuls(tree, content, lists)):
                pack = build(chunks, compressor)
                _add(tar, f"packs/{number}.index", msgspec.msgpack.encode(pack.contents))
                _add(tar, f"packs/{number}", pack.data)
            _add(tar, "lists", msgspec.msgpack.encode(lists))
        os.replace(draft, to)
    finally:
        draft.unlink(missing_ok=True)
    return to


def write_folder(to: Path, version: Version, tree: Tree, laid_out: Path) -> Path:
    """Copy a laid-out tree into a fresh folder, with the manifest beside the files."""
    if MANIFEST.encode() in tree.records:
        raise Invalid(f"The version has a file {MANIFEST} of its own.", hint="Export it to a .tar instead.")
    shutil.copytree(laid_out, to, symlinks=True, copy_function=_copy)
    for where, _, _ in os.walk(to):
        os.chmod(where, 0o755)
    listed = [
        {"path": path.decode(), "hash": each[:HASH].hex(), "size": size_of(each)}
        for path, each in sorted(tree.records.items())
    ]
    document = about(version) | {"entries": listed}
    (to / MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(document), indent=2))
    return to


class Archive:
    """An exported file, opened: its tree, and the chunks of its contents."""

    def __init__(self, place: Path) -> None:
        try:
            self._tar = tarfile.open(place)  # noqa: SIM115 - closed by `close`
            self.about: dict[str, Any] = msgspec.json.decode(self._read(MANIFEST))
            page = msgspec.msgpack.decode(self._read("entries"), type=Entries)
        except (OSError, KeyError, tarfile.TarError, msgspec.MsgspecError) as error:
            raise Invalid(f"{str(place)!r} is no exported version: {error}") from error
        self.tree = Tree()
        try:
            put_entries(self.tree, page)
        except ValueError as error:
            raise Invalid(f"{str(place)!r} is damaged: {error}") from error
        for path in self.tree.records:
            problem = path_problem(path)
            if problem:
                raise Invalid(f"{str(place)!r}: the path {shown(path)} {problem}.")
        self._name = str(place)
        self._chunks: dict[bytes, tuple[int, int, int, int]] = {}
        self._content: dict[bytes, list[bytes]] = {}
        self._index()

    def close(self) -> None:
        """Close the file."""
        self._tar.close()

    def contents(self, hash: bytes) -> Iterator[bytes]:
        """The chunks of a content, each checked."""
        for name in self._content.get(hash, [hash]):
            yield self._chunk(name)

    def _index(self) -> None:
        lists = self._tar.getnames()
        for name in lists:
            if not name.endswith(".index"):
                continue
            member = self._tar.getmember(name.removesuffix(".index"))
            index = msgspec.msgpack.decode(self._read(name), type=PackIndex)
            hashes = hashes_of(index.hashes)
            for at, hash in enumerate(hashes):
                begin, length, size = (
                    int.from_bytes(column[4 * at : 4 * at + 4], "little")
                    for column in (index.offsets, index.lengths, index.sizes)
                )
                self._chunks[hash] = (member.offset_data + begin, length, size, member.size)
        if "lists" in lists:
            found = msgspec.msgpack.decode(self._read("lists"), type=dict[bytes, bytes])
            self._content = {hash: hashes_of(column) for hash, column in found.items()}

    def _chunk(self, hash: bytes) -> bytes:
        try:
            begin, length, size, _ = self._chunks[hash]
        except KeyError:
            raise Conflict(f"{self._name} is damaged: a chunk that it needs is not in it.") from None
        file: Any = self._tar.fileobj
        file.seek(begin)
        data = unpack(file.read(length), size, hash)
        if data is None:
            raise Conflict(f"{self._name} is damaged: a chunk has not the content that it should have.")
        return data

    def _read(self, name: str) -> bytes:
        file = self._tar.extractfile(name)
        if file is None:
            raise KeyError(name)
        return file.read()


def check_folder(folder: Path) -> dict[str, Any]:
    """The manifest of an exported folder, once every file of it is known to be right."""
    try:
        found: dict[str, Any] = msgspec.json.decode((folder / MANIFEST).read_bytes())
        listed = found["entries"]
    except (OSError, KeyError, msgspec.DecodeError) as error:
        raise Invalid(f"{str(folder)!r} is no exported version: it has no {MANIFEST} that can be read.") from error
    wrong = []
    for each in listed:
        path = each["path"].encode()
        if path_problem(path):
            raise Invalid(f"{str(folder)!r}: the path {shown(path)} {path_problem(path)}.")
        place = folder / each["path"]
        try:
            if place.is_symlink():
                right = blake3(os.readlink(os.fsencode(place))).hexdigest() == each["hash"]
            else:
                right = hash_file(place)[0].hex() == each["hash"]
        except OSError:
            right = False
        if not right:
            wrong.append(each["path"])
    if wrong:
        raise Conflict(
            f"{str(folder)!r} is damaged: {', '.join(wrong[:10])} {'is' if len(wrong) == 1 else 'are'} not what was exported."
        )
    return found


def _packfuls(tree: Tree, content: Any, lists: dict[bytes, bytes]) -> Iterator[list[Chunk]]:
    """All chunks in portions of a pack, each once; `lists` gets the chunks of long contents."""
    chunks: list[Chunk] = []
    weight = 0
    seen: set[bytes] = set()
    done: set[bytes] = set()
    for path, each in sorted(tree.records.items()):
        whole = each[:HASH]
        if each[32:33] == EXTERNAL or whole in done:
            continue
        done.add(whole)
        names = []
        for chunk in _pieces(content(path), size_of(each)):
            hash = blake3(chunk).digest()
            names.append(hash)
            if hash in seen:
                continue
            seen.add(hash)
            chunks.append(Chunk(hash, chunk, os.path.splitext(path)[1]))
            weight += len(chunk)
            if weight >= PACK:
                yield chunks
                chunks, weight = [], 0
        if size_of(each) > WHOLE:
            lists[whole] = b"".join(names)
        if b"".join(names[:1]) != whole and size_of(each) <= WHOLE:
            raise Conflict(f"{shown(path)} is not what the version says.", hint="Get it anew.")
    if chunks:
        yield chunks


def _pieces(data: "bytes | Path", size: int) -> Iterable[bytes]:
    if isinstance(data, bytes):
        yield data
        return
    if size <= WHOLE:
        yield data.read_bytes()
        return
    with data.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        view = memoryview(mapped)
        try:
            at = 0
            for length in lengths(view):
                yield bytes(view[at : at + length])
                at += length
        finally:
            view.release()


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))


def _copy(source: str, to: str) -> None:
    shutil.copyfile(source, to)
    os.chmod(to, 0o755 if os.access(source, os.X_OK) else 0o644)
