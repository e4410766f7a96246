"""The verbs of data versions. Each takes `transport` (by default the configured server) and, where it needs one, `cache`."""

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from larder import config, guard
from larder.contract import datasets as contract
from larder.contract.addresses import parse
from larder.contract.datasets import Dataset, Diff, Item, Version
from larder.contract.endpoint import Nothing, Role
from larder.contract.errors import Conflict, Denied, Invalid, NotFound, Unavailable
from larder.contract.ids import is_id
from larder.contract.paths import check_path, shown
from larder.data import archive, local, tables, uses
from larder.data.cache import Cache, full, remove
from larder.data.columns import EXECUTABLE, HASH, Tree, size_of
from larder.data.committing import Committing, Source, Wish
from larder.data.fetching import Fetcher, entries, relate
from larder.data.laying import Laid, lay
from larder.data.local import Differences
from larder.data.progress import Hear, Meter
from larder.data.scanning import Stats, texts
from larder.transport import Transport

_PAGE = 500

checked: list[Callable[..., Version]] = []
"""What commits after a look at what is expected: `validating`, which itself stands on these verbs, puts itself here."""


# -- datasets and versions -------------------------------------------------------------------------------------------


def create(
    name: str, *, project: str = "", description: str = "", blind: bool = False, transport: Transport | None = None
) -> Dataset:
    """Make a dataset, or find it. `name` may be `project/name`. Items of a `blind` one are read by evaluators only."""
    parsed = parse(name)
    if not parsed.name or "@" in name:
        raise Invalid(f"{name!r} names a version; a dataset is [project/]name.", field="name")
    order = contract.NewDataset(
        name=parsed.name, project=parsed.project or _project(project), description=description, blind=blind
    )
    return _connected(transport).call(contract.CREATE, order)


def datasets(*, project: str = "", text: str = "", transport: Transport | None = None) -> list[Dataset]:
    """Datasets, the last changed first, by project and by a text in their name, description, tags and aliases."""
    transport = _connected(transport)
    found: list[Dataset] = []
    while True:
        query = contract.DatasetQuery(project=project, text=text, limit=100, offset=len(found))
        page = transport.call(contract.LIST, query)
        found += page.datasets
        if len(found) >= page.total or not page.datasets:
            return found


def dataset(name: str, *, project: str = "", transport: Transport | None = None) -> Dataset:
    """A dataset by `[project/]name`, or by the address of a version of it."""
    transport = _connected(transport)
    parsed = parse(name)
    if not parsed.name:
        version = resolve(name, transport=transport)
        return transport.call(contract.GET, Nothing(), dataset_id=version.dataset)
    project = parsed.project or project or os.environ.get("LARDER_PROJECT", "")
    found = [each for each in datasets(text=parsed.name, transport=transport) if each.name == parsed.name]
    chosen = [each for each in found if not project or each.project == project]
    if not chosen and not parsed.project:
        chosen = found
    if not chosen:
        raise NotFound(f"There is no dataset {name!r}.", hint="`larder data ls` lists them.")
    if len(chosen) > 1:
        where = ", ".join(f"{each.project}/{each.name}" for each in chosen)
        raise Invalid(f"{name!r} is the name of {len(chosen)} datasets: {where}.", hint="Write its project before it.")
    return chosen[0]


def resolve(address: str, *, project: str = "", at: int | None = None, transport: Transport | None = None) -> Version:
    """The version that an address means. `at` (UTC µs): an alias as it stood at that time."""
    query = contract.Address(address=address, project=_project(project), at=at)
    return _connected(transport).call(contract.RESOLVE, query)


def log(
    name: str, *, tag: str = "", limit: int = 0, project: str = "", transport: Transport | None = None
) -> list[Version]:
    """The versions of a dataset, the newest first; with `tag` only those that have it."""
    transport = _connected(transport)
    home = dataset(name, project=project, transport=transport)
    found: list[Version] = []
    while True:
        size = min(100, limit - len(found)) if limit else 100
        query = contract.VersionQuery(tag=tag, limit=size, offset=len(found))
        page = transport.call(contract.VERSIONS, query, dataset_id=home.id)
        found += page.versions
        if len(found) >= page.total or not page.versions or (limit and len(found) >= limit):
            return found


def ls(address: str, path: str = "", *, project: str = "", transport: Transport | None = None) -> list[Item]:
    """What lies in a folder of a version, folders first."""
    transport = _connected(transport)
    version = resolve(address, project=project, transport=transport)
    found: list[Item] = []
    while True:
        query = contract.FolderQuery(path=path.strip("/"), limit=_PAGE, offset=len(found))
        page = transport.call(contract.FOLDER, query, version_id=version.id)
        found += page.items
        if len(found) >= page.total or not page.items:
            return found


