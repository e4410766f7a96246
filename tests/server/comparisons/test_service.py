"""Runs are compared as they were recorded, on SQLite and on PostgreSQL, and never beyond their tenant."""

import pytest

from larder.contract.comparisons import CompareQuery, ConsoleDiffQuery, ExplainQuery
from larder.contract.errors import Invalid, NotFound
from larder.contract.runs import (
    ArtifactFile,
    Batch,
    ConsoleLine,
    Finish,
    NewArtifact,
    NewRun,
    Opening,
    Points,
    PointsBatch,
    RunStatus,
)
from larder_server.comparisons import service
from larder_server.runs import service as runs


def recorded(context, name, *, values=(3.0, 2.0), lines=(), artifacts=(), **more):
    """A run with a curve, some lines and some artifacts."""
    made = runs.create(context, NewRun(project="bakery", name=name, artifacts=list(artifacts), **more))
    runs.log_metrics(context, PointsBatch(metrics=[Points(name="val/mae", values=list(values))]), made.id)
    if lines:
        batch = Batch(
            writer="w", start=0, end=10, opening=Opening(project="bakery", name=name, time=1_000),
            console=[ConsoleLine(time=1, text=line) for line in lines],
        )  # fmt: skip
        runs.append(context, batch, made.id)
    return made.id


def picture(context, name, step, content):
    hash = context.objects.put(context.tenant, content)
    file = ArtifactFile(path=f"{name}.png", hash=hash, size=len(content))
    return NewArtifact(name=name, kind="image", format="png", files=[file], step=step)


def test_a_comparison_has_what_differs_first_the_best_and_the_mismatch(context):
    facts = {"packages": {"python": "3.11", "numpy": "1.26"}, "machine": {"host": "a"}}
    a = recorded(context, "a", params={"lr": 0.1, "depth": 4, "data_version": "v3"}, facts=facts)
    b = recorded(
        context, "b", values=(3.0, 1.0), params={"lr": 0.2, "depth": 4, "data_version": "v4"},
        facts={**facts, "packages": {"python": "3.11", "numpy": "2.0"}},
    )  # fmt: skip
    found = service.compare(context, CompareQuery(runs=[b, a]))
    assert [run.id for run in found.runs] == [b, a] and found.runs[0].facts == {}
    assert [(row.name, row.values) for row in found.params] == [
        ("data_version", ["v4", "v3"]), ("lr", [0.2, 0.1]), ("depth", [4, 4]),
    ]  # fmt: skip
    assert found.main == "val/mae" and found.metrics[0].best["min"] == 0
    assert [(row.name, row.values) for row in found.packages] == [("numpy", ["2.0", "1.26"])]
    assert found.facts == []
    assert [(one.about, one.param) for one in found.mismatches] == [("data", "data_version")]


def test_fifty_runs_are_compared_and_no_more(context):
    ids = [recorded(context, f"r{index}", params={"lr": index}) for index in range(50)]
    assert len(service.compare(context, CompareQuery(runs=ids)).params[0].values) == 50
    for bad in ([], ids[:1], [*ids, "x"], [ids[0], ids[0]]):
        with pytest.raises(Invalid):
            service.compare(context, CompareQuery(runs=bad))
    with pytest.raises(NotFound):
        service.compare(context, CompareQuery(runs=[ids[0], "nothing"]))


def test_another_tenant_compares_nothing_of_this_one(context, other_context):
    a, b = recorded(context, "a"), recorded(context, "b")
    for ask, query in (
        (service.compare, CompareQuery(runs=[a, b])),
        (service.console, ConsoleDiffQuery(a=a, b=b)),
        (service.explain, ExplainQuery(a=a, b=b)),
        (service.pictures, CompareQuery(runs=[a, b])),
    ):
        with pytest.raises(NotFound):
            ask(other_context, query)


def test_consoles_are_compared_by_their_lines(context):
    a = recorded(context, "a", lines=["epoch 1 loss 0.3", "done"])
    b = recorded(context, "b", lines=["epoch 1 loss 0.2", "early stop", "done"])
    found = service.console(context, ConsoleDiffQuery(a=a, b=b))
    assert (found.added, found.removed, found.lines_a, found.lines_b, found.cut) == (1, 0, 2, 3, False)
    with pytest.raises(Invalid):
        service.console(context, ConsoleDiffQuery(a=a, b=a))


def test_a_reason_is_learned_from_the_earlier_runs_of_the_project(context):
    for index in range(12):
        params = {"lr": [0.1, 0.2, 0.3][index % 3], "depth": 3 + (index // 3) % 2}
        made = runs.create(context, NewRun(project="bakery", name=f"r{index}", params=params)).id
        runs.log_metrics(
            context, PointsBatch(metrics=[Points(name="val/mae", values=[1.0 + index % 3 + index / 100])]), made
        )
        runs.finish(context, Finish(status=RunStatus.COMPLETED), made)
    a = recorded(context, "a", values=[1.0], params={"lr": 0.1, "depth": 3, "seed": 1})
    b = recorded(context, "b", values=[3.0], params={"lr": 0.3, "depth": 4, "seed": 2})
    found = service.explain(context, ExplainQuery(a=a, b=b))
    assert found.metric == "val/mae" and (found.a, found.b) == (1.0, 3.0)
    assert found.differences[0].name == "lr"
    assert "12 earlier runs" in found.differences[0].evidence
    assert "200 % worse than a" in found.sentence


def test_changed_code_is_a_reason_with_its_lines(context):
    def code(text):
        content = text.encode()
        file = ArtifactFile(path="train.py", hash=context.objects.put(context.tenant, content), size=len(content))
        artifact = NewArtifact(name="code/folder", kind="code", format="folder", files=[file])
        facts = {
            "code": {"kind": "folder", "tree": file.hash, "artifact": "code/folder", "files": 1},
            "command": {"script": "/home/x/train.py"},
        }
        return {"artifacts": [artifact], "facts": facts}

    a = recorded(context, "a", **code("clip = 1\nprint(clip)\n"))
    b = recorded(context, "b", **code("clip = 9\nprint(clip)\n"))
    first = service.explain(context, ExplainQuery(a=a, b=b)).differences[0]
    assert (first.kind, first.name) == ("code", "train.py")
    assert "-clip = 1" in first.diff and "+clip = 9" in first.diff


def test_images_stand_side_by_side_by_name_and_step(context):
    a = recorded(context, "a", artifacts=[picture(context, "heat", 1, b"one"), picture(context, "heat", 2, b"two")])
    b = recorded(context, "b", artifacts=[picture(context, "heat", 2, b"three")])
    found = service.pictures(context, CompareQuery(runs=[a, b])).rows
    assert [(row.name, row.step, [one is not None for one in row.pictures]) for row in found] == [
        ("heat", 2, [True, True]), ("heat", 1, [True, False]),
    ]  # fmt: skip
    assert found[0].pictures[0].version == 2 and found[0].pictures[1].version == 1
