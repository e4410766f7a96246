"""Connectors: data taken from elsewhere into a dataset, each thing once, with where it came from and when it arrived.

Every item that is taken keeps `source` and `arrived` (ISO, UTC) in its metadata. What was taken before is known by these
versions themselves, so that any machine may take the next: a file by its source and what the source says of its state, a row
or a record by its key or its content.
"""

import datetime
import functools
import json
import os
import re
import shutil
import sys
import tempfile
import urllib.parse
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from blake3 import blake3

from larder.contract import doors
from larder.contract.datasets import Version
from larder.contract.doors import Received
from larder.contract.errors import Invalid, NotFound, Unavailable
from larder.contract.paths import path_problem, shown
from larder.data import external, verbs
from larder.data.cache import Cache
from larder.data.columns import Tree
from larder.data.fetching import entries
from larder.data.laying import Laid
from larder.data.progress import Hear
from larder.data.validating import REASON, aside_of
from larder.transport import Transport


@dataclass(frozen=True, kw_only=True)
class Query:
    """Rows of an SQL query. `database`: a connection of any DB-API driver, or an address that SQLAlchemy knows.

    `key`: a column that tells rows apart and only grows (an id, a time of change): the next ingest asks only for rows with
    a greater one. Without it all rows are asked for, and those that were taken before are left out by their content.
    """

    database: Any
    sql: str
    name: str
    key: str = ""


@dataclass(frozen=True, kw_only=True)
class Records:
    """Records that an HTTP address answers as JSON: a list, lines, or an object with a list at `at` (`data.items`).

    `key`: the field that names a record (`id`); without it records are told apart by their content.
    """

    url: str
    name: str
    key: str = ""
    at: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Door:
    """What the events of a door say that the server keeps (action `events.keep`): records that others have posted."""

    name: str


@dataclass(frozen=True, kw_only=True)
class Ingested:
    """What an ingest took: files, or rows and records, and how many were known before. `version` holds them."""

    version: Version | None
    taken: int
    known: int


def ingest(
    source: "str | os.PathLike[str] | Query | Records | Door",
    to: str,
    *,
    message: str = "",
    prefix: str = "",
    project: str = "",
    tags: Sequence[str] = (),
    alias: str = "",
    validate: Any = None,
    invalid: str = "",
    progress: Hear = None,
    transport: Transport | None = None,
    cache: Cache | None = None,
) -> Ingested:
    """Take what is new in a source into the newest version of the dataset `to`; nothing that is there is taken away.

    `source`: a folder, the prefix of an object store (`s3://bucket/prefix/`; needs obstore, `larder[stores]`), a `Query`,
    `Records` or a `Door`. Files keep their path below the source, rows of a query become one table of CSV and records one of JSON lines
    for each ingest, in a folder of the source's name. `prefix`: a folder of the dataset to put them into.
    `validate` and `invalid` as with `commit`. Where nothing is new no version is made.
    """
    transport, cache = verbs._connected(transport), cache or Cache()
    home = verbs._found_or_made(to, project, transport)
    before = home.newest
    tree = entries(transport, before.id, home.id, cache) if before is not None else Tree()
    folder = Path(tempfile.mkdtemp(prefix="larder-ingest-"))
    try:
        work = _Work(transport, cache, prefix.strip("/"), folder)
        if before is not None:
            work.had.append((before, tree))
        if (aside := aside_of(f"{home.project}/{home.name}", transport, cache)) is not None:
            work.had.append(aside)
        if isinstance(source, Query):
            work.query(source)
        elif isinstance(source, Records):
            work.records(source)
        elif isinstance(source, Door):
            work.door(source)
        elif urllib.parse.urlsplit(str(source)).scheme in external.STORES:
            work.bucket(str(source))
        else:
            work.folder_of(Path(source).expanduser())
        version = before
        if work.found:
            version = verbs.commit(
                f"{home.project}/{home.name}", work.found, metadata=work.metadata,
                message=message or f"{work.taken} new from {work.said}", tags=tags, alias=alias, validate=validate,
                invalid=invalid, progress=progress, transport=transport, cache=cache,
            )  # fmt: skip
        return Ingested(version=version, taken=work.taken, known=work.known)
    finally:
        shutil.rmtree(folder)


def _there(place: Path, _: Path) -> Path:
    return place


