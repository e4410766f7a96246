"""Datasets and their versions, tags, aliases and uses in SQL."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.engine import Row

from larder.contract.datasets import Alias, AliasMove, Dataset, DatasetQuery, Use, UseQuery, Version, VersionState
from larder.contract.endpoint import Role
from larder_server.kernel.context import Context

# -- datasets ------------------------------------------------------------------------------------------------------

_DATASET = "id, project, name, description, blind, actor, created, changed, last"


@dataclass(frozen=True, kw_only=True)
class Known:
    """A dataset's own row."""

    id: str
    project: str
    name: str
    description: str
    blind: bool
    user: str
    created: int
    last: int

    @property
    def domain(self) -> str:
        """Where its content is found again: nothing of a blind dataset is found by another."""
        return self.id if self.blind else ""


def _known(row: Row[Any]) -> Known:
    return Known(id=row.id, project=row.project, name=row.name, description=row.description, blind=bool(row.blind),
                 user=row.actor, created=row.created, last=row.last)  # fmt: skip


def insert_dataset(context: Context, dataset: Dataset) -> bool:
    """Insert; False when the project has one of that name."""
    return bool(
        context.db.change(
            "insert into datasets (tenant, id, project, name, description, blind, actor, created, changed, last)"
            " values (:tenant, :id, :project, :name, :description, :blind, :actor, :created, :created, 0)"
            " on conflict (tenant, project, name) do nothing",
            id=dataset.id, project=dataset.project, name=dataset.name, description=dataset.description,
            blind=int(dataset.blind), actor=dataset.user, created=dataset.created,
        )
    )  # fmt: skip


def dataset(context: Context, id: str, *, lock: bool = False) -> Known | None:
    row = context.db.one(
        f"select {_DATASET} from datasets where tenant = :tenant and id = :id{context.db.for_update if lock else ''}",
        id=id,
    )
    return None if row is None else _known(row)


def datasets_named(context: Context, name: str, *, project: str = "") -> list[Known]:
    """The datasets of a name, of one project or of all."""
    rows = context.db.execute(
        f"select {_DATASET} from datasets where tenant = :tenant and name = :name"
        + (" and project = :project" if project else "")
        + " order by project limit 10",
        name=name, project=project,
    )  # fmt: skip
    return [_known(row) for row in rows]


@dataclass(frozen=True, kw_only=True)
class Found:
    """One page of datasets."""

    datasets: list[Known]
    total: int


def datasets(context: Context, query: DatasetQuery) -> Found:
    where = " from datasets d where d.tenant = :tenant"
    if query.project:
        where += " and d.project = :project"
    if query.text:
        where += (
            " and (lower(d.name) like :like escape '!' or lower(d.description) like :like escape '!'"
            " or exists (select 1 from dataset_tags t where t.tenant = :tenant and t.dataset = d.id"
            " and lower(t.tag) like :like escape '!')"
            " or exists (select 1 from dataset_aliases a where a.tenant = :tenant and a.dataset = d.id"
            " and a.version <> '' and lower(a.alias) like :like escape '!'))"
        )
    like = query.text.lower()
    for sign in "!%_":
        like = like.replace(sign, "!" + sign)
    given = {"project": query.project, "like": f"%{like}%"}
    total = context.db.one("select count(*) as n" + where, **given)
    rows = context.db.execute(
        "select d.id, d.project, d.name, d.description, d.blind, d.actor, d.created, d.changed, d.last"
        + where
        + " order by d.changed desc, d.id desc limit :limit offset :offset",
        **given,
        limit=query.limit,
        offset=query.offset,
    )
    return Found(datasets=[_known(row) for row in rows], total=total.n if total is not None else 0)


def change_dataset(context: Context, id: str, *, name: str, description: str) -> None:
    context.db.change(
        "update datasets set name = :name, description = :description, changed = :now"
        " where tenant = :tenant and id = :id",
        id=id, name=name, description=description, now=context.clock.now(),
    )  # fmt: skip


def touch_dataset(context: Context, id: str) -> None:
    context.db.change(
        "update datasets set changed = :now where tenant = :tenant and id = :id", id=id, now=context.clock.now()
    )


def next_number(context: Context, id: str) -> int:
    """The number of the version that is committed now."""
    context.db.change(
        "update datasets set last = last + 1, changed = :now where tenant = :tenant and id = :id",
        id=id, now=context.clock.now(),
    )  # fmt: skip
    row = context.db.one("select last from datasets where tenant = :tenant and id = :id", id=id)
    assert row is not None, "it was locked before"
    return int(row.last)


