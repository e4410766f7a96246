"""What a view may be, and who may change it. Pure."""

import base64
import hashlib

from larder.contract.endpoint import Role
from larder.contract.errors import Denied, Invalid
from larder.contract.views import View

PAGES = ("runs", "compare", "run")
LONGEST_STATE = 50_000
LONGEST_NAME = 200


def page(text: str) -> str:
    """The page, when it keeps views."""
    if text not in PAGES:
        raise Invalid(f"a view is of {', '.join(PAGES)}, not {text[:100]!r}", field="page")
    return text


def name(text: str) -> str:
    """The name, when a view may be called so: up to 200 printable characters."""
    if len(text) > LONGEST_NAME or not text.isprintable():
        raise Invalid(f"a view's name has at most {LONGEST_NAME} printable characters", field="name")
    return text.strip()


def state(text: str) -> str:
    """The state, when it can be kept: what stands behind an address, so a line of printable text."""
    if not 0 < len(text) <= LONGEST_STATE or not text.isprintable():
        raise Invalid(f"a view's state has 1 to {LONGEST_STATE:,} printable characters", field="state")
    return text


def short_id(tenant: str, page: str, state: str) -> str:
    """The id of a view without a name: the same for the same state."""
    digest = hashlib.sha256("\n".join((tenant, page, state)).encode()).digest()
    return base64.b32encode(digest)[:12].decode().lower()


def may_change(view: View, *, user: str, role: Role) -> None:
    """Denied unless the view is the asker's own, or the asker a maintainer."""
    if not view.name:
        raise Invalid("a view without a name stands for its state and does not change", field="view_id",
                      hint="keep another one")  # fmt: skip
    if view.user != user and not role.includes(Role.MAINTAINER):
        raise Denied(f"the view {view.name!r} is {view.user}'s", hint="save it under a name of your own")
