"""The words and options that say which runs are meant, the same for every command that asks for many."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import click

from larder.contract.runs import Listing


def selecting(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the words and options of a `Listing`; the command gets them as one."""
    options = (
        click.argument("text", nargs=-1),
        click.option("--project", "-p", default="", help="Only runs of this project."),
        click.option("--where", "-w", default="", help="Condition: 'metrics.loss < 0.3 and tags has good'."),
        click.option("--sort", "-s", "order_by", default="created", show_default=True, help="Field to order by."),
        click.option("--desc/--asc", "descending", default=None, help="Direction; new ones and good ones first."),
        click.option("--archived", is_flag=True, help="Look among archived runs."),
    )

    @functools.wraps(command)
    def selected(*, text: tuple[str, ...], **given: Any) -> Any:
        chosen = {field.name: given.pop(field.name) for field in dataclasses.fields(Listing) if field.name != "text"}
        return command(Listing(text=" ".join(text), **chosen), **given)

    for option in reversed(options):
        selected = option(selected)
    return selected
