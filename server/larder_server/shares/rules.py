"""What a share may name, what its token looks like, and what it says in words. Pure."""

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from larder.contract.comparisons import MOST
from larder.contract.errors import Invalid
from larder.contract.ids import is_id
from larder.contract.runs import RunStatus
from larder.contract.shares import NewShare

DAY = 86_400_000_000
"""Microseconds in a day."""

LONGEST_TITLE = 200
LONGEST_TEXT = 10_000


@dataclass(frozen=True, kw_only=True)
class ShareSecret:
    """The parts of a share's token: `share_TENANT.ID.SIGNATURE`. It is stored nowhere."""

    tenant: str
    id: str
    signature: str

    def __str__(self) -> str:
        return f"share_{self.tenant}.{self.id}.{self.signature}"

    def signed_by(self, key: str, *, expires: int) -> bool:
        """Whether the signature is that of a key, for a share that expires then."""
        good = signature(key, tenant=self.tenant, id=self.id, expires=expires)
        return bool(key) and hmac.compare_digest(good, self.signature)


def new_key() -> str:
    """A key with which the shares of a tenant are signed."""
    return secrets.token_hex(32)


def signature(key: str, *, tenant: str, id: str, expires: int) -> str:
    """HMAC-SHA-256 of what a share's token says, for an address."""
    signed = hmac.new(bytes.fromhex(key), f"share\n{tenant}\n{id}\n{expires}".encode(), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(signed).rstrip(b"=").decode()


def parse(text: str) -> ShareSecret | None:
    """The parts of a share's token, None when the text has another shape."""
    head, _, rest = text.partition("_")
    parts = rest.split(".")
    if head != "share" or len(parts) != 3 or not text.isascii() or not text.isprintable() or len(text) > 500:
        return None
    tenant, id, signed = parts
    if not tenant or not is_id(id) or not re.fullmatch(r"[A-Za-z0-9_-]{43}", signed):
        return None
    return ShareSecret(tenant=tenant, id=id, signature=signed)


def check(order: NewShare) -> None:
    """Invalid unless the order names one run, a comparison or a view, and for how long."""
    if bool(order.runs) is (order.view is not None):
        raise Invalid("a share names runs or a view, one of them", field="runs")
    if len(order.runs) > MOST:
        raise Invalid(f"a share names at most {MOST} runs, not {len(order.runs)}", field="runs")
    if twice := sorted({id for id in order.runs if order.runs.count(id) > 1}):
        raise Invalid(f"the run {twice[0][:100]} is named twice", field="runs")
    if order.against and (len(order.runs) != 1 or order.against in order.runs):
        raise Invalid("one run is set against another one", field="against")
    if not 1 <= order.days <= 365:
        raise Invalid(f"a share opens for 1 to 365 days, not {order.days}", field="days")
    if len(order.title) > LONGEST_TITLE or not order.title.isprintable():
        raise Invalid(f"a title has at most {LONGEST_TITLE} printable characters", field="title")
    if len(order.metric) > 500 or not order.metric.isprintable():
        raise Invalid("a metric's name has at most 500 printable characters", field="metric")


def kind(*, runs: Sequence[str], view: object) -> str:
    """What a share opens: run, comparison or view."""
    return "view" if view is not None else "run" if len(runs) == 1 else "comparison"


# -- words ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a headline needs to know of a run. `value` is already in words; empty where there is none."""

    name: str
    status: RunStatus
    value: str = ""


_ENDED = {
    RunStatus.COMPLETED: "was completed",
    RunStatus.FAILED: "failed",
    RunStatus.STOPPED: "was stopped",
    RunStatus.LOST: "has not been heard of for a while",
    RunStatus.RUNNING: "is running",
    RunStatus.QUEUED: "waits for its turn",
    RunStatus.DRAFT: "has not begun",
}


def of_run(run: Outcome, *, metric: str, against: str = "", change: str = "") -> str:
    """“deep reached val/mae 2.31, 12 % better than baseline”; `change` is the middle of that."""
    than = f", {change} {against}" if change and against else ""
    if not run.value:
        return f"{run.name} {_ENDED[run.status]}"
    if run.status is RunStatus.COMPLETED:
        return f"{run.name} reached {metric} {run.value}{than}"
    if run.status is RunStatus.RUNNING:
        return f"{run.name} is running: {metric} {run.value} so far{than}"
    if run.status in (RunStatus.DRAFT, RunStatus.QUEUED):  # its points were logged by hand
        return f"{run.name}: {metric} {run.value}{than}"
    return f"{run.name} {_ENDED[run.status]}; it had reached {metric} {run.value}{than}"


def of_comparison(runs: Sequence[Outcome], *, metric: str, best: int, ahead: str) -> str:
    """“Of 5 runs deep is best: val/mae 2.31, 8 % better than the next”; `ahead` is the end of that."""
    if best < 0:
        return f"{len(runs)} runs side by side"
    rest = f", {ahead} the next" if ahead else ""
    which = "Of two runs" if len(runs) == 2 else f"Of {len(runs)} runs"
    return f"{which} {runs[best].name} is best: {metric} {runs[best].value}{rest}"


def of_view(runs: Sequence[Outcome], *, total: int, metric: str, best: int) -> str:
    """“42 runs; the best of them is deep: val/mae 2.31”."""
    count = "No run" if not total else "One run" if total == 1 else f"{total:,} runs"
    if best < 0:
        return count
    whole = "them" if total <= len(runs) else f"the first {len(runs)}"
    return f"{count}; the best of {whole} is {runs[best].name}: {metric} {runs[best].value}"
