"""What the pages read of runs: many charts at once, the whole log, code, kin, progress, load."""

import subprocess
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from larder.contract.endpoint import Nothing
from larder.contract.errors import Invalid, NotFound
from larder.contract.ids import new_id
from larder.contract.reading import ChartsQuery, CodeDiffQuery, CodeQuery
from larder.contract.runs import (
    ArtifactFile,
    Batch,
    Change,
    Clone,
    ConsoleLine,
    ConsoleQuery,
    Ending,
    FileQuery,
    NewArtifact,
    NewRun,
    Opening,
    RunStatus,
    Series,
)
from larder_server.runs import service

NOTHING = Nothing()
SECOND = 1_000_000


def series(name, values, *, steps=None, times=None) -> Series:
    steps = range(len(values)) if steps is None else steps
    times = [SECOND * step for step in steps] if times is None else times
    return Series(name=name, steps=np.array(steps, "<i8").tobytes(), times=np.array(times, "<i8").tobytes(),
                  values=np.array(values, "<f8").tobytes())  # fmt: skip


def recorded(context, *, parent=None, project="bakery", started=1_000, **more) -> str:
    run_id = new_id()
    opening = Opening(project=project, name="baseline", time=started, parent=parent)
    service.append(context, Batch(writer="main", start=0, end=100, opening=opening, **more), run_id)
    return run_id


def ended(context, run_id, *, at=9_000) -> str:
    ending = Ending(status=RunStatus.COMPLETED, time=at)
    service.append(context, Batch(writer="main", start=100, end=110, ending=ending), run_id)
    return run_id


# -- charts --------------------------------------------------------------------------------------------------------


def test_many_series_of_many_runs_come_at_once(context):
    a = recorded(context, series=[series("loss", [3.0, 2.0, 1.0]), series("acc", [0.1, 0.2])])
    b = recorded(context, series=[series("loss", np.sin(np.arange(5_000)))])
    found = service.charts(context, ChartsQuery(runs=[a, b], names=["loss", "acc", "none"], points=100))
    assert [(chart.run, chart.name, chart.total) for chart in found.charts] == [
        (a, "loss", 3), (b, "loss", 5_000), (a, "acc", 2),
    ]  # fmt: skip
    assert found.charts[0].values == [3.0, 2.0, 1.0] and found.charts[0].steps == [0, 1, 2]
    (without,) = service.charts(context, ChartsQuery(runs=[a], names=["loss"], times=False)).charts
    assert without == replace(found.charts[0], times=[]) and len(found.charts[0].times) == 3
    long = found.charts[1]
    assert len(long.values) <= 100 and max(long.values) == np.sin(np.arange(5_000)).max()


def test_charts_are_those_of_the_single_question(context):
    values = np.cumsum(np.random.default_rng(1).normal(size=12_345))
    run = recorded(context, series=[series("a", values), series("b", values[:1_500]), series("c", values[:7])])
    for first, last in ((None, None), (100, 9_000), (12_000, None), (50_000, None)):
        many = service.charts(context, ChartsQuery(runs=[run], names=["a", "b", "c"], points=64, first_step=first,
                                                   last_step=last))  # fmt: skip
        for chart in many.charts:
            from larder.contract.runs import ChartQuery

            one = service.chart(context, ChartQuery(name=chart.name, points=64, first_step=first, last_step=last), run)
            assert (chart.steps, chart.values, chart.total) == (one.steps, one.values, one.total)


def test_charts_refuse_what_is_too_much_or_unknown(context):
    run = recorded(context)
    for query, field in (
        (ChartsQuery(runs=[run], names=["a"], points=3), "points"),
        (ChartsQuery(runs=[run], names=[str(n) for n in range(2_001)], points=4), "names"),
        (ChartsQuery(runs=[run], names=[str(n) for n in range(100)], points=20_000), "points"),
    ):
        with pytest.raises(Invalid) as refusal:
            service.charts(context, query)
        assert refusal.value.field == field
    with pytest.raises(NotFound):
        service.charts(context, ChartsQuery(runs=[new_id()], names=["a"]))
    assert service.charts(context, ChartsQuery(runs=[run], names=[])).charts == []


def test_charts_of_another_tenant_are_not_found(context, other_context):
    run = recorded(context, series=[series("loss", [1.0])])
    with pytest.raises(NotFound):
        service.charts(other_context, ChartsQuery(runs=[run], names=["loss"]))


