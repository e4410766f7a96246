"""A live run, as a script sees it, recorded without a server."""

import argparse
import dataclasses
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import larder
from larder import guard
from larder.contract import ids
from larder.journal import format, reader
from larder.recording import begin as beginning
from larder.recording import companion, place


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("LARDER_MODE", "offline")
    monkeypatch.setattr(place, "joined", set())
    monkeypatch.setattr(companion.Companion, "__init__", lambda self, folder: None)
    monkeypatch.setattr(companion.Companion, "wake", lambda self: None)
    monkeypatch.setattr(guard, "_warned", set())
    yield
    if beginning._run is not None:
        beginning._run.finish()


def begin(**given: Any) -> larder.Run:
    return larder.init(project="bakery", capture=False, **given)


def records(run: larder.Run, kind: int) -> list[Any]:
    assert run.folder is not None
    found: list[Any] = []
    for journal in reader.journals(run.folder):
        found += [record[2:] for _, record in journal.records() if record[0] == kind]
    return found


def points(run: larder.Run) -> list[Any]:
    return [(step, values) for step, values in records(run, format.POINTS)]


def facts(run: larder.Run) -> dict[str, Any]:
    return dict(records(run, format.FACT))


# -- points


def test_steps_count_by_themselves_and_go_on_from_the_last_one() -> None:
    run = begin()
    run.log({"a": 1.0})
    run.log({"a": 2.0})
    run.log({"a": 3.0}, step=10)
    run.log({"a": 4.0})
    assert points(run) == [(0, {"a": 1.0}), (1, {"a": 2.0}), (10, {"a": 3.0}), (11, {"a": 4.0})]


def test_all_kinds_of_numbers_are_floats_in_the_end() -> None:
    numpy = pytest.importorskip("numpy")
    run = begin()
    for _ in range(2):
        run.log({"a": 1, "b": True, "c": numpy.float32(0.5), "d": numpy.array([2.0]), "e": numpy.int64(3)}, step=1.0)
    run.log({"a": float("nan")}, step=numpy.int64(2))
    expected = (1, {"a": 1.0, "b": 1.0, "c": 0.5, "d": 2.0, "e": 3.0})
    assert points(run)[:2] == [expected, expected]
    assert points(run)[2][0] == 2


def test_nested_names_are_joined() -> None:
    run = begin()
    run.log({"train": {"loss": 1.0, "by": {"class": 2}}, "lr": 0.1})
    assert points(run) == [(0, {"train/loss": 1.0, "train/by/class": 2.0, "lr": 0.1})]


@pytest.mark.parametrize("bad", ["high", None, [1, 2], object(), 1j, 10**400])
def test_a_bad_value_is_one_warning_and_the_others_are_kept(bad: object, capfd: pytest.CaptureFixture[str]) -> None:
    run = begin()
    for _ in range(3):
        run.log({"a": 1.0, "bad": bad})
    assert points(run) == [(step, {"a": 1.0}) for step in range(3)]
    assert capfd.readouterr().err.count("warning") == 1


@pytest.mark.parametrize("given", [None, 3, "text", {"": 1.0}, {"x" * 600: 1.0}, {"a\nb": 1.0}, {}])
def test_bad_metrics_never_raise(given: Any) -> None:
    run = begin()
    run.log(given)
    run.log({"a": 1.0}, step="soon")  # type: ignore[arg-type]
    run.log({"a": 1.0}, step=1.5)
    run.log({"a": 1.0}, step=2**70)
    run.log({"a": 1.0})
    assert points(run) == [(0, {"a": 1.0})]


def test_threads_share_the_counter() -> None:
    run = begin()

    def work() -> None:
        for _ in range(500):
            run.log({"a": 1.0})

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [step for step, _ in points(run)] == list(range(2000))


# -- parameters


@dataclasses.dataclass
class Net:
    depth: int = 4
    rate: float = 0.1