def diff(
    address: str,
    other: str = "",
    *,
    kind: str = "",
    prefix: str = "",
    limit: int = 1_000,
    project: str = "",
    transport: Transport | None = None,
) -> Diff:
    """What tells one version from another: what happened between `address` and `other`.

    With one address: what it changed against its parent. `kind`: added, removed, changed or renamed; `limit` 0 lists all.
    """
    transport = _connected(transport)
    new = resolve(other or address, project=project, transport=transport)
    old = resolve(address, project=project, transport=transport).id if other else ""
    changes: list[contract.Changed] = []
    while True:
        size = min(_PAGE, limit - len(changes)) if limit else _PAGE
        query = contract.DiffQuery(against=old, kind=kind, prefix=prefix, limit=size, offset=len(changes))
        page = transport.call(contract.DIFF, query, version_id=new.id)
        changes += page.changes
        if len(changes) >= page.total or not page.changes or (limit and len(changes) >= limit):
            return Diff(**{name: getattr(page, name) for name in page.__dataclass_fields__} | {"changes": changes})


def tag(
    address: str,
    *tags: str,
    remove: Sequence[str] = (),
    message: str | None = None,
    project: str = "",
    transport: Transport | None = None,
) -> Version:
    """Give a version tags, take some away, or give it another message."""
    transport = _connected(transport)
    version = resolve(address, project=project, transport=transport)
    order = contract.ChangeVersion(add_tags=list(tags), remove_tags=list(remove), message=message)
    return transport.call(contract.CHANGE_VERSION, order, version_id=version.id)


def alias(
    address: str, name: str, *, role: Role | None = None, project: str = "", transport: Transport | None = None
) -> contract.Alias:
    """Let an alias point to a version. With `role` only that role and those above may move it from now on."""
    transport = _connected(transport)
    version = resolve(address, project=project, transport=transport)
    order = contract.NewAlias(version=version.id, role=role)
    return transport.call(contract.SET_ALIAS, order, dataset_id=version.dataset, alias=name)


def unalias(name: str, alias: str, *, project: str = "", transport: Transport | None = None) -> None:
    """End an alias of a dataset; its history stays."""
    transport = _connected(transport)
    home = dataset(name, project=project, transport=transport)
    transport.call(contract.DROP_ALIAS, Nothing(), dataset_id=home.id, alias=alias)


def aliases(name: str, *, project: str = "", transport: Transport | None = None) -> list[contract.Alias]:
    """The aliases of a dataset, with the history of each."""
    transport = _connected(transport)
    home = dataset(name, project=project, transport=transport)
    return transport.call(contract.ALIASES, Nothing(), dataset_id=home.id).aliases


def merge(
    ours: str,
    theirs: str,
    *,
    prefer: str = "",
    message: str = "",
    project: str = "",
    transport: Transport | None = None,
) -> Version:
    """A version with what two versions changed since they had one tree.

    `prefer`: where both changed one path, `ours` or `theirs` wins; without it that is a Conflict.
    """
    transport = _connected(transport)
    first = resolve(ours, project=project, transport=transport)
    second = resolve(theirs, project=project or first.project, transport=transport)
    order = contract.NewMerge(ours=first.id, theirs=second.id, prefer=prefer, message=message)
    return transport.call(contract.MERGE, order, dataset_id=first.dataset)


def squash(
    address: str,
    onto: str = "",
    *,
    message: str = "",
    project: str = "",
    transport: Transport | None = None,
    cache: Cache | None = None,
) -> Version:
    """A version with the tree of `address` whose only parent is `onto` (without it: none). Nothing is sent again.

    The versions in between stay until they are deleted.
    """
    transport, cache = _connected(transport), cache or Cache()
    last = resolve(address, project=project, transport=transport)
    parent = resolve(onto, project=project or last.project, transport=transport) if onto else None
    if parent is not None and parent.dataset != last.dataset:
        raise Invalid(f"{onto} and {address} are versions of two datasets.")
    tree = entries(transport, last.id, last.dataset, cache)
    home = transport.call(contract.GET, Nothing(), dataset_id=last.dataset)
    base = entries(transport, parent.id, parent.dataset, cache) if parent else Tree()
    wish = Wish(
        tree=tree, message=message or f"squashed {last.address}", empty=parent is None, statistics=last.statistics
    )
    made = Committing(transport, cache, home, [parent] if parent else [], base, wish).commit(Meter("squash", False))
    if made is None:
        raise Conflict(f"{address} holds what {onto} holds; there is nothing to squash.")
    return made


