"""Views: states of a page under a name, or under a short id."""

import re
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from larder import config
from larder.contract import tables, views
from larder.contract.endpoint import Nothing
from larder.contract.errors import Invalid
from larder.contract.runs import Selection
from larder.contract.shares import SharedView
from larder.tables import rows
from larder.transport import Transport

_LISTED = re.compile(r'(?:"(?:[^"\\]|\\.)*"|`[^`]*`|[^,])+')


@dataclass(frozen=True, kw_only=True)
class Question(Selection):
    """What the table of runs shows. `columns` stand behind the name; None: the usual ones.

    `order_by` lists names, each with `asc` or `desc`; empty: the newest first. The page groups the runs by `by`.
    """

    order_by: str = ""
    columns: list[str] | None = None
    by: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, view: views.View) -> "Question":
        """What a view of the table of runs asks. Invalid: it is of another page."""
        if view.page != "runs":
            raise Invalid(f"The view {view.name or view.id!r} is of the page {view.page}, not of the table of runs.")
        said = dict(parse_qsl(view.state))
        return cls(
            project=view.project or said.get("project", ""), where=said.get("where", ""), text=said.get("text", ""),
            order_by=said.get("sort", ""), columns=listed(said["cols"]) if "cols" in said else None,
            by=listed(said.get("group", "")), archived=said.get("archived") == "1",
        )  # fmt: skip

    @property
    def state(self) -> str:
        """It as the state of the page, which `save` keeps; the project of a view stands beside its state."""
        said = {"where": self.where, "text": self.text, "sort": self.order_by, "group": ",".join(self.by)}
        said |= {"cols": ",".join(self.columns or ()), "archived": "1" if self.archived else ""}
        return urlencode({name: text for name, text in said.items() if text}) or "sort="

    @property
    def shared(self) -> SharedView:
        """It as a share names it."""
        return SharedView(project=self.project, where=self.where, text=self.text, order_by=self._order)

    @property
    def _order(self) -> str:
        # groups may be sorted by what a run has not, such as their number of runs
        return (not self.by and self.order_by) or "created"

    def rows(self, limit: int = 100, *, transport: Transport | None = None) -> tables.Table:
        """The runs, also where the page groups them."""
        columns = ["*"] if self.columns is None else [name for name in self.columns if name != _REPEATABLE]
        return rows(columns, project=self.project, where=self.where, text=self.text, order_by=self._order, limit=limit,
                    archived=self.archived, transport=transport)  # fmt: skip


_REPEATABLE = "complete"
"""The column of the page that shows what every row says: `Row.missing`."""


def find(page: str = "", *, project: str = "", transport: Transport | None = None) -> list[views.View]:
    """The named views that you may see, by name."""
    return (transport or config.connect()).call(views.LIST, views.ViewQuery(page=page, project=project)).views


def get(view_id: str, *, transport: Transport | None = None) -> views.View:
    """A view, by its id, by its name if no other has it, or by its address.

    Its `state` is the part of the page's address after the question mark. NotFound; Invalid: several are called so.
    """
    transport = transport or config.connect()
    text = dict(parse_qsl(urlsplit(view_id).query)).get("view", view_id).strip()
    named = [view for view in find(transport=transport) if text in (view.id, view.name)]
    if len(named) > 1:
        ids = ", ".join(view.id for view in named)
        raise Invalid(f"Several views are called {text!r}: {ids}.", hint="Give the id of one.")
    return named[0] if named else transport.call(views.GET, Nothing(), view_id=text)


def url(view: views.View, *, transport: Transport | None = None) -> str:
    """The address of a view, for those who can sign in."""
    page = "compare" if view.page == "compare" else "runs"
    if page == "runs" and view.project:
        page = f"projects/{quote(view.project, safe='')}"
    return f"{(transport or config.connect()).url}/{page}?view={view.id}"


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


def listed(text: str) -> list[str]:
    """Names of columns: a text cut at commas that are in no quotes."""
    return [piece.strip() for piece in _LISTED.findall(text) if piece.strip()]