def test_parameters_of_all_kinds_become_flat() -> None:
    run = begin(
        params={"net": Net(), "args": argparse.Namespace(lr=0.5), "list": [1, 2], "path": Path("x"), "none": None}
    )
    assert records(run, format.PARAMS) == [
        [{"net.depth": 4, "net.rate": 0.1, "args.lr": 0.5, "list": "[1, 2]", "path": "x", "none": None}]
    ]
    assert run.params["net.depth"] == 4
    assert dict(run.params)["args.lr"] == 0.5


def test_omegaconf_is_understood() -> None:
    omegaconf = pytest.importorskip("omegaconf")
    run = begin(params=omegaconf.OmegaConf.create({"a": {"b": 1, "c": "${a.b}"}}))
    assert records(run, format.PARAMS) == [[{"a.b": 1, "a.c": 1}]]


def test_secrets_are_masked_by_name() -> None:
    given = {
        "db.password": "x",
        "hf_token": "x",
        "API_KEY": "x",
        "max_tokens": 5,
        "tokenizer": "bpe",
        "secret_flag": True,
    }
    run = begin(params=given)
    assert records(run, format.PARAMS) == [
        [
            {
                "db.password": "***",
                "hf_token": "***",
                "API_KEY": "***",
                "max_tokens": 5,
                "tokenizer": "bpe",
                "secret_flag": True,
            }
        ]
    ]
    assert run.params["hf_token"] == "x"


def test_overrides_win_and_are_put_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    overrides = {"lr": 0.05, "net.depth": "8", "layers": "[3, 4]", "extra": 1, "name.dotted": 2, "token": "***"}
    monkeypatch.setenv("LARDER_PARAMS", json.dumps(overrides))
    given = {"lr": 1, "net": Net(), "layers": [1], "name.dotted": 0, "token": "real"}
    run = begin(params=given)
    assert given == {"lr": 0.05, "net": Net(depth=8), "layers": [3, 4], "name.dotted": 2, "token": "real"}
    assert run.params["extra"] == 1
    assert run.params["net.depth"] == 8
    recorded: dict[str, Any] = {}
    for (each,) in records(run, format.PARAMS):
        recorded |= each
    assert recorded["lr"] == 0.05
    assert recorded["extra"] == 1
    assert run.record_params({"lr": 3.0}) == {"lr": 0.05}


def test_a_frozen_configuration_stays_and_the_run_knows_better(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LARDER_PARAMS", '{"a": 2}')

    @dataclasses.dataclass(frozen=True)
    class Frozen:
        a: int = 1

    given = Frozen()
    run = begin(params=given)
    assert given.a == 1
    assert run.params["a"] == 2


def test_a_parameter_set_later_is_recorded() -> None:
    run = begin()
    run.params["depth"] = 3
    assert records(run, format.PARAMS) == [[{"depth": 3}]]
    with pytest.raises(TypeError):
        del run.params["depth"]


# -- marks, artifacts


def test_tags_notes_and_name() -> None:
    run = begin(tags=["a"], notes="first")
    run.set_tags("b", "c")
    run.set_notes("second")
    run.set_name("new")
    assert records(run, format.TAGS) == [[["a"], []], [["b", "c"], []]]
    assert records(run, format.SET) == [["notes", "first"], ["notes", "second"], ["name", "new"]]


def test_an_artifact_is_copied_before_the_call_returns(tmp_path: Path) -> None:
    run = begin()
    file = tmp_path / "model.bin"
    file.write_bytes(b"first")
    run.log_artifact("model", file, kind="model", metadata={"epoch": 3}, step=3)
    file.write_bytes(b"second")
    ((document,),) = records(run, format.ARTIFACT)
    assert (document["name"], document["kind"], document["format"], document["step"]) == ("model", "model", "file", 3)
    assert document["metadata"] == {"epoch": 3}
    assert run.folder is not None
    assert (run.folder / "files" / document["files"][0]["hash"]).read_bytes() == b"first"


def test_a_folder_is_kept_without_what_leads_outside(tmp_path: Path) -> None:
    run = begin()
    (tmp_path / "secret").write_text("no")
    folder = tmp_path / "out"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "a.txt").write_text("a")
    (folder / "inside").symlink_to(folder / "sub" / "a.txt")
    (folder / "outside").symlink_to(tmp_path / "secret")
    run.log_artifact("results", str(folder))
    ((document,),) = records(run, format.ARTIFACT)
    assert [file["path"] for file in document["files"]] == ["inside", "sub/a.txt"]
    assert document["metadata"] == {"left_out": ["outside"]}