# -- the console ---------------------------------------------------------------------------------------------------


def logged(context, lines) -> str:
    return recorded(context, console=[
        line if isinstance(line, ConsoleLine) else ConsoleLine(time=1, text=line) for line in lines
    ])  # fmt: skip


def search(context, run, **query):
    return service.read_console(context, ConsoleQuery(**query), run)


def test_a_regular_expression_is_found_in_the_whole_log_in_any_case(context):
    run = logged(context, [f"step {n}: loss {n / 7:.3f}" for n in range(5_000)] + ["Traceback: ValueError äß x"])
    found = search(context, run, pattern=r"value\w+ ä")
    assert [(line.number, line.spans) for line in found.lines] == [(5_001, [[11, 23]])]
    assert found.complete and found.total == 5_001 and found.last == 5_001
    assert [line.number for line in search(context, run, pattern=r"^step 10?:").lines] == [2, 11]
    assert [line.number for line in search(context, run, pattern=r"loss 0\.000$").lines] == [1]
    assert [line.number for line in search(context, run, pattern=r"\Astep 7:").lines] == [8]
    assert search(context, run, pattern="(?-i)traceback").lines == []
    assert [line.number for line in search(context, run, pattern="step", after=4_998).lines] == [4_999, 5_000]
    assert [line.number for line in search(context, run, pattern="loss", tail=2).lines] == [4_999, 5_000]
    assert len(search(context, run, pattern="step", limit=3).lines) == 3


def test_lines_are_chosen_by_stream_and_rank(context):
    run = logged(context, [
        ConsoleLine(time=1, text="a"), ConsoleLine(time=2, text="b", stream="err"),
        ConsoleLine(time=3, text="c", rank=1), ConsoleLine(time=4, text="d", stream="err", rank=1),
    ])  # fmt: skip

    def texts(**query):
        return "".join(line.line.text for line in search(context, run, **query).lines)

    assert (texts(), texts(stream="err"), texts(rank=1), texts(rank=0), texts(stream="err", rank=1)) == (
        "abcd", "bd", "cd", "ab", "d",
    )  # fmt: skip
    assert texts(stream="err", tail=1) == "d" and texts(rank=0, tail=5) == "ab"
    assert texts(search="B") == "b"


@pytest.mark.parametrize("pattern", ["(", "a{2000}", r"(a)\1", "(?<=a)b", "x" * 1_001, "[z-a]"])
def test_what_is_no_regular_expression_is_refused(context, pattern):
    run = logged(context, ["a"])
    with pytest.raises(Invalid) as refusal:
        search(context, run, pattern=pattern)
    assert refusal.value.field == "pattern" and "\n" not in str(refusal.value)


def test_other_bad_questions_are_refused(context):
    run = logged(context, ["a"])
    for query, field in (({"stream": "both"}, "stream"), ({"rank": -1}, "rank")):
        with pytest.raises(Invalid) as refusal:
            search(context, run, **query)
        assert refusal.value.field == field


def test_a_catastrophic_pattern_takes_no_longer_than_its_text(context):
    run = logged(context, ["a" * 5_000] * 1_000)
    began = time.perf_counter()
    assert search(context, run, pattern=r"(a+)+(a|aa)+b$").lines == []
    assert time.perf_counter() - began < 5


def test_a_search_that_takes_too_long_goes_on_with_the_next_question(context, monkeypatch):
    monkeypatch.setattr("larder_server.runs.service.life._SEARCHED", -1.0)
    run = logged(context, [f"line {n}" for n in range(2_500)])
    found, after, questions = [], 0, 0
    while True:
        answer = search(context, run, pattern="9$", after=after)
        found += [line.number for line in answer.lines]
        after, questions = answer.last, questions + 1
        if answer.complete:
            break
    assert questions == 3 and len(found) == 250


