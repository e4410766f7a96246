"""A table shows the columns asked for, groups over all rows, counts by value, and names to choose from."""

import csv
import io
import math
import random
import statistics
import struct

import pytest

from larder.contract.endpoint import Nothing
from larder.contract.errors import Invalid
from larder.contract.ids import new_id
from larder.contract.runs import NewRun, Points, PointsBatch, Run, RunQuery, RunStatus
from larder.contract.tables import (
    Bulk,
    BulkAction,
    CompletionQuery,
    ExportQuery,
    FacetQuery,
    GroupQuery,
    NameQuery,
    TableQuery,
)
from larder_server.runs import service
from larder_server.runs.rules import completing, tables, where
from larder_server.runs.service import exporting, many
from larder_server.runs.store import metrics, runs, search
from larder_server.runs.store.metrics import Columns


@pytest.fixture
def add(context, clock):
    """Store a run and answer its number; metrics are lists of values."""

    def add(name="run", *, ctx=context, params=None, series=None, facts=None, **fields):
        fields = {"project": "bakery", "user": "evi", "status": RunStatus.COMPLETED, "created": clock.now()} | fields
        record = runs.insert(ctx, Run(id=fields.pop("id", new_id()), name=name, **fields))
        runs.put_params(ctx, record.seq, params or {})
        runs.put_facts(ctx, record.seq, facts or {})
        for key, values in (series or {}).items():
            metrics.append(ctx, record.seq, {key: columns(values)})
        return record.seq

    return add


def columns(values):
    count = struct.pack(f"<{len(values)}q", *range(len(values)))
    return Columns(steps=count, times=count, values=struct.pack(f"<{len(values)}d", *values))


def ids(context, *seqs):
    return [record.run.id for record in runs.by_seqs(context, seqs)]


# -- rows ----------------------------------------------------------------------------------------------------------


def test_a_row_holds_the_cells_asked_for_in_their_order(add, context):
    add("a", params={"lr": 0.1, "opt": "adam", "amp": True}, series={"val/mae": [3.0, 1.0, 2.0]}, tags=["x", "y"])
    add("b", series={"val/mae": [math.nan]}, status=RunStatus.FAILED)
    add("c", series={"val/mae": [math.inf]})
    found = service.table(
        context,
        TableQuery(columns="metrics.val/mae, val/mae.min, params.lr, opt, params.amp, user, tags, nobody, metrics.val/mae.mean",
                   order_by="name"),
    )  # fmt: skip
    assert [row.name for row in found.rows] == ["a", "b", "c"] and found.total == 3
    assert found.rows[0].cells == [2.0, 1.0, 0.1, "adam", True, "evi", "x, y", None, 2.0]
    assert found.rows[1].cells == ["NaN", "NaN", None, None, None, "evi", "", None, "NaN"]
    assert found.rows[2].cells[0] == "Infinity" and found.rows[1].status is RunStatus.FAILED


def test_a_table_pages_and_refuses_what_is_no_column(add, context):
    for i in range(5):
        add(f"r{i}", params={"i": i})
    page = service.table(context, TableQuery(order_by="params.i desc", limit=2, offset=1, columns="params.i"))
    assert [row.cells for row in page.rows] == [[3], [2]] and page.total == 5
    for bad in ({"columns": "params"}, {"columns": "a b"}, {"limit": 1001}, {"where": "lr <"}, {"order_by": "nobody"}):
        with pytest.raises(Invalid):
            service.table(context, TableQuery(**bad))


def test_several_names_sort_one_after_the_other(add, context, monkeypatch):
    dice = random.Random(3)
    made = {}
    for i in range(80):
        depth, loss = dice.choice([2, 4, None]), dice.choice([0.1, 0.2, 0.3])
        seq = add(f"r{i}", params={"depth": depth} if depth else {}, series={"loss": [loss]}, user=dice.choice("ab"))
        made[seq] = (depth, loss)
    nothing = 99
    expected = sorted(made, key=lambda seq: (made[seq][0] or nothing, -made[seq][1], seq))
    for few, visited in ((search.FEW, search.VISITED), (3, 8)):
        monkeypatch.setattr(search, "FEW", few)
        monkeypatch.setattr(search, "VISITED", visited)
        query = RunQuery(order_by="params.depth, metrics.loss desc, created asc", limit=100)
        assert search.find(context, query).seqs == expected
        wide = RunQuery(where="loss < 9", order_by="params.depth asc, loss desc", limit=7, offset=5)
        assert search.find(context, wide).seqs == expected[5:12]
        by_user = search.find(context, RunQuery(order_by="user desc, metrics.nobody, loss", limit=100)).seqs
        assert len(by_user) == 80
    with pytest.raises(Invalid) as caught:
        search.find(context, RunQuery(order_by="loss, usr"))
    assert caught.value.position == 6


