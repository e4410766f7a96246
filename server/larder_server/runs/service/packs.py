"""The files of a commit that travelled with a run, out of git's own format; nothing is written, no git is called."""

import io
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping

from dulwich.object_format import SHA1
from dulwich.objects import Blob, Commit, ObjectID, Tree
from dulwich.pack import MemoryPackIndex, Pack, PackData

Files = Mapping[str, bytes | None]
"""The content of each file by path; None for one that is too large to be kept here."""

LARGEST_PACK = 50_000_000
_LARGEST_FILE = 1_000_000
_LARGEST_ALL = 16_000_000
_KEPT = 4
_FOLDER, _LINK, _SUBMODULE = 0o040000, 0o120000, 0o160000


class Packs:
    """Remembers the files of the packs that were opened last, by the hash of their bytes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._files: OrderedDict[tuple[str, str], Files] = OrderedDict()

    def remembered(self, hash: str, commit: str) -> Files | None:
        """The files, where this pack was opened before."""
        with self._lock:
            found = self._files.get((hash, commit))
            if found is not None:
                self._files.move_to_end((hash, commit))
            return found

    def open(self, hash: str, data: bytes, commit: str, *, tree: str = "") -> Files:
        """The files of a commit, or of the tree that stands for it. Raises ValueError when the pack does not hold it."""
        files = _files(data, commit, tree)
        with self._lock:
            self._files[hash, commit] = files
            while len(self._files) > _KEPT:
                self._files.popitem(last=False)
        return files


def _files(data: bytes, commit: str, tree: str) -> Files:
    start = data.find(b"PACK", 0 if data[:4] == b"PACK" else data.find(b"\n\n"))
    if start < 0:
        raise ValueError("there is no pack in the bundle")
    packed = PackData.from_file(io.BytesIO(data[start:]), SHA1, len(data) - start)
    pack = Pack.from_objects(packed, MemoryPackIndex([*packed.sorted_entries()], SHA1, packed.get_stored_checksum()))
    root = ObjectID(tree.encode())
    if not tree:
        head = pack[ObjectID(commit.encode())]
        if not isinstance(head, Commit):
            raise ValueError("the pack holds something else under the commit's name")
        root = head.tree
    found: dict[str, bytes | None] = {}
    size = 0
    for path, sha in _blobs(pack, root, ""):
        blob = pack[sha]
        content = blob.data if isinstance(blob, Blob) else b""
        size += len(content)
        found[path] = content if len(content) <= _LARGEST_FILE and size <= _LARGEST_ALL else None
    return found


def _blobs(pack: Pack, tree: ObjectID, prefix: str) -> Iterator[tuple[str, ObjectID]]:
    """Path and hash of every file below a tree; links and other repositories are no code of this one."""
    listed = pack[tree]
    if not isinstance(listed, Tree):
        raise ValueError("a folder in the pack is none")
    for name, mode, sha in listed.iteritems():
        path = prefix + name.decode("utf-8", "replace")
        if mode == _FOLDER:
            yield from _blobs(pack, sha, f"{path}/")
        elif mode not in (_LINK, _SUBMODULE):
            yield path, sha
