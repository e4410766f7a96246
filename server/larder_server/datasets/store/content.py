"""Packs, chunks, contents and the objects of trees in SQL."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.engine import Row

from larder_server.kernel.context import Context

HASH = 32
ARRIVING, STORED, GONE = "arriving", "stored", "gone"

_PAGE = 50_000


def share(context: Context) -> None:
    """Hold off the collection of garbage until the end of this transaction. SQLite has one writer at a time anyway."""
    if context.db.postgres:
        context.db.execute(
            "select pg_advisory_xact_lock_shared(hashtextextended('larder datasets ' || cast(:tenant as text), 0))"
        )


def exclude(context: Context) -> None:
    """Hold off everybody who holds off the collection of garbage."""
    if context.db.postgres:
        context.db.execute(
            "select pg_advisory_xact_lock(hashtextextended('larder datasets ' || cast(:tenant as text), 0))"
        )


# -- what open versions were given and told ------------------------------------------------------------------------


def put_part(context: Context, version: str, part: int, data: bytes) -> None:
    context.db.change(
        "insert into dataset_parts (tenant, version, part, data) values (:tenant, :version, :part, :data)"
        " on conflict (tenant, version, part) do update set data = excluded.data",
        version=version, part=part, data=data,
    )  # fmt: skip


def parts(context: Context, version: str) -> list[bytes]:
    rows = context.db.execute(
        "select data from dataset_parts where tenant = :tenant and version = :version order by part", version=version
    )
    return [bytes(row.data) for row in rows]


def drop_parts(context: Context, version: str) -> None:
    context.db.change("delete from dataset_parts where tenant = :tenant and version = :version", version=version)
    context.db.change("delete from dataset_pins where tenant = :tenant and version = :version", version=version)


def pin(context: Context, version: str, hashes: bytes) -> None:
    if hashes:
        context.db.change(
            "insert into dataset_pins (tenant, version, hashes) values (:tenant, :version, :hashes)",
            version=version, hashes=hashes,
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Pins:
    """Chunks that were promised to open versions of a domain, and the newest promise that was read."""

    hashes: dict[str, list[bytes]]
    last: int


def pins(context: Context, *, after: int) -> Pins:
    rows = context.db.execute(
        "select p.seq, p.hashes, d.id, d.blind from dataset_pins p join dataset_versions v on v.tenant = :tenant"
        " and v.id = p.version join datasets d on d.tenant = :tenant and d.id = v.dataset"
        " where p.tenant = :tenant and p.seq > :after order by p.seq",
        after=after,
    )
    found: dict[str, list[bytes]] = {}
    for row in rows:
        found.setdefault(row.id if row.blind else "", []).append(bytes(row.hashes))
    return Pins(hashes=found, last=rows[-1].seq if rows else after)


# -- packs ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Pack:
    """A pack's row."""

    seq: int
    hash: str
    domain: str
    bytes: int
    state: str
    version: str
    created: int


def _pack(row: Row[Any]) -> Pack:
    return Pack(seq=row.seq, hash=row.hash, domain=row.domain, bytes=row.bytes, state=row.state, version=row.version,
                created=row.created)  # fmt: skip


def insert_pack(context: Context, hash: str, *, domain: str, bytes: int, version: str) -> None:
    """Announce a pack; nothing when one of that hash is known."""
    context.db.change(
        "insert into dataset_packs (tenant, hash, domain, bytes, state, version, created)"
        " values (:tenant, :hash, :domain, :bytes, 'arriving', :version, :now) on conflict (tenant, hash) do nothing",
        hash=hash, domain=domain, bytes=bytes, version=version, now=context.clock.now(),
    )  # fmt: skip


def pack(context: Context, hash: str, *, lock: bool = False) -> Pack | None:
    row = context.db.one(
        "select seq, hash, domain, bytes, state, version, created from dataset_packs where tenant = :tenant"
        " and hash = :hash" + (context.db.for_update if lock else ""),
        hash=hash,
    )
    return None if row is None else _pack(row)


