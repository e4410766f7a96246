"""What datasets announce; the subject is the dataset's id."""

from collections.abc import Mapping
from typing import Any

from larder.contract.datasets import Version
from larder_server.kernel.outbox import Event

CREATED = "datasets.created"
CHANGED = "datasets.changed"
DELETED = "datasets.deleted"
COMMITTED = "datasets.committed"
VERSION_CHANGED = "datasets.version_changed"
VERSION_DELETED = "datasets.version_deleted"
ALIAS_MOVED = "datasets.alias_moved"
USED = "datasets.used"
COLLECTED = "datasets.collected"
BLIND_READ = "datasets.blind_read"
BLIND_REFUSED = "datasets.blind_refused"


def created(dataset_id: str, *, name: str, project: str, blind: bool) -> Event:
    return Event(name=CREATED, subject=dataset_id, data={"name": name, "project": project, "blind": blind})


def changed(dataset_id: str, *, fields: list[str]) -> Event:
    return Event(name=CHANGED, subject=dataset_id, data={"fields": fields})


def deleted(dataset_id: str, *, name: str, project: str) -> Event:
    return Event(name=DELETED, subject=dataset_id, data={"name": name, "project": project})


def committed(version: Version) -> Event:
    data = {
        "version": version.id, "number": version.number, "name": version.name, "project": version.project,
        "run": version.run, "tags": version.tags, "files": version.files, "bytes": version.bytes,
    }  # fmt: skip
    return Event(name=COMMITTED, subject=version.dataset, data=data)


def version_changed(version: Version, *, fields: list[str]) -> Event:
    data = {"version": version.id, "number": version.number, "fields": fields, "tags": version.tags}
    return Event(name=VERSION_CHANGED, subject=version.dataset, data=data)


def version_deleted(version: Version) -> Event:
    return Event(name=VERSION_DELETED, subject=version.dataset, data={"version": version.id, "number": version.number})


def alias_moved(version: Version, *, alias: str, number: int) -> Event:
    data = {"alias": alias, "version": version.id if number else "", "number": number, "name": version.name,
            "project": version.project}  # fmt: skip
    return Event(name=ALIAS_MOVED, subject=version.dataset, data=data)


def used(dataset_id: str, *, version: str, run: str, role: str) -> Event:
    return Event(name=USED, subject=dataset_id, data={"version": version, "run": run, "role": role})


def collected(figures: Mapping[str, Any]) -> Event:
    return Event(name=COLLECTED, subject="", data=dict(figures))


def blind(version: Version, *, granted: bool, what: str, token: str) -> Event:
    data = {"version": version.id, "number": version.number, "what": what, "token": token}
    return Event(name=BLIND_READ if granted else BLIND_REFUSED, subject=version.dataset, data=data)
