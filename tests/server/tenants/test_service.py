"""A token speaks for its user until it is revoked or expires, and its secret is stored nowhere."""

from dataclasses import replace

import pytest

from larder.contract.endpoint import Nothing, Role
from larder.contract.errors import Denied, Invalid, NotFound
from larder.contract.tenants import ChangeUser, NewToken
from larder_server.tenants import rules, service


def test_a_token_identifies_its_user(context):
    issued = service.issue(context, NewToken(user="evi", role=Role.VIEWER))
    identity = service.identify(context, rules.parse(issued.secret))
    assert (identity.tenant, identity.user, identity.role) == ("acme", "evi", Role.VIEWER)


def test_a_secret_is_not_stored(context):
    issued = service.issue(context, NewToken(user="evi"))
    rows = context.db.execute("select * from tokens where tenant = :tenant")
    assert rules.parse(issued.secret).random not in str(rows)


def test_a_token_of_one_tenant_is_unknown_in_another(context, other_context):
    issued = service.issue(context, NewToken(user="evi"))
    assert service.identify(other_context, rules.parse(issued.secret)) is None


def test_an_expired_token_is_unknown(context, clock):
    issued = service.issue(context, NewToken(user="evi", days=1))
    clock.forward(86_401)
    assert service.identify(context, rules.parse(issued.secret)) is None


def test_a_revoked_token_is_unknown_at_once(context):
    issued = service.issue(context, NewToken(user="evi"))
    service.revoke(context, Nothing(), issued.token.id)
    assert service.identify(context, rules.parse(issued.secret)) is None
    with pytest.raises(NotFound):
        service.revoke(context, Nothing(), issued.token.id)


@pytest.mark.parametrize("days", [0, -1, 3651])
def test_a_lifetime_out_of_bounds_is_refused(context, days):
    with pytest.raises(Invalid) as caught:
        service.issue(context, NewToken(user="evi", days=days))
    assert caught.value.field == "days"


def as_(context, user, role=Role.CONTRIBUTOR, **fields):
    return replace(context, user=user, role=role, **fields)


def test_everybody_manages_their_own_tokens_and_no_others(context):
    theirs = service.issue(context, NewToken(user="joe")).token
    evi = as_(context, "evi")
    mine = service.issue(evi, NewToken(name="laptop", role=Role.VIEWER)).token
    assert (mine.user, mine.role) == ("evi", Role.VIEWER)
    assert [token.id for token in service.tokens(evi, Nothing()).tokens] == [mine.id]
    assert {token.id for token in service.tokens(context, Nothing()).tokens} == {theirs.id, mine.id}
    with pytest.raises(NotFound):
        service.revoke(evi, Nothing(), theirs.id)
    service.revoke(evi, Nothing(), mine.id)
    assert service.tokens(evi, Nothing()).tokens == []
    service.revoke(context, Nothing(), theirs.id)


@pytest.mark.parametrize(
    "order,field",
    [
        (NewToken(user="joe"), "user"),
        (NewToken(role=Role.MAINTAINER), "role"),
        (NewToken(role=Role.ADMIN), "role"),
        (NewToken(days=366), "days"),
    ],
)
def test_who_is_no_admin_cannot_rise(context, order, field):
    with pytest.raises(Denied) as caught:
        service.issue(as_(context, "evi"), order)
    assert caught.value.field == field


def test_a_run_has_no_business_with_tokens(context):
    run = as_(context, "evi", run="r1")
    for attempt in (
        lambda: service.issue(run, NewToken()),
        lambda: service.tokens(run, Nothing()),
        lambda: service.revoke(run, Nothing(), "x"),
    ):
        with pytest.raises(Denied):
            attempt()


def test_a_token_is_told_which_one_it_is(context):
    issued = service.issue(context, NewToken(user="evi"))
    assert service.identify(context, rules.parse(issued.secret)).token == issued.token.id


@pytest.mark.parametrize("text", ["", "larder_", "larder_a.b", "x_a.b.c", "larder_a..c", "larder_a.b.c.d"])
def test_what_is_no_secret_is_not_parsed(text):
    assert rules.parse(text) is None


def test_a_user_is_put_into_a_team_and_their_tokens_say_so(context):
    issued = service.issue(context, NewToken(user="evi"))
    assert service.identify(context, rules.parse(issued.secret)).team == ""
    assert service.change_user(context, ChangeUser(team="vision"), "evi").team == "vision"
    assert service.identify(context, rules.parse(issued.secret)).team == "vision"
    assert [(user.name, user.team) for user in service.users(context, Nothing()).users] == [("evi", "vision")]
    assert service.change_user(context, ChangeUser(), "evi").team == "vision"
    with pytest.raises(NotFound):
        service.change_user(context, ChangeUser(team="vision"), "joe")
    with pytest.raises(Invalid):
        service.change_user(context, ChangeUser(team=" x"), "evi")


def test_the_use_of_a_token_is_written_down_once_a_minute(context, clock):
    issued = service.issue(context, NewToken(user="evi"))

    def use():
        service.identify(context, rules.parse(issued.secret))
        return service.remember_used(context)

    assert use() == 1
    assert service.tokens(context, Nothing()).tokens[0].last_used == clock.now()
    clock.forward(59)
    assert use() == 0
    clock.forward(1)
    assert use() == 1
    assert service.tokens(context, Nothing()).tokens[0].last_used == clock.now()


def test_a_guest_who_is_known_again_is_noted_once_a_minute_and_not_after_the_end(context, clock):
    issued = service.issue(context, NewToken(user="evi", days=1))
    guest = service.recognise(context, rules.parse(issued.secret))
    assert service.remember_used(context) == 1
    clock.forward(59)
    assert service.known_again(guest, context.notes, now=clock.now()) is guest
    assert service.remember_used(context) == 0
    clock.forward(1)
    again = service.known_again(guest, context.notes, now=clock.now())
    assert again.identity == guest.identity
    assert again is not guest
    assert service.remember_used(context) == 1
    assert service.tokens(context, Nothing()).tokens[0].last_used == clock.now()
    clock.forward(86_400)
    assert service.known_again(again, context.notes, now=clock.now()) is None


def test_a_runs_token_is_signed_by_its_tenant(context, other_context):
    for each in (context, other_context):
        service.ensure(each, user="evi")
    text = service.run_token(context, run="r1", fence=3)
    secret = rules.parse_run(text)
    assert (secret.tenant, secret.run, secret.fence) == ("acme", "r1", 3)
    assert service.is_signed(context, secret)
    assert text == service.run_token(context, run="r1", fence=3)
    for other in (text.replace(".3.", ".4."), text.replace("run-r1", "run-r2"), text[:-1] + "x"):
        assert not service.is_signed(context, rules.parse_run(other))
    assert not service.is_signed(other_context, rules.parse_run(text.replace("acme", "globex")))
    service.run_token(other_context, run="r1", fence=3)
    assert not service.is_signed(other_context, rules.parse_run(text.replace("acme", "globex")))


@pytest.mark.parametrize("text", ["", "larder_a.b.c", "larder_a.run-r.x.s", "larder_a.run-r.-1.s", "larder_a.r.1.s"])
def test_what_is_no_runs_secret_is_not_parsed(text):
    assert rules.parse_run(text) is None
