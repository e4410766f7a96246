"""What tenants announce."""

from larder_server.kernel.outbox import Event


def token_issued(token_id: str, *, user: str, role: str, evaluator: bool) -> Event:
    data = {"user": user, "role": role, **({"evaluator": True} if evaluator else {})}
    return Event(name="tenants.token_issued", subject=token_id, data=data)


def user_changed(user: str, *, team: str) -> Event:
    return Event(name="tenants.user_changed", subject=user, data={"team": team})


def token_revoked(token_id: str) -> Event:
    return Event(name="tenants.token_revoked", subject=token_id)
