"""Tables and views from Python: every call reaches its endpoint, and long lists go in pieces."""

import pytest

from larder import tables, views
from larder.contract import runs
from larder.contract.errors import Invalid, NotFound
from larder.contract.runs import NewRun, Points, PointsBatch

pytestmark = pytest.mark.journey


@pytest.fixture
def server(up):
    server = up()
    for index in range(6):
        order = NewRun(project="bakery", name=f"r{index}", params={"depth": index % 2, "seed": index})
        run = server.transport.call(runs.CREATE, order)
        batch = PointsBatch(metrics=[Points(name="mae", values=[float(index)])])
        server.transport.call(runs.LOG_METRICS, batch, run_id=run.id)
    return server


def test_rows_groups_facets_and_names(server, monkeypatch):
    monkeypatch.setattr(tables, "PAGE", 2)
    found = tables.rows(["mae", "params.depth"], order_by="params.depth, mae desc", limit=5)
    assert [row.cells for row in found.rows] == [[4.0, 0], [2.0, 0], [0.0, 0], [5.0, 1], [3.0, 1]] and found.total == 6
    grouped = tables.groups(["params.depth"], ["mae"], project="bakery", order_by="mae desc")
    assert [(group.key, group.cells[0].mean, group.runs) for group in grouped.groups] == [([1], 3.0, 3), ([0], 2.0, 3)]
    assert [value.runs for value in tables.facets(["params.depth"]).facets[0].top] == [3, 3]
    assert "params.depth" in [name.text for name in tables.names("dep")]
    assert "metrics.mae" in [one.text for one in tables.complete("ma").completions]


def test_a_file_and_changes_of_many(server, tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "NAMED_AT_ONCE", 2)
    assert tables.export(tmp_path / "runs.csv", ["name", "mae"], where="mae > 3").read_text().splitlines()[1:] == [
        "r5,5.0",
        "r4,4.0",
    ]
    with pytest.raises(Invalid):
        tables.export(tmp_path / "runs.xlsx")
    done = tables.change("archive", where="mae < 4")
    assert len(done.done) == 4 and tables.rows().total == 2
    assert sorted(tables.change("unarchive", done.done).done) == sorted(done.done)
    assert len(tables.change("tag", project="bakery", tags=["x"]).done) == 6
    with pytest.raises(Invalid):
        tables.change("paint", done.done)
    with pytest.raises(Invalid):
        tables.change("delete")


def test_views_are_kept(server):
    view = views.save("where=mae+%3C+3", "good", project="bakery")
    assert [one.name for one in views.find("runs", project="bakery")] == ["good"]
    assert views.change(view.id, shared=True).shared and views.get(view.id).state == "where=mae+%3C+3"
    assert len(views.save("where=mae+%3C+3").id) == 12
    views.delete(view.id)
    with pytest.raises(NotFound):
        views.get(view.id)
