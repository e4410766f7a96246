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
@click.option("--evaluator", is_flag=True, help="It reads the items of blind data; each such read is written down.")
@output.as_json
def issue(user: str, role: str, name: str, days: int, evaluator: bool, as_json: bool) -> None:
    """Make a token for USER (yourself, if none is named) and print its secret, which is shown this once."""
    order = tenants.NewToken(user=user, role=Role(role), name=name, days=days, evaluator=evaluator)
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
        | {"expires": output.moment(token.expires), "reads blind data": "yes" if token.evaluator else ""}
        for token in found
    ]
    columns = ["id", "user", "role", "name", "expires"]
    output.table(rows, [*columns, "reads blind data"] if any(token.evaluator for token in found) else columns)


@tokens.command("revoke")
@click.argument("token_id")
@output.as_json
def revoke(token_id: str, as_json: bool) -> None:
    """End a token at once."""
    config.connect().call(tenants.REVOKE_TOKEN, Nothing(), token_id=token_id)
    if as_json:
        output.document({"revoked": token_id})
    output.say(f"{token_id} is worth nothing any more.")