class _Work:
    def __init__(self, transport: Transport, cache: Cache, prefix: str, folder: Path) -> None:
        self.transport, self.cache, self.prefix, self.folder = transport, cache, prefix, folder
        self.had: list[tuple[Version, Tree]] = []
        """What was taken before: the newest version, and what was put aside."""
        self.found: dict[str, Path] = {}
        self.metadata: dict[str, dict[str, Any]] = {}
        self.taken = self.known = 0
        self.said = ""
        self.arrived = datetime.datetime.now(datetime.UTC).isoformat(timespec="microseconds")

    def _path(self, inside: str) -> str:
        path = f"{self.prefix}/{inside}" if self.prefix else inside
        if problem := path_problem(path.encode("utf-8", "surrogateescape")):
            raise Invalid(
                f"{shown(os.fsencode(path))} {problem}, so it cannot be taken.", hint="Rename it in the source."
            )
        return path

    # -- files

    def _files(self, found: Iterable[tuple[str, str, str, Callable[[Path], Path]]]) -> None:
        """Take files: the path, the source, what tells that it has not changed, and how to bring it."""
        seen = {(about["source"], about["state"]) for *_, about in self._known() if "state" in about}
        for inside, source, state, bring in found:
            path = self._path(inside)
            if (source, state) in seen:
                self.known += 1
                continue
            self.found[path] = bring(self.folder / str(len(self.found)))
            self.metadata[path] = {"source": source, "arrived": self.arrived, "state": state}
            self.taken += 1

    def folder_of(self, root: Path) -> None:
        """Files of a folder, known by their size and time of change."""
        if not root.is_dir():
            raise NotFound(f"There is no folder {str(root)!r}.", field="source")
        self.said = root.absolute().as_uri()

        def files() -> Iterator[tuple[str, str, str, Callable[[Path], Path]]]:
            for where, folders, names in os.walk(root):
                folders.sort()
                for name in sorted(names):
                    place = Path(where) / name
                    if place.is_symlink() or not place.is_file():
                        continue
                    found = place.stat()
                    inside = place.relative_to(root).as_posix()
                    state = f"{found.st_size}-{found.st_mtime_ns}"
                    yield inside, place.absolute().as_uri(), state, functools.partial(_there, place)

        self._files(files())

    def bucket(self, address: str) -> None:
        """Objects below a prefix, known by their tag, or by their size and time of change."""
        try:
            import obstore
            from obstore.store import from_url
        except ImportError as error:
            raise Invalid(
                f"{address} needs the library obstore, which is not installed.", hint="pip install 'larder[stores]'"
            ) from error
        scheme, _, rest = address.partition("://")
        bucket, _, prefix = rest.partition("/")
        prefix = prefix.strip("/")
        self.said = address
        options: dict[str, Any] = {"client_options": {"allow_http": True}} if os.environ.get("AWS_ALLOW_HTTP") else {}
        store = from_url(f"{scheme}://{bucket}", **options)

        def bring(key: str, to: Path) -> Path:
            with to.open("wb") as file:
                for piece in obstore.get(store, key).stream(min_chunk_size=1 << 20):
                    file.write(bytes(piece))
            return to

        def files() -> Iterator[tuple[str, str, str, Callable[[Path], Path]]]:
            for page in obstore.list(store, prefix=prefix or None):
                for each in page:
                    key = str(each["path"])
                    inside = key.removeprefix(prefix).lstrip("/")
                    state = str(each.get("e_tag") or f"{each['size']}-{each['last_modified'].timestamp()}")
                    yield inside, f"{scheme}://{bucket}/{key}", state, functools.partial(bring, key)

        try:
            self._files(files())
        except (Invalid, OSError):
            raise
        except Exception as error:  # each store has errors of its own; the sentence carries them
            raise Unavailable(f"{address} cannot be read: {' '.join(str(error).split())[:300]}") from error

    def _known(self) -> Iterator[tuple[Version, Tree, str, dict[str, Any]]]:
        """What earlier ingests have taken: where it is, and what is known of it."""
        for version, tree in self.had:
            for path, about in sorted(tree.metadata.items()):
                inner = about.get("metadata")
                found = inner if isinstance(inner, dict) and "kind" in about else about
                if "source" in found:
                    yield version, tree, path.decode(), found

    # -- rows and records

    def _earlier(self, source: str) -> list[tuple[Version, Tree, str, dict[str, Any]]]:
        """The files that earlier ingests of the source have made."""
        return [each for each in self._known() if each[3]["source"] == source and "records" in each[3]]

    def _take(self, name: str, source: str, documents: list[dict[str, Any]], about: Mapping[str, Any]) -> None:
        """A file of JSON lines with what is new, named by the time of its arrival."""
        self.taken = len(documents)
        if not documents:
            return
        stamp = re.sub(r"[^0-9T]", "", self.arrived.partition("+")[0])
        path = self._path(f"{name}/{stamp}.jsonl")
        place = self.folder / "records.jsonl"
        with place.open("w", encoding="utf-8") as file:
            file.writelines(f"{json.dumps(each, default=_plain, ensure_ascii=False)}\n" for each in documents)
        self.found[path] = place
        self.metadata[path] = {"source": source, "arrived": self.arrived, "records": len(documents), **about}

    def _unseen(
        self, source: str, documents: Iterable[dict[str, Any]], name_of: Callable[[dict[str, Any]], str]
    ) -> list[dict[str, Any]]:
        """Documents that no earlier ingest has taken, each once."""
        seen: set[str] = set()
        for version, tree, path, _ in self._earlier(source):
            files = verbs._files(self.transport, self.cache, version, tree.only([path.encode()]), False, Laid())
            with files[path].open(encoding="utf-8") as file:
                for line in file:
                    document = json.loads(line)
                    document.pop(REASON, None)
                    seen.add(name_of(document))
        fresh = []
        for each in documents:
            if (name := name_of(each)) in seen:
                self.known += 1
            else:
                seen.add(name)
                fresh.append(each)
        return fresh

    def query(self, query: Query) -> None:
        """Rows of a query."""
        _check_name(query.name)
        source = f"sql:{query.name}"
        self.said = f"the query {query.name}"
        last = max(
            (about["last"] for *_, about in self._earlier(source) if "last" in about), key=_ordered, default=None
        )
        with _opened(query.database) as ask:
            columns, rows = ask(query.sql, query.key, last)
        if len(set(columns)) < len(columns):
            raise Invalid(
                f"The query {query.name} names a column twice: {', '.join(columns)}.", hint="Name them with `as`."
            )
        documents = [json.loads(json.dumps(dict(zip(columns, row, strict=True)), default=_plain)) for row in rows]
        if query.key:
            if documents and query.key not in columns:
                raise Invalid(f"The query {query.name} has no column {query.key!r}.", field="key")
            if any(each[query.key] is None for each in documents):
                raise Invalid(f"The column {query.key!r} of the query {query.name} is empty in a row, so it is no key.")
            fresh = documents
            about = {"last": max((each[query.key] for each in documents), key=_ordered)} if documents else {}
        else:
            fresh, about = self._unseen(source, documents, _content), {}
        self._take(query.name, source, fresh, about)

    def records(self, records: Records) -> None:
        """Records of an HTTP address."""
        _check_name(records.name)
        shown_ = urllib.parse.urlsplit(records.url)
        if shown_.scheme not in ("http", "https"):
            raise Invalid(f"{records.url!r} is no address of http:// or https://.", field="url")
        # what is behind the question mark may be a secret
        source = f"{shown_.scheme}://{shown_.hostname or ''}{f':{shown_.port}' if shown_.port else ''}{shown_.path}"
        self.said = source
        documents = _documents(_answered(records, source), records.at, source)
        if (
            records.key
            and (lacking := next((each for each in documents if each.get(records.key) is None), None)) is not None
        ):
            raise Invalid(f"A record of {source} has no {records.key!r}: {json.dumps(lacking)[:100]}", field="key")
        name_of = (lambda each: json.dumps(each.get(records.key))) if records.key else _content
        self._take(records.name, source, self._unseen(source, documents, name_of), {})

    def door(self, door: Door) -> None:
        """What the events of a door say; each record keeps the event's id and source and when it arrived."""
        source = f"door:{door.name}"
        self.said = f"the event door {door.name}"
        if door.name not in {each.name for each in self.transport.call(doors.LIST).doors}:
            raise NotFound(f"There is no event door {door.name!r}.", field="source")
        last = max((int(about["last"]) for *_, about in self._earlier(source) if "last" in about), default=0)
        # events that were received together may be seen in another order
        since, found = max(0, last - _OVERLAP), dict[str, Received]()
        while True:
            page = self.transport.call(
                doors.RECEIVED, doors.ReceivedQuery(door=door.name, since=since, limit=1_000, data=True)
            )
            fresh = {json.dumps([each.source, each.id]): each for each in page.events}
            if fresh.keys() <= found.keys():
                break
            found |= fresh
            since = page.events[-1].time
        documents = [
            {"id": each.id, "source": each.source, "type": each.type, "arrived": _iso(each.time), "data": each.data}
            for each in found.values()
        ]
        unseen = self._unseen(source, documents, lambda each: json.dumps([each["source"], each["id"]]))
        newest = max((each.time for each in found.values()), default=0)
        self._take(door.name, source, unseen, {"last": newest})


