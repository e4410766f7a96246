"""Projects: folders of runs inside a tenant, made when the first run names them."""

from dataclasses import dataclass

from larder.contract.endpoint import Endpoint, Nothing, Role


@dataclass(frozen=True, kw_only=True)
class Project:
    """A project; `name` is unique in the tenant, `created` in UTC microseconds."""

    id: str
    name: str
    description: str
    created: int


@dataclass(frozen=True, kw_only=True)
class Projects:
    """All projects of the tenant, by name."""

    projects: list[Project]


@dataclass(frozen=True, kw_only=True)
class NewProject:
    """A wish for a project."""

    name: str
    description: str = ""


LIST = Endpoint("GET", "/v1/projects", Nothing, Projects, "All projects")
CREATE = Endpoint(
    "POST", "/v1/projects", NewProject, Project, "Make a project, or answer the one of that name", Role.CONTRIBUTOR
)
