"""Datasets, versions, aliases, tags and uses: what has a name, and what happened to it."""

from dataclasses import replace

from larder.contract import addresses
from larder.contract.datasets import (
    Address,
    Alias,
    Aliases,
    ChangeDataset,
    ChangeVersion,
    Dataset,
    DatasetQuery,
    Datasets,
    NewAlias,
    NewDataset,
    NewUse,
    Use,
    UseQuery,
    Uses,
    Version,
    VersionQuery,
    Versions,
    VersionState,
)
from larder.contract.endpoint import Nothing, Role
from larder.contract.errors import Conflict, Denied, Invalid, NotFound
from larder.contract.ids import new_id
from larder_server.datasets import events
from larder_server.datasets.rules import names
from larder_server.datasets.service import finding
from larder_server.datasets.store import versions as store
from larder_server.datasets.store.versions import Kept, Known
from larder_server.kernel.context import Context
from larder_server.projects import service as projects

DEFAULT_PROJECT = "default"
ROLES = ("input", "output")
_MOST = 1_000


def create(context: Context, order: NewDataset) -> Dataset:
    """Make a dataset, or answer the one of that name. Invalid: it cannot be called so; Conflict: that is not blind as it should."""
    addresses.check_name(order.name)
    description = names.text(order.description, "description")
    project = order.project or DEFAULT_PROJECT
    projects.ensure(context, project)
    wish = Dataset(
        id=new_id(), project=project, name=order.name, created=context.clock.now(), user=context.user,
        description=description, blind=order.blind,
    )  # fmt: skip
    if store.insert_dataset(context, wish):
        context.emit(events.created(wish.id, name=wish.name, project=project, blind=wish.blind))
        return wish
    (found,) = store.datasets_named(context, order.name, project=project)
    if order.blind and not found.blind:
        raise Conflict(
            f"the dataset {project}/{order.name} is there and is not blind", field="blind", hint="take another name"
        )
    return _told(context, found)


def every(context: Context, query: DatasetQuery) -> Datasets:
    """Datasets, the last changed first. Invalid: a limit."""
    _check_page(query.limit, query.offset)
    page = store.datasets(context, query)
    return Datasets(datasets=[_told(context, known) for known in page.datasets], total=page.total)


def get(context: Context, _: Nothing, dataset_id: str) -> Dataset:
    """A dataset. NotFound."""
    return _told(context, finding.dataset(context, dataset_id))


def change(context: Context, order: ChangeDataset, dataset_id: str) -> Dataset:
    """Rename or describe a dataset. NotFound; Invalid; Conflict: the project has one of that name."""
    known = finding.dataset(context, dataset_id, lock=True)
    name = known.name if order.name is None else order.name
    addresses.check_name(name)
    description = known.description if order.description is None else names.text(order.description, "description")
    if name != known.name and store.datasets_named(context, name, project=known.project):
        raise Conflict(f"there is a dataset {known.project}/{name}", field="name")
    fields = [field for field, old, new in (("name", known.name, name), ("description", known.description, description))
              if old != new]  # fmt: skip
    if fields:
        store.change_dataset(context, known.id, name=name, description=description)
        context.emit(events.changed(known.id, fields=fields))
    return _told(context, replace(known, name=name, description=description))


def delete(context: Context, _: Nothing, dataset_id: str) -> Nothing:
    """Delete a dataset with its versions; their bytes are freed by the next collection. NotFound."""
    known = finding.dataset(context, dataset_id, lock=True)
    store.delete_dataset(context, known.id)
    context.emit(events.deleted(known.id, name=known.name, project=known.project))
    return Nothing()


def versions(context: Context, query: VersionQuery, dataset_id: str) -> Versions:
    """The committed versions, the newest first. NotFound."""
    _check_page(query.limit, query.offset)
    known = finding.dataset(context, dataset_id)
    found = store.versions_of(context, known.id, tag=query.tag, limit=query.limit, offset=query.offset)
    return Versions(
        versions=[finding.shown(context, kept.version) for kept in found],
        total=store.count_versions(context, known.id, tag=query.tag),
    )


