"""Data versions: named, immutable trees of files, deduplicated by content.

A dataset has versions; a version is a tree: path to content hash, size, mode and, if any, metadata. Paths are relative,
in UTF-8 (NFC as given, never changed), with `/` between their parts. Sizes are bytes, times UTC microseconds.

Content is named by the BLAKE3 hash of its bytes (32 bytes). What is at most `WHOLE` bytes long is one chunk, named like
the content itself; longer content is cut at boundaries that its bytes define, and is a list of chunks. Chunks travel and
are kept in packs: objects of some megabytes with many chunks one after the other, each as it is or packed by Zstandard.

Columns in `bytes`: paths are UTF-8, each ended by a NUL; hashes 32 bytes each; numbers little-endian, of the width that
is said. The order of entries is that of the bytes of their paths.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from larder.contract.endpoint import Bytes, Endpoint, Nothing, Role

WHOLE = 1 << 20
"""Content up to so many bytes is one chunk."""

LEAST_CHUNK, USUAL_CHUNK, LARGEST_CHUNK = 1 << 18, 1 << 20, 1 << 22
"""Sizes between which longer content is cut (FastCDC, Xia et al., USENIX ATC 2016, normalization 2)."""

PACK = 16 << 20
"""A pack is closed when it has so many bytes."""

MOST_ENTRIES = 50_000
"""The longest page of entries, and the longest list of hashes in one call."""


class Mode(StrEnum):
    """What an entry is. A link's content is the path it leads to, relative to its folder, within the tree."""

    FILE = "file"
    EXECUTABLE = "executable"
    LINK = "link"
    EXTERNAL = "external"

    @property
    def number(self) -> int:
        """Its number in the column `modes`."""
        return list(Mode).index(self)