# -- completeness --------------------------------------------------------------------------------------------------


def test_a_run_says_what_it_lacks_to_be_repeated(add, context):
    add("whole", params={"seed": 1, "data.version": "v3"}, commit="3f2a")
    add("by a fact", params={"random_state": 0}, commit="3f2a", facts={"data": {"train": "sha256:1"}})
    add("nothing", params={"lr": 0.1, "seed": None})
    add("draft", status=RunStatus.DRAFT)
    found = service.table(context, TableQuery(order_by="created asc"))
    lacks = {row.name: row.missing for row in found.rows}
    assert lacks == {
        "whole": [], "by a fact": [], "nothing": ["seed", "commit", "data version"], "draft": [],
    }  # fmt: skip


# -- groups --------------------------------------------------------------------------------------------------------


def test_groups_have_means_with_intervals_over_all_rows(add, context):
    stats = pytest.importorskip("scipy.stats")
    dice = random.Random(7)
    values = {}
    for depth in (2, 4):
        for seed in range(6):
            value = dice.gauss(depth, 0.1)
            values.setdefault(depth, []).append(value)
            add(params={"depth": depth, "seed": seed, "opt": "adam"}, series={"mae": [9.0, value]})
    add(params={"depth": 2}, series={"mae": [math.nan]})
    add(params={"depth": 8})
    found = service.groups(context, GroupQuery(by="params.depth", columns="mae, opt, params.seed"))
    assert [(group.key, group.runs, group.seeds) for group in found.groups] == [([2], 7, 6), ([4], 6, 6), ([8], 1, 0)]
    assert found.total == 3 and found.runs == 14 and found.seed == "seed"
    for group in found.groups[:2]:
        sample = values[group.key[0]]
        mae = group.cells[0]
        assert mae.count == 6 and mae.mean == pytest.approx(statistics.mean(sample))
        assert mae.deviation == pytest.approx(statistics.stdev(sample)) and mae.min == pytest.approx(min(sample))
        low, high = stats.t.interval(
            0.95, 5, loc=statistics.mean(sample), scale=statistics.stdev(sample) / math.sqrt(6)
        )
        assert (mae.low, mae.high) == (pytest.approx(low), pytest.approx(high))
        assert group.cells[1].only == "adam" and group.cells[2].values == 6 and group.cells[2].only is None
    assert found.groups[0].cells[0].left_out == 1, "a NaN is told, not averaged over"
    assert found.groups[2].cells[0].count == 0 and found.groups[2].cells[0].mean is None
    # the condition of a group finds its runs
    for group in found.groups:
        assert service.table(context, TableQuery(where=group.where)).total == group.runs


def test_groups_are_of_fields_missing_values_and_several_names(add, context):
    add(params={"lr": 1}, user="evi", series={"m": [1.0]})
    add(params={"lr": 1.0}, user="evi", series={"m": [3.0]})
    add(params={"lr": True}, user="otto")
    add(params={"lr": "1"}, user="it's")
    add(user="evi")
    add(params={"lr": None}, user="evi", archived=True)
    found = service.groups(context, GroupQuery(by="params.lr, user", columns="m", order_by="runs desc", archived=True))
    keys = [(group.key, group.runs) for group in found.groups]
    assert keys[:2] == [([None, "evi"], 2), ([1, "evi"], 2)] or keys[:2] == [([1, "evi"], 2), ([None, "evi"], 2)]
    assert {str(key) for key, _ in keys[2:]} == {"[True, 'otto']", "['1', \"it's\"]"}
    single = service.groups(context, GroupQuery(by="user", columns="m, host", order_by="m desc"))
    assert single.groups[0].key == ["evi"] and single.groups[0].cells[0].mean == 2.0
    assert [g.runs for g in service.groups(context, GroupQuery(by="nobody")).groups] == [5]
    assert service.groups(context, GroupQuery(by="user", where="user:nobody")).groups == []
    paged = service.groups(context, GroupQuery(by="user", limit=1, offset=1))
    assert paged.total == 3 and len(paged.groups) == 1 and paged.runs == 5
    for bad in ({"by": ""}, {"by": "metrics.m"}, {"by": "created"}, {"by": "tags"}, {"by": "user", "order_by": "m"},
                {"by": "user", "limit": 1001}, {"by": "user", "where": "<"}, {"by": "a b"}):  # fmt: skip
        with pytest.raises(Invalid):
            service.groups(context, GroupQuery(**bad))


