"""Tenants, users and tokens in SQL."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy.engine import Row

from larder.contract.endpoint import Role
from larder.contract.tenants import Token, User
from larder_server.kernel.context import Context


def ensure_tenant(context: Context, *, name: str, now: int) -> None:
    context.db.change(
        "insert into tenants (tenant, name, created) values (:tenant, :name, :now) on conflict (tenant) do nothing",
        name=name,
        now=now,
    )


def tenant_exists(context: Context) -> bool:
    return context.db.one("select tenant from tenants where tenant = :tenant") is not None


def ensure_user(context: Context, *, name: str, role: Role, now: int) -> None:
    context.db.change(
        "insert into users (tenant, name, role, created) values (:tenant, :name, :role, :now)"
        " on conflict (tenant, name) do nothing",
        name=name,
        role=role,
        now=now,
    )


def insert_token(context: Context, token: Token, *, digest: str) -> None:
    context.db.change(
        "insert into tokens (tenant, id, actor, role, name, digest, created, expires, evaluator)"
        " values (:tenant, :id, :actor, :role, :name, :digest, :created, :expires, :evaluator)",
        id=token.id,
        actor=token.user,
        role=token.role,
        name=token.name,
        digest=digest,
        created=token.created,
        expires=token.expires,
        evaluator=int(token.evaluator),
    )


@dataclass(frozen=True, kw_only=True)
class Found:
    """A token with the team of its user."""

    token: Token
    team: str


def token_with_digest(context: Context, id: str, *, digest: str, now: int) -> Found | None:
    row = context.db.one(
        "select t.id, t.actor, t.role, t.name, t.created, t.expires, t.last_used, t.evaluator, u.team from tokens t"
        " left join users u on u.tenant = t.tenant and u.name = t.actor where t.tenant = :tenant and t.id = :id"
        " and t.digest = :digest and t.expires > :now and t.revoked is null",
        id=id,
        digest=digest,
        now=now,
    )
    return None if row is None else Found(token=_token(row), team=row.team or "")


def touch(context: Context, used: Mapping[str, int]) -> None:
    context.db.many(
        "update tokens set last_used = :now where tenant = :tenant and id = :id",
        [{"id": id, "now": now} for id, now in sorted(used.items())],
    )


def run_key(context: Context) -> str:
    row = context.db.one("select run_key from tenants where tenant = :tenant")
    return "" if row is None else str(row.run_key)


def set_run_key(context: Context, key: str) -> None:
    context.db.change("update tenants set run_key = :key where tenant = :tenant and run_key = ''", key=key)


def users(context: Context) -> list[User]:
    rows = context.db.execute("select name, role, team from users where tenant = :tenant order by name")
    return [User(name=row.name, role=Role(row.role), team=row.team) for row in rows]


def user(context: Context, name: str) -> User | None:
    row = context.db.one("select name, role, team from users where tenant = :tenant and name = :name", name=name)
    return None if row is None else User(name=row.name, role=Role(row.role), team=row.team)


def set_team(context: Context, name: str, *, team: str) -> bool:
    return bool(
        context.db.change("update users set team = :team where tenant = :tenant and name = :name", name=name, team=team)
    )


def living_tokens(context: Context, *, now: int) -> list[Token]:
    rows = context.db.execute(
        "select id, actor, role, name, created, expires, last_used, evaluator from tokens where tenant = :tenant"
        " and expires > :now and revoked is null order by created",
        now=now,
    )
    return [_token(row) for row in rows]


def revoke(context: Context, id: str, *, now: int) -> bool:
    return bool(
        context.db.change(
            "update tokens set revoked = :now where tenant = :tenant and id = :id and revoked is null", id=id, now=now
        )
    )


def _token(row: Row[Any]) -> Token:
    return Token(id=row.id, user=row.actor, role=Role(row.role), name=row.name, created=row.created,
                 expires=row.expires, last_used=row.last_used, evaluator=bool(row.evaluator))  # fmt: skip


def every_tenant(context: Context) -> list[str]:
    return [
        row.tenant for row in context.db.execute("select tenant from tenants where tenant > :tenant order by tenant")
    ]
