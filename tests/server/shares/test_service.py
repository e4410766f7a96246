"""A share opens what it names until it expires or is revoked, to whom the tenant allows, and says it in words."""

import pytest

from larder.contract.endpoint import Nothing, Role
from larder.contract.errors import Conflict, Denied, Invalid, NotFound, Unauthenticated
from larder.contract.runs import Clone, Finish, NewRun, Points, PointsBatch, RunStatus
from larder.contract.shares import NewShare, SharedView, SharePolicy, ShareQuery
from larder.contract.tenants import Identity
from larder_server.runs import service as runs
from larder_server.shares import jobs, rules, service
from tests.server.conftest import ALICE, opened

NOTHING = Nothing()
TABLES = ["shares", "share_policies"]


def recorded(context, name, values=(3.0, 2.0), **more):
    made = runs.create(context, NewRun(project="bakery", name=name, **more))
    runs.log_metrics(context, PointsBatch(metrics=[Points(name="val/mae", values=list(values))]), made.id)
    return runs.finish(context, Finish(status=RunStatus.COMPLETED), made.id)


def token(share):
    return share.path.removeprefix("/share/")


def asking(context, identity):
    """The same transaction, another asker."""
    from dataclasses import replace

    return replace(context, user=identity.user, role=identity.role, share=identity.share)


def allow(context):
    service.change_policy(context, SharePolicy(public=True))


def test_a_share_of_a_run_says_what_it_reached_and_what_changed(context):
    first = recorded(context, "first", params={"lr": 0.1, "depth": 4})
    copy = runs.clone(context, Clone(params={"lr": 0.2}, name="second"), first.id)
    runs.log_metrics(context, PointsBatch(metrics=[Points(name="val/mae", values=[2.0, 1.0])]), copy.id)
    runs.finish(context, Finish(status=RunStatus.COMPLETED), copy.id)
    share = service.create(context, NewShare(runs=[copy.id], title="For the board"))
    assert share.against == first.id
    found = service.open_(context, NOTHING, token(share))
    assert (found.kind, found.title) == ("run", "For the board")
    assert found.headline == "second reached val/mae 1, 50 % better than first"
    assert [(row.name, row.values) for row in found.changed] == [("lr", [0.2, 0.1])]
    assert [curve.values for curve in found.curves] == [[2.0, 1.0], [3.0, 2.0]]


def test_a_share_of_a_comparison_names_the_best(context):
    ids = [recorded(context, name, [3.0, value]).id for name, value in (("a", 2.0), ("b", 1.0), ("c", 2.5))]
    found = service.open_(context, NOTHING, token(service.create(context, NewShare(runs=ids))))
    assert found.headline == "Of 3 runs b is best: val/mae 1, 50 % better than the next"
    assert found.best == 1 and found.kind == "comparison"


def test_a_share_of_a_view_follows_its_condition(context):
    view = SharedView(project="bakery", where="params.lr > 0.15", order_by="metrics.val/mae.min")
    share = service.create(context, NewShare(view=view))
    assert service.open_(context, NOTHING, token(share)).headline == "No run"
    recorded(context, "low", [9.0, 1.0], params={"lr": 0.1})
    recorded(context, "high", [9.0, 3.0], params={"lr": 0.2})
    recorded(context, "higher", [9.0, 4.0], params={"lr": 0.3})
    found = service.open_(context, NOTHING, token(share))
    assert found.headline == "2 runs; the best of them is high: val/mae 3"
    assert [run.name for run in found.runs] == ["high", "higher"]


def test_runs_that_may_not_be_compared_are_told_to_be_so(context):
    ids = [recorded(context, name, params={"data_version": name}).id for name in ("v3", "v4")]
    (warning,) = service.open_(context, NOTHING, token(service.create(context, NewShare(runs=ids)))).warnings
    assert "data_version" in warning


def test_a_share_expires_and_is_revoked_at_once(context, clock):
    run = recorded(context, "a")
    allow(context)
    short, other = (service.create(context, NewShare(runs=[run.id], days=days, public=True)) for days in (1, 9))
    assert service.identify(context, rules.parse(token(short))).share == short.id
    clock.forward(86_400)
    with pytest.raises(Unauthenticated, match="expired"):
        service.identify(context, rules.parse(token(short)))
    with pytest.raises(NotFound):
        service.open_(context, NOTHING, token(short))
    assert [one.id for one in service.every(context, ShareQuery(run=run.id)).shares] == [other.id]
    service.revoke(context, NOTHING, other.id)
    assert service.identify(context, rules.parse(token(other))) is None
    with pytest.raises(NotFound):
        service.open_(context, NOTHING, token(other))
    with pytest.raises(NotFound):
        service.revoke(context, NOTHING, other.id)
    assert service.every(context, ShareQuery()).shares == []


def test_it_opens_without_signing_in_only_where_it_and_the_tenant_say_so(context):
    run = recorded(context, "a")
    with pytest.raises(Conflict):
        service.create(context, NewShare(runs=[run.id], public=True))
    allow(context)
    open_, closed = (service.create(context, NewShare(runs=[run.id], public=public)) for public in (True, False))
    identity = service.identify(context, rules.parse(token(open_)))
    assert (identity.role, identity.share, identity.tenant) == (Role.VIEWER, open_.id, "acme")
    with pytest.raises(Unauthenticated, match="sign in"):
        service.identify(context, rules.parse(token(closed)))
    assert service.open_(context, NOTHING, token(closed)).headline
    service.change_policy(context, SharePolicy(public=False))
    with pytest.raises(Unauthenticated, match="sign in"):
        service.identify(context, rules.parse(token(open_)))