# -- files ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path,kind,format,media",
    [
        ("a.png", "image", "png", "image/png"), ("a.svg", "image", "svg", "image/svg+xml"),
        ("a.html", "figure", "html", "text/html; charset=utf-8"), ("notes", "text", "text", "text/plain; charset=utf-8"),
        ("a.PY", "file", "file", "text/plain; charset=utf-8"), ("model.pickle", "model", "pickle", ""),
        ("a.pdf", "file", "file", ""), ("a.js", "file", "file", "text/plain; charset=utf-8"),
    ],
)  # fmt: skip
def test_what_a_browser_is_shown_of_an_artifact(context, path, kind, format, media):
    hash = context.objects.put(context.tenant, b"bytes")
    made = NewArtifact(name="x", kind=kind, format=format, files=[ArtifactFile(path=path, hash=hash, size=5)])
    run = recorded(context, artifacts=[made])
    assert service.read_file(context, FileQuery(name="x", show=True), run).media_type == media
    assert service.read_file(context, FileQuery(name="x"), run).media_type == ""


# -- kin -----------------------------------------------------------------------------------------------------------


def test_lineage_tells_how_each_run_came_from_the_other(context):
    first = ended(context, recorded(context, params={"lr": 0.1, "depth": 4}))
    clone = service.clone(context, Clone(params={"lr": 0.2}), first)
    second = service.clone(context, Clone(params={"depth": 8}), clone.id)
    went_on = recorded(
        context, parent=first, params={"lr": 0.1, "depth": 4, "epochs": 9}, started=2_000,
        facts={"continued": {"run": first, "name": "best", "version": 2, "step": 120}},
    )  # fmt: skip
    child = recorded(context, parent=first, started=3_000)
    found = service.lineage(context, NOTHING, second.id)
    assert [(kin.id, kin.relation, kin.params) for kin in found.ancestors] == [
        (clone.id, "clone", {"depth": 8}), (first, "clone", {"lr": 0.2}),
    ]  # fmt: skip
    assert not found.cut and found.children == []
    below = {kin.id: kin for kin in service.lineage(context, NOTHING, first).children}
    assert {id: kin.relation for id, kin in below.items()} == {clone.id: "clone", went_on: "checkpoint", child: "child"}
    assert (below[went_on].step, below[went_on].checkpoint, below[went_on].params) == (120, "best", {"epochs": 9})
    service.delete(context, NOTHING, first)
    assert service.lineage(context, NOTHING, second.id).cut


def test_neighbours_are_those_of_the_project_that_are_not_archived(context):
    a, hidden, b = (recorded(context, started=n * 1_000) for n in (1, 2, 3))
    recorded(context, project="other", started=2_500)
    service.change(context, Change(archived=True), hidden)
    assert service.neighbours(context, NOTHING, a).after == b
    found = service.neighbours(context, NOTHING, b)
    assert (found.before, found.after) == (a, None)


def test_neighbours_of_the_same_moment_are_each_found(context):
    ids = [recorded(context, started=1_000) for _ in range(3)]
    walked, at = [ids[0]], ids[0]
    while (at := service.neighbours(context, NOTHING, at).after) is not None:
        walked.append(at)
    assert walked == ids


# -- progress ------------------------------------------------------------------------------------------------------


def test_a_run_that_says_its_steps_has_an_expected_end(context, clock):
    began = clock.now()
    run = recorded(context, started=began, facts={"progress": {"steps": 100}},
                   series=[series("loss", [1.0] * 25, times=[began + n * SECOND for n in range(25)])])  # fmt: skip
    clock.forward(24)
    found = service.tell_progress(context, NOTHING, run)
    assert (found.step, found.steps, found.fraction, found.basis) == (24, 100, 0.25, "steps")
    assert found.steps_per_second == pytest.approx(1.0)
    assert found.expected_end == began + 99 * SECOND
    ended(context, run, at=began + 30 * SECOND)
    assert service.tell_progress(context, NOTHING, run).expected_end == began + 30 * SECOND


@pytest.mark.parametrize(
    "params,steps",
    [({"max_steps": 50}, 50), ({"trainer.total-steps": "80"}, 80), ({"max_steps": -1}, None), ({"max_steps": 3}, None),
     ({"n_estimators": 500}, 500), ({"steps": True}, None), ({}, None)],
)  # fmt: skip
def test_steps_are_known_by_well_known_parameters(context, params, steps):
    run = recorded(context, params=params, series=[series("loss", [1.0] * 10)])
    assert service.tell_progress(context, NOTHING, run).steps == steps


