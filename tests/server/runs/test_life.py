"""What a run may become and who may write to it."""

import pytest

from larder.contract.errors import Conflict, Invalid
from larder.contract.runs import Batch, Opening, Run
from larder.contract.runs import RunStatus as S
from larder_server.runs.rules import life, names

ENDED = 1_000


def run(status: S, *, attempt: int = 0) -> Run:
    return Run(
        id="r", project="p", name="n", status=status, created=0, attempt=attempt, ended=ENDED if status.final else None
    )


def batch(*, start: int = 0, opening: Opening | None = None) -> Batch:
    return Batch(writer="w", start=start, end=start + 10, opening=opening)


def opening(*, resumed: bool = False, role: str = "main", time: int = 500) -> Opening:
    return Opening(project="p", name="n", time=time, resumed=resumed, role=role)


@pytest.mark.parametrize("status", [status for status in S if status is not S.DRAFT])
def test_only_a_draft_is_enqueued(status):
    life.may_enqueue(run(S.DRAFT))
    with pytest.raises(Conflict):
        life.may_enqueue(run(status))


@pytest.mark.parametrize("status", [S.COMPLETED, S.FAILED, S.STOPPED, S.QUEUED])
def test_a_run_that_has_ended_or_waits_takes_no_metrics(status):
    with pytest.raises(Conflict):
        life.may_log(run(status))


def test_a_queued_run_starts_and_a_running_one_only_with_a_newer_lease():
    life.may_start(run(S.QUEUED), 1)
    life.may_start(run(S.RUNNING, attempt=1), 1)
    life.may_start(run(S.RUNNING, attempt=1), 2)
    for present in (run(S.RUNNING, attempt=3), run(S.RUNNING), run(S.DRAFT), run(S.COMPLETED)):
        with pytest.raises(Conflict):
            life.may_start(present, 2)


def test_a_run_ends_with_a_final_status_only():
    assert life.ending(S.STOPPED) is S.STOPPED
    with pytest.raises(Invalid) as problem:
        life.ending(S.LOST)
    assert problem.value.field == "status"


def test_a_journal_goes_on_where_it_is_stored():
    assert life.admit(run(S.RUNNING), batch(start=10), offset=10, closed=False) is S.RUNNING
    for start in (5, 15):
        with pytest.raises(Conflict, match="byte 10"):
            life.admit(run(S.RUNNING), batch(start=start), offset=10, closed=False)
    with pytest.raises(Conflict, match="nothing"):
        life.admit(run(S.RUNNING), batch(start=5), offset=None, closed=False)
    with pytest.raises(Conflict, match="closed"):
        life.admit(run(S.RUNNING), batch(start=10), offset=10, closed=True)


@pytest.mark.parametrize("status", [S.DRAFT, S.QUEUED])
def test_an_opening_starts_a_run_that_waits(status):
    assert life.admit(run(status), batch(opening=opening()), offset=None, closed=False) is S.RUNNING
    with pytest.raises(Conflict):
        life.admit(run(status), batch(), offset=None, closed=False)


def test_a_zombie_does_not_restart_a_run_that_went_back_to_the_queue():
    with pytest.raises(Conflict):
        life.admit(run(S.QUEUED, attempt=1), batch(opening=opening()), offset=None, closed=False)


def test_a_lost_run_comes_back_with_a_word():
    assert life.admit(run(S.LOST), batch(start=10), offset=10, closed=False) is S.RUNNING


@pytest.mark.parametrize("status", [S.COMPLETED, S.FAILED, S.STOPPED])
def test_an_ended_run_takes_what_known_journals_still_have_and_no_new_journal(status):
    assert life.admit(run(status), batch(start=10), offset=10, closed=False) is status
    with pytest.raises(Conflict):
        life.admit(run(status), batch(opening=opening()), offset=None, closed=False)
    with pytest.raises(Conflict):
        life.admit(run(status), batch(), offset=None, closed=False)


def test_a_childs_journal_that_began_before_the_end_is_taken_late():
    late = batch(opening=opening(role="child", time=ENDED - 1))
    assert life.admit(run(S.COMPLETED), late, offset=None, closed=False) is S.COMPLETED
    with pytest.raises(Conflict):
        life.admit(run(S.COMPLETED), batch(opening=opening(role="child", time=ENDED + 1)), offset=None, closed=False)


@pytest.mark.parametrize("status", [S.FAILED, S.STOPPED, S.LOST])
def test_a_resumed_journal_reopens_what_did_not_complete(status):
    assert life.admit(run(status), batch(opening=opening(resumed=True)), offset=None, closed=False) is S.RUNNING


def test_a_completed_run_is_not_resumed():
    with pytest.raises(Conflict, match="completed"):
        life.admit(run(S.COMPLETED), batch(opening=opening(resumed=True)), offset=None, closed=False)


@pytest.mark.parametrize("text", ["", "..", "a/../b", "/etc/passwd", "C:/x", "a\\b", "a\nb", "a\0b", "x" * 10_001])
def test_names_that_lead_out_of_a_folder_or_cannot_be_printed_are_refused(text):
    with pytest.raises(Invalid) as problem:
        names.label(text, "name")
    assert problem.value.field == "name"


@pytest.mark.parametrize("text", ["../x", "a/..", "./a", "a//b", "/a", "a/", "", "a\\b", "a\x7fb"])
def test_paths_that_lead_out_of_an_artifact_are_refused(text):
    with pytest.raises(Invalid):
        names.path(text, "path")


@pytest.mark.parametrize("text", ["val/mae", "потери", "損失 (%)", "a..b", "😀", "/", " x ", "a\u00a0b", "x" * 500])
def test_a_metric_key_is_any_printable_text(text):
    assert names.key(text, "name") == text


@pytest.mark.parametrize("text", ["", "a\tb", "a\x1bb", "\u2028", "x" * 501])
def test_a_metric_key_that_cannot_be_printed_is_refused(text):
    with pytest.raises(Invalid):
        names.key(text, "name")


def test_a_parameter_that_cannot_be_sent_back_is_refused():
    names.params({"a": 2**63 - 1, "b": -(2**63), "c": None, "d": True, "e": float("nan")})
    with pytest.raises(Invalid) as problem:
        names.params({"seed": 2**70})
    assert problem.value.field == "params.seed"