def version(context: Context, _: Nothing, version_id: str) -> Version:
    """A version. NotFound."""
    return finding.shown(context, finding.version(context, version_id).version)


def resolve(context: Context, query: Address) -> Version:
    """The version that an address means. NotFound; Conflict: several datasets are called so; Invalid: it is none."""
    parsed = addresses.parse(query.address)
    if parsed.id and not parsed.name:
        return finding.shown(context, finding.committed(context, parsed.id).version)
    known = _named(context, parsed, project=query.project)
    kept = _chosen(context, known, parsed, at=query.at)
    if kept is None or kept.version.state is not VersionState.COMMITTED:
        said = f"{known.project}/{known.name}"
        if not parsed.number and not parsed.id and not parsed.label:
            raise NotFound(f"{said} has no version yet", hint=f"larder data commit FOLDER --to {known.name}")
        raise NotFound(f"{said} has no version {parsed.label or parsed.id or f'v{parsed.number}'!r}",
                       hint=f"`larder data log {known.name}` lists them")  # fmt: skip
    return finding.shown(context, kept.version)


def _named(context: Context, parsed: addresses.Parsed, *, project: str) -> Known:
    wanted = parsed.project or project
    if wanted and (found := store.datasets_named(context, parsed.name, project=wanted)):
        return found[0]
    every = [] if parsed.project else store.datasets_named(context, parsed.name)
    if not every:
        where = f" in the project {wanted!r}" if parsed.project else ""
        raise NotFound(f"there is no dataset {parsed.name!r}{where}", hint="`larder data ls` lists them")
    if len(every) > 1:
        raise Conflict(f"several projects have a dataset {parsed.name!r}: {', '.join(one.project for one in every[:5])}",
                       field="address", hint=f"write {every[0].project}/{parsed.name}")  # fmt: skip
    return every[0]


def _chosen(context: Context, known: Known, parsed: addresses.Parsed, *, at: int | None) -> Kept | None:
    if parsed.number:
        return store.numbered(context, known.id, parsed.number)
    if parsed.id:
        found = store.version(context, parsed.id)
        return found if found is not None and found.version.dataset == known.id else None
    if parsed.label:
        if at is not None:
            id = store.alias_at(context, known.id, parsed.label, at=at)
            return None if id is None else store.version(context, id)
        pointer = store.alias(context, known.id, parsed.label)
        if pointer is not None and pointer.version:
            return store.version(context, pointer.version)
        return store.newest_tagged(context, known.id, parsed.label)
    found_all = store.versions_of(context, known.id, limit=1)
    return found_all[0] if found_all else None


def change_version(context: Context, order: ChangeVersion, version_id: str) -> Version:
    """Tag a committed version, or say something else of it. NotFound; Conflict: it is open."""
    kept = finding.committed(context, version_id)
    add, remove = names.tags(order.add_tags), list(dict.fromkeys(order.remove_tags))
    old = kept.version
    store.remove_tags(context, old, remove)
    store.add_tags(context, old, add)
    if order.message is not None:
        store.set_message(context, old.id, names.text(order.message, "message"))
    new = finding.committed(context, version_id).version
    fields = [field for field in ("tags", "message") if getattr(old, field) != getattr(new, field)]
    if fields:
        store.touch_dataset(context, old.dataset)
        context.emit(events.version_changed(new, fields=fields))
    return finding.shown(context, new)


# -- aliases -------------------------------------------------------------------------------------------------------


def aliases(context: Context, _: Nothing, dataset_id: str) -> Aliases:
    """The aliases of a dataset. NotFound."""
    return Aliases(aliases=store.aliases(context, finding.dataset(context, dataset_id).id))