def test_epochs_tell_where_the_run_logs_them(context, clock):
    began = clock.now()
    run = recorded(context, started=began, params={"epochs": 10}, series=[series("epoch", [0, 1, 2.5])])
    clock.forward(50)
    found = service.tell_progress(context, NOTHING, run)
    assert found.fraction == 0.25 and found.expected_end == began + 200 * SECOND


def test_earlier_runs_of_the_script_tell_how_long_it_takes(context, clock):
    began = clock.now()
    command = {"command": {"script": "train.py"}}
    for _ in range(2):
        ended(context, recorded(context, started=began, facts=command), at=began + 100 * SECOND)
    other = recorded(context, started=began, facts={"command": {"script": "other.py"}})
    run = recorded(context, started=began, facts=command)
    clock.forward(40)
    found = service.tell_progress(context, NOTHING, run)
    assert (found.basis, found.expected_end) == ("earlier", began + 100 * SECOND)
    assert found.fraction == pytest.approx(0.4)
    assert service.tell_progress(context, NOTHING, other).basis == ""
    clock.forward(100)
    assert service.tell_progress(context, NOTHING, run).expected_end is None


# -- the machine ---------------------------------------------------------------------------------------------------


def test_a_gpu_without_work_for_ten_minutes_is_told(context):
    times = [n * 5 * SECOND for n in range(600)]
    busy = [90.0 if n < 100 or n == 400 else 1.0 for n in range(600)]
    short = [0.0 if n % 100 else 80.0 for n in range(600)]
    run = recorded(context, series=[
        series("system/gpu.0.percent", busy, times=times), series("system/gpu.1.percent", short, times=times),
        series("system/cpu_percent", short, times=times), series("loss", [1.0]),
    ])  # fmt: skip
    found = service.machine(context, NOTHING, run)
    assert found.series == ["system/cpu_percent", "system/gpu.0.percent", "system/gpu.1.percent"]
    assert [(each.series, each.first, each.last) for each in found.idle] == [
        ("system/gpu.0.percent", times[100], times[399]), ("system/gpu.0.percent", times[401], times[599]),
    ]  # fmt: skip


def test_silence_is_not_idleness(context):
    times = [n * 120 * SECOND for n in range(4)] + [100_000 * SECOND + n * 120 * SECOND for n in range(4)]
    run = recorded(context, series=[series("system/gpu.0.percent", [0.0] * 8, times=times)])
    assert service.machine(context, NOTHING, run).idle == []


# -- code ----------------------------------------------------------------------------------------------------------


def git(folder: Path, *arguments: str) -> bytes:
    identity = ("-c", "user.name=x", "-c", "user.email=x@example.com")
    return subprocess.run(["git", *identity, *arguments], cwd=folder, capture_output=True, check=True).stdout


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "-q", ".")
    (folder / "train.py").write_text("lr = 0.1\nepochs = 3\n")
    (folder / "src").mkdir()
    (folder / "src" / "model.py").write_text("class Model: ...\n")
    (folder / "logo.png").write_bytes(b"\x89PNG\0\0")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "one")
    return folder


def of_git(context, folder: Path, *, bundle=True, remote="") -> str:
    """A run recorded in a repository, as the client does it."""
    commit = git(folder, "rev-parse", "HEAD").decode().strip()
    git(folder, "add", "-A")
    patch = git(folder, "diff", "--cached", "--binary", "--full-index", "--no-renames", "HEAD")
    made = [artifact(context, "code/patch", {"changes.patch": patch})] if patch else []
    about = {}
    if bundle:
        git(folder, "bundle", "create", "-q", "commit.bundle", "HEAD")
        made.append(artifact(context, "code/bundle", {"commit.bundle": (folder / "commit.bundle").read_bytes()}))
        (folder / "commit.bundle").unlink()
        about = {"artifact": "code/bundle", "file": "commit.bundle", "needs": [], "base": ""}
    fact = {"kind": "git", "commit": commit, "branch": "main", "remote": remote, "bundle": about,
            "tree": git(folder, "write-tree").decode().strip(),
            "skipped": [{"path": ".env", "size": 3, "why": "may hold a secret"}]}  # fmt: skip
    return recorded(context, artifacts=made, facts={"code": fact})


def artifact(context, name, files) -> NewArtifact:
    return NewArtifact(name=name, kind="code", format="folder", files=[
        ArtifactFile(path=path, hash=context.objects.put(context.tenant, data), size=len(data))
        for path, data in files.items()
    ])  # fmt: skip