def delete(address: str, *, project: str = "", transport: Transport | None = None) -> None:
    """Delete the version of an address with `@`, else the dataset with all of its versions. `gc` frees its bytes."""
    transport = _connected(transport)
    if "@" in address or is_id(address):
        version = resolve(address, project=project, transport=transport)
        transport.call(contract.DELETE_VERSION, Nothing(), version_id=version.id)
        return
    home = dataset(address, project=project, transport=transport)
    transport.call(contract.DELETE, Nothing(), dataset_id=home.id)


def gc(*, dry: bool = True, grace: int = 3_600, transport: Transport | None = None) -> contract.Collected:
    """Free the bytes on the server that no version needs; `dry` only says how many. `grace`: seconds for fresh ones."""
    return _connected(transport).call(contract.COLLECT, contract.Collect(dry=dry, grace=grace))


def stats(address: str, *, project: str = "", transport: Transport | None = None) -> dict[str, Any]:
    """What is known of a version as a whole: files, bytes, what it changed, and the statistics of its commit."""
    version = resolve(address, project=project, transport=transport)
    return {
        "address": version.address,
        "files": version.files,
        "bytes": version.bytes,
        "added": version.added,
        "removed": version.removed,
        "changed": version.changed,
        "new_bytes": version.new_bytes,
        "statistics": version.statistics,
        "report": version.report,
    }


def used(
    address: str = "", *, run: str = "", project: str = "", transport: Transport | None = None
) -> list[contract.Use]:
    """Which runs read and wrote a version, or (without `@`) any version of a dataset; or what one run read and wrote."""
    transport = _connected(transport)
    if run:
        query = contract.UseQuery(run=run)
    elif "@" in address or is_id(address):
        query = contract.UseQuery(version=resolve(address, project=project, transport=transport).id)
    else:
        query = contract.UseQuery(dataset=dataset(address, project=project, transport=transport).id)
    return transport.call(contract.USES, query).uses


# -- commit ----------------------------------------------------------------------------------------------------------


def commit(
    name: str,
    what: Any = None,
    *,
    message: str = "",
    parent: str | None = None,
    project: str = "",
    base: str = "newest",
    tags: Sequence[str] = (),
    alias: str = "",
    empty: bool = False,
    remove: Sequence[str] = (),
    external: "Mapping[str, Any] | None" = None,
    metadata: "Mapping[str, Mapping[str, Any]] | None" = None,
    statistics: "Mapping[str, Any] | None" = None,
    report: "Mapping[str, Any] | None" = None,
    cases: bool = False,
    settle: float = 0.0,
    skip: Sequence[str] = (),
    instead: "Mapping[str, str | os.PathLike[str]] | None" = None,
    validate: Any = None,
    invalid: str = "",
    run: str = "",
    progress: Hear = None,
    transport: Transport | None = None,
    cache: Cache | None = None,
) -> Version:
    """Commit a version of the dataset `[project/]name`, which is made where it is not there yet.

    `what`: a folder, and the version holds what it holds; or a file, a list of files and folders, or a mapping of paths
    in the version to files, folders or bytes, which are added to what the parent holds. Only content that the server
    does not have is sent. Where nothing has changed the parent is answered, and no version is made.

    `parent`: the address of a version; by default the newest. `base="newest"` refuses with Conflict when somebody else
    has committed meanwhile, `"any"` does not mind. `empty`: begin with nothing, and allow a version without files.
    `remove`: paths or folders that are taken away. `external`: path to an address (`s3://…`, `https://…`, a path of a
    mounted folder), or to `(address, size, hash)`: recorded, not copied. `metadata`: path to what is known of the item.
    `alias` points to the version afterwards. `cases` allows names that differ only in upper and lower case. `settle`:
    files modified less than so many seconds ago are left as the parent has them. `skip`: paths in the folder that are
    not looked at.
    `instead`: paths in the version to files that are taken for what the folder has there. `validate`: what is expected of
    files and tables, as a mapping or a file in YAML or JSON; `invalid`: whether what is not so is to `refuse` the commit
    (the default), go into `quarantine`, which is the dataset NAME-quarantine, or `warn` in the version's report only.
    `progress`: hears a `Progress`; by default a bar on a terminal; False is silent.
    """
    options = {
        each: value
        for each, value in locals().items()
        if each not in ("name", "what", "validate", "invalid", "instead")
    }
    if validate is not None:
        return checked[0](name, what, validate, invalid, **options)
    if base not in ("newest", "any"):
        raise Invalid(f"base is {base!r}, and may be 'newest' or 'any'.", field="base")
    transport, cache = _connected(transport), cache or Cache()
    home = _found_or_made(name, project, transport)
    before = _parent(home, parent, transport)
    wish = _wish(what)
    wish.remove = [_path_of(each) for each in remove]
    wish.sources += [Source(_path_of(path), place=_there(each)) for path, each in (instead or {}).items()]
    wish.external, wish.metadata = dict(external or {}), dict(metadata or {})
    for path in (*wish.external, *wish.metadata):
        check_path(path.encode())
    wish.message, wish.tags, wish.empty, wish.cases = message, tuple(tags), empty, cases
    wish.statistics, wish.report, wish.settle, wish.run = dict(statistics or {}), dict(report or {}), settle, run
    wish.skip = frozenset(_path_of(each) for each in skip)
    wish.newest = base == "newest" and parent is None
    known: Tree | None = Tree()
    if before is not None:
        try:
            known = entries(transport, before.id, home.id, cache)
        except Denied:
            if not home.blind:
                raise
            known = None
    try:
        with Meter(f"commit {home.name}", progress) as meter:
            made = Committing(transport, cache, home, [before] if before else [], known, wish).commit(meter)
    except OSError as error:
        raise full(error, cache.root) from error
    if made is None:
        assert before is not None
        if tags:
            before = tag(before.id, *tags, transport=transport)
        made = before
    else:
        relate(cache, home.id, made.id)
    if alias:
        transport.call(contract.SET_ALIAS, contract.NewAlias(version=made.id), dataset_id=home.id, alias=alias)
        made = transport.call(contract.VERSION, Nothing(), version_id=made.id)
    uses.record(transport, made.id, "output", of=run)
    return made


