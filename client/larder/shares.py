"""Shares: addresses that open a run, a comparison or a view to those who only look.

`run.share()` and `larder.compare(a, b).share()` make one; `larder.shares.find()` lists those that open.
"""

from collections.abc import Sequence

from larder import config
from larder.contract import shares as contract
from larder.contract.endpoint import Nothing
from larder.transport import Transport


class SharedAddress:
    """A share as the server knows it: `url` is what to send."""

    def __init__(self, transport: Transport, record: contract.Share) -> None:
        self._transport = transport
        self.record = record

    def __repr__(self) -> str:
        return f"<Share {self.url}>"

    def __str__(self) -> str:
        return self.url

    @property
    def url(self) -> str:
        """The whole address."""
        return f"{self._transport.url}{self.record.path}"

    def revoke(self) -> None:
        """End it at once, also for those who have the address."""
        self._transport.call(contract.REVOKE, Nothing(), share_id=self.record.id)


def make(
    runs: Sequence[str] = (),
    *,
    view: contract.SharedView | None = None,
    title: str = "",
    against: str = "",
    metric: str = "",
    public: bool = False,
    days: int = 30,
    transport: Transport | None = None,
) -> SharedAddress:
    """An address that opens these runs, or what a view finds. With `public` nobody has to sign in, where that is allowed."""
    transport = transport or config.connect()
    order = contract.NewShare(
        runs=list(runs), view=view, title=title, against=against, metric=metric, public=public, days=days
    )
    return SharedAddress(transport, transport.call(contract.CREATE, order))


def find(run: str = "", *, transport: Transport | None = None) -> list[SharedAddress]:
    """The shares that open, the newest first; with `run` only those that name it."""
    transport = transport or config.connect()
    found = transport.call(contract.LIST, contract.ShareQuery(run=run)).shares
    return [SharedAddress(transport, record) for record in found]