def set_alias(context: Context, order: NewAlias, dataset_id: str, alias: str) -> Alias:
    """Let an alias point to a version.

    NotFound; Invalid: it cannot be called so, or the version is another dataset's; Denied: its role is above the asker's.
    """
    known = finding.dataset(context, dataset_id, lock=True)
    addresses.check_label(alias)
    pointer = store.alias(context, known.id, alias, lock=True)
    held = pointer.role if pointer is not None else Role.CONTRIBUTOR
    _may_move(context, alias, held)
    role = order.role or held
    if not context.role.includes(role):
        raise Denied(f"a token with the role {context.role} cannot keep an alias for {role}s", field="role")
    kept = finding.committed(context, order.version)
    if kept.version.dataset != known.id:
        raise Invalid(f"{kept.version.address} is of another dataset", field="version")
    if pointer is None or pointer.version != kept.version.id:
        store.set_alias(context, known.id, alias, version=kept.version.id, number=kept.version.number, role=role)
        store.touch_dataset(context, known.id)
        context.emit(events.alias_moved(kept.version, alias=alias, number=kept.version.number))
    elif role is not held:
        store.set_alias_role(context, known.id, alias, role)
        context.emit(events.changed(known.id, fields=["aliases"]))
    return next(one for one in store.aliases(context, known.id) if one.alias == alias)


def drop_alias(context: Context, _: Nothing, dataset_id: str, alias: str) -> Nothing:
    """End an alias; its history and its role stay. NotFound; Denied: its role is above the asker's."""
    known = finding.dataset(context, dataset_id, lock=True)
    pointer = store.alias(context, known.id, alias, lock=True)
    if pointer is None or not pointer.version:
        raise NotFound(f"{known.project}/{known.name} has no alias {alias[:100]!r}")
    _may_move(context, alias, pointer.role)
    kept = store.version(context, pointer.version)
    store.set_alias(context, known.id, alias, version="", number=0, role=pointer.role)
    store.touch_dataset(context, known.id)
    if kept is not None:
        context.emit(events.alias_moved(kept.version, alias=alias, number=0))
    return Nothing()


def _may_move(context: Context, alias: str, role: Role) -> None:
    if not context.role.includes(role):
        raise Denied(f"the alias {alias!r} is moved by those with the role {role}; this token's role is {context.role}",
                     hint=f"ask one of your {role}s")  # fmt: skip


# -- uses ----------------------------------------------------------------------------------------------------------


def use(context: Context, order: NewUse, version_id: str) -> Nothing:
    """Record that a run read or wrote a version. NotFound; Denied: a run says it of another one; Invalid."""
    run, part = names.short(order.run, "run"), names.short(order.part, "part")
    if not run:
        raise Invalid("a use names a run", field="run")
    if context.run and run != context.run:
        raise Denied(f"the token of run {context.run} records uses of that run only", field="run")
    if order.role not in ROLES:
        raise Invalid(f"a run's role is {' or '.join(ROLES)}, not {order.role[:100]!r}", field="role")
    if len(order.served) > 10 or any(len(name) > 50 for name in order.served):
        raise Invalid("served names at most 10 sources", field="served")
    version = finding.committed(context, version_id).version
    store.put_use(
        context,
        Use(run=run, role=order.role, part=part, time=context.clock.now(), version=version.id,
            address=version.address, served=order.served),
        dataset=version.dataset,
    )  # fmt: skip
    context.emit(events.used(version.dataset, version=version.id, run=run, role=order.role))
    return Nothing()


def uses(context: Context, query: UseQuery) -> Uses:
    """Uses, the newest first. Invalid: a limit."""
    _check_page(query.limit, 0, most=10_000)
    return Uses(uses=store.uses(context, query))


# -- helpers -------------------------------------------------------------------------------------------------------


def _told(context: Context, known: Known) -> Dataset:
    newest = store.versions_of(context, known.id, limit=1)
    return Dataset(
        id=known.id, project=known.project, name=known.name, created=known.created, user=known.user,
        description=known.description, blind=known.blind, versions=store.count_versions(context, known.id),
        newest=finding.shown(context, newest[0].version) if newest else None,
        aliases={one.alias: one.version for one in store.aliases(context, known.id)},
    )  # fmt: skip


def _check_page(limit: int, offset: int, *, most: int = _MOST) -> None:
    if not 1 <= limit <= most:
        raise Invalid(f"a page has 1 to {most:,} lines, not {limit}", field="limit")
    if offset < 0:
        raise Invalid("an offset is 0 or more", field="offset")
