"""`larder views`: questions about runs, and states of pages, kept under a name."""

from typing import Any

import click

from larder import views as sdk
from larder.cli import output
from larder.cli.selecting import selecting
from larder.contract.runs import Listing
from larder.contract.tables import Row
from larder.runs import SHORT

_TIMES = ("created", "started", "ended")


@click.group()
def views() -> None:
    """Keep questions about runs under names; the pages show the same views.

    A view may be named by its id, by its name if no other view has it, or by its address.
    """


@views.command("ls")
@click.option("--project", "-p", default="", help="Those of this project and of none.")
@click.option("--page", default="", type=click.Choice(["", "runs", "compare", "run"]), help="Those of one page.")
@output.as_json
def ls(project: str, page: str, as_json: bool) -> None:
    """List the named views that you may see: yours, and those that are shared."""
    found = sdk.find(page, project=project)
    if as_json:
        output.document(found)
        return
    rows = [
        {"id": view.id, "name": view.name, "page": view.page, "project": view.project, "user": view.user}
        | {"shared": view.shared, "changed": output.moment(view.changed)}
        for view in found
    ]
    output.table(rows, ["id", "name", "page", "project", "user", "shared", "changed"])
    if not rows:
        output.say("No views yet. `larder views save NAME --where CONDITION` keeps one.")


@views.command("show")
@click.argument("view")
@click.option("--limit", "-n", default=20, show_default=True, type=click.IntRange(1))
@output.as_json
def show(view: str, limit: int, as_json: bool) -> None:
    """List the runs that VIEW finds, with its columns; of a view of another page print the address."""
    found = sdk.get(view)
    if as_json:
        output.document(found)
        return
    if found.page != "runs":
        click.echo(sdk.url(found))
        return
    question = sdk.Question.of(found)
    table = question.rows(limit)
    columns = [name for name in table.columns if name not in ("id", "name")]
    if question.columns is None:
        columns = ["status", "created", *columns]
    output.table([_row(row, table.columns) for row in table.rows], ["id", "name", *columns])
    output.say(f"{len(table.rows)} of {table.total} runs: {sdk.url(found)}")
    if question.by:
        output.say(f"The page groups them by {', '.join(question.by)}.")


@views.command("save")
@click.argument("name")
@selecting
@click.option("--columns", "-c", default="", help="Comma-separated, such as params.lr,metrics.loss.min.")
@click.option("--shared/--private", default=None, help="Whether everybody finds it in the list; private unless said.")
@click.option("--replace", default="", metavar="VIEW", help="Change this view instead of making one.")
@output.as_json
def save(listing: Listing, name: str, columns: str, shared: bool | None, replace: str, as_json: bool) -> None:
    """Keep the question that `larder runs ls` would answer under NAME; prints the id of the view."""
    question = _question(listing, columns)
    question.rows(0)  # what nobody can ask is refused now, not when somebody opens the view
    if replace:
        before = sdk.get(replace)
        if listing.project not in ("", before.project):
            raise click.UsageError("A view stays with its project: save another one.")
        kept = sdk.change(before.id, name=name, state=question.state, shared=shared)
    else:
        kept = sdk.save(question.state, name, project=question.project, shared=bool(shared))
    if as_json:
        output.document(kept)
    else:
        click.echo(kept.id)
    output.say(f"{'Everybody finds' if kept.shared else 'Only you find'} it in the list: {sdk.url(kept)}")


@views.command("rm")
@click.argument("chosen", metavar="VIEW...", nargs=-1, required=True)
@output.as_json
def rm(chosen: tuple[str, ...], as_json: bool) -> None:
    """Delete views; the runs stay. Prints their ids."""
    found = [sdk.get(name) for name in chosen]
    for view in found:
        sdk.delete(view.id)
        if not as_json:
            click.echo(view.id)
    if as_json:
        output.document([view.id for view in found])
    output.say(f"{len(found)} deleted.")


def _question(listing: Listing, columns: str) -> sdk.Question:
    order = "" if listing.order_by == "created" else listing.order_by
    if listing.descending is not None:
        if "," in order:
            raise click.UsageError("Say asc or desc behind each name of --sort.")
        order = f"{listing.order_by} {'desc' if listing.descending else 'asc'}"
    return sdk.Question(
        project=listing.project, where=listing.where, text=listing.text, order_by=order,
        columns=sdk.listed(columns) or None, archived=listing.archived,
    )  # fmt: skip


def _row(row: Row, columns: list[str]) -> dict[str, Any]:
    cells = {
        name: output.moment(cell) if name in _TIMES and isinstance(cell, int) else cell
        for name, cell in zip(columns, row.cells, strict=True)
    }
    about = {"name": row.name, "status": row.status, "created": output.moment(row.created)}
    return about | cells | {"id": row.id[-SHORT:]}
