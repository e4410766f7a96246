"""What a run may become and who may write to it."""

from dataclasses import replace

import pytest

from larder.contract.errors import Conflict, Denied, Invalid
from larder.contract.runs import Batch, Cause, Opening, Retry, Run
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


# -- trying again --------------------------------------------------------------------------------------------------


def executed(status=S.RUNNING, *, attempt=1, retries=0, cause=Cause.NONE, **policy) -> Run:
    return replace(run(status, attempt=attempt), retries=retries, cause=cause, retry=Retry(**policy))


def test_a_run_goes_back_for_the_causes_of_its_policy_as_often_as_it_says():
    assert life.goes_back(executed(), Cause.AGENT_LOST) and life.goes_back(executed(), Cause.PREEMPTED)
    assert life.goes_back(executed(retries=2), Cause.AGENT_LOST)
    assert not life.goes_back(executed(retries=3), Cause.AGENT_LOST)
    for cause in (Cause.FAILED, Cause.OUT_OF_MEMORY, Cause.TIME_LIMIT):
        assert not life.goes_back(executed(), cause)
        assert life.goes_back(executed(causes=[cause]), cause)
    assert not life.goes_back(executed(times=0), Cause.AGENT_LOST)


def test_a_run_that_was_stopped_or_that_no_agent_executed_does_not_go_back():
    assert not life.goes_back(executed(), Cause.AGENT_LOST, stop=True)
    assert not life.goes_back(executed(attempt=0, causes=[Cause.FAILED]), Cause.FAILED)


def test_giving_back_what_never_began_costs_no_try():
    assert life.goes_back(executed(retries=3), Cause.NONE)


def test_a_failure_is_its_own_cause_and_a_completion_has_none():
    assert life.cause_of(S.FAILED, Cause.NONE) is Cause.FAILED
    assert life.cause_of(S.FAILED, Cause.OUT_OF_MEMORY) is Cause.OUT_OF_MEMORY
    assert life.cause_of(S.STOPPED, Cause.NONE) is Cause.NONE
    assert life.cause_of(S.COMPLETED, Cause.FAILED) is Cause.NONE


def test_the_reason_says_whether_the_tries_are_used_up():
    assert life.used_up(executed(retries=3), Cause.AGENT_LOST) == "agent lost; it was tried again 3 of 3 times"
    assert life.used_up(executed(), Cause.TIME_LIMIT) == "time limit; the run is not tried again for this cause"


@pytest.mark.parametrize("cause", [cause for cause in Cause if cause])
def test_the_rest_of_an_attempt_is_taken_when_its_agent_lives(cause):
    waiting = executed(S.QUEUED, cause=cause)
    if cause is Cause.AGENT_LOST:
        with pytest.raises(Conflict):
            life.admit(waiting, batch(start=10), offset=10, closed=False)
        with pytest.raises(Conflict):
            life.answered_before(waiting)
    else:
        assert life.admit(waiting, batch(start=10), offset=10, closed=False) is S.QUEUED
        assert life.answered_before(waiting)
    with pytest.raises(Conflict):
        life.admit(waiting, batch(opening=opening()), offset=None, closed=False)


def test_only_code_of_the_user_decides_whether_an_attempt_continues():
    for role, decides in (("main", True), ("child", True), ("rank", True), ("agent", False), ("companion", False)):
        for step in (None, 3):
            said = replace(opening(role=role), continued=step)
            assert life.continued(said, undecided=True) is decides
            assert not life.continued(said, undecided=False)
    assert life.continued(replace(opening(resumed=True), continued=3), undecided=False)
    assert not life.continued(opening(resumed=True), undecided=False)
    assert life.continued(replace(opening(resumed=True, role="child"), continued=3), undecided=False)
    assert not life.continued(replace(opening(resumed=True, role="rank"), continued=3), undecided=False)


def test_a_late_rank_does_not_bring_back_what_an_agent_has_ended():
    late = batch(opening=opening(role="child", resumed=True, time=ENDED - 1))
    assert life.admit(run(S.FAILED, attempt=1), late, offset=None, closed=False) is S.FAILED
    assert life.admit(run(S.FAILED), late, offset=None, closed=False) is S.RUNNING


@pytest.mark.parametrize("status", list(S))
def test_a_published_run_takes_nothing(status):
    public = replace(run(status), published=True)
    for refused in (
        lambda: life.may_change(public),
        lambda: life.may_reset(public),
        lambda: life.admit(public, batch(start=10), offset=10, closed=False),
    ):
        with pytest.raises(Conflict, match="published"):
            refused()


def test_who_asks_decides_the_priority():
    assert life.priority("", inside_a_run=False) == "human"
    assert life.priority("", inside_a_run=True) == "automatic"
    assert life.priority("automatic", inside_a_run=False) == "automatic"
    with pytest.raises(Invalid):
        life.priority("URGENT", inside_a_run=False)


def test_a_run_may_ask_for_itself_and_for_what_it_has_made():
    life.may_ask(run(S.RUNNING), made_by="", asking="")
    life.may_ask(run(S.RUNNING), made_by="", asking="r")
    life.may_ask(run(S.RUNNING), made_by="p", asking="p")
    for made_by in ("", "other"):
        with pytest.raises(Denied):
            life.may_ask(run(S.RUNNING), made_by=made_by, asking="p")


@pytest.mark.parametrize(
    "text", ["lightgbm", "a.b-c_d>=1,<2", "x[gpu]==1; python_version<'3'", "x @ https://host/x.whl"]
)
def test_requirements_are_those_of_an_installer(text):
    assert names.requirements([text]) == [text]


def test_the_same_distribution_is_known_however_it_is_written():
    assert names.distribution("Scikit_Learn >=1") == names.distribution("scikit-learn[x]") == "scikit-learn"