def add(name: str, what: Any, **options: Any) -> Version:
    """A version with these files added to, or replaced in, what the newest one holds. A folder keeps its name.

    Options are those of `commit`.
    """
    if isinstance(what, str | os.PathLike):
        what = [what]
    return commit(name, what, **options)


def rm(name: str, paths: "str | Sequence[str]", **options: Any) -> Version:
    """A version without these files and folders. Options are those of `commit`."""
    return commit(name, remove=[paths] if isinstance(paths, str) else paths, **options)


def watch(
    folder: "str | os.PathLike[str]",
    name: str,
    *,
    seconds: float = 2.0,
    settle: float = 2.0,
    stop: threading.Event | None = None,
    **options: Any,
) -> Iterator[Version]:
    """Follow a folder: yields each version that was committed because something had changed, until `stop` is set.

    Looks every `seconds`; commits what has not been modified for `settle` seconds. While the server cannot be reached
    it waits. Further options are those of `commit`.
    """
    stop = stop or threading.Event()
    transport = _connected(options.pop("transport", None))
    cache = options.pop("cache", None) or Cache()
    last = ""
    first = True
    while not stop.is_set():
        try:
            before = resolve(name, project=options.get("project", ""), transport=transport).id
        except NotFound:
            before = ""
        except Unavailable as error:
            guard.warn("watch", f"waits for the server, {error}")
            stop.wait(seconds)
            continue
        try:
            made = commit(
                name,
                folder,
                settle=settle,
                transport=transport,
                cache=cache,
                progress=options.pop("progress", False),
                **options,
            )
            if made.id not in (before, last):
                last = made.id
                yield made
        except Unavailable as error:
            guard.warn("watch", f"waits for the server, {error}")
        except Conflict as error:
            # It changed while it was read, or somebody else was faster: the next look sees how it is then.
            guard.warn("watch", str(error))
        except Invalid:
            if not first and not Path(folder).is_dir():
                raise
            if any(Path(folder).iterdir()) and not _all_young(Path(folder), settle):
                raise
        first = False
        stop.wait(seconds)


def _all_young(folder: Path, settle: float) -> bool:
    """Whether nothing in a folder has come to rest yet."""
    limit = time.time() - settle
    for where, _, names in os.walk(folder):
        for each in names:
            try:
                if os.lstat(os.path.join(where, each)).st_ctime < limit:
                    return False
            except FileNotFoundError:
                continue
    return True


# -- get -------------------------------------------------------------------------------------------------------------