class VersionState(StrEnum):
    """An open version takes entries and is seen by its writer only; a committed one never changes."""

    OPEN = "open"
    COMMITTED = "committed"


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A dataset: a name in a project, its newest version, and what its versions hold together.

    `blind`: only an evaluator reads its items, all others see counts, schema and aggregate statistics.
    """

    id: str
    project: str
    name: str
    created: int
    user: str
    description: str = ""
    blind: bool = False
    versions: int = 0
    newest: "Version | None" = None
    aliases: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class NewDataset:
    """A wish for a dataset; it is there already where the project has one of that name (then nothing is changed)."""

    name: str
    project: str = ""
    description: str = ""
    blind: bool = False


@dataclass(frozen=True, kw_only=True)
class ChangeDataset:
    """What changes; None leaves as is. A blind dataset stays blind."""

    name: str | None = None
    description: str | None = None


@dataclass(frozen=True, kw_only=True)
class DatasetQuery:
    """Datasets by project and by a text in their name, description, tags and aliases."""

    project: str = ""
    text: str = ""
    limit: int = 100
    offset: int = 0


@dataclass(frozen=True, kw_only=True)
class Datasets:
    """One page of datasets, the last changed first."""

    datasets: list[Dataset]
    total: int


@dataclass(frozen=True, kw_only=True)
class Version:
    """A version of a dataset. `number` counts from 1 (0 while open).

    `files` and `bytes` are those of the whole tree; `added`, `removed`, `changed` count against the first parent;
    `new_bytes` were stored for it. `run` made it. `tree` names the tree by its content: equal trees have equal names.
    `statistics` are what was computed at its commit (see the how-to), `report` what the validation said.
    """

    id: str
    dataset: str
    project: str
    name: str
    number: int
    state: VersionState
    parents: list[str]
    message: str
    user: str
    created: int
    committed: int | None = None
    run: str = ""
    blind: bool = False
    tags: list[str] = field(default_factory=list)
    aliases: list[str] = field(default_factory=list)
    files: int = 0
    bytes: int = 0
    added: int = 0
    removed: int = 0
    changed: int = 0
    new_bytes: int = 0
    tree: str = ""
    statistics: dict[str, Any] = field(default_factory=dict)
    report: dict[str, Any] = field(default_factory=dict)

    @property
    def address(self) -> str:
        """How people write it: `project/name@v3`."""
        return f"{self.project}/{self.name}@v{self.number}"


@dataclass(frozen=True, kw_only=True)
class VersionQuery:
    """Versions of a dataset, the newest first; with `tag` only those that have it."""

    tag: str = ""
    limit: int = 100
    offset: int = 0


@dataclass(frozen=True, kw_only=True)
class Versions:
    """One page of committed versions."""

    versions: list[Version]
    total: int


@dataclass(frozen=True, kw_only=True)
class Address:
    """What people write: `[project/]name[@v3 | @alias | @tag | @version id]`, without `@` the newest version.

    Without a project the one of `project` is meant, and where that has no such dataset, the only one that has.
    `at`: the alias as it stood at that time.
    """

    address: str
    project: str = ""
    at: int | None = None


@dataclass(frozen=True, kw_only=True)
class NewVersion:
    """A wish for an open version. Its tree begins as that of the first parent, or, with `empty`, as nothing.

    `key`: the same key of the same writer answers the same open version, so that a killed commit goes on.
    """

    parents: list[str] = field(default_factory=list)
    empty: bool = False
    run: str = ""
    key: str = ""


@dataclass(frozen=True, kw_only=True)
class Entries:
    """A stretch of a tree as columns.

    `sizes` are signed 64-bit integers; `modes` one byte each, the number of a `Mode`. `external` and `metadata` by the
    place of the entry: the address whose bytes are recorded but not stored; what is known of the item (a document).
    """

    paths: bytes = b""
    hashes: bytes = b""
    sizes: bytes = b""
    modes: bytes = b""
    external: dict[int, str] = field(default_factory=dict)
    metadata: dict[int, dict[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class WrittenEntries:
    """Entries that an open version gets, and paths (as a column) that it loses; `part` counts from 0.

    A part that is sent again replaces the one of its number. `lists` gives the chunks of content longer than `WHOLE`, by
    the place of the entry in this part, as a column of hashes; only content that the server does not know needs one.
    """

    part: int
    entries: Entries = field(default_factory=Entries)
    removed: bytes = b""
    lists: dict[int, bytes] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Contents:
    """A column of hashes, at most `MOST_ENTRIES`."""

    hashes: bytes


@dataclass(frozen=True, kw_only=True)
class NewPack:
    """A pack about to be sent to `objects.PUT` under its hash."""

    hash: str
    bytes: int


@dataclass(frozen=True, kw_only=True)
class PackIndex:
    """What lies in a pack: for each chunk its hash, where it begins, how many bytes it takes there, and its size.

    `offsets`, `lengths`, `sizes` are unsigned 32-bit integers; a chunk whose length is not its size is packed by
    Zstandard.
    """

    hashes: bytes
    offsets: bytes
    lengths: bytes
    sizes: bytes


@dataclass(frozen=True, kw_only=True)
class Commit:
    """What is said of a version when it is committed. `newest` refuses with Conflict when another version than the first
    parent is the newest by now, so that two writers do not overrun one another; `cases` allows paths that differ only in
    upper and lower case."""

    message: str = ""
    tags: list[str] = field(default_factory=list)
    statistics: dict[str, Any] = field(default_factory=dict)
    report: dict[str, Any] = field(default_factory=dict)
    newest: bool = False
    cases: bool = False


@dataclass(frozen=True, kw_only=True)
class ChangeVersion:
    """Tags that a version gets and loses, another message; None leaves as is."""

    add_tags: list[str] = field(default_factory=list)
    remove_tags: list[str] = field(default_factory=list)
    message: str | None = None


@dataclass(frozen=True, kw_only=True)
class EntryQuery:
    """Entries of a version after a path, whose paths begin with `prefix`.

    With `parts` only those of the part `part`: an entry belongs to part `int.from_bytes(hash[:8]) % parts` of its content
    hash, so equal content stays together and a part keeps its items from version to version.
    With `against`, the id of a version of the same dataset that the caller holds, only what tells the two apart: entries
    that are new or other, and the paths that are gone. (All else of the query narrows both.)
    """

    after: str = ""
    prefix: str = ""
    limit: int = MOST_ENTRIES
    part: int = 0
    parts: int = 0
    against: str = ""


@dataclass(frozen=True, kw_only=True)
class EntryPage:
    """One page of entries; `next` is the last path where more follow, else empty.

    `against` repeats that of the query where only the difference is answered, with the paths that are `removed` as a
    column; empty where all entries are.
    """

    entries: Entries
    next: str = ""
    removed: bytes = b""
    against: str = ""


@dataclass(frozen=True, kw_only=True)
class FolderQuery:
    """What lies in a folder of the tree ("" is its root): folders first, then files, by name."""

    path: str = ""
    limit: int = 200
    offset: int = 0


@dataclass(frozen=True, kw_only=True)
class Item:
    """A file of a tree, or a folder with what lies below it (`files` counts those; 1 for a file itself)."""

    path: str
    folder: bool
    files: int
    bytes: int
    hash: str = ""
    mode: Mode = Mode.FILE
    external: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Folder:
    """One page of a folder; `total` counts what lies directly in it."""

    path: str
    items: list[Item]
    total: int
    files: int
    bytes: int


@dataclass(frozen=True, kw_only=True)
class ItemQuery:
    """One path of a version."""

    path: str


@dataclass(frozen=True, kw_only=True)
class ReadQuery:
    """One file of a version. `show`: for a page, images and texts come with their media type, sandboxed, instead of as a
    download."""

    path: str
    show: bool = False


@dataclass(frozen=True, kw_only=True)
class DiffQuery:
    """A version against another (by default its first parent, or nothing); `kind` restricts the listed changes."""

    against: str = ""
    kind: str = ""
    prefix: str = ""
    limit: int = 200
    offset: int = 0


@dataclass(frozen=True, kw_only=True)
class Changed:
    """One change: `added`, `removed`, `changed` or `renamed` (then `before` is the old path)."""

    kind: str
    path: str
    before: str = ""
    old_bytes: int = 0
    new_bytes: int = 0
    old_hash: str = ""
    new_hash: str = ""


@dataclass(frozen=True, kw_only=True)
class Diff:
    """What tells one tree from another. `size_delta` is the growth of the tree in bytes."""

    version: str
    against: str
    added: int
    removed: int
    changed: int
    renamed: int
    size_delta: int
    changes: list[Changed]
    total: int


@dataclass(frozen=True, kw_only=True)
class PackPlace:
    """A pack and how many bytes it has; `url` opens it straight in the object store for a while, where that can be."""

    hash: str
    bytes: int
    url: str = ""


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where contents of a version lie, in the order they were asked for.

    `counts` (unsigned 32-bit) says of how many chunks each content is made; then for all chunks one after the other:
    their hashes, the pack (unsigned 32-bit, a place in `packs`), where they begin in it, how many bytes they take there,
    their size.
    """

    counts: bytes
    hashes: bytes
    packs: list[PackPlace]
    pack: bytes
    offsets: bytes
    lengths: bytes
    sizes: bytes


