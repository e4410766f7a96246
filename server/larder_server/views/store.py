"""Views in SQL."""

from typing import Any

from sqlalchemy.engine import Row

from larder.contract.views import View
from larder_server.kernel.context import Context

_COLUMNS = "id, page, project, name, state, shared, actor, created, changed"


def find(context: Context, id: str, *, lock: bool = False) -> View | None:
    row = context.db.one(
        f"select {_COLUMNS} from views where tenant = :tenant and id = :id{context.db.for_update if lock else ''}",
        id=id,
    )
    return None if row is None else _view(row)


def listed(context: Context, *, page: str, project: str, user: str) -> list[View]:
    """The named views that a user may see."""
    rows = context.db.execute(
        f"select {_COLUMNS} from views where tenant = :tenant and name <> '' and (shared = 1 or actor = :actor)"
        + (" and page = :page" if page else "")
        + (" and project in ('', :project)" if project else "")
        + " order by lower(name), created limit 1000",
        actor=user, page=page, project=project,
    )  # fmt: skip
    return [_view(row) for row in rows]


def insert(context: Context, view: View) -> bool:
    """Insert; False when there is one of that id."""
    return bool(
        context.db.change(
            "insert into views (tenant, id, page, project, name, state, shared, actor, created, changed)"
            " values (:tenant, :id, :page, :project, :name, :state, :shared, :actor, :created, :changed)"
            " on conflict (tenant, id) do nothing",
            id=view.id, page=view.page, project=view.project, name=view.name, state=view.state,
            shared=int(view.shared), actor=view.user, created=view.created, changed=view.changed,
        )
    )  # fmt: skip


def update(context: Context, view: View) -> None:
    context.db.change(
        "update views set name = :name, state = :state, shared = :shared, changed = :changed"
        " where tenant = :tenant and id = :id",
        id=view.id, name=view.name, state=view.state, shared=int(view.shared), changed=view.changed,
    )  # fmt: skip


def delete(context: Context, id: str) -> None:
    context.db.change("delete from views where tenant = :tenant and id = :id", id=id)


def _view(row: Row[Any]) -> View:
    return View(id=row.id, page=row.page, project=row.project, name=row.name, state=row.state, shared=bool(row.shared),
                user=row.actor, created=row.created, changed=row.changed)  # fmt: skip
