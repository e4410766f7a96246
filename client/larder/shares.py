"""Shares: addresses that open a run, a comparison or a view to those who only look.

`run.share()` and `larder.compare(a, b).share()` make one; `larder.shares.find()` lists those that open.
"""

from collections.abc import Sequence

from larder import config
from larder.contract import shares as contract
from larder.contract.endpoint import Nothing
from larder.contract.errors import Invalid, NotFound
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


def get(share: str, *, transport: Transport | None = None) -> SharedAddress:
    """A share that opens, by its address, by its id, or by an end of the id of at least 6 characters. NotFound; Invalid."""
    text = share.strip().rstrip("/").rsplit("/", 1)[-1]
    text = text.split(".")[1] if text.count(".") == 2 else text.lower()
    found = [one for one in find(transport=transport) if len(text) >= 6 and one.record.id.endswith(text)]
    if len(found) > 1:
        raise Invalid(f"Several shares are named by {text!r}.", hint="Give more of the id.")
    if not found:
        raise NotFound(f"No share that opens is named by {text!r}.", hint="`larder share ls` lists them.")
    return found[0]


def may_be_public(allow: bool | None = None, *, transport: Transport | None = None) -> bool:
    """Whether shares may open without signing in; an admin may say so. Taken back, it ends that for all of them."""
    transport = transport or config.connect()
    if allow is None:
        return transport.call(contract.POLICY, Nothing()).public
    return transport.call(contract.CHANGE_POLICY, contract.SharePolicy(public=allow)).public
