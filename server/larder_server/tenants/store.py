"""Tenants, users and tokens in SQL."""

from typing import Any

from sqlalchemy.engine import Row

from larder.contract.endpoint import Role
from larder.contract.tenants import Token
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
        "insert into tokens (tenant, id, actor, role, name, digest, created, expires)"
        " values (:tenant, :id, :actor, :role, :name, :digest, :created, :expires)",
        id=token.id,
        actor=token.user,
        role=token.role,
        name=token.name,
        digest=digest,
        created=token.created,
        expires=token.expires,
    )


def token_with_digest(context: Context, id: str, *, digest: str, now: int) -> Token | None:
    row = context.db.one(
        "select id, actor, role, name, created, expires, last_used from tokens where tenant = :tenant and id = :id"
        " and digest = :digest and expires > :now and revoked is null",
        id=id,
        digest=digest,
        now=now,
    )
    return None if row is None else _token(row)


def touch(context: Context, id: str, *, now: int) -> None:
    context.db.change("update tokens set last_used = :now where tenant = :tenant and id = :id", id=id, now=now)


def living_tokens(context: Context, *, now: int) -> list[Token]:
    rows = context.db.execute(
        "select id, actor, role, name, created, expires, last_used from tokens where tenant = :tenant"
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
                 expires=row.expires, last_used=row.last_used)  # fmt: skip


def every_tenant(context: Context) -> list[str]:
    return [
        row.tenant for row in context.db.execute("select tenant from tenants where tenant > :tenant order by tenant")
    ]
