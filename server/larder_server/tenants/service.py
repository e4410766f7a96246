"""What one can do with tenants, users and tokens."""

import dataclasses
from dataclasses import dataclass

from larder.contract.endpoint import Nothing, Role
from larder.contract.errors import NotFound
from larder.contract.ids import new_id
from larder.contract.tenants import ChangeUser, Identity, IssuedToken, NewToken, Token, Tokens, User, Users
from larder_server.kernel.context import Context
from larder_server.kernel.notes import Notes
from larder_server.tenants import events, rules, store

USED_EVERY = 60_000_000
"""The use of a token is written down at most so often, in microseconds, by a timer and not by who uses it."""

_USED = "tenants.tokens_used"


@dataclass(frozen=True, kw_only=True)
class Guest:
    """Who has shown a token, until when it is good, and when its use was last noted."""

    identity: Identity
    token: str
    expires: int
    used: int


def ensure(context: Context, *, user: str) -> None:
    """Make the context's tenant with a first admin, where they do not exist."""
    now = context.clock.now()
    store.ensure_tenant(context, name=context.tenant, now=now)
    store.ensure_user(context, name=user, role=Role.ADMIN, now=now)


def issue(context: Context, order: NewToken) -> IssuedToken:
    """Issue a token, making its user where needed. The secret is in the answer and nowhere else.

    Invalid; Denied: for somebody else, or with more rights, by who is no admin, or by a run.
    """
    rules.of_a_person(context.run)
    lifetime = rules.lifetime(order.days)
    user, name = rules.user_name(order.user or context.user), rules.token_name(order.name)
    rules.may_issue(order, user=user, asking=context.user, held=context.role)
    now = context.clock.now()
    store.ensure_user(context, name=user, role=order.role, now=now)
    token = Token(id=new_id(), user=user, role=order.role, name=name, created=now, expires=now + lifetime,
                  evaluator=order.evaluator)  # fmt: skip
    secret = rules.new_secret(context.tenant, token.id)
    store.insert_token(context, token, digest=secret.digest)
    context.emit(events.token_issued(token.id, user=token.user, role=token.role, evaluator=token.evaluator))
    return IssuedToken(token=token, secret=str(secret))


def identify(context: Context, secret: rules.Secret) -> Identity | None:
    """Who the secret speaks for; None when it is unknown, revoked or expired. The context's tenant is the secret's."""
    guest = recognise(context, secret)
    return None if guest is None else guest.identity


def recognise(context: Context, secret: rules.Secret) -> Guest | None:
    """As `identify`, with what is needed to know the guest again without the database."""
    now = context.clock.now()
    found = store.token_with_digest(context, secret.id, digest=secret.digest, now=now)
    if found is None:
        return None
    token = found.token
    used = token.last_used
    if used is None or now - used >= USED_EVERY:
        context.note(_USED, token.id, used := now)
    identity = Identity(
        tenant=context.tenant, user=token.user, role=token.role, team=found.team, token=token.id,
        evaluator=token.evaluator,
    )  # fmt: skip
    return Guest(identity=identity, token=token.id, expires=token.expires, used=used)


def known_again(guest: Guest, notes: Notes, *, now: int) -> Guest | None:
    """The guest, come back, whose token nobody has changed; None when it has expired. Its use goes into the notes."""
    if now >= guest.expires:
        return None
    if now - guest.used < USED_EVERY:
        return guest
    notes.put(guest.identity.tenant, _USED, guest.token, now)
    return dataclasses.replace(guest, used=now)


def run_token(context: Context, *, run: str, fence: int) -> str:
    """The secret of a run's own token; good as long as `fence` is that of the run's living lease. It is not stored."""
    key = store.run_key(context)
    if not key:
        # two at once: the first to write has made it
        store.set_run_key(context, rules.new_key())
        key = store.run_key(context)
    signed = rules.signature(key, tenant=context.tenant, run=run, fence=fence)
    return str(rules.RunSecret(tenant=context.tenant, run=run, fence=fence, signature=signed))


def is_signed(context: Context, secret: rules.RunSecret) -> bool:
    """Whether this tenant has issued the token of a run; the lease is for others to check."""
    return secret.signed_by(store.run_key(context))


def remember_used(context: Context) -> int:
    """Write down when tokens were used, as far as it is news; how many."""
    used: dict[str, int] = context.take_notes(_USED)
    store.touch(context, used)
    return len(used)


def whoami(context: Context, _: Nothing) -> Identity:
    """Who asks."""
    return Identity(
        tenant=context.tenant, user=context.user, role=context.role, team=context.team, run=context.run,
        token=context.token, evaluator=context.evaluator,
    )  # fmt: skip


def users(context: Context, _: Nothing) -> Users:
    """The users of the tenant."""
    return Users(users=store.users(context))


def change_user(context: Context, order: ChangeUser, user: str) -> User:
    """Put a user into a team, or into none with an empty name. NotFound."""
    if order.team is not None:
        if not store.set_team(context, user, team=rules.team_name(order.team)):
            raise NotFound(f"there is no user {user[:100]!r}", hint="`larder users ls` lists them")
        context.emit(events.user_changed(user, team=order.team))
    found = store.user(context, user)
    if found is None:
        raise NotFound(f"there is no user {user[:100]!r}", hint="`larder users ls` lists them")
    return found


def tokens(context: Context, _: Nothing) -> Tokens:
    """The living tokens, without their secrets: an admin sees all of the tenant, others see their own."""
    rules.of_a_person(context.run)
    living = store.living_tokens(context, now=context.clock.now())
    return Tokens(tokens=[token for token in living if rules.may_manage(token, context.user, context.role)])


def revoke(context: Context, _: Nothing, token_id: str) -> Nothing:
    """End a token at once; NotFound when there is no such living token that the asker may see."""
    seen = tokens(context, Nothing()).tokens
    if token_id not in {token.id for token in seen} or not store.revoke(context, token_id, now=context.clock.now()):
        raise NotFound(f"there is no living token {token_id[:100]}")
    context.emit(events.token_revoked(token_id))
    return Nothing()


def every_tenant(context: Context) -> list[str]:
    """The names of all tenants; for the platform's own timers, whose context is of the nameless tenant."""
    return store.every_tenant(context)