def test_a_share_opens_no_other_one_and_not_that_of_another_tenant(context, other_context):
    allow(context)
    a, b = (service.create(context, NewShare(runs=[recorded(context, name).id], public=True)) for name in "ab")
    guest = asking(context, service.identify(context, rules.parse(token(a))))
    assert service.open_(guest, NOTHING, token(a)).headline
    with pytest.raises(Denied):
        service.open_(guest, NOTHING, token(b))
    with pytest.raises(NotFound):
        service.open_(other_context, NOTHING, token(a))
    forged = token(a).replace("share_acme", "share_globex")
    assert service.identify(other_context, rules.parse(forged)) is None
    with pytest.raises(NotFound):
        service.open_(other_context, NOTHING, forged)


def test_a_token_that_was_changed_is_none(context):
    allow(context)
    share = service.create(context, NewShare(runs=[recorded(context, "a").id], public=True))
    good = token(share)
    other = recorded(context, "b")
    for bad in (good[:-1] + ("A" if good[-1] != "A" else "B"), good.replace(share.id, other.id)):
        assert service.identify(context, rules.parse(bad)) is None
    for text in ("", "share_", good[:-2], good + ".x", f"larder_{good}", good.replace("share_acme", "share_")):
        assert rules.parse(text) is None


def test_only_its_maker_or_a_maintainer_revokes_it(context):
    share = service.create(context, NewShare(runs=[recorded(context, "a").id]))
    bob = Identity(tenant="acme", user="bob", role=Role.CONTRIBUTOR)
    with pytest.raises(Denied):
        service.revoke(asking(context, bob), NOTHING, share.id)
    service.revoke(asking(context, Identity(tenant="acme", user="eve", role=Role.MAINTAINER)), NOTHING, share.id)


@pytest.mark.parametrize(
    "order",
    [
        {}, {"runs": ["x"], "view": SharedView()}, {"runs": ["x", "x"]}, {"runs": ["x"] * 51}, {"runs": ["x"], "days": 0},
        {"runs": ["x"], "days": 366}, {"runs": ["x"], "title": "a\nb"}, {"runs": ["x"], "title": "a" * 201},
        {"runs": ["x"], "against": "x"}, {"runs": ["x", "y"], "against": "z"}, {"runs": ["x"], "metric": "\0"},
        {"view": SharedView(where="lr < < 3")},
    ],
)  # fmt: skip
def test_an_order_that_makes_no_sense_is_refused(context, order):
    with pytest.raises(Invalid):
        service.create(context, NewShare(**order))
    assert service.every(context, ShareQuery()).shares == []


def test_a_deleted_run_is_told_and_a_deleted_ancestor_left_out(context):
    first = recorded(context, "first")
    copy = runs.clone(context, Clone(name="second"), first.id)
    share = service.create(context, NewShare(runs=[copy.id]))
    runs.delete(context, NOTHING, first.id)
    assert len(service.open_(context, NOTHING, token(share)).runs) == 1
    runs.delete(context, NOTHING, copy.id)
    with pytest.raises(NotFound, match="deleted"):
        service.open_(context, NOTHING, token(share))
    with pytest.raises(NotFound):
        service.create(context, NewShare(runs=[copy.id]))


def test_when_it_was_opened_is_written_down_by_the_timer(context, clock):
    share = service.create(context, NewShare(runs=[recorded(context, "a").id]))
    service.open_(context, NOTHING, token(share))
    assert service.every(context, ShareQuery()).shares[0].opened is None
    assert [seconds for seconds, _ in jobs.TIMERS] == [10.0]
    assert service.remember_opened(context) == 1
    assert service.every(context, ShareQuery()).shares[0].opened == clock.now()


def test_every_change_is_an_event(context):
    allow(context)
    share = service.create(context, NewShare(runs=[recorded(context, "a").id], public=True))
    service.revoke(context, NOTHING, share.id)
    names = [event.name for event in context.emitted if event.name.startswith("shares.")]
    assert names == ["shares.policy_changed", "shares.created", "shares.revoked"]


def test_the_shares_of_a_tenant_are_its_own(runtime):
    with opened(runtime, ALICE) as context:
        share = service.create(context, NewShare(runs=[recorded(context, "a").id]))
        other = runtime._context(Identity(tenant="globex", user="bob", role=Role.ADMIN), type(context.db)(
            context.db._connection, "globex"))  # fmt: skip
        assert service.every(other, ShareQuery()).shares == []
        with pytest.raises(NotFound):
            service.revoke(other, NOTHING, share.id)
        assert service.policy(other, NOTHING).public is False


def test_headlines_read_like_sentences():
    done = rules.Outcome(name="deep", status=RunStatus.COMPLETED, value="2.31")
    running = rules.Outcome(name="deep", status=RunStatus.RUNNING, value="2.4")
    failed = rules.Outcome(name="deep", status=RunStatus.FAILED, value="2.4")
    assert rules.of_run(done, metric="mae", against="base", change="12 % better than") == (
        "deep reached mae 2.31, 12 % better than base"
    )
    assert rules.of_run(running, metric="mae") == "deep is running: mae 2.4 so far"
    assert rules.of_run(failed, metric="mae") == "deep failed; it had reached mae 2.4"
    assert rules.of_run(rules.Outcome(name="deep", status=RunStatus.QUEUED), metric="") == "deep waits for its turn"
    assert rules.of_comparison([done, running], metric="", best=-1, ahead="") == "2 runs side by side"
