"""What views announce; the subject is the view's id."""

from larder_server.kernel.outbox import Event


def created(view_id: str, *, name: str, page: str, project: str) -> Event:
    return Event(name="views.created", subject=view_id, data={"name": name, "page": page, "project": project})


def changed(view_id: str, *, fields: list[str]) -> Event:
    return Event(name="views.changed", subject=view_id, data={"fields": fields})


def deleted(view_id: str, *, name: str) -> Event:
    return Event(name="views.deleted", subject=view_id, data={"name": name})
