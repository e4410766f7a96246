"""A token speaks for its user until it is revoked or expires, and its secret is stored nowhere."""

import pytest

from larder.contract.endpoint import Nothing, Role
from larder.contract.errors import Invalid, NotFound
from larder.contract.tenants import NewToken
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


@pytest.mark.parametrize("text", ["", "larder_", "larder_a.b", "x_a.b.c", "larder_a..c", "larder_a.b.c.d"])
def test_what_is_no_secret_is_not_parsed(text):
    assert rules.parse(text) is None
