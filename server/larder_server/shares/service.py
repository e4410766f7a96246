"""What one can do with shares: make one, open one, list and revoke them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from larder.contract.comparisons import ComparedRow
from larder.contract.directions import lower_is_better
from larder.contract.endpoint import Nothing, Role
from larder.contract.errors import Conflict, Denied, NotFound, Unauthenticated
from larder.contract.ids import new_id
from larder.contract.runs import Chart, ChartQuery, Run, RunQuery
from larder.contract.shares import NewShare, Share, Shared, SharedRun, SharedView, SharePolicy, ShareQuery, Shares
from larder.contract.tenants import Identity
from larder_server.comparisons import service as comparisons
from larder_server.kernel.context import Context
from larder_server.runs import service as runs
from larder_server.shares import events, rules, store

SHOWN = 20
"""Runs of a view that a share shows."""

_POINTS = 300
_CHANGED = 30
_OPENED = "shares.opened"


def create(context: Context, order: NewShare) -> Share:
    """Make an address that opens what the order names.

    NotFound: a run is not there; Invalid: it names nothing, too much, or no view that can be asked for; Conflict: it
    shall open without signing in, and the tenant does not allow that.
    """
    rules.check(order)
    if order.public and not store.is_public(context):
        raise Conflict(
            "shares of this tenant open only to those who sign in", hint="an admin can allow more under Settings"
        )
    against = order.against
    if order.runs:
        named = runs.several(context, [*order.runs, *([against] if against else [])], facts=False)
        if len(order.runs) == 1 and not against and named[0].parent and _is_there(context, named[0].parent):
            against = named[0].parent
    else:
        runs.find(context, _query(order.view, limit=1))  # refuses a condition that is none
    now = context.clock.now()
    share = Share(
        id=new_id(), title=order.title.strip(), runs=order.runs, view=order.view, against=against, metric=order.metric,
        public=order.public, user=context.user, created=now, expires=now + order.days * rules.DAY, path="",
    )  # fmt: skip
    store.insert(context, share)
    context.emit(events.created(share.id, runs=share.runs, public=share.public, expires=share.expires))
    return _with_path(share, tenant=context.tenant, key=_key(context))


def every(context: Context, query: ShareQuery) -> Shares:
    """The shares that open, the newest first."""
    key = store.key(context)
    return Shares(
        shares=[
            _with_path(share, tenant=context.tenant, key=key)
            for share in store.living(context, now=context.clock.now())
            if not query.run or query.run in share.runs
        ]
    )


def revoke(context: Context, _: Nothing, share_id: str) -> Nothing:
    """End a share at once. NotFound; Denied: it is another user's, and the asker is no maintainer."""
    share = store.find(context, share_id)
    if share is None:
        raise NotFound(f"there is no living share {share_id[:100]}")
    if share.user != context.user and not context.role.includes(Role.MAINTAINER):
        raise Denied(f"this share is {share.user}'s", hint="its maker, a maintainer or an admin can revoke it")
    store.revoke(context, share_id, now=context.clock.now())
    context.emit(events.revoked(share_id, runs=share.runs))
    return Nothing()


def policy(context: Context, _: Nothing) -> SharePolicy:
    """Whether shares of this tenant may open without signing in."""
    return SharePolicy(public=store.is_public(context))


def change_policy(context: Context, order: SharePolicy) -> SharePolicy:
    """Allow that shares open without signing in, or end it at once for those that do."""
    if order.public is not store.is_public(context):
        store.set_public(context, order.public)
        context.emit(events.policy_changed(public=order.public))
    return order


def identify(context: Context, secret: rules.ShareSecret) -> Identity | None:
    """Who asks with the token of a share: nobody but the share. None: the token is not ours, or was revoked.

    Unauthenticated, with the reason: it has expired, or it opens only to those who sign in.
    """
    share = _signed(context, secret)
    if share is None:
        return None
    if share.expires <= context.clock.now():
        raise Unauthenticated("this share has expired", hint="ask who sent it for a new one")
    if not share.public or not store.is_public(context):
        raise Unauthenticated("this share opens only to those who sign in", hint="sign in on this device, then open it")
    return Identity(tenant=context.tenant, user=f"share of {share.user}", role=Role.VIEWER, share=share.id)


def open_(context: Context, _: Nothing, token: str) -> Shared:
    """What a share opens. NotFound: the token is no living share of this tenant; Denied: another share asks."""
    secret = rules.parse(token)
    share = _signed(context, secret) if secret is not None and secret.tenant == context.tenant else None
    if share is None or share.expires <= context.clock.now():
        raise NotFound("this address opens nothing: it has expired, was revoked, or was cut on its way",
                       hint="ask who sent it for a new one")  # fmt: skip
    if context.share and context.share != share.id:
        raise Denied("the token of a share opens that share and no other")
    context.note(_OPENED, share.id, context.clock.now())
    return _told(context, share)