def of_folder(context, files) -> str:
    return recorded(context, artifacts=[artifact(context, "code/folder", files)], facts={"code": {"kind": "folder"}})


def text(context, run, path):
    return service.code_file(context, CodeQuery(path=path), run).text


def test_the_code_of_an_unpushed_commit_is_read_with_what_was_not_committed(context, repository):
    (repository / "train.py").write_text("lr = 0.2\nepochs = 3\n")
    (repository / "new.py").write_text("print()\n")
    (repository / "src" / "model.py").unlink()
    run = of_git(context, repository)
    found = service.code(context, NOTHING, run)
    assert [(file.path, file.change, file.readable) for file in found.files] == [
        ("logo.png", "", False), ("new.py", "added", True), ("src/model.py", "deleted", False),
        ("train.py", "changed", True),
    ]  # fmt: skip
    assert found.whole and found.kind == "git" and found.branch == "main" and found.skipped[0].path == ".env"
    assert text(context, run, "train.py") == "lr = 0.2\nepochs = 3\n"
    assert text(context, run, "new.py") == "print()\n"
    for path, kind in (("src/model.py", NotFound), ("logo.png", Invalid), ("../etc/passwd", NotFound)):
        with pytest.raises(kind):
            text(context, run, path)
    diff = service.code_diff(context, CodeDiffQuery(), run)
    assert {file.path: (file.change, file.added, file.removed) for file in diff.files} == {
        "train.py": ("changed", 1, 1), "new.py": ("added", 1, 0), "src/model.py": ("deleted", 0, 1),
    }  # fmt: skip


def test_of_a_pushed_commit_the_changes_are_known_and_the_rest_is_linked(context, repository):
    (repository / "train.py").write_text("lr = 0.2\nepochs = 3\n")
    run = of_git(context, repository, bundle=False, remote="git@github.com:larder/shop.git")
    found = service.code(context, NOTHING, run)
    assert [(file.path, file.readable) for file in found.files] == [("train.py", False)] and not found.whole
    assert found.link == f"https://github.com/larder/shop/tree/{found.commit}"
    with pytest.raises(Invalid):
        text(context, run, "train.py")


@pytest.mark.parametrize("bundle", [True, False])
def test_runs_of_one_commit_are_compared_by_what_was_not_committed(context, repository, bundle):
    clean = of_git(context, repository, bundle=bundle)
    (repository / "train.py").write_text("lr = 0.2\nepochs = 3\n")
    one = of_git(context, repository, bundle=bundle)
    (repository / "train.py").write_text("lr = 0.3\nepochs = 3\n")
    two = of_git(context, repository, bundle=bundle)

    def diff(old, new):
        return service.code_diff(context, CodeDiffQuery(against=old), new)

    [there] = diff(clean, one).files
    [back] = diff(one, clean).files
    assert "-lr = 0.1\n+lr = 0.2\n" in there.diff and "-lr = 0.2\n+lr = 0.1\n" in back.diff
    [between] = diff(one, two).files
    assert between.of_changes is not bundle and ("0.2" in between.diff and "0.3" in between.diff)
    assert diff(one, one).files == [] and diff(one, two).whole


def test_other_commits_are_compared_whole_or_linked(context, repository):
    remote = "https://gitlab.com/larder/shop.git"
    one, pushed_one = of_git(context, repository), of_git(context, repository, bundle=False, remote=remote)
    (repository / "train.py").write_text("lr = 0.5\nepochs = 3\n")
    git(repository, "commit", "-qam", "two")
    two, pushed_two = of_git(context, repository), of_git(context, repository, bundle=False, remote=remote)
    whole = service.code_diff(context, CodeDiffQuery(against=one), two)
    assert [file.path for file in whole.files] == ["train.py"] and whole.whole
    linked = service.code_diff(context, CodeDiffQuery(against=pushed_one), pushed_two)
    assert not linked.whole and "different commits" in linked.note and "/-/compare/" in linked.link