def packs(context: Context) -> list[Pack]:
    rows = context.db.execute(
        "select seq, hash, domain, bytes, state, version, created from dataset_packs where tenant = :tenant order by seq"
    )
    return [_pack(row) for row in rows]


def packs_of(context: Context, seqs: Sequence[int]) -> dict[int, Pack]:
    """Packs by their numbers."""
    found: dict[int, Pack] = {}
    for seq in seqs:
        row = context.db.one(
            "select seq, hash, domain, bytes, state, version, created from dataset_packs where tenant = :tenant"
            " and seq = :seq",
            seq=seq,
        )
        if row is not None:
            found[seq] = _pack(row)
    return found


def set_packs(context: Context, seqs: Sequence[int], state: str) -> None:
    context.db.many(
        "update dataset_packs set state = :state where tenant = :tenant and seq = :seq",
        [{"seq": seq, "state": state} for seq in seqs],
    )


def give_up_pack(context: Context, pack: Pack) -> bool:
    """A pack is gone, unless it is in another state by now."""
    return bool(
        context.db.change(
            "update dataset_packs set state = 'gone' where tenant = :tenant and seq = :seq and state = :state",
            seq=pack.seq, state=pack.state,
        )
    )  # fmt: skip


def drop_packs(context: Context, seqs: Sequence[int]) -> None:
    context.db.many("delete from dataset_packs where tenant = :tenant and seq = :seq", [{"seq": seq} for seq in seqs])


def bytes_for(context: Context, version: str) -> int:
    """The bytes of the packs that were stored for a version."""
    row = context.db.one(
        "select sum(bytes) as n from dataset_packs where tenant = :tenant and version = :version and state = 'stored'",
        version=version,
    )
    return 0 if row is None else int(row.n or 0)


# -- chunks --------------------------------------------------------------------------------------------------------


def chunks(context: Context, domain: str, hashes: bytes) -> Sequence[Row[Any]]:
    """The chunks among these that are there: `i` (the place in `hashes`), pack, place, length, size, doomed."""
    if not hashes:
        return []
    return context.db.execute(
        (
            "with n (i) as (select generate_series(0, cast(:count as integer) - 1))"
            if context.db.postgres
            else "with recursive n (i) as (select 0 union all select i + 1 from n where i + 1 < :count)"
        )
        + " select n.i, c.pack, c.place, c.length, c.size, c.doomed from n join dataset_chunks c"
        " on c.tenant = :tenant and c.domain = :domain"
        + (
            " and c.hash = substr(cast(:hashes as bytea), n.i * 32 + 1, 32)"
            if context.db.postgres
            else " and c.hash = substr(:hashes, n.i * 32 + 1, 32)"
        ),
        count=len(hashes) // HASH, hashes=hashes, domain=domain,
    )  # fmt: skip


def insert_chunks(
    context: Context,
    domain: str,
    *,
    pack: int,
    hashes: Sequence[bytes],
    places: Sequence[int],
    lengths: Sequence[int],
    sizes: Sequence[int],
) -> int:
    """Rows for chunks; those that are there stay as they are. How many are new."""
    now = context.clock.now()
    if context.db.postgres:
        return context.db.change(
            "insert into dataset_chunks (tenant, domain, hash, pack, place, length, size, created, doomed)"
            " select cast(:tenant as text), cast(:domain as text), h, cast(:pack as bigint), p, l, s,"
            " cast(:now as bigint), 0 from unnest(cast(:hashes as bytea[]), cast(:places as bigint[]),"
            " cast(:lengths as bigint[]), cast(:sizes as bigint[])) as u (h, p, l, s)"
            " on conflict (tenant, domain, hash) do nothing",
            domain=domain, pack=pack, hashes=list(hashes), places=list(places), lengths=list(lengths),
            sizes=list(sizes), now=now,
        )  # fmt: skip
    count = len(hashes)
    return context.db.columns(
        "insert into dataset_chunks (tenant, domain, hash, pack, place, length, size, created, doomed)"
        " values (:tenant, :domain, :hash, :pack, :place, :length, :size, :now, 0)"
        " on conflict (tenant, domain, hash) do nothing",
        {
            "domain": [domain] * count, "hash": hashes, "pack": [pack] * count, "place": places, "length": lengths,
            "size": sizes, "now": [now] * count,
        },
    )  # fmt: skip