@dataclass(frozen=True, kw_only=True)
class PackQuery:
    """Bytes of a pack: `ranges` as `begin-end,begin-end` (end not included), answered one after the other."""

    ranges: str


@dataclass(frozen=True, kw_only=True)
class NewAlias:
    """Where an alias shall point; `role`: who may move it from now on (None leaves as is, at first contributor)."""

    version: str
    role: Role | None = None


@dataclass(frozen=True, kw_only=True)
class AliasMove:
    """One move of an alias: to which version, when, by whom; version 0 for its end."""

    alias: str
    version: int
    time: int
    user: str


@dataclass(frozen=True, kw_only=True)
class Alias:
    """An alias with its history, the newest move first."""

    alias: str
    version: int
    role: Role
    history: list[AliasMove]


@dataclass(frozen=True, kw_only=True)
class Aliases:
    """The aliases of a dataset by name."""

    aliases: list[Alias]


@dataclass(frozen=True, kw_only=True)
class NewMerge:
    """A wish for a version with what two versions changed since they had one tree.

    `prefer`: "" refuses with Conflict where both changed one path, `ours` or `theirs` takes that side.
    """

    ours: str
    theirs: str
    prefer: str = ""
    message: str = ""


@dataclass(frozen=True, kw_only=True)
class NewUse:
    """That a run read (`input`) or wrote (`output`) a version, or a part of it."""

    run: str
    role: str = "input"
    part: str = ""
    served: dict[str, int] = field(default_factory=dict)
    """Bytes from the cache and from the network: `cached`, `fetched`."""


@dataclass(frozen=True, kw_only=True)
class Use:
    """A use of a version by a run, with the run's name and status where it is there."""

    run: str
    role: str
    part: str
    time: int
    version: str
    address: str
    served: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class UseQuery:
    """Uses of a version, or with `run` those of a run, or of all versions of a dataset."""

    version: str = ""
    run: str = ""
    dataset: str = ""
    limit: int = 1_000


@dataclass(frozen=True, kw_only=True)
class Uses:
    """Uses, the newest first."""

    uses: list[Use]


@dataclass(frozen=True, kw_only=True)
class Collect:
    """A wish to free bytes that no version needs. `dry`: only say how many."""

    dry: bool = True
    grace: int = 3_600
    """Seconds for which fresh content that no version needs is kept for open versions."""


@dataclass(frozen=True, kw_only=True)
class Collected:
    """What was, or would be, freed and kept."""

    dry: bool
    packs: int
    rewritten: int
    chunks: int
    bytes: int
    kept_bytes: int


@dataclass(frozen=True, kw_only=True)
class Verified:
    """What reading a version's stored bytes again found; `damaged` names files whose content is not what it should be."""

    files: int
    bytes: int
    damaged: list[str]


_DATASET = "/v1/datasets/{dataset_id}"
_VERSION = "/v1/dataset-versions/{version_id}"