def remember_opened(context: Context) -> int:
    """Write down when shares were opened, as far as it is news; how many."""
    opened: dict[str, int] = context.take_notes(_OPENED)
    store.touch(context, opened)
    return len(opened)


# -- helpers -------------------------------------------------------------------------------------------------------


def _key(context: Context) -> str:
    key = store.key(context)
    if not key:
        store.set_key(context, rules.new_key())  # two at once: the first to write has made it
        key = store.key(context)
    return key


def _signed(context: Context, secret: rules.ShareSecret) -> Share | None:
    """The share of a token that this tenant has signed, unless it was revoked."""
    share = store.find(context, secret.id)
    return share if share is not None and secret.signed_by(store.key(context), expires=share.expires) else None


def _with_path(share: Share, *, tenant: str, key: str) -> Share:
    signed = rules.signature(key, tenant=tenant, id=share.id, expires=share.expires)
    return replace(share, path=f"/share/{rules.ShareSecret(tenant=tenant, id=share.id, signature=signed)}")


def _is_there(context: Context, run_id: str) -> bool:
    try:
        runs.several(context, [run_id], facts=False)
    except NotFound:
        return False
    return True


def _query(view: SharedView | None, *, limit: int) -> RunQuery:
    assert view is not None, "a share without runs has a view"
    return RunQuery(project=view.project, where=view.where, text=view.text, order_by=view.order_by,
                    descending=view.descending, limit=limit, facts=True)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class _Named:
    """The runs that a share shows, with their facts; of a view with the number of all."""

    runs: list[Run]
    total: int
    against: bool = False


def _named(context: Context, share: Share) -> _Named:
    if not share.runs:
        page = runs.find(context, _query(share.view, limit=SHOWN))
        return _Named(runs=page.runs, total=page.total)
    try:
        found = runs.several(context, share.runs, facts=True)
    except NotFound:
        raise NotFound("a run of this share has been deleted", hint="ask who sent it for a new one") from None
    if share.against and _is_there(context, share.against):
        return _Named(
            runs=[*found, *runs.several(context, [share.against], facts=True)], total=len(found), against=True
        )
    return _Named(runs=found, total=len(found))


def _told(context: Context, share: Share) -> Shared:
    kind = rules.kind(runs=share.runs, view=share.view)
    named = _named(context, share)
    metric = share.metric or comparisons.main(named.runs)
    lower = lower_is_better(metric)
    values = [comparisons.reached(run.metrics.get(metric), metric) for run in named.runs]
    best = comparisons.best_of(values, lower=lower)
    warnings = comparisons.mismatches(context, named.runs) if kind != "view" and len(named.runs) > 1 else []
    return Shared(
        kind=kind,
        title=share.title,
        headline=_headline(kind, named, metric=metric, values=values, best=best),
        metric=metric,
        lower_is_better=lower,
        best=best,
        runs=[
            SharedRun(name=run.name, project=run.project, status=run.status, user=run.user, created=run.created,
                      started=run.started, ended=run.ended, notes=run.notes, value=value)
            for run, value in zip(named.runs, values, strict=True)
        ],
        curves=[_curve(context, run, metric) for run in named.runs],
        changed=_changed(named.runs),
        warnings=[one.sentence for one in warnings if one.about != "unfinished"],
        total=named.total,
        created=share.created,
        expires=share.expires,
        user=share.user,
    )  # fmt: skip


def _headline(kind: str, named: _Named, *, metric: str, values: Sequence[float | None], best: int) -> str:
    outcomes = [
        rules.Outcome(name=run.name, status=run.status, value="" if value is None else comparisons.shown(value))
        for run, value in zip(named.runs, values, strict=True)
    ]
    if kind == "run":
        if not named.against:
            return rules.of_run(outcomes[0], metric=metric)
        after, before = values[0], values[1]
        change = "" if after is None or before is None else _change(before, after, metric)
        return rules.of_run(outcomes[0], metric=metric, against=outcomes[1].name, change=change)
    if kind == "view":
        return rules.of_view(outcomes, total=named.total, metric=metric, best=best)
    others = [value for place, value in enumerate(values) if value is not None and place != best]
    ahead = ""
    if best >= 0 and others:
        top = values[best]
        assert top is not None, "the best one has a value"
        ahead = _change(min(others) if lower_is_better(metric) else max(others), top, metric)
    return rules.of_comparison(outcomes, metric=metric, best=best, ahead=ahead)


def _change(before: float, after: float, metric: str) -> str:
    return "the same as" if before == after else comparisons.change(before, after, metric)


def _curve(context: Context, run: Run, metric: str) -> Chart | None:
    if metric not in run.metrics or run.metrics[metric].count < 2:
        return None
    return runs.chart(context, ChartQuery(name=metric, points=_POINTS), run.id)


def _changed(found: Sequence[Run]) -> list[ComparedRow]:
    return comparisons.differing(found)[:_CHANGED] if len(found) > 1 else []