def get(
    address: str,
    part: "tuple[int, int] | None" = None,
    to: "str | os.PathLike[str] | None" = None,
    writable: bool = False,
    *,
    project: str = "",
    at: int | None = None,
    run: str = "",
    progress: Hear = None,
    transport: Transport | None = None,
    cache: Cache | None = None,
) -> Path:
    """The folder with a version: a read-only tree in the cache, which other processes share, or the fresh folder `to`.

    `part=(i, n)`: only part i of n, counted from 0; equal content stays in one part from version to version.
    `writable`: files of its own in `to`, which may be changed. Only what no version here has had is fetched. `to` may
    hold another version that was got there and not altered since; then it becomes this one.
    """
    number, parts = _part(part)
    transport, cache = _connected(transport), cache or Cache()
    version = resolve(address, project=project, at=at, transport=transport)
    if to is None and writable:
        raise Invalid("A writable copy needs a place of its own.", hint="Name a fresh folder: to=…")
    if to is None:
        place, laid = _from_cache(transport, cache, version, number, parts, progress)
    else:
        place = Path(to).expanduser().absolute()
        laid = _into(transport, cache, version, number, parts, place, writable, progress)
    uses.record(
        transport,
        version.id,
        "input",
        part=f"{number}/{parts}" if parts else "",
        served={"cached": laid.cached, "fetched": laid.fetched},
        of=run,
    )
    return place


def _from_cache(
    transport: Transport, cache: Cache, version: Version, number: int, parts: int, progress: Hear
) -> tuple[Path, Laid]:
    key = f"{version.id}-{number}-of-{parts}" if parts else version.id
    laid: Laid | None = None
    for _ in range(5):
        place = cache.laid_out(key)
        if place is not None:
            return place, laid or Laid(cached=cache.size(key))
        with cache.alone(f"making-{key}"):
            place = cache.root / "trees" / key
            if place.is_dir():
                continue
            draft = cache.draft(key)
            try:
                tree, laid = _lay(transport, cache, version, number, parts, draft, progress)
                _close(draft)
                cache.publish(draft, key, size=tree.size)
                _stamp(cache, place, version, number, parts, linked=True)
            finally:
                if draft.exists():
                    remove(draft)
        if laid.fetched:
            cache.note(laid.fetched)
    raise Unavailable(
        f"The cache {cache.root} is too small for {version.address}.", hint="Set LARDER_CACHE_SIZE higher."
    )


def _into(
    transport: Transport,
    cache: Cache,
    version: Version,
    number: int,
    parts: int,
    place: Path,
    writable: bool,
    progress: Hear,
) -> Laid:
    with cache.alone(f"folder-{cache.folder_key(place)}"):
        try:
            replaced = _ours(transport, cache, place)
            place.parent.mkdir(parents=True, exist_ok=True)
            for left in place.parent.glob(f".{place.name}.larder-*"):
                remove(left)
            draft = place.with_name(f".{place.name}.larder-{os.getpid()}")
            draft.mkdir()
        except OSError as error:
            raise full(error, place.parent) from error
        stats = Stats(cache.stats_place(place)) if writable else None
        if stats is not None:
            stats.known.clear()
        try:
            _, laid = _lay(transport, cache, version, number, parts, draft, progress, copy=writable, stats=stats)
            if stats is not None:
                # Nobody knows the folder before it has its name, and then the clock has gone on.
                time.sleep(0.01)
                stats.save(since=time.time_ns() + 3_000_000_000)
            if replaced:
                aside = place.with_name(f".{place.name}.larder-old-{os.getpid()}")
                os.rename(place, aside)
                os.rename(draft, place)
                remove(aside)
            else:
                os.rename(draft, place)
            _stamp(cache, place, version, number, parts, linked=not writable)
        except OSError as error:
            raise full(error, place) from error
        finally:
            if draft.exists():
                remove(draft)
    if laid.fetched:
        cache.note(laid.fetched)
    return laid


def _lay(
    transport: Transport,
    cache: Cache,
    version: Version,
    number: int,
    parts: int,
    draft: Path,
    progress: Hear,
    *,
    copy: bool = False,
    stats: Stats | None = None,
) -> tuple[Tree, Laid]:
    tree = entries(transport, version.id, version.dataset, cache, part=number, parts=parts)
    with Meter(f"get {version.address}", progress, total=tree.size) as meter:
        fetcher = _fetcher(transport, cache, version, tree, meter)
        return tree, lay(tree, draft, cache, fetcher, transport=transport, copy=copy, stats=stats, hear=meter.add)


def _fetcher(transport: Transport, cache: Cache, version: Version, tree: Tree, meter: Meter) -> Fetcher:
    def named(hash: bytes) -> str:
        path = next((path for path, each in tree.records.items() if each[:HASH] == hash), None)
        if path is None:  # a chunk of long content
            path = next((path for path, each in tree.records.items() if size_of(each) > contract.WHOLE), None)
        return f"{shown(path)} of {version.address}" if path is not None else version.address

    return Fetcher(transport, version.id, cache, named=named, hear=meter.add)


