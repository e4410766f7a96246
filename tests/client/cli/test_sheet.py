"""`larder import`: a sheet becomes finished runs marked imported."""

import io
import json

import click
import pytest

from larder.cli import sheet
from larder.contract.errors import Invalid

SHEET = """Run name,Date,lr,optimizer,val_acc,Train Loss,seed,Comment,tags
first try,2024-03-01,0.1,adam,91.3%,0.31,1,"good, but slow","a, b"
second,2024-03-02 14:30,1e-3,sgd,0.913,nan,2,,
,,,,,,,,
third,someday,,sgd,,0.5,3,=HYPERLINK(),
"""


def test_rows_become_runs(call, server, tmp_path):
    path = tmp_path / "experiments 2024.csv"
    path.write_text(SHEET)
    result = call("import", str(path))
    assert result.exit_code == 0, result.stderr
    first, second, third = (server.runs[run_id] for run_id in result.stdout.split())
    assert first.project == "experiments 2024" and first.name == "first try" and first.status == "completed"
    assert first.tags == ["imported", "a", "b"] and first.notes == "good, but slow"
    assert first.params == {"lr": 0.1, "optimizer": "adam", "seed": 1}
    assert {name: value.last for name, value in first.metrics.items()} == {"val_acc": 0.913, "Train Loss": 0.31}
    assert second.params["lr"] == 0.001 and second.metrics["Train Loss"].last != second.metrics["Train Loss"].last
    assert third.params == {"optimizer": "sgd", "seed": 3, "created": "someday"} and list(third.metrics) == [
        "Train Loss"
    ]
    assert first.facts["imported"]["from"] == "experiments 2024.csv"
    assert "val_acc  →  metrics.val_acc" in result.stderr and "3 runs imported" in result.stderr


def test_a_mapping_wins_over_the_guess(call, server, tmp_path):
    path = tmp_path / "sheet.csv"
    path.write_text("id,val_acc,mystery\nx,0.5,0.7\n")
    result = call(
        "import", str(path), "-p", "old", "--map", "id=name", "--map", "val_acc=-", "--map", "mystery=metrics.auc"
    )
    (run,) = server.runs.values()
    assert (run.project, run.name, run.params, list(run.metrics)) == ("old", "x", {}, ["auc"]), result.stderr


def test_a_dry_run_makes_nothing(call, server, tmp_path):
    path = tmp_path / "sheet.csv"
    path.write_text("lr,loss\n0.1,0.2\n")
    result = call("import", str(path), "--dry-run", "--json")
    assert json.loads(result.stdout) == {"lr": "params.lr", "loss": "metrics.loss"} and server.runs == {}


@pytest.mark.parametrize(
    ("text", "options", "why"),
    [
        ("", (), "empty"),
        ("lr,lr\n1,2\n", (), "Two columns"),
        ("lr\n1,2\n", (), "Line 2 has 2 cells"),
        ("lr\nx\n", ("--map", "lr=metrics.lr"), "is no number"),
        ("lr\n1\n", ("--map", "nothing=name"), "is no column"),
        ("lr\n1\n", ("--map", "lr=nonsense"), "is no target"),
    ],
)
def test_a_sheet_that_makes_no_sense_changes_nothing(call, server, tmp_path, text, options, why):
    path = tmp_path / "sheet.csv"
    path.write_text(text)
    result = call("import", str(path), *options)
    assert result.exit_code == 2 and why in result.stderr and server.runs == {}


@pytest.mark.parametrize(
    ("text", "value"),
    [("0,913", 0.913), ("1,234", 1234.0), ("1,234,567.5", 1234567.5), ("91.3 %", 0.913), ("1e-3", 0.001), ("x", None)],
)
def test_numbers_are_read_as_people_write_them(text, value):
    assert sheet._number(text) == (value if value is None else pytest.approx(value))


def test_the_separator_is_found_out():
    columns, rows = sheet.read(io.StringIO("name;acc\na;0,9\n"))
    assert columns == ["name", "acc"] and rows == [{"name": "a", "acc": "0,9"}]
    with pytest.raises(Invalid):
        sheet.read(io.StringIO(";;\n"))


def test_numbers_under_other_headers_are_parameters():
    rows = [{"epochs": "3", "map": "0.2", "acceleration": "2", "lost": "1"}]
    assert sheet.guess(list(rows[0]), rows) == {
        "epochs": "params.epochs", "map": "metrics.map", "acceleration": "params.acceleration", "lost": "params.lost",
    }  # fmt: skip
    with pytest.raises(click.BadParameter):
        sheet.wished(["=name"], ["a"])