def spare(context: Context, domain: str, hashes: Sequence[bytes]) -> None:
    """Somebody needs these chunks again."""
    context.db.many(
        "update dataset_chunks set doomed = 0 where tenant = :tenant and domain = :domain and hash = :hash",
        [{"domain": domain, "hash": hash} for hash in hashes],
    )


def doom(context: Context, domain: str, hashes: Sequence[bytes]) -> None:
    """Nobody needs these chunks: who asks for one from now on takes it back."""
    context.db.many(
        "update dataset_chunks set doomed = :now where tenant = :tenant and domain = :domain and hash = :hash",
        [{"domain": domain, "hash": hash, "now": context.clock.now()} for hash in hashes],
    )


def delete_doomed(context: Context, domain: str, hashes: Sequence[bytes]) -> None:
    """Remove those chunks that nobody took back."""
    context.db.many(
        "delete from dataset_chunks where tenant = :tenant and domain = :domain and hash = :hash and doomed > 0",
        [{"domain": domain, "hash": hash} for hash in hashes],
    )


def every_chunk(context: Context) -> Iterator[Sequence[Row[Any]]]:
    """All chunks by domain and hash, some at a time."""
    domain, hash = "", b""
    while True:
        rows = context.db.execute(
            "select domain, hash, pack, place, length, size, created, doomed from dataset_chunks"
            " where tenant = :tenant and (domain, hash) > (:domain, :hash) order by domain, hash limit :limit",
            domain=domain, hash=hash, limit=_PAGE,
        )  # fmt: skip
        if rows:
            yield rows
        if len(rows) < _PAGE:
            return
        domain, hash = rows[-1].domain, bytes(rows[-1].hash)


def move_chunks(
    context: Context, domain: str, *, old: int, new: int, hashes: Sequence[bytes], places: Sequence[int]
) -> None:
    """Chunks lie in another pack now."""
    context.db.many(
        "update dataset_chunks set pack = :new, place = :place where tenant = :tenant and domain = :domain"
        " and hash = :hash and pack = :old",
        [
            {"domain": domain, "old": old, "new": new, "hash": hash, "place": place}
            for hash, place in zip(hashes, places, strict=True)
        ],
    )


# -- contents of several chunks ------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Content:
    """Content of several chunks."""

    hash: bytes
    size: int
    chunks: bytes
    user: str
    checked: bool
    created: int


def _content(row: Row[Any]) -> Content:
    return Content(hash=bytes(row.hash), size=row.size, chunks=bytes(row.chunks), user=row.actor,
                   checked=bool(row.checked), created=row.created)  # fmt: skip


def contents(context: Context, domain: str, hashes: Sequence[bytes]) -> dict[bytes, Content]:
    """Those of the contents that are known."""
    if not hashes:
        return {}
    if (
        context.db.one(
            "select 1 from dataset_contents where tenant = :tenant and domain = :domain limit 1", domain=domain
        )
        is None
    ):
        return {}  # most datasets hold no large file
    rows = context.db.execute(
        (
            "with n (i) as (select generate_series(0, cast(:count as integer) - 1))"
            if context.db.postgres
            else "with recursive n (i) as (select 0 union all select i + 1 from n where i + 1 < :count)"
        )
        + " select c.hash, c.size, c.chunks, c.actor, c.checked, c.created from n join dataset_contents c"
        " on c.tenant = :tenant and c.domain = :domain"
        + (
            " and c.hash = substr(cast(:hashes as bytea), n.i * 32 + 1, 32)"
            if context.db.postgres
            else " and c.hash = substr(:hashes, n.i * 32 + 1, 32)"
        ),
        count=len(hashes), hashes=b"".join(hashes), domain=domain,
    )  # fmt: skip
    return {content.hash: content for content in map(_content, rows)}


def every_content(context: Context) -> dict[str, list[Content]]:
    """All contents by domain."""
    found: dict[str, list[Content]] = {}
    for row in context.db.execute(
        "select domain, hash, size, chunks, actor, checked, created from dataset_contents where tenant = :tenant"
    ):
        found.setdefault(row.domain, []).append(_content(row))
    return found