def test_groups_bear_values_that_no_square_holds(add, context):
    for value in (1e308, -1e308, math.inf, 2.0, 4.0):
        add(user="evi", series={"loss": [value]})
    [group] = service.groups(context, GroupQuery(by="user", columns="loss, loss.mean, loss.count")).groups
    assert group.cells[0].mean == 3.0 and group.cells[0].left_out == 3 and group.cells[2].mean == 1.0


def test_the_quantile_of_students_t_is_right():
    stats = pytest.importorskip("scipy.stats")
    for freedom in [*range(1, 60), 100, 1000, 10**6]:
        assert tables.quantile(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), abs=2e-6)


# -- facets and names ----------------------------------------------------------------------------------------------


def test_facets_count_values_among_the_runs_that_match(add, context):
    add(user="evi", tags=["x", "y"], params={"depth": 2})
    add(user="evi", tags=["x"], params={"depth": 4}, status=RunStatus.FAILED)
    add(user="otto", params={"depth": "deep"}, archived=True)
    found = service.facets(context, FacetQuery(of="user, tags, params.depth, status, archived", archived=True))
    user, tags, depth, status, archived = found.facets
    assert found.runs == 3 and [(v.value, v.runs, v.where) for v in user.top] == [
        ("evi", 2, "user = 'evi'"), ("otto", 1, "user = 'otto'"),
    ]  # fmt: skip
    assert [(v.value, v.runs) for v in tags.top] == [("x", 2), ("y", 1)] and depth.values == 3
    assert (depth.low, depth.high) == (2.0, 4.0) and [v.value for v in archived.top] == [False, True]
    for facet in found.facets:
        for value in facet.top:
            assert service.table(context, TableQuery(where=value.where, archived=True)).total == value.runs
    assert service.facets(context, FacetQuery(of="user", where="tags has x")).facets[0].top[0].runs == 2
    assert service.facets(context, FacetQuery(of="params.nobody")).facets[0].top == []
    for bad in ("", "metrics.loss", "notes", "created", "id"):
        with pytest.raises(Invalid):
            service.facets(context, FacetQuery(of=bad))


def test_names_of_the_newest_runs_come_first_and_odd_ones_are_quoted(add, context):
    add(params={"old": 1}, project="dairy")
    add(params={"lr": 0.1, "a b": "x"}, series={"val loss": [1.0], "gpu.min": [1.0], "system/cpu": [1.0]})
    add(params={"lr": 0.2})
    found = service.names(context, NameQuery(project="bakery"))
    by_text = {one.text: one for one in found.names}
    assert (
        by_text["params.lr"].runs == 2 and by_text["params.lr"].values == 2 and by_text["params.lr"].holds == "number"
    )
    assert {'params."a b"', 'metrics."val loss"', 'metrics."gpu.min"', "user", "duration"} <= by_text.keys()
    assert "params.old" not in by_text and found.sampled == 2
    assert [one.text for one in service.names(context, NameQuery(text="old", project="bakery")).names] == ["params.old"]
    for one in found.names:
        where.parse(f"{one.text} != null")
    assert {one.kind for one in service.names(context, NameQuery(kind="metric")).names} == {"metric"}