_OVERLAP = 3_600_000_000


def _iso(time: int) -> str:
    return datetime.datetime.fromtimestamp(time / 1_000_000, datetime.UTC).isoformat()


def _check_name(name: str) -> None:
    if not name or "/" in name or path_problem(name.encode()):
        raise Invalid(f"{name!r} cannot be the name of a source: it becomes a folder of the dataset.", field="name")


def _content(document: Mapping[str, Any]) -> str:
    return blake3(json.dumps(document, sort_keys=True).encode()).hexdigest()


def _ordered(value: Any) -> tuple[bool, Any]:
    return isinstance(value, str), value


def _plain(value: Any) -> Any:
    """A value that JSON has no word for: times in ISO form, bytes in hexadecimal digits, all else as text."""
    if isinstance(value, datetime.datetime | datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).hex()
    return str(value)


# -- SQL -------------------------------------------------------------------------------------------------------------

_Ask = Callable[[str, str, Any], tuple[list[str], list[Sequence[Any]]]]


class _opened:
    """Asks a database; closes what it has opened itself."""

    def __init__(self, database: Any) -> None:
        self._mine = isinstance(database, str)
        self._connection = _connect(database) if self._mine else database

    def __enter__(self) -> _Ask:
        return self._ask

    def __exit__(self, *_: object) -> None:
        if self._mine:
            self._connection.close()

    def _ask(self, sql: str, key: str, last: Any) -> tuple[list[str], list[Sequence[Any]]]:
        connection, sql = self._connection, sql.strip().rstrip(";")
        bound: Any = ()
        if key:
            if not re.fullmatch(r"[A-Za-z_]\w*", key):
                raise Invalid(f"{key!r} is no name of a column.", field="key")
            if last is not None:
                mark, bound = _mark(connection, last)
                sql = f"select * from ({sql}) larder_rows where {key} > {mark}"
        cursor = connection.cursor()
        try:
            cursor.execute(sql, bound) if bound else cursor.execute(sql)
            if cursor.description is None:
                raise Invalid("The query answers no rows.", field="sql", hint="Write a select.")
            return [str(each[0]) for each in cursor.description], list(cursor.fetchall())
        except Invalid:
            raise
        except Exception as error:  # each driver has errors of its own; the sentence carries them
            raise Invalid(
                f"The database refuses the query: {' '.join(str(error).split())[:300]}", field="sql"
            ) from error
        finally:
            cursor.close()


