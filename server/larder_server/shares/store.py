"""Shares in SQL: what each names and how long it opens; and, once a tenant, the policy with the key of the signatures."""

from collections.abc import Mapping
from typing import Any

import msgspec
from sqlalchemy.engine import Row

from larder.contract.shares import Share, SharedView
from larder_server.kernel.context import Context

_COLUMNS = "id, title, runs, view, against, metric, public, actor, created, expires, opened"
_runs = msgspec.json.Decoder(list[str])
_view = msgspec.json.Decoder(SharedView)


def insert(context: Context, share: Share) -> None:
    context.db.change(
        "insert into shares (tenant, id, title, runs, view, against, metric, public, actor, created, expires)"
        " values (:tenant, :id, :title, :runs, :view, :against, :metric, :public, :actor, :created, :expires)",
        id=share.id, title=share.title, runs=msgspec.json.encode(share.runs).decode(),
        view="" if share.view is None else msgspec.json.encode(share.view).decode(), against=share.against,
        metric=share.metric, public=int(share.public), actor=share.user, created=share.created, expires=share.expires,
    )  # fmt: skip


def find(context: Context, id: str) -> Share | None:
    """The share, also an expired one, unless it was revoked."""
    row = context.db.one(
        f"select {_COLUMNS} from shares where tenant = :tenant and id = :id and revoked is null", id=id
    )
    return None if row is None else _share(row)


def living(context: Context, *, now: int) -> list[Share]:
    """The shares that open, the newest first."""
    rows = context.db.execute(
        f"select {_COLUMNS} from shares where tenant = :tenant and expires > :now and revoked is null"
        " order by created desc, id desc",
        now=now,
    )
    return [_share(row) for row in rows]


def revoke(context: Context, id: str, *, now: int) -> None:
    context.db.change("update shares set revoked = :now where tenant = :tenant and id = :id", id=id, now=now)


def touch(context: Context, opened: Mapping[str, int]) -> None:
    """Write down when shares were opened."""
    context.db.many(
        "update shares set opened = :now where tenant = :tenant and id = :id",
        [{"id": id, "now": now} for id, now in sorted(opened.items())],
    )


def is_public(context: Context) -> bool:
    """Whether shares of this tenant may open without signing in."""
    row = context.db.one("select public from share_policies where tenant = :tenant")
    return row is not None and bool(row.public)


def set_public(context: Context, public: bool) -> None:
    context.db.change(
        "insert into share_policies (tenant, public) values (:tenant, :public)"
        " on conflict (tenant) do update set public = excluded.public",
        public=int(public),
    )


def key(context: Context) -> str:
    """The key of the signatures; empty until there is one."""
    row = context.db.one("select signing_key from share_policies where tenant = :tenant")
    return "" if row is None else str(row.signing_key)


def set_key(context: Context, key: str) -> None:
    """Keep a key, unless there is one."""
    context.db.change(
        "insert into share_policies (tenant, signing_key) values (:tenant, :key) on conflict (tenant) do nothing",
        key=key,
    )
    context.db.change(
        "update share_policies set signing_key = :key where tenant = :tenant and signing_key = ''", key=key
    )


def _share(row: Row[Any]) -> Share:
    return Share(
        id=row.id, title=row.title, runs=_runs.decode(row.runs), view=_view.decode(row.view) if row.view else None,
        against=row.against, metric=row.metric, public=bool(row.public), user=row.actor, created=row.created,
        expires=row.expires, opened=row.opened, path="",
    )  # fmt: skip
