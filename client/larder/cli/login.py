"""`larder login`: remember a server and a token."""

import sys

import click

from larder import config
from larder.cli import output
from larder.contract import tenants
from larder.contract.endpoint import Nothing
from larder.transport import Transport


@click.command("login")
@click.argument("url")
@click.option("--token", help="The token; asked for when not given, `-` reads it from stdin.")
@output.as_json
def login(url: str, token: str | None, as_json: bool) -> None:
    """Remember the server at URL and a token for it, after asking the server whether it takes the token."""
    if token == "-":
        token = sys.stdin.readline().strip()
    elif token is None:
        token = click.prompt("Token", hide_input=True, err=True, default="", show_default=False).strip()
    settings = config.load(url=url, token=token)
    who = Transport(settings.url, token).call(tenants.WHOAMI, Nothing())
    place = config.save(config.Config(settings.url, token, settings.home))
    if as_json:
        output.document({"url": settings.url, "tenant": who.tenant, "user": who.user, "role": who.role})
    output.say(f"{settings.url} knows you as {who.user} ({who.role}). Saved in {place}.")