def _connect(address: str) -> Any:
    try:
        import sqlalchemy
    except ImportError as error:
        raise Invalid(
            "An address of a database needs SQLAlchemy, which is not installed.",
            hint="pip install sqlalchemy, or give an open connection of its driver",
        ) from error
    try:
        return sqlalchemy.create_engine(address, poolclass=sqlalchemy.NullPool).raw_connection()
    except Exception as error:  # a bad address, a driver that is not there, a server that does not answer
        raise Unavailable(f"The database cannot be reached: {' '.join(str(error).split())[:300]}") from error


def _mark(connection: Any, value: Any) -> tuple[str, Any]:
    """How the driver of a connection writes a parameter, and the parameters."""
    driver = getattr(connection, "driver_connection", None) or connection
    module = type(driver).__module__
    style = ""
    while module and not style:
        style = getattr(sys.modules.get(module), "paramstyle", "")
        module = module.rpartition(".")[0]
    match style:
        case "numeric":
            return ":1", (value,)
        case "named":
            return ":larder_last", {"larder_last": value}
        case "format" | "pyformat":
            return "%s", (value,)
    return "?", (value,)


# -- HTTP ------------------------------------------------------------------------------------------------------------


def _answered(records: Records, source: str) -> bytes:
    import urllib3

    with urllib3.PoolManager() as pool:
        try:
            answer = pool.request(
                "GET", records.url, headers={"User-Agent": "larder-python", "Accept": "application/json", **records.headers},
                timeout=urllib3.Timeout(connect=10, read=60), retries=urllib3.Retry(3, backoff_factor=0.3, redirect=5),
            )  # fmt: skip
        except urllib3.exceptions.HTTPError as error:
            raise Unavailable(f"{source} cannot be reached ({type(error).__name__}).") from error
    if answer.status == 404:
        raise NotFound(f"{source} is not there.")
    if answer.status != 200:
        raise Unavailable(f"{source} answers {answer.status}.")
    return answer.data


def _documents(body: bytes, at: str, source: str) -> list[dict[str, Any]]:
    try:
        found = json.loads(body)
    except ValueError:
        try:
            found = [json.loads(line) for line in body.splitlines() if line.strip()]
        except ValueError as error:
            raise Invalid(f"{source} does not answer JSON: {error}.") from error
    for name in at.split(".") if at else ():
        if not isinstance(found, dict) or name not in found:
            raise Invalid(f"What {source} answers has nothing at {at!r}.", field="at")
        found = found[name]
    if isinstance(found, dict) and not at:
        lists = [name for name, each in found.items() if isinstance(each, list)]
        hint = f"Say where its list is: at={lists[0]!r}." if lists else ""
        raise Invalid(f"{source} answers an object, not a list of records.", field="at", hint=hint)
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise Invalid(f"What {source} answers{f' at {at!r}' if at else ''} is no list of objects.", field="at")
    return found
