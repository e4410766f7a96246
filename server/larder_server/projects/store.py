"""Projects in SQL."""

from typing import Any

from sqlalchemy.engine import Row

from larder.contract.projects import Project
from larder_server.kernel.context import Context


def by_name(context: Context, name: str) -> Project | None:
    row = context.db.one(
        "select id, name, description, created from projects where tenant = :tenant and name = :name", name=name
    )
    return None if row is None else _project(row)


def insert(context: Context, project: Project) -> bool:
    """Insert; False when another one of that name was faster."""
    return bool(
        context.db.change(
            "insert into projects (tenant, id, name, description, created)"
            " values (:tenant, :id, :name, :description, :created) on conflict (tenant, name) do nothing",
            id=project.id,
            name=project.name,
            description=project.description,
            created=project.created,
        )
    )


def all_by_name(context: Context) -> list[Project]:
    rows = context.db.execute(
        "select id, name, description, created from projects where tenant = :tenant order by name"
    )
    return [_project(row) for row in rows]


def _project(row: Row[Any]) -> Project:
    return Project(id=row.id, name=row.name, description=row.description, created=row.created)