@pytest.mark.parametrize(
    "line,expected",
    [
        ("us", "user"),
        ("lr < 0.1 and (us", "user"),
        ("va", "metrics.val/mae"),
        ("params.d", "params.depth"),
        ("status ", "="),
        ("status = co", "completed"),
        ("user:e", "'evi'"),
        ("user = ", "'evi'"),
        ("params.opt = ", "'adam'"),
        ("opt in ('sgd', ", "'adam'"),
        ("tags has ", "'x y'"),
        ("created > ", "-7d"),
        ("published = ", "true"),
        ("user = evi ", "and "),
        ("", "user"),
    ],
)
def test_a_condition_is_completed_by_what_may_stand_there(add, context, line, expected):
    add(params={"depth": 2, "opt": "adam"}, series={"val/mae": [1.0]}, tags=["x y"])
    found = service.complete(context, CompletionQuery(where=line))
    assert expected in [one.text for one in found.completions]
    one = next(one for one in found.completions if one.text == expected)
    completed = line[: one.start] + one.text + line[one.end :]
    again = service.complete(context, CompletionQuery(where=completed))
    assert again.at is None or again.at >= one.start


def test_completing_tells_what_is_wrong_and_where(add, context):
    add(params={"depth": 2})
    found = service.complete(context, CompletionQuery(where="params.depth < < 3"))
    assert found.at == 15 and "expected a value" in found.problem
    assert service.complete(context, CompletionQuery(where="dept = 3")).problem.count("depth") == 1
    assert service.complete(context, CompletionQuery(where="depth = 3", position=3)).completions[0].end == 5
    assert completing.place("x" * 20_000, -1).typed


# -- a file --------------------------------------------------------------------------------------------------------


def written(context, **query):
    return b"".join(part(context) for part in service.export(context, ExportQuery(**query)).parts)


def test_a_csv_has_every_run_and_column(add, context):
    add(
        "=evil",
        params={"lr": 0.1, "text": "a,b\n"},
        series={"mae": [2.0]},
        tags=["x"],
        started=1_000_000,
        ended=3_500_000,
    )
    add("b", series={"mae": [math.nan]}, params={"flag": True})
    rows = list(csv.DictReader(io.StringIO(written(context, order_by="created asc").decode())))
    assert [row["name"] for row in rows] == ["'=evil", "b"]
    assert rows[0]["params.lr"] == "0.1" and rows[0]["params.text"] == "a,b\n" and rows[0]["metrics.mae"] == "2.0"
    assert rows[0]["started"] == "1970-01-01T00:00:01.000Z" and rows[0]["duration"] == "2.5"
    assert rows[1]["metrics.mae"] == "NaN" and rows[1]["params.flag"] == "true" and rows[1]["params.lr"] == ""
    chosen = written(context, columns="name, mae.min", where="lr = 0.1").decode().splitlines()
    assert chosen == ["name,mae.min", "'=evil,2.0"]
    assert written(context, where="user:nobody", columns="name") == b"name\r\n"


def test_a_parquet_file_has_types_and_many_pieces(add, context, monkeypatch):
    parquet = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr(exporting, "PIECE", 2)
    for i in range(5):
        add(f"r{i}", params={"lr": i / 10, "mixed": "x" if i else 3}, series={"mae": [float(i)]}, started=10**15)
    read = parquet.read_table(io.BytesIO(written(context, form="parquet", order_by="created asc", columns="")))
    assert read["metrics.mae"].to_pylist() == [0, 1, 2, 3, 4] and read["params.lr"].to_pylist()[4] == 0.4
    assert read["params.mixed"].to_pylist() == ["3", "x", "x", "x", "x"]
    assert read["started"][0].as_py().year == 2001
    twice = parquet.read_table(io.BytesIO(written(context, form="parquet", columns="name, name", where="user:nobody")))
    assert twice.num_rows == 0 and twice.column_names == ["name", "name (2)"]
    with pytest.raises(Invalid):
        service.export(context, ExportQuery(form="xlsx"))


# -- many runs -----------------------------------------------------------------------------------------------------


def test_many_runs_are_archived_and_brought_back(add, context):
    seqs = [add(f"r{i}", params={"i": i}) for i in range(5)]
    names = ids(context, *seqs)
    done = service.bulk(context, Bulk(action=BulkAction.ARCHIVE, where="params.i < 3"))
    assert sorted(done.done) == sorted(names[:3]) and not done.next
    assert service.table(context, TableQuery()).total == 2
    assert len([event for event in context.emitted if event.name == "runs.changed"]) == 3
    again = service.bulk(context, Bulk(action=BulkAction.ARCHIVE, ids=names[:4]))
    assert again.done == [names[3]], "what was so already is not done again, so that it is not undone either"
    service.bulk(context, Bulk(action=BulkAction.UNARCHIVE, ids=done.done))
    assert service.table(context, TableQuery()).total == 4


