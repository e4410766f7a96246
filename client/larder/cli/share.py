"""`larder share`: addresses that open a run, a comparison or a view to those who only look."""

import click

from larder import shares, views
from larder.cli import output
from larder.runs import SHORT, get
from larder.shares import SharedAddress


@click.group()
def share() -> None:
    """Send links that open a run, a comparison or a view, and nothing else.

    A share may be named by its address, by its id, or by the last 8 characters of the id that `ls` shows.
    """


@share.command("create")
@click.argument("chosen", metavar="[RUN]...", nargs=-1)
@click.option("--view", default="", metavar="VIEW", help="What this view finds, instead of runs.")
@click.option("--title", default="", help="What stands above it.")
@click.option(
    "--against", default="", metavar="RUN", help="The run that one run is set against; its parent unless said."
)
@click.option("--metric", default="", help="The metric to talk about; chosen by name unless said.")
@click.option("--days", type=int, default=30, show_default=True, help="Until it expires, 1 to 365.")
@click.option("--public", is_flag=True, help="It opens without signing in, where an admin allows that.")
@output.as_json
def create(
    chosen: tuple[str, ...], view: str, title: str, against: str, metric: str, days: int, public: bool, as_json: bool
) -> None:
    """Make an address that opens one RUN, 2 to 50 of them side by side, or a view; prints it.

    `run:ID` names a run as well.
    """
    if bool(chosen) is bool(view):
        raise click.UsageError("Name runs or a --view, one of them.")
    made = shares.make(
        [_run(name) for name in chosen], view=views.Question.of(views.get(view)).shared if view else None,
        title=title, against=_run(against) if against else "", metric=metric, public=public, days=days,
    )  # fmt: skip
    if as_json:
        output.document(made.record)
    else:
        click.echo(made.url)
    who = "anybody who has it" if made.record.public else "those who sign in"
    until = output.moment(made.record.expires)
    output.say(f"Opens to {who} until {until}. `larder share revoke {made.record.id[-SHORT:]}` ends it.")


@share.command("ls")
@click.argument("run", default="")
@output.as_json
def ls(run: str, as_json: bool) -> None:
    """List the shares that open, the newest first; with RUN only those that name it."""
    found = shares.find(_run(run) if run else "")
    if as_json:
        output.document([one.record for one in found])
        return
    rows = [
        {"id": one.record.id[-SHORT:], "what": _what(one), "title": one.record.title, "user": one.record.user}
        | {"public": one.record.public, "expires": output.moment(one.record.expires)}
        | {"opened": output.moment(one.record.opened), "address": one.url}
        for one in found
    ]
    output.table(rows, ["id", "what", "title", "user", "public", "expires", "opened", "address"])
    if not rows:
        output.say("Nothing is shared. `larder share create RUN` makes an address.")


@share.command("revoke")
@click.argument("chosen", metavar="SHARE...", nargs=-1, required=True)
@output.as_json
def revoke(chosen: tuple[str, ...], as_json: bool) -> None:
    """End shares at once, also for those who have their addresses; prints their ids."""
    found = [shares.get(name) for name in chosen]
    for one in found:
        one.revoke()
        if not as_json:
            click.echo(one.record.id)
    if as_json:
        output.document([one.record.id for one in found])
    output.say(f"{len(found)} revoked.")


@share.command("policy")
@click.option("--public/--signed-in", "public", default=None, help="Change it, as an admin.")
@output.as_json
def policy(public: bool | None, as_json: bool) -> None:
    """Say whether shares may open without signing in; to take that back ends it at once for all of them."""
    allowed = shares.may_be_public(public)
    if as_json:
        output.document({"public": allowed})
    else:
        click.echo("public" if allowed else "signed-in")


def _run(name: str) -> str:
    return get(name.removeprefix("run:")).id


def _what(one: SharedAddress) -> str:
    record = one.record
    if record.view is not None:
        return " ".join(part for part in ("view", record.view.project, record.view.where, record.view.text) if part)
    return f"run {record.runs[0][-SHORT:]}" if len(record.runs) == 1 else f"{len(record.runs)} runs"