@pytest.mark.parametrize("name", ["../up", "/root", "a//b", "", "a\nb", "x" * 600])
def test_bad_names_of_artifacts_are_a_warning(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    run = begin()
    run.log_text(name, "text")
    assert records(run, format.ARTIFACT) == []
    assert "warning" in capfd.readouterr().err


def test_a_path_that_names_nothing_is_a_warning(capfd: pytest.CaptureFixture[str]) -> None:
    run = begin()
    run.log_artifact("model", "models/best.pt")
    assert records(run, format.ARTIFACT) == []
    assert "no file" in capfd.readouterr().err


# -- the end


def test_the_end_says_how() -> None:
    run = begin()
    run.finish("failed", reason="bad data", exit_status=3)
    ((ending,),) = records(run, format.END)
    assert (ending["status"], ending["reason"], ending["exit_status"], ending["lost_records"]) == (
        "failed",
        "bad data",
        3,
        0,
    )
    assert larder.current() is None


@pytest.mark.parametrize(
    ("error", "status", "exit_status"),
    [
        (None, "completed", 0),
        (ValueError("no"), "failed", 1),
        (KeyboardInterrupt(), "stopped", None),
        (SystemExit(0), "completed", 0),
        (SystemExit(4), "failed", 4),
        (SystemExit("words"), "failed", 1),
    ],
)
def test_a_with_block_ends_the_run_by_how_it_is_left(
    error: BaseException | None, status: str, exit_status: int | None
) -> None:
    run = begin()
    try:
        with run:
            if error is not None:
                raise error
    except BaseException as raised:
        assert raised is error
    ((ending,),) = records(run, format.END)
    assert (ending["status"], ending["exit_status"]) == (status, exit_status)
    if status == "failed" and isinstance(error, ValueError):
        assert "ValueError: no" in facts(run)["exception"]["traceback"]


def test_after_the_end_nothing_is_recorded_and_nothing_raises(capfd: pytest.CaptureFixture[str]) -> None:
    run = begin()
    run.finish()
    run.finish("failed")
    for _ in range(3):
        run.log({"a": 1.0})
        run.set_tags("late")
        run.console("out", "late")
        run.params["late"] = 1
    assert points(run) == []
    assert len(records(run, format.END)) == 1
    assert capfd.readouterr().err.count("warning") == 2


def test_init_again_ends_the_run_before() -> None:
    first = begin()
    second = begin()
    assert first.finished
    assert first.id != second.id
    assert larder.current() is second


# -- places


def test_children_find_the_run_in_the_environment_and_only_while_it_lasts() -> None:
    run = begin()
    assert os.environ["LARDER_RUN"] == run.id
    run.finish()
    assert "LARDER_RUN" not in os.environ
    assert "LARDER_MAIN" not in os.environ


def test_an_agent_names_the_run_and_the_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    given = ids.new_id()
    monkeypatch.setenv("LARDER_RUN", given)
    monkeypatch.setenv("LARDER_ATTEMPT", "3")
    run = begin()
    assert (run.id, run.role) == (given, "main")
    assert run.folder is not None
    assert run.folder.name == f"{given}.3"
    assert json.loads((run.folder / "run.json").read_text())["attempt"] == 3
    run.finish()
    assert begin().id != given


def test_a_spawned_child_joins_and_does_not_end_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    given = ids.new_id()
    monkeypatch.setenv("LARDER_RUN", given)
    monkeypatch.setenv("LARDER_MAIN", f"1:{given}")
    run = begin()
    assert (run.id, run.role) == (given, "child")
    run.log({"a": 1.0})
    run.finish()
    assert points(run) == [(0, {"a": 1.0})]
    assert records(run, format.END) == []


def test_ranks_share_a_run_and_only_the_first_speaks_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500", "RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    second = begin(params={"a": 1})
    second.log({"loss": 1.0})
    second.log({"loss": 2.0})
    second.finish()
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setattr(place, "joined", set())
    first = begin(params={"a": 1})
    assert first.id == second.id
    assert first.name == second.name
    assert ids.is_id(first.id)
    assert (first.role, second.role) == ("main", "rank")
    assert points(second) == [(0, {"rank.1/loss": 1.0}), (1, {"rank.1/loss": 2.0})]
    assert records(first, format.PARAMS) == [[{"a": 1}]]


def test_resuming_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beginning, "_asked", lambda settings, run: {"project": "deli", "name": "old", "last_step": 41})
    given = ids.new_id()
    run = larder.init(resume=given, capture=False)
    run.log({"a": 1.0})
    assert run.folder is not None
    (journal,) = reader.journals(run.folder)
    assert journal.opening["resumed"] is True
    assert (run.id, run.name, run.project) == (given, "old", "deli")
    assert points(run) == [(42, {"a": 1.0})]