def _ours(transport: Transport, cache: Cache, place: Path) -> bool:
    """Whether a folder holds an unaltered version that may be replaced; False when there is nothing."""
    if not os.path.lexists(place):
        return False
    if not place.is_dir() or place.is_symlink():
        raise Conflict(f"{str(place)!r} is there already, and is no folder.", hint="Name a fresh folder.")
    if not any(place.iterdir()):
        place.rmdir()
        return False
    about = cache.stamped(place)
    if not about:
        raise Conflict(f"{str(place)!r} holds files of others.", hint="Name a fresh folder; nothing there was touched.")
    tree = _stamped_tree(transport, cache, about)
    found = local.compare(place, tree, cache, stamped=_links(about))
    if found:
        raise Conflict(
            f"{str(place)!r} holds {about['address']}, altered since: {found.sentence()}.",
            hint="Commit it or move it away first; nothing there was touched.",
        )
    return True


def read(address: str, path: str, *, project: str = "", transport: Transport | None = None) -> bytes:
    """The bytes of one file of a version."""
    transport = _connected(transport)
    version = resolve(address, project=project, transport=transport)
    return cast(bytes, transport.call(contract.READ, contract.ReadQuery(path=path), version_id=version.id))


def table(
    address: str,
    path: str | None = None,
    *,
    project: str = "",
    progress: Hear = None,
    transport: Transport | None = None,
    cache: Cache | None = None,
) -> tables.Table:
    """A table of a version: the file or folder `path`, or the only one there is. Only its files are fetched."""
    transport, cache = _connected(transport), cache or Cache()
    version = resolve(address, project=project, transport=transport)
    tree = entries(transport, version.id, version.dataset, cache)
    chosen = tables.choose(texts(sorted(tree.records)), path, version.address)

    def fetch(paths: Sequence[str]) -> list[Path]:
        laid = Laid()
        only = tree.only(each.encode() for each in paths)
        files = _files(transport, cache, version, only, progress, laid)
        uses.record(
            transport,
            version.id,
            "input",
            part=path or "",
            served={"cached": laid.cached, "fetched": laid.fetched},
        )
        return [files[each] for each in paths]

    return tables.Table(version, chosen, fetch)


def _files(
    transport: Transport, cache: Cache, version: Version, tree: Tree, progress: Hear, laid: Laid
) -> dict[str, Path]:
    """The files of a tree in the cache, by path; only files, no links."""
    cache.prepare()
    found: dict[str, Path] = {}
    scratch = cache.draft(f"files-{os.urandom(8).hex()}")
    try:
        with Meter(f"get {version.address}", progress, total=tree.size) as meter:
            fetcher = _fetcher(transport, cache, version, tree, meter)
            got = lay(tree, scratch, cache, fetcher, transport=transport, hear=meter.add)
        laid.cached, laid.fetched = got.cached, got.fetched
        for path, each in tree.records.items():
            kept = cache.file(each[:HASH], executable=each[32:33] == EXECUTABLE)
            found[path.decode()] = kept if kept.exists() else Path(os.path.realpath(scratch / path.decode()))
    finally:
        remove(scratch)
    if laid.fetched:
        cache.note(laid.fetched)
    return found


# -- is it still what it was -----------------------------------------------------------------------------------------


def check(
    path: "str | os.PathLike[str]",
    address: str = "",
    *,
    project: str = "",
    progress: Hear = None,
    transport: Transport | None = None,
    cache: Cache | None = None,
) -> Version | None:
    """Refuse with Conflict, which names the files, when a folder does not hold what its version says.

    `address`: which version it must hold; without it the one that was got there. What was altered in the cache itself
    is thrown out of it, so that the next `get` brings it anew. Answers the version where the server was asked for it.
    """
    cache = cache or Cache()
    place = Path(path).expanduser().absolute()
    about = cache.stamped(place)
    version = None
    if address:
        transport = _connected(transport)
        version = resolve(address, project=project, transport=transport)
        part = _stamped_part(about) if about.get("version") == version.id else (0, 0)
        tree = entries(transport, version.id, version.dataset, cache, part=part[0], parts=part[1])
        name = version.address
    elif about:
        tree = _stamped_tree(transport, cache, about)
        name = str(about["address"])
    else:
        raise Invalid(f"{str(place)!r} holds no version that was got there.", hint="Say which one it must hold.")
    if not place.is_dir():
        raise NotFound(f"There is no folder {str(place)!r}.")
    began = time.time_ns()
    with Meter(f"check {name}", progress, total=tree.size) as meter:
        found = local.compare(place, tree, cache, stamped=_links(about), hear=meter.add)
    if found:
        _throw_out(cache, place, tree, found, about)
        local.refuse(place, name, found)
    if about and _links(about):
        cache.stamp(place, about | {"time": began})
    return version


