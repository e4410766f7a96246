"""`larder import`: the rows of a CSV sheet become finished runs marked imported."""

import csv
import math
import re
import struct
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import TextIO

import click
import msgspec
from blake3 import blake3

from larder import config
from larder.cli import output
from larder.contract import runs
from larder.contract.errors import Invalid
from larder.contract.runs import Param, RunStatus

TAG = "imported"

_METRIC = re.compile(
    r"(^|[^a-z])(acc(uracy)?|loss|mae|mse|rmse|mape|s?mape|wape|mase|auc|auroc|f1|score|error|err|r2|precision|recall|iou|map"
    r"|ndcg|perplexity|bleu|rouge|dice)($|[^a-z])"
)
_ROLES = {
    "name": ("name", "run", "run name", "experiment", "experiment name", "title", "model name"),
    "tags": ("tags", "tag", "labels"),
    "notes": ("notes", "note", "comment", "comments", "remarks", "description"),
    "created": ("created", "date", "time", "timestamp", "when", "day"),
}
_DATES = ("%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%d", "%d.%m.%Y", "%m/%d/%Y", "%d %b %Y", "%Y/%m/%d")


@dataclass(frozen=True)
class Row:
    """What one row of the sheet says about a run."""

    name: str
    params: dict[str, Param]
    metrics: dict[str, float]
    tags: list[str]
    notes: str
    created: int | None


@click.command("import")
@click.argument("sheet", type=click.File("r", encoding="utf-8-sig"))
@click.option("--project", "-p", default="", help="Project of the runs; the file's name unless given.")
@click.option(
    "--map",
    "mapping",
    multiple=True,
    metavar="COLUMN=TARGET",
    help="Where a column goes: params.NAME, metrics.NAME, name, tags, notes, created, or - to leave it out.",
)
@click.option("--dry-run", is_flag=True, help="Print where each column would go and import nothing.")
@output.as_json
def import_sheet(sheet: TextIO, project: str, mapping: tuple[str, ...], dry_run: bool, as_json: bool) -> None:
    """Turn the rows of the CSV file SHEET (`-` for stdin) into runs; prints their ids.

    Numbers under a header such as accuracy, val_loss or MAE become metrics, other columns parameters.
    """
    columns, rows = read(sheet)
    targets = guess(columns, rows) | wished(mapping, columns)
    for column, target in targets.items():
        output.say(f"  {column}  →  {target}")
    read_rows = [interpret(row, targets, number) for number, row in enumerate(rows, start=2)]
    if dry_run:
        if as_json:
            output.document(targets)
        output.say(f"{len(read_rows)} runs would be imported.")
        return
    transport = config.connect()
    project = project or re.sub(r"[^\w .-]+", "-", Path(sheet.name).stem).strip(" .-<>") or TAG
    made: list[str] = []
    with output.progress(len(read_rows), "Importing") as bar:
        for number, row in enumerate(read_rows, start=1):
            run_id, batch = _batch(row, project, Path(sheet.name).name, number)
            transport.call(runs.APPEND, batch, run_id=run_id)
            made.append(run_id)
            bar.update(1)
    if as_json:
        output.document(made)
    else:
        for run_id in made:
            click.echo(run_id)
    output.say(f"{len(made)} runs imported into {project}: larder runs ls -p '{project}'")


def _batch(row: Row, project: str, sheet: str, number: int) -> tuple[str, runs.Batch]:
    """A row as the journal of a run that has ended. The same row of the same sheet is the same run: imported once."""
    text = msgspec.json.encode((project, sheet, number, row))
    digest = blake3(text).hexdigest()
    run_id = f"{digest[:8]}-{digest[8:12]}-7{digest[13:16]}-8{digest[17:20]}-{digest[20:32]}"
    moment = row.created if row.created is not None else time.time_ns() // 1000
    return run_id, runs.Batch(
        writer=run_id,
        start=0,
        end=len(text),
        opening=runs.Opening(project=project, name=row.name or f"row {number}", time=moment),
        series=[
            runs.Series(name=name, steps=bytes(8), times=struct.pack("<q", moment), values=struct.pack("<d", value))
            for name, value in row.metrics.items()
        ],
        params=row.params,
        facts={"imported": {"from": sheet, "row": number + 1}},
        add_tags=list(dict.fromkeys([TAG, *row.tags])),
        notes=row.notes or None,
        ending=runs.Ending(status=RunStatus.COMPLETED, time=moment, reason=TAG),
        closed=True,
    )