def test_packed_folders_are_read_and_compared(context):
    one = of_folder(context, {"a.py": b"x = 1\n", "same.py": b"1\n", "bin.npy": b"\0\1"})
    two = of_folder(context, {"a.py": b"x = 2\n", "same.py": b"1\n", "b.py": "é\n".encode()})
    found = service.code(context, NOTHING, one)
    assert (found.kind, found.whole, [file.path for file in found.files]) == (
        "folder",
        True,
        ["a.py", "bin.npy", "same.py"],
    )
    assert text(context, two, "b.py") == "é\n"
    diff = service.code_diff(context, CodeDiffQuery(against=one), two)
    assert [(file.path, file.change) for file in diff.files] == [
        ("a.py", "changed"), ("b.py", "added"), ("bin.npy", "deleted"),
    ]  # fmt: skip


def test_a_run_without_code_says_so(context):
    run, other = recorded(context), of_folder(context, {"a.py": b"1"})
    assert service.code(context, NOTHING, run).kind == "none"
    diff = service.code_diff(context, CodeDiffQuery(against=other), run)
    assert not diff.whole and diff.note


def test_a_damaged_bundle_leaves_the_rest(context, repository):
    (repository / "new.py").write_text("print()\n")
    commit = git(repository, "rev-parse", "HEAD").decode().strip()
    git(repository, "add", "-A")
    patch = git(repository, "diff", "--cached", "--binary", "--full-index", "HEAD")
    fact = {"kind": "git", "commit": commit, "bundle": {"needs": [], "base": ""}}
    run = recorded(context, facts={"code": fact}, artifacts=[
        artifact(context, "code/patch", {"changes.patch": patch}),
        artifact(context, "code/bundle", {"commit.bundle": b"# v2 git bundle\n\nPACK nonsense"}),
    ])  # fmt: skip
    assert [file.path for file in service.code(context, NOTHING, run).files] == ["new.py"]


@pytest.mark.parametrize(
    "fact", [None, [], "x", {"kind": "git"}, {"kind": 3, "skipped": "no"}, {"kind": "git", "bundle": []}]
)
def test_odd_facts_of_code_are_taken_as_they_are(context, fact):
    run = recorded(context, facts={"code": fact})
    assert service.code(context, NOTHING, run).files == []
    assert service.code_diff(context, CodeDiffQuery(), run).files == []


def test_drafts_have_reading_too(context):
    draft = service.create(context, NewRun(project="bakery"))
    assert service.tell_progress(context, NOTHING, draft.id).fraction is None
    assert service.machine(context, NOTHING, draft.id).series == []
    for question in (service.lineage, service.neighbours, service.tell_progress, service.machine, service.code):
        with pytest.raises(NotFound):
            question(context, NOTHING, new_id())


def test_a_clone_may_execute_the_code_of_another_run(context):
    source, other = of_folder(context, {"a.py": b"1\n"}), of_folder(context, {"a.py": b"2\n"})
    clone = service.clone(context, Clone(code=other), source)
    assert text(context, clone.id, "a.py") == "2\n" and clone.parent == source
    assert text(context, service.clone(context, Clone(), source).id, "a.py") == "1\n"
    with pytest.raises(Invalid):
        service.clone(context, Clone(code=recorded(context)), source)
    with pytest.raises(NotFound):
        service.clone(context, Clone(code=new_id()), source)


def test_a_clone_may_execute_any_commit_of_the_remote(context):
    fact = {"kind": "git", "commit": "a" * 40, "tree": "b" * 40, "dirty": True, "artifact": "code/patch",
            "remote": "https://example.org/bakery.git", "root": "/home/evi/bakery", "branch": "main"}  # fmt: skip
    source = recorded(context, facts={"code": fact})
    clone = service.clone(context, Clone(commit="c" * 40, params={"lr": 0.2}), source)
    assert (clone.commit, clone.params["lr"], clone.parent) == ("c" * 40, 0.2, source)
    code = clone.facts["code"]
    assert (code["commit"], code["tree"], code["dirty"]) == ("c" * 40, "", False)
    assert (code["remote"], code["root"]) == (fact["remote"], fact["root"])
    assert service.code(context, NOTHING, clone.id).files == []
    for refused, why in (
        (Clone(commit="main"), "whole hash"),
        (Clone(commit="C" * 40), "whole hash"),
        (Clone(commit="c" * 40, code=source), "not of both"),
    ):
        with pytest.raises(Invalid, match=why):
            service.clone(context, refused, source)
    without = recorded(context, facts={"code": {**fact, "remote": ""}})
    with pytest.raises(Invalid, match="without a git remote"):
        service.clone(context, Clone(commit="c" * 40), without)