def delete_dataset(context: Context, id: str) -> None:
    """The dataset with all that belongs to it; what its runs have used is still told."""
    for version in context.db.execute(
        "select id from dataset_versions where tenant = :tenant and dataset = :id", id=id
    ):
        _forget_version(context, version.id)
    context.db.change("delete from dataset_versions where tenant = :tenant and dataset = :id", id=id)
    context.db.change("delete from dataset_aliases where tenant = :tenant and dataset = :id", id=id)
    context.db.change("delete from dataset_moves where tenant = :tenant and dataset = :id", id=id)
    context.db.change("delete from datasets where tenant = :tenant and id = :id", id=id)


# -- versions ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A version's row: what is told of it, and what its tree is made of."""

    version: Version
    base: str
    delta: str
    total: int
    writes: int
    domain: str


_VERSION = (
    "select v.id, v.dataset, v.number, v.state, v.parents, v.message, v.actor, v.run, v.created, v.committed, v.files,"
    " v.bytes, v.added, v.removed, v.changed, v.new_bytes, v.base, v.delta, v.total, v.tree, v.statistics, v.report,"
    " v.writes, d.project, d.name, d.blind from dataset_versions v join datasets d on d.tenant = :tenant"
    " and d.id = v.dataset where v.tenant = :tenant"
)


def _kept(context: Context, rows: Sequence[Row[Any]]) -> list[Kept]:
    tags: dict[str, list[str]] = {}
    aliases: dict[str, list[str]] = {}
    postgres = context.db.postgres
    for start in range(0, len(rows), 500):
        ids = json.dumps([row.id for row in rows[start : start + 500]])
        for found in context.db.execute(
            "select version, tag from dataset_tags where tenant = :tenant and version in ("
            + (
                "select jsonb_array_elements_text(cast(:ids as jsonb))"
                if postgres
                else "select value from json_each(:ids)"
            )
            + ") order by tag",
            ids=ids,
        ):
            tags.setdefault(found.version, []).append(found.tag)
        for found in context.db.execute(
            "select version, alias from dataset_aliases where tenant = :tenant and version in ("
            + (
                "select jsonb_array_elements_text(cast(:ids as jsonb))"
                if postgres
                else "select value from json_each(:ids)"
            )
            + ") order by alias",
            ids=ids,
        ):
            aliases.setdefault(found.version, []).append(found.alias)
    return [
        Kept(
            version=Version(
                id=row.id, dataset=row.dataset, project=row.project, name=row.name, number=row.number,
                state=VersionState(row.state), parents=json.loads(row.parents), message=row.message, user=row.actor,
                created=row.created, committed=row.committed, run=row.run, blind=bool(row.blind),
                tags=tags.get(row.id, []), aliases=aliases.get(row.id, []), files=row.files, bytes=row.bytes,
                added=row.added, removed=row.removed, changed=row.changed, new_bytes=row.new_bytes, tree=row.tree,
                statistics=json.loads(row.statistics or "{}"), report=json.loads(row.report or "{}"),
            ),
            base=row.base, delta=row.delta, total=int(row.total or "0", 16), writes=row.writes,
            domain=row.dataset if row.blind else "",
        )
        for row in rows
    ]  # fmt: skip


def version(context: Context, id: str) -> Kept | None:
    found = _kept(context, context.db.execute(_VERSION + " and v.id = :id", id=id))
    return found[0] if found else None


def lock_version(context: Context, id: str) -> int | None:
    """Take a version's row for this transaction; how often it was written to, None where it is not there."""
    row = context.db.one(
        "select writes from dataset_versions where tenant = :tenant and id = :id" + context.db.for_update, id=id
    )
    return None if row is None else int(row.writes)


def versions_of(context: Context, dataset: str, *, tag: str = "", limit: int, offset: int = 0) -> list[Kept]:
    """Committed versions, the newest first."""
    return _kept(
        context,
        context.db.execute(
            _VERSION
            + " and v.dataset = :dataset and v.number > 0"
            + (_WITH_TAG if tag else "")
            + " order by v.number desc limit :limit offset :offset",
            dataset=dataset, tag=tag, limit=limit, offset=offset,
        ),
    )  # fmt: skip


_WITH_TAG = (
    " and exists (select 1 from dataset_tags t where t.tenant = :tenant and t.dataset = v.dataset"
    " and t.version = v.id and t.tag = :tag)"
)


def count_versions(context: Context, dataset: str, *, tag: str = "") -> int:
    row = context.db.one(
        "select count(*) as n from dataset_versions v where v.tenant = :tenant and v.dataset = :dataset"
        " and v.number > 0" + (_WITH_TAG if tag else ""),
        dataset=dataset, tag=tag,
    )  # fmt: skip
    return 0 if row is None else int(row.n)


