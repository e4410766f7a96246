"""What one can do with tenants, users and tokens."""

from larder.contract.endpoint import Nothing, Role
from larder.contract.errors import NotFound
from larder.contract.ids import new_id
from larder.contract.tenants import Identity, IssuedToken, NewToken, Token, Tokens
from larder_server.kernel.context import Context
from larder_server.tenants import events, rules, store


def ensure(context: Context, *, user: str) -> None:
    """Make the context's tenant with a first admin, where they do not exist."""
    now = context.clock.now()
    store.ensure_tenant(context, name=context.tenant, now=now)
    store.ensure_user(context, name=user, role=Role.ADMIN, now=now)


def issue(context: Context, order: NewToken) -> IssuedToken:
    """Issue a token, making its user where needed. The secret is in the answer and nowhere else."""
    lifetime = rules.lifetime(order.days)
    user, name = rules.user_name(order.user), rules.token_name(order.name)
    now = context.clock.now()
    store.ensure_user(context, name=user, role=order.role, now=now)
    token = Token(id=new_id(), user=user, role=order.role, name=name, created=now, expires=now + lifetime)
    secret = rules.new_secret(context.tenant, token.id)
    store.insert_token(context, token, digest=secret.digest)
    context.emit(events.token_issued(token.id, user=token.user, role=token.role))
    return IssuedToken(token=token, secret=str(secret))


def identify(context: Context, secret: rules.Secret) -> Identity | None:
    """Who the secret speaks for; None when it is unknown, revoked or expired. The context's tenant is the secret's."""
    token = store.token_with_digest(context, secret.id, digest=secret.digest, now=context.clock.now())
    return None if token is None else Identity(tenant=context.tenant, user=token.user, role=token.role)


def used(context: Context, token_id: str) -> None:
    """Write down that a token was used just now."""
    store.touch(context, token_id, now=context.clock.now())


def whoami(context: Context, _: Nothing) -> Identity:
    """Who asks."""
    return Identity(tenant=context.tenant, user=context.user, role=context.role)


def tokens(context: Context, _: Nothing) -> Tokens:
    """The living tokens of the tenant, without their secrets."""
    return Tokens(tokens=store.living_tokens(context, now=context.clock.now()))


def revoke(context: Context, _: Nothing, token_id: str) -> Nothing:
    """End a token at once; NotFound when there is no such living token."""
    if not store.revoke(context, token_id, now=context.clock.now()):
        raise NotFound(f"there is no living token {token_id[:100]}")
    context.emit(events.token_revoked(token_id))
    return Nothing()


def every_tenant(context: Context) -> list[str]:
    """The names of all tenants; for the platform's own timers, whose context is of the nameless tenant."""
    return store.every_tenant(context)