def test_resuming_counts_on_from_what_was_not_sent_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beginning, "_asked", lambda settings, run: {"params": {"lr": 1}, "last_step": 2})
    first = begin()
    first.log({"a": 1.0}, step=7)
    again = larder.init(resume=first.id, capture=False)
    again.log({"a": 2.0})
    assert again.folder == first.folder and again.params["lr"] == 1 and again._step == 8


def test_what_completed_stays_and_gets_a_child(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {"project": "deli", "name": "old", "params": {"lr": 1}, "last_step": 2, "completed": True}
    monkeypatch.setattr(beginning, "_asked", lambda settings, run: known)
    given = ids.new_id()
    run = larder.init(resume=given, capture=False)
    run.log({"a": 1.0})
    assert run.folder is not None
    (journal,) = reader.journals(run.folder)
    assert run.id != given and journal.opening["parent"] == given and journal.opening["resumed"] is False
    assert records(run, format.PARAMS) == [[{"lr": 1}]] and points(run) == [(3, {"a": 1.0})]


def test_disabled_does_nothing_but_parameters(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LARDER_MODE", "disabled")
    monkeypatch.setenv("LARDER_PARAMS", '{"lr": 2}')
    given = {"lr": 1}
    run = begin(params=given)
    run.log({"a": 1.0})
    run.log_text("a", "b")
    run.log_artifact("a", "nowhere/at.all")
    run.set_tags("a")
    run.finish()
    assert given == {"lr": 2}
    assert run.params["lr"] == 2
    assert not Path(os.environ["LARDER_HOME"], "runs").exists()


@pytest.mark.parametrize(
    "setting", [{"LARDER_MODE": "maybe"}, {"LARDER_RUN": "nonsense"}, {"LARDER_HOME": "/dev/null/x"}]
)
def test_nothing_that_is_wrong_raises(
    setting: dict[str, str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for name, value in setting.items():
        monkeypatch.setenv(name, value)
    run = begin(params={"a": 1})
    run.log({"a": 1.0})
    run.finish()
    assert run.params["a"] == 1
    assert "nothing is recorded" in capfd.readouterr().err


def test_the_card_escapes_what_users_wrote() -> None:
    run = begin(name="<b>&</b>")
    assert "<b>&</b>" not in run._repr_html_()
    assert "&lt;b&gt;&amp;" in run._repr_html_()