CREATE = Endpoint(
    "POST", "/v1/datasets", NewDataset, Dataset, "Make a dataset, or find it", Role.CONTRIBUTOR, for_runs=True
)
LIST = Endpoint("GET", "/v1/datasets", DatasetQuery, Datasets, "Datasets, the last changed first")
GET = Endpoint("GET", _DATASET, Nothing, Dataset, "A dataset")
CHANGE = Endpoint("PATCH", _DATASET, ChangeDataset, Dataset, "Rename or describe a dataset", Role.CONTRIBUTOR)
DELETE = Endpoint("DELETE", _DATASET, Nothing, Nothing, "Delete a dataset with its versions", Role.MAINTAINER)
RESOLVE = Endpoint("GET", "/v1/dataset-address", Address, Version, "The version that an address means")
VERSIONS = Endpoint("GET", f"{_DATASET}/versions", VersionQuery, Versions, "Versions of a dataset, the newest first")
OPEN = Endpoint("POST", f"{_DATASET}/versions", NewVersion, Version, "Open a version", Role.CONTRIBUTOR, for_runs=True)
VERSION = Endpoint("GET", _VERSION, Nothing, Version, "A version of a dataset")
WRITE = Endpoint(
    "POST",
    f"{_VERSION}/entries",
    WrittenEntries,
    Nothing,
    "Give an open version entries, take some away",
    Role.CONTRIBUTOR,
    for_runs=True,
)
LACKING = Endpoint(
    "POST",
    f"{_VERSION}/lacking",
    Contents,
    Contents,
    "Which of these chunks are not stored; the others are kept for this open version",
    Role.CONTRIBUTOR,
    for_runs=True,
)
OPEN_PACK = Endpoint("POST", f"{_VERSION}/packs", NewPack, Nothing, "Announce a pack", Role.CONTRIBUTOR, for_runs=True)
CLOSE_PACK = Endpoint(
    "POST",
    f"{_VERSION}/packs/{{hash}}",
    PackIndex,
    Nothing,
    "Say what lies in a pack that was sent; each chunk is looked at",
    Role.CONTRIBUTOR,
    for_runs=True,
)
COMMIT = Endpoint(
    "POST",
    f"{_VERSION}/commit",
    Commit,
    Version,
    "Commit an open version: from now on it never changes",
    Role.CONTRIBUTOR,
    for_runs=True,
)
CHANGE_VERSION = Endpoint(
    "PATCH", _VERSION, ChangeVersion, Version, "Tag a version, or say something else of it", Role.CONTRIBUTOR
)
DELETE_VERSION = Endpoint(
    "DELETE",
    _VERSION,
    Nothing,
    Nothing,
    "Drop an open version, or delete a committed one that no alias names",
    Role.CONTRIBUTOR,
    for_runs=True,
)
ENTRIES = Endpoint("GET", f"{_VERSION}/entries", EntryQuery, EntryPage, "Entries of a version")
FOLDER = Endpoint("GET", f"{_VERSION}/folder", FolderQuery, Folder, "What lies in a folder of a version")
ITEM = Endpoint("GET", f"{_VERSION}/item", ItemQuery, Item, "One path of a version")
READ = Endpoint("GET", f"{_VERSION}/file", ReadQuery, Bytes, "The bytes of one file of a version")
DIFF = Endpoint("GET", f"{_VERSION}/diff", DiffQuery, Diff, "What tells a version from another")
PLACES = Endpoint("POST", f"{_VERSION}/places", Contents, Places, "Where contents of a version lie")
PACK_BYTES = Endpoint("GET", f"{_VERSION}/packs/{{hash}}/bytes", PackQuery, Bytes, "Bytes of a pack")
VERIFY = Endpoint("POST", f"{_VERSION}/verify", Nothing, Verified, "Read a version's stored bytes again and check them")
ALIASES = Endpoint("GET", f"{_DATASET}/aliases", Nothing, Aliases, "The aliases of a dataset with their history")
SET_ALIAS = Endpoint(
    "PUT", f"{_DATASET}/aliases/{{alias}}", NewAlias, Alias, "Let an alias point to a version", Role.CONTRIBUTOR
)
DROP_ALIAS = Endpoint(
    "DELETE", f"{_DATASET}/aliases/{{alias}}", Nothing, Nothing, "End an alias; its history stays", Role.CONTRIBUTOR
)
MERGE = Endpoint("POST", f"{_DATASET}/merges", NewMerge, Version, "Merge two versions into a new one", Role.CONTRIBUTOR)
USE = Endpoint(
    "POST",
    f"{_VERSION}/uses",
    NewUse,
    Nothing,
    "Record that a run read or wrote a version",
    Role.CONTRIBUTOR,
    for_runs=True,
)
USES = Endpoint("GET", "/v1/dataset-uses", UseQuery, Uses, "Which runs read and wrote versions")
COLLECT = Endpoint(
    "POST", "/v1/dataset-collections", Collect, Collected, "Free the bytes that no version needs", Role.MAINTAINER
)