def test_tags_come_and_go_only_where_they_change_something(add, context):
    a, b = ids(context, add(tags=["x"]), add())
    assert service.bulk(context, Bulk(action=BulkAction.TAG, ids=[a, b], tags=["x"])).done == [b]
    assert service.bulk(context, Bulk(action=BulkAction.UNTAG, ids=[a, b, b], tags=["x", "z"])).done == [a, b]
    for bad in ({"tags": []}, {"tags": [" "]}):
        with pytest.raises(Invalid):
            service.bulk(context, Bulk(action=BulkAction.TAG, ids=[a], **bad))


def test_a_condition_is_worked_off_in_pieces(add, context, monkeypatch):
    monkeypatch.setattr(many, "PIECE", 2)
    seqs = [add(f"r{i}") for i in range(5)]
    order = {"action": BulkAction.TAG, "tags": ["t"], "where": "user:evi"}
    first = service.bulk(context, Bulk(**order))
    late = add("made meanwhile")
    done, answer = list(first.done), first
    while answer.next:
        answer = service.bulk(context, Bulk(**order, after=answer.next, until=first.until))
        done += answer.done
    assert done == ids(context, *seqs) and runs.tags_of(context, [late])[late] == []


def test_refusals_are_told_and_do_not_keep_back_the_others(add, context):
    draft, ended, locked = ids(context, add("d", status=RunStatus.DRAFT), add("e"), add("p"))
    runs.update(context, runs.find(context, locked).seq, published=1)
    queued = service.bulk(context, Bulk(action=BulkAction.ENQUEUE, ids=[draft, ended, new_id()], queue="gpu"))
    assert queued.done == [draft] and [one.name for one in queued.refused] == ["e", ""]
    assert "only a draft" in queued.refused[0].message
    stopped = service.bulk(context, Bulk(action=BulkAction.STOP, ids=[draft, ended]))
    assert stopped.done == [draft] and stopped.refused[0].id == ended
    deleted = service.bulk(context, Bulk(action=BulkAction.DELETE, project="bakery"))
    assert sorted(deleted.done) == sorted([draft, ended]) and deleted.refused[0].id == locked
    for bad in (Bulk(action=BulkAction.DELETE), Bulk(action=BulkAction.STOP, ids=[new_id() for _ in range(1001)]),
                Bulk(action=BulkAction.STOP, where="<"), Bulk(action=BulkAction.STOP, everything=True, after="x")):  # fmt: skip
        with pytest.raises(Invalid):
            service.bulk(context, bad)
    assert service.bulk(context, Bulk(action=BulkAction.STOP, everything=True)).done == []


def test_another_tenants_runs_are_in_no_table(add, context, other_context):
    mine = add("mine", params={"lr": 1, "seed": 2}, series={"loss": [1.0]}, tags=["x"])
    theirs = add("theirs", ctx=other_context, params={"lr": 1}, series={"loss": [1.0]}, tags=["y"])
    assert [row.name for row in service.table(other_context, TableQuery(columns="params.lr")).rows] == ["theirs"]
    assert service.groups(other_context, GroupQuery(by="params.lr", columns="loss")).runs == 1
    assert [v.value for v in service.facets(other_context, FacetQuery(of="tags")).facets[0].top] == ["y"]
    assert "params.seed" not in [one.text for one in service.names(other_context, NameQuery(text="se")).names]
    assert b"mine" not in written(other_context)
    answer = service.bulk(other_context, Bulk(action=BulkAction.DELETE, ids=ids(context, mine)))
    assert answer.refused and service.get(context, Nothing(), ids(context, mine)[0])
    assert theirs != mine


def test_what_is_recorded_over_the_api_is_in_the_table(context):
    run = service.create(context, NewRun(project="bakery", name="made", params={"lr": 0.1}))
    service.log_metrics(context, PointsBatch(metrics=[Points(name="mae", values=[2.0, 1.0])]), run.id)
    [row] = service.table(context, TableQuery(columns="mae, mae.count, params.lr")).rows
    assert row.cells == [1.0, 2, 0.1] and row.id == run.id