def numbered(context: Context, dataset: str, number: int) -> Kept | None:
    found = _kept(
        context,
        context.db.execute(
            _VERSION + " and v.dataset = :dataset and v.number = :number", dataset=dataset, number=number
        ),
    )
    return found[0] if found else None


def open_with_key(context: Context, dataset: str, *, key: str, user: str, run: str) -> str:
    """The open version that a writer began under a key; empty where there is none."""
    row = context.db.one(
        "select id from dataset_versions where tenant = :tenant and dataset = :dataset and state = 'open'"
        " and write_key = :key and actor = :actor and run = :run",
        dataset=dataset, key=key, actor=user, run=run,
    )  # fmt: skip
    return "" if row is None else str(row.id)


def insert_version(context: Context, version: Version, *, key: str, base: str, delta: str, total: int) -> None:
    context.db.change(
        "insert into dataset_versions (tenant, id, dataset, number, state, parents, message, actor, run, write_key,"
        " created, files, bytes, base, delta, total, tree, statistics, report, seen, writes)"
        " values (:tenant, :id, :dataset, 0, 'open', :parents, '', :actor, :run, :key, :created, :files, :bytes, :base,"
        " :delta, :total, :tree, '', '', :created, 0)",
        id=version.id, dataset=version.dataset, parents=json.dumps(version.parents), actor=version.user,
        run=version.run, key=key, created=version.created, files=version.files, bytes=version.bytes, base=base,
        delta=delta, total=f"{total:x}", tree=version.tree,
    )  # fmt: skip


def commit_version(context: Context, version: Version, *, base: str, delta: str, total: int) -> None:
    context.db.change(
        "update dataset_versions set number = :number, state = 'committed', message = :message,"
        " committed = :committed, files = :files, bytes = :bytes, added = :added, removed = :removed,"
        " changed = :changed, new_bytes = :new_bytes, base = :base, delta = :delta, total = :total, tree = :tree,"
        " statistics = :statistics, report = :report where tenant = :tenant and id = :id",
        id=version.id, number=version.number, message=version.message, committed=version.committed,
        files=version.files, bytes=version.bytes, added=version.added, removed=version.removed,
        changed=version.changed, new_bytes=version.new_bytes, base=base, delta=delta, total=f"{total:x}",
        tree=version.tree, statistics=json.dumps(version.statistics), report=json.dumps(version.report),
    )  # fmt: skip


def see_version(context: Context, id: str, *, wrote: bool = False) -> None:
    """Note that the writer of an open version was here."""
    context.db.change(
        "update dataset_versions set seen = :now, writes = writes + :wrote where tenant = :tenant and id = :id",
        id=id, now=context.clock.now(), wrote=int(wrote),
    )  # fmt: skip


def set_message(context: Context, id: str, message: str) -> None:
    context.db.change(
        "update dataset_versions set message = :message where tenant = :tenant and id = :id", id=id, message=message
    )


def delete_version(context: Context, id: str) -> None:
    _forget_version(context, id)
    context.db.change("delete from dataset_versions where tenant = :tenant and id = :id", id=id)


def _forget_version(context: Context, id: str) -> None:
    context.db.change("delete from dataset_parts where tenant = :tenant and version = :id", id=id)
    context.db.change("delete from dataset_pins where tenant = :tenant and version = :id", id=id)
    context.db.change("delete from dataset_tags where tenant = :tenant and version = :id", id=id)


def silent_versions(context: Context, *, before: int) -> list[str]:
    """Open versions of which nothing was heard since then."""
    rows = context.db.execute(
        "select id from dataset_versions where tenant = :tenant and state = 'open' and seen < :before", before=before
    )
    return [row.id for row in rows]


def trees(context: Context) -> list[Kept]:
    """All versions, open ones as well, without what is told of them."""
    rows = context.db.execute(_VERSION)
    return _kept(context, rows)


# -- tags and aliases ----------------------------------------------------------------------------------------------


def add_tags(context: Context, version: Version, tags: Sequence[str]) -> None:
    context.db.many(
        "insert into dataset_tags (tenant, dataset, tag, version) values (:tenant, :dataset, :tag, :version)"
        " on conflict do nothing",
        [{"dataset": version.dataset, "tag": tag, "version": version.id} for tag in tags],
    )


def remove_tags(context: Context, version: Version, tags: Sequence[str]) -> None:
    context.db.many(
        "delete from dataset_tags where tenant = :tenant and dataset = :dataset and tag = :tag and version = :version",
        [{"dataset": version.dataset, "tag": tag, "version": version.id} for tag in tags],
    )


def newest_tagged(context: Context, dataset: str, tag: str) -> Kept | None:
    found = versions_of(context, dataset, tag=tag, limit=1)
    return found[0] if found else None