def put_contents(context: Context, domain: str, contents: Sequence[Content]) -> None:
    """Keep contents; one that is there is replaced: who calls this knows better."""
    context.db.many(
        "insert into dataset_contents (tenant, domain, hash, size, chunks, actor, checked, created)"
        " values (:tenant, :domain, :hash, :size, :chunks, :actor, :checked, :created)"
        " on conflict (tenant, domain, hash) do update set size = excluded.size, chunks = excluded.chunks,"
        " actor = excluded.actor, checked = excluded.checked, created = excluded.created",
        [
            {
                "domain": domain, "hash": one.hash, "size": one.size, "chunks": one.chunks, "actor": one.user,
                "checked": int(one.checked), "created": one.created,
            }
            for one in contents
        ],
    )  # fmt: skip


def delete_contents(context: Context, domain: str, hashes: Sequence[bytes], *, before: int) -> None:
    """Remove those that nobody has relied on since then."""
    context.db.many(
        "delete from dataset_contents where tenant = :tenant and domain = :domain and hash = :hash"
        " and created < :before",
        [{"domain": domain, "hash": hash, "before": before} for hash in hashes],
    )


# -- objects of trees ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class TreeObject:
    """An object of a tree."""

    hash: str
    bytes: int
    state: str
    created: int


def announce_trees(context: Context, objects: dict[str, int]) -> None:
    """Note the objects that are about to be stored, with their bytes."""
    context.db.many(
        "insert into dataset_trees (tenant, hash, bytes, state, created)"
        " values (:tenant, :hash, :bytes, 'arriving', :now)",
        [{"hash": hash, "bytes": bytes, "now": context.clock.now()} for hash, bytes in objects.items()],
    )


def keep_trees(context: Context, hashes: Sequence[str]) -> bool:
    """Objects that were announced belong to a version now; False when one of them has been given up meanwhile."""
    return all(
        context.db.change(
            "update dataset_trees set state = 'stored' where tenant = :tenant and hash = :hash and state = 'arriving'",
            hash=hash,
        )
        for hash in hashes
    )


def set_trees(context: Context, hashes: Sequence[str], state: str) -> None:
    context.db.many(
        "update dataset_trees set state = :state where tenant = :tenant and hash = :hash",
        [{"hash": hash, "state": state} for hash in hashes],
    )


def tree_objects(context: Context) -> list[TreeObject]:
    rows = context.db.execute("select hash, bytes, state, created from dataset_trees where tenant = :tenant")
    return [TreeObject(hash=row.hash, bytes=row.bytes, state=row.state, created=row.created) for row in rows]


def drop_trees(context: Context, hashes: Sequence[str]) -> None:
    context.db.many(
        "delete from dataset_trees where tenant = :tenant and hash = :hash", [{"hash": hash} for hash in hashes]
    )


# -- who collects --------------------------------------------------------------------------------------------------


def begin_collection(context: Context, *, holder: str, until: int) -> bool:
    """Take the right to collect until then; False while somebody else has it."""
    now = context.clock.now()
    context.db.change(
        "insert into dataset_collections (tenant, holder, until, ended) values (:tenant, '', 0, 0)"
        " on conflict (tenant) do nothing"
    )
    return bool(
        context.db.change(
            "update dataset_collections set holder = :holder, until = :until where tenant = :tenant"
            " and (until < :now or holder = :holder)",
            holder=holder, until=until, now=now,
        )
    )  # fmt: skip


def end_collection(context: Context, *, holder: str, done: bool) -> None:
    context.db.change(
        "update dataset_collections set until = 0, ended = case when :done = 1 then :now else ended end"
        " where tenant = :tenant and holder = :holder",
        holder=holder, now=context.clock.now(), done=int(done),
    )  # fmt: skip


def last_collection(context: Context) -> int:
    """When a collection last came to its end."""
    row = context.db.one("select ended from dataset_collections where tenant = :tenant")
    return 0 if row is None else int(row.ended)
