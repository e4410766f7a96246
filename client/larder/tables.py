"""Runs as a table: rows of chosen columns, groups with means and intervals, counts by value, changes of many runs.

`larder.runs(...)` answers whole runs; this is for many of them. A column is a name as in `where`: `params.lr`,
`metrics.val/mae.min`, `user`.
"""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from larder import config
from larder.contract import tables
from larder.contract.errors import Invalid
from larder.transport import Transport

PAGE = 1_000
NAMED_AT_ONCE = 1_000


def rows(
    columns: Sequence[str] = (),
    *,
    project: str = "",
    where: str = "",
    text: str = "",
    order_by: str = "created",
    limit: int = 100,
    offset: int = 0,
    archived: bool = False,
    transport: Transport | None = None,
) -> tables.Table:
    """Runs as rows; `order_by` may name several columns: `"params.depth, metrics.val/mae desc"`."""
    transport = transport or config.connect()
    found: list[tables.Row] = []
    while True:
        query = tables.TableQuery(
            columns=", ".join(columns), project=project, where=where, text=text, order_by=order_by,
            limit=max(0, min(PAGE, limit - len(found))), offset=offset + len(found), archived=archived,
        )  # fmt: skip
        page = transport.call(tables.TABLE, query)
        found += page.rows
        if len(found) >= limit or len(page.rows) < query.limit:
            return tables.Table(rows=found, total=page.total, total_is_exact=page.total_is_exact, columns=page.columns)


def groups(
    by: Sequence[str],
    columns: Sequence[str] = (),
    *,
    project: str = "",
    where: str = "",
    text: str = "",
    order_by: str = "",
    limit: int = 100,
    offset: int = 0,
    archived: bool = False,
    transport: Transport | None = None,
) -> tables.Groups:
    """Runs that agree in all of `by` as one group each; metrics are averaged over all rows, with a 95 % interval."""
    query = tables.GroupQuery(
        by=", ".join(by), columns=", ".join(columns), project=project, where=where, text=text, order_by=order_by,
        limit=limit, offset=offset, archived=archived,
    )  # fmt: skip
    return (transport or config.connect()).call(tables.GROUPS, query)


def facets(
    of: Sequence[str],
    *,
    project: str = "",
    where: str = "",
    text: str = "",
    limit: int = 12,
    archived: bool = False,
    transport: Transport | None = None,
) -> tables.Facets:
    """How often which value occurs: of fields, tags and parameters."""
    query = tables.FacetQuery(of=", ".join(of), project=project, where=where, text=text, limit=limit, archived=archived)
    return (transport or config.connect()).call(tables.FACETS, query)


def names(
    text: str = "", *, project: str = "", kind: str = "", limit: int = 200, transport: Transport | None = None
) -> list[tables.Name]:
    """What `where`, `columns` and `order_by` may name: fields, metrics and parameters that hold `text`."""
    query = tables.NameQuery(text=text, project=project, kind=kind, limit=limit)
    return (transport or config.connect()).call(tables.NAMES, query).names


def complete(
    where: str, position: int = -1, *, project: str = "", limit: int = 20, transport: Transport | None = None
) -> tables.Completions:
    """What may stand at a place of a condition that is being written, and what is wrong with it."""
    query = tables.CompletionQuery(where=where, position=position, project=project, limit=limit)
    return (transport or config.connect()).call(tables.COMPLETE, query)


def export(
    to: str | os.PathLike[str],
    columns: Sequence[str] = (),
    *,
    project: str = "",
    where: str = "",
    text: str = "",
    order_by: str = "created",
    archived: bool = False,
    transport: Transport | None = None,
) -> Path:
    """Write all runs that match into a file, `.csv` or `.parquet` by its name; without `columns`, all that is known."""
    path = Path(to)
    form = path.suffix.lower().lstrip(".")
    if form not in ("csv", "parquet"):
        raise Invalid(f"A file of runs ends in .csv or .parquet, not {path.suffix!r}.", field="to")
    query = tables.ExportQuery(
        form=form, columns=", ".join(columns), project=project, where=where, text=text, order_by=order_by,
        archived=archived,
    )  # fmt: skip
    return (transport or config.connect()).download(tables.EXPORT, query, path)


def change(
    action: "tables.BulkAction | str",
    ids: Iterable[str] = (),
    *,
    project: str = "",
    where: str = "",
    text: str = "",
    archived: bool = False,
    everything: bool = False,
    tags: Sequence[str] = (),
    queue: str = "default",
    reason: str = "",
    transport: Transport | None = None,
) -> tables.Bulked:
    """Archive, unarchive, tag, untag, stop, enqueue or delete the runs of `ids`, or all that the condition selects.

    A run with which it cannot be done is told in `refused` and does not keep back the others.
    """
    transport = transport or config.connect()
    try:
        chosen = tables.BulkAction(action)
    except ValueError:
        raise Invalid(f"{action!r} cannot be done with runs: {', '.join(tables.BulkAction)}.", field="action") from None
    named = list(ids)
    done: list[str] = []
    refused: list[tables.Refused] = []
    place = until = ""
    while True:
        order = tables.Bulk(
            action=chosen, ids=named[:NAMED_AT_ONCE], project=project, where=where, text=text, archived=archived,
            everything=everything, tags=list(tags), queue=queue, reason=reason, after=place, until=until,
        )  # fmt: skip
        answer = transport.call(tables.BULK, order)
        done += answer.done
        refused += answer.refused
        named, place, until = named[NAMED_AT_ONCE:], answer.next, answer.until
        if not named and not place:
            return tables.Bulked(done=done, refused=refused)