@dataclass(frozen=True, kw_only=True)
class Pointer:
    """An alias as it stands; without a version it has ended."""

    alias: str
    version: str
    number: int
    role: Role


def alias(context: Context, dataset: str, alias: str, *, lock: bool = False) -> Pointer | None:
    row = context.db.one(
        "select alias, version, role from dataset_aliases where tenant = :tenant and dataset = :dataset"
        " and alias = :alias" + (context.db.for_update if lock else ""),
        dataset=dataset, alias=alias,
    )  # fmt: skip
    if row is None:
        return None
    return Pointer(alias=row.alias, version=row.version, number=_number(context, row.version), role=Role(row.role))


def _number(context: Context, version: str) -> int:
    row = context.db.one("select number from dataset_versions where tenant = :tenant and id = :id", id=version)
    return 0 if row is None else int(row.number)


def alias_at(context: Context, dataset: str, alias: str, *, at: int) -> str | None:
    """The id of the version that an alias named then; None where it named none."""
    row = context.db.one(
        "select version from dataset_moves where tenant = :tenant and dataset = :dataset and alias = :alias"
        " and time <= :at order by seq desc limit 1",
        dataset=dataset, alias=alias, at=at,
    )  # fmt: skip
    return None if row is None else row.version or None


def set_alias(context: Context, dataset: str, alias: str, *, version: str, number: int, role: Role) -> None:
    """Let an alias point to a version, or to none, and write the move down."""
    context.db.change(
        "insert into dataset_aliases (tenant, dataset, alias, version, role)"
        " values (:tenant, :dataset, :alias, :version, :role)"
        " on conflict (tenant, dataset, alias) do update set version = excluded.version, role = excluded.role",
        dataset=dataset, alias=alias, version=version, role=role,
    )  # fmt: skip
    context.db.change(
        "insert into dataset_moves (tenant, dataset, alias, version, number, time, actor)"
        " values (:tenant, :dataset, :alias, :version, :number, :now, :actor)",
        dataset=dataset, alias=alias, version=version, number=number, now=context.clock.now(), actor=context.user,
    )  # fmt: skip


def set_alias_role(context: Context, dataset: str, alias: str, role: Role) -> None:
    context.db.change(
        "update dataset_aliases set role = :role where tenant = :tenant and dataset = :dataset and alias = :alias",
        dataset=dataset, alias=alias, role=role,
    )  # fmt: skip


def aliases(context: Context, dataset: str) -> list[Alias]:
    """The aliases that point to something, by name, each with its moves, the newest first."""
    rows = context.db.execute(
        "select a.alias, a.role, v.number from dataset_aliases a join dataset_versions v on v.tenant = :tenant"
        " and v.id = a.version where a.tenant = :tenant and a.dataset = :dataset order by a.alias",
        dataset=dataset,
    )
    moves: dict[str, list[AliasMove]] = {}
    for row in context.db.execute(
        "select alias, number, time, actor from dataset_moves where tenant = :tenant and dataset = :dataset"
        " order by seq desc",
        dataset=dataset,
    ):
        move = AliasMove(alias=row.alias, version=row.number, time=row.time, user=row.actor)
        moves.setdefault(row.alias, []).append(move)
    return [
        Alias(alias=row.alias, version=row.number, role=Role(row.role), history=moves.get(row.alias, []))
        for row in rows
    ]


# -- uses ----------------------------------------------------------------------------------------------------------


def put_use(context: Context, use: Use, *, dataset: str) -> None:
    """Write a use down; one that is there gets the newer time and what was served since."""
    context.db.change(
        "insert into dataset_uses (tenant, version, dataset, address, run, role, part, time, served)"
        " values (:tenant, :version, :dataset, :address, :run, :role, :part, :time, :served)"
        " on conflict (tenant, version, run, role, part) do update set time = excluded.time, served = excluded.served",
        version=use.version, dataset=dataset, address=use.address, run=use.run, role=use.role, part=use.part,
        time=use.time, served=json.dumps(use.served),
    )  # fmt: skip


def uses(context: Context, query: UseQuery) -> list[Use]:
    rows = context.db.execute(
        "select run, role, part, time, version, address, served from dataset_uses where tenant = :tenant"
        + (" and version = :version" if query.version else "")
        + (" and run = :run" if query.run else "")
        + (" and dataset = :dataset" if query.dataset else "")
        + " order by seq desc limit :limit",
        version=query.version, run=query.run, dataset=query.dataset, limit=query.limit,
    )  # fmt: skip
    return [
        Use(run=row.run, role=row.role, part=row.part, time=row.time, version=row.version, address=row.address,
            served=json.loads(row.served or "{}"))
        for row in rows
    ]  # fmt: skip
