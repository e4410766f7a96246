"""Views: states of a page under a name, or under a short id."""

from larder import config
from larder.contract import views
from larder.contract.endpoint import Nothing
from larder.transport import Transport


def find(page: str = "", *, project: str = "", transport: Transport | None = None) -> list[views.View]:
    """The named views that you may see, by name."""
    return (transport or config.connect()).call(views.LIST, views.ViewQuery(page=page, project=project)).views


def get(view_id: str, *, transport: Transport | None = None) -> views.View:
    """A view; its `state` is the part of the page's address after the question mark."""
    return (transport or config.connect()).call(views.GET, Nothing(), view_id=view_id)


def save(
    state: str,
    name: str = "",
    *,
    page: str = "runs",
    project: str = "",
    shared: bool = False,
    transport: Transport | None = None,
) -> views.View:
    """Keep a state; without a name, under a short id that is the same for the same state."""
    order = views.NewView(state=state, page=page, name=name, project=project, shared=shared)
    return (transport or config.connect()).call(views.CREATE, order)


def change(
    view_id: str,
    *,
    name: str | None = None,
    state: str | None = None,
    shared: bool | None = None,
    transport: Transport | None = None,
) -> views.View:
    """Rename, replace or share a named view; None leaves as is."""
    order = views.ChangeView(name=name, state=state, shared=shared)
    return (transport or config.connect()).call(views.CHANGE, order, view_id=view_id)


def delete(view_id: str, *, transport: Transport | None = None) -> None:
    """Delete a named view."""
    (transport or config.connect()).call(views.DELETE, Nothing(), view_id=view_id)
