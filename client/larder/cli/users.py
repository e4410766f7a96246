"""`larder users`: who works here, and in which team."""

import click

from larder import config
from larder.cli import output
from larder.contract import tenants
from larder.contract.endpoint import Nothing


@click.group()
def users() -> None:
    """See the users of this tenant and put them into teams."""


@users.command("ls")
@output.as_json
def ls(as_json: bool) -> None:
    """List the users with their teams."""
    found = config.connect().call(tenants.LIST_USERS, Nothing()).users
    if as_json:
        output.document(found)
        return
    rows = [{"user": user.name, "team": user.team, "role": user.role.value} for user in found]
    output.table(rows, ["user", "team", "role"])


@users.command("team")
@click.argument("user")
@click.argument("team")
@output.as_json
def team_of(user: str, team: str, as_json: bool) -> None:
    """Put USER into TEAM ('' for none); an admin's work. Queues with shares give each team its part."""
    changed = config.connect().call(tenants.CHANGE_USER, tenants.ChangeUser(team=team), user=user)
    if as_json:
        output.document(changed)
    output.say(f"{user} is in {changed.team} now." if changed.team else f"{user} is in no team now.")