def verify(
    address: str,
    path: "str | os.PathLike[str] | None" = None,
    *,
    project: str = "",
    progress: Hear = None,
    transport: Transport | None = None,
    cache: Cache | None = None,
) -> "Differences | contract.Verified":
    """How a folder differs from a version; without `path`, what reading the stored bytes again on the server finds."""
    transport = _connected(transport)
    version = resolve(address, project=project, transport=transport)
    if path is None:
        return transport.copy(retries=0, timeout=3600.0).call(contract.VERIFY, Nothing(), version_id=version.id)
    cache = cache or Cache()
    place = Path(path).expanduser().absolute()
    if not place.is_dir():
        raise NotFound(f"There is no folder {str(place)!r}.")
    tree = entries(transport, version.id, version.dataset, cache)
    about = cache.stamped(place)
    stamped = _links(about) if about.get("version") == version.id else 0
    with Meter(f"verify {version.address}", progress, total=tree.size) as meter:
        return local.compare(place, tree, cache, stamped=stamped, hear=meter.add)


def _throw_out(cache: Cache, place: Path, tree: Tree, found: Differences, about: Mapping[str, object]) -> None:
    for name in found.changed:
        each = tree.records[name.encode()]
        kept = cache.file(each[:HASH], executable=each[32:33] == EXECUTABLE)
        try:
            same = os.path.samefile(kept, place / name)
        except OSError:
            continue
        if same:
            cache.drop(each[:HASH])
    if place.parent == cache.root / "trees" and about:
        cache.forget(place.name)


def _stamp(cache: Cache, place: Path, version: Version, number: int, parts: int, *, linked: bool) -> None:
    cache.stamp(
        place,
        {
            "version": version.id,
            "dataset": version.dataset,
            "address": version.address,
            "part": number,
            "parts": parts,
            "linked": linked,
            "time": time.time_ns(),
            "path": str(place),
        },
    )


def _links(about: Mapping[str, Any]) -> int:
    return int(about.get("time") or 0) if about.get("linked") else 0


def _stamped_part(about: Mapping[str, Any]) -> tuple[int, int]:
    return int(about.get("part") or 0), int(about.get("parts") or 0)


def _stamped_tree(transport: Transport | None, cache: Cache, about: Mapping[str, Any]) -> Tree:
    number, parts = _stamped_part(about)
    tree = cache.tree(str(about["version"]))
    if tree is not None:
        return tree.part(number, parts) if parts else tree
    return entries(_connected(transport), str(about["version"]), str(about["dataset"]), cache, part=number, parts=parts)


# -- out and in ------------------------------------------------------------------------------------------------------


def export(
    address: str,
    to: "str | os.PathLike[str]",
    *,
    project: str = "",
    progress: Hear = None,
    transport: Transport | None = None,
    cache: Cache | None = None,
) -> Path:
    """Write a version into one file (`to` ends in .tar), or into a fresh folder with a manifest beside the files."""
    transport, cache = _connected(transport), cache or Cache()
    version = resolve(address, project=project, transport=transport)
    place = Path(to).expanduser().absolute()
    if place.exists():
        raise Conflict(f"{str(place)!r} is there already.", hint="Name a fresh file or folder.")
    laid_out = get(version.id, progress=progress, transport=transport, cache=cache)
    tree = entries(transport, version.id, version.dataset, cache)

    def content(path: bytes) -> "bytes | Path":
        file = laid_out / os.fsdecode(path)
        return os.readlink(os.fsencode(file)) if file.is_symlink() else file

    try:
        if place.suffix == ".tar":
            return archive.write_file(place, version, tree, content)
        return archive.write_folder(place, version, tree, laid_out)
    except OSError as error:
        raise full(error, place) from error


