"""What shares announce; the subject is the share's id, of the policy nothing."""

from collections.abc import Sequence

from larder_server.kernel.outbox import Event


def created(share_id: str, *, runs: Sequence[str], public: bool, expires: int) -> Event:
    data = {"runs": list(runs), "public": public, "expires": expires}
    return Event(name="shares.created", subject=share_id, data=data)


def revoked(share_id: str, *, runs: Sequence[str]) -> Event:
    return Event(name="shares.revoked", subject=share_id, data={"runs": list(runs)})


def policy_changed(*, public: bool) -> Event:
    return Event(name="shares.policy_changed", subject="", data={"public": public})
