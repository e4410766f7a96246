"""`larder tokens`: who may ask this server, and for how long."""

import click

from larder import config
from larder.cli import output
from larder.contract import tenants
from larder.contract.endpoint import Nothing, Role


@click.group()
def tokens() -> None:
    """Issue, list and revoke tokens: your own, or anybody's as an admin."""


@tokens.command("issue")
@click.argument("user", default="")
@click.option("--role", type=click.Choice([role.value for role in Role]), default="contributor", show_default=True)
@click.option("--name", default="", help="What the token is for.")
@click.option("--days", type=int, default=90, show_default=True, help="Until it expires, 1 to 3650.")
@output.as_json
def issue(user: str, role: str, name: str, days: int, as_json: bool) -> None:
    """Make a token for USER (yourself, if none is named) and print its secret, which is shown this once."""
    order = tenants.NewToken(user=user, role=Role(role), name=name, days=days)
    issued = config.connect().call(tenants.ISSUE_TOKEN, order)
    if as_json:
        output.document(issued)
    else:
        click.echo(issued.secret)
    output.say(
        f"{issued.token.user} may use it as {role} until {output.moment(issued.token.expires)}; it is not shown again."
    )


@tokens.command("ls")
@output.as_json
def ls(as_json: bool) -> None:
    """List the living tokens, without their secrets."""
    found = config.connect().call(tenants.LIST_TOKENS, Nothing()).tokens
    if as_json:
        output.document(found)
        return
    rows = [
        {"id": token.id, "user": token.user, "role": token.role.value, "name": token.name}
        | {"expires": output.moment(token.expires)}
        for token in found
    ]
    output.table(rows, ["id", "user", "role", "name", "expires"])


@tokens.command("revoke")
@click.argument("token_id")
@output.as_json
def revoke(token_id: str, as_json: bool) -> None:
    """End a token at once."""
    config.connect().call(tenants.REVOKE_TOKEN, Nothing(), token_id=token_id)
    if as_json:
        output.document({"revoked": token_id})
    output.say(f"{token_id} is worth nothing any more.")
