"""Views: states of a page that somebody wants to find again, under a name or under a short id."""

from dataclasses import dataclass

from larder.contract.endpoint import Endpoint, Nothing, Role


@dataclass(frozen=True, kw_only=True)
class View:
    """A kept state of a page. `state` is the part of the page's address after the question mark.

    With a name it is listed: for everybody where `shared`, else for its owner. Without a name it is a short id for a
    long state, and never changes. Whoever knows the id of a view may open it.
    """

    id: str
    page: str
    state: str
    name: str = ""
    project: str = ""
    shared: bool = False
    user: str = ""
    created: int = 0
    changed: int = 0


@dataclass(frozen=True, kw_only=True)
class NewView:
    """A wish for a view. The same state without a name answers the same id."""

    state: str
    page: str = "runs"
    name: str = ""
    project: str = ""
    shared: bool = False


@dataclass(frozen=True, kw_only=True)
class ChangeView:
    """What changes on a named view; None leaves as is."""

    name: str | None = None
    state: str | None = None
    shared: bool | None = None


@dataclass(frozen=True, kw_only=True)
class ViewQuery:
    """The named views of a page that the asker may see; of one project and of none, where a project is named."""

    page: str = ""
    project: str = ""


@dataclass(frozen=True, kw_only=True)
class Views:
    """Views by name."""

    views: list[View]


# a reader, too, keeps the places that he has found
LIST = Endpoint("GET", "/v1/views", ViewQuery, Views, "Named views")
CREATE = Endpoint("POST", "/v1/views", NewView, View, "Keep the state of a page")
GET = Endpoint("GET", "/v1/views/{view_id}", Nothing, View, "A view")
CHANGE = Endpoint("PATCH", "/v1/views/{view_id}", ChangeView, View, "Rename, share or replace a view")
DELETE = Endpoint("DELETE", "/v1/views/{view_id}", Nothing, Nothing, "Delete a view", Role.VIEWER)