def import_(
    place: "str | os.PathLike[str]",
    name: str,
    *,
    message: str = "",
    project: str = "",
    tags: Sequence[str] = (),
    alias: str = "",
    progress: Hear = None,
    transport: Transport | None = None,
    cache: Cache | None = None,
) -> Version:
    """Commit what `export` wrote, here or on another server, as the newest version of a dataset. What is sent of it is checked."""
    transport, cache = _connected(transport), cache or Cache()
    source = Path(place).expanduser().absolute()
    if source.is_dir():
        about = archive.check_folder(source)
        said = message or str(about.get("message") or "")
        options: dict[str, Any] = {"statistics": about.get("statistics"), "report": about.get("report")}
        return commit(
            name, source, message=said, tags=tags, alias=alias, project=project, progress=progress,
            transport=transport, cache=cache, cases=True, skip=[archive.MANIFEST], **options,
        )  # fmt: skip
    opened = archive.Archive(source)
    try:
        home_ = _found_or_made(name, project, transport)
        before = _parent(home_, None, transport)
        known = entries(transport, before.id, home_.id, cache) if before else Tree()
        wish = Wish(
            tree=opened.tree,
            contents=opened.contents,
            message=message or str(opened.about.get("message") or ""),
            tags=tuple(tags),
            statistics=opened.about.get("statistics") or {},
            report=opened.about.get("report") or {},
            newest=True,
            cases=True,
        )
        with Meter(f"import {home_.name}", progress, total=opened.tree.size) as meter:
            made = Committing(transport, cache, home_, [before] if before else [], known, wish).commit(meter)
    finally:
        opened.close()
    made = made or before
    assert made is not None
    if alias:
        transport.call(contract.SET_ALIAS, contract.NewAlias(version=made.id), dataset_id=home_.id, alias=alias)
    return made


# -- small helpers ---------------------------------------------------------------------------------------------------


def _connected(transport: Transport | None) -> Transport:
    return transport or config.connect()


def _project(project: str) -> str:
    return project or os.environ.get("LARDER_PROJECT", "")


def _found_or_made(name: str, project: str, transport: Transport) -> Dataset:
    """The dataset that a commit means. Without a project it is the only one of that name, as it is for a reader."""
    parsed = parse(name)
    where = parsed.project or _project(project)
    if parsed.name and "@" not in name:
        try:
            return dataset(f"{where}/{parsed.name}" if where else parsed.name, transport=transport)
        except NotFound:
            pass
    return create(name, project=project, transport=transport)


def _parent(home: Dataset, parent: str | None, transport: Transport) -> Version | None:
    if parent is None:
        return home.newest
    if parent.startswith("@"):
        parent = home.name + parent
    found = resolve(parent, project=home.project, transport=transport)
    if found.dataset != home.id:
        raise Invalid(
            f"{parent} is a version of {found.project}/{found.name}, not of {home.project}/{home.name}.", field="parent"
        )
    return found


def _part(part: "tuple[int, int] | None") -> tuple[int, int]:
    if part is None:
        return 0, 0
    try:
        number, parts = (int(each) for each in part)
    except (TypeError, ValueError):
        raise Invalid(
            f"The part {part!r} is no (i, n).", field="part", hint="The first of four is part=(0, 4)."
        ) from None
    if not 0 <= number < parts or parts > 1_000_000:
        raise Invalid(f"There is no part {number} of {parts}.", field="part", hint="The first of four is part=(0, 4).")
    return (0, 0) if parts == 1 else (number, parts)


def _wish(what: Any) -> Wish:
    if what is None:
        return Wish()
    if isinstance(what, Mapping):
        sources = []
        for name, given in what.items():
            path = _path_of(str(name))
            if isinstance(given, bytes):
                sources.append(Source(path, data=given))
            else:
                sources.append(Source(path, place=_there(given)))
        return Wish(sources=sources)
    if isinstance(what, str | os.PathLike):
        place = _there(what)
        if place.is_dir():
            return Wish(whole=place)
        what = [place]
    sources = []
    for each in what:
        place = _there(each)
        sources.append(Source(_path_of(place.name or place.resolve().name), place=place))
    return Wish(sources=sources)


def _there(given: "str | os.PathLike[str]") -> Path:
    place = Path(given).expanduser().absolute()
    if not place.exists():
        raise NotFound(f"There is no file or folder {str(given)!r}.")
    return place


def _path_of(text: str) -> bytes:
    path = text.rstrip("/").encode("utf-8", "surrogateescape")
    check_path(path)
    return path


def _close(draft: Path) -> None:
    """Make the folders in a tree read-only, so that nobody adds to what others share; not yet itself, it still moves."""
    for where, folders, _ in os.walk(draft):
        for name in folders:
            os.chmod(os.path.join(where, name), 0o555)


__all__ = [
    "add",
    "alias",
    "aliases",
    "check",
    "commit",
    "create",
    "dataset",
    "datasets",
    "delete",
    "diff",
    "export",
    "gc",
    "get",
    "import_",
    "log",
    "ls",
    "merge",
    "read",
    "resolve",
    "rm",
    "squash",
    "stats",
    "table",
    "tag",
    "unalias",
    "used",
    "verify",
    "watch",
]
