"""`larder open`: the page of a run, or of the server, in the browser."""

import webbrowser

import click

from larder import config
from larder.cli import output
from larder.runs import get


@click.command("open")
@click.argument("run", default="")
@click.option("--print", "only_print", is_flag=True, help="Print the address and open nothing.")
@output.as_json
def open_page(run: str, only_print: bool, as_json: bool) -> None:
    """Open the page of RUN, or the first page, in the browser; prints the address."""
    address = get(run).url if run else config.connect().url
    if as_json:
        output.document({"url": address})
    else:
        click.echo(address)
    if not only_print and not webbrowser.open(address):
        output.say("No browser was found here; open the address yourself.")