def read(sheet: TextIO) -> tuple[list[str], list[dict[str, str]]]:
    """The columns and the rows that are not empty; the separator is found out."""
    text = sheet.read()
    first = text.split("\n", 1)[0]
    separator = max(",;\t", key=first.count)
    reader = csv.reader(text.splitlines(keepends=True), delimiter=separator)
    header = [name.strip() for name in next(reader, [])]
    if not any(header):
        raise Invalid("The sheet is empty.", hint="The first line must name the columns.")
    twice = sorted({name for name in header if name and header.count(name) > 1})
    if twice:
        raise Invalid(f"Two columns are called {twice[0]!r}.", hint="Give each column its own name in the first line.")
    rows = []
    for number, cells in enumerate(reader, start=2):
        if len(cells) > len(header):
            raise Invalid(f"Line {number} has {len(cells)} cells, the first line names {len(header)} columns.")
        if any(cell.strip() for cell in cells):
            rows.append({name: cell.strip() for name, cell in zip(header, cells, strict=False) if name})
    return [name for name in header if name], rows


def guess(columns: Sequence[str], rows: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """Where each column goes, by its header and its values."""
    targets: dict[str, str] = {}
    for column in columns:
        plain = column.lower().replace("_", " ").strip()
        role = next((role for role, words in _ROLES.items() if plain in words and role not in targets.values()), None)
        values = [row[column] for row in rows if row.get(column)]
        numbers = [_number(value) for value in values]
        if role is not None:
            targets[column] = role
        elif values and None not in numbers and _METRIC.search(column.lower().replace("_", " ")):
            targets[column] = f"metrics.{column}"
        else:
            targets[column] = f"params.{column}"
    return targets


def wished(mapping: Sequence[str], columns: Sequence[str]) -> dict[str, str]:
    """The `--map` options, checked."""
    targets: dict[str, str] = {}
    for text in mapping:
        column, equals, target = text.rpartition("=")
        if not equals or column not in columns:
            known = ", ".join(columns)
            raise click.BadParameter(f"{column or text!r} is no column; there are: {known}", param_hint="--map")
        if target not in (*_ROLES, "-") and not re.match(r"(params|metrics)\..", target):
            raise click.BadParameter(f"{target!r} is no target", param_hint="--map")
        targets[column] = target
    return targets


def interpret(row: Mapping[str, str], targets: Mapping[str, str], number: int) -> Row:
    """One row in our words; empty cells say nothing. `number` is its line, for the refusal."""
    params: dict[str, Param] = {}
    metrics: dict[str, float] = {}
    texts = dict.fromkeys(_ROLES, "")
    for column, target in targets.items():
        value = row.get(column, "")
        if not value or target == "-":
            continue
        kind, _, name = target.partition(".")
        if kind == "params":
            params[name] = _param(value)
        elif kind == "metrics":
            measured = _number(value)
            if measured is None:
                raise Invalid(
                    f"Line {number}: {value!r} in column {column} is no number.",
                    hint=f"Say --map '{column}=params.{column}' to keep the column as text.",
                )
            metrics[name] = measured
        else:
            texts[target] = value
    created = _moment(texts["created"]) if texts["created"] else None
    if texts["created"] and created is None:
        params["created"] = texts["created"]  # a date that nobody can read is still something to find
    tags = [tag.strip() for tag in re.split(r"[,;]", texts["tags"]) if tag.strip()]
    return Row(texts["name"], params, metrics, tags, texts["notes"], created)


def _number(text: str) -> float | None:
    plain = text.replace("\u00a0", "").strip()
    percent = plain.endswith("%")
    plain = plain.removesuffix("%").strip()
    if re.fullmatch(r"-?[1-9]\d{0,2}(,\d{3})+(\.\d+)?", plain):
        plain = plain.replace(",", "")  # thousands
    elif re.fullmatch(r"-?\d+,\d+", plain):
        plain = plain.replace(",", ".")  # a decimal comma
    try:
        # By way of decimals: 91.3 % shall be found as 0.913, not as 0.9129999999999999.
        return float(Decimal(plain) / 100 if percent else Decimal(plain))
    except (ArithmeticError, ValueError):
        return None


def _param(text: str) -> Param:
    if re.fullmatch(r"-?(0|[1-9]\d*)", text):
        return int(text)
    number = _number(text)
    if number is not None and math.isfinite(number) and not re.fullmatch(r"0\d+", text):
        return number
    return {"true": True, "false": False}.get(text.lower(), text)


def _moment(text: str) -> int | None:
    try:
        return int(datetime.fromisoformat(text).timestamp() * 1e6)
    except ValueError:
        pass
    for form in _DATES:
        try:
            return int(datetime.strptime(text, form).timestamp() * 1e6)
        except ValueError:
            continue
    return None
