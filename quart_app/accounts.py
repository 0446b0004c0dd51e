"""Who is asking: people with accounts and sign-ins, programs with keys.

Cookies, links and keys are random secrets of 256 bits, of which only the SHA-256 is kept.
"""

import binascii
import hmac
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import delete, func, select, update
from sqlalchemy.exc import IntegrityError
from uuid_utils import uuid7

from quart_app import audit
from quart_app.errors import AppError, NotFound, Refused
from quart_app.models import Account, Key, SignIn, SignInLink
from quart_app.services import Services
from quart_app.settings import Settings
from quart_app.vault import digest

SCOPES = {
    "call": "send calls, by the API and through /proxy",
    "read": "see connections and the history",
    "manage": "add, change and delete connections and webhooks, refresh tokens",
}
DEFAULT_SCOPES = ("call", "read")
KEY_PATTERN = re.compile(r"sb_([0-9a-f]{12})_([0-9a-f]{64})_([0-9a-f]{8})")
NAME_PATTERN = re.compile(r"[^\x00-\x1f\x7f]{1,100}")


@dataclass(frozen=True, slots=True)
class Who:
    """The one who asks. `actor` is how the history names them; a person may do everything."""

    actor: str
    name: str
    scopes: frozenset[str]
    person: bool
    expires_at: float | None

    def may(self, scope: str) -> bool:
        return self.person or scope in self.scopes


async def create_key(
    services: Services, name: str, scopes: Sequence[str] = DEFAULT_SCOPES, *, actor: str = "cli"
) -> str:
    """Makes a key and returns it; it is never shown again. Raises AppError for a name or scope that is none."""
    unknown = sorted(set(scopes) - set(SCOPES))
    if unknown or not NAME_PATTERN.fullmatch(name):
        raise AppError(422, "invalid_key", f"Scopes are {', '.join(SCOPES)}; a name has 1 to 100 characters.")
    key_id, secret = secrets.token_hex(6), secrets.token_hex(32)
    row = Key(
        id=key_id,
        name=name,
        secret_hash=digest(secret),
        scopes=sorted(set(scopes)),
        created_at=services.clock(),
    )
    async with services.change() as session:
        session.add(row)
        await audit.note(session, services.clock, actor, "key_created", f"{name} ({key_id})", " ".join(row.scopes))
    return f"sb_{key_id}_{secret}_{checksum(secret)}"


def checksum(secret: str) -> str:
    """CRC-32 in hex: tells a mistyped key from a wrong one without a look into the database."""
    return f"{binascii.crc32(secret.encode()):08x}"


async def list_keys(services: Services) -> list[Key]:
    async with services.db.session() as session:
        return list(await session.scalars(select(Key).order_by(Key.created_at)))


async def revoke_key(services: Services, key_id: str, *, actor: str = "cli") -> None:
    """From now on the key is refused; other processes know within a second. Raises NotFound."""
    async with services.change() as session:
        row = await session.get(Key, key_id)
        if row is None:
            raise NotFound("unknown_key", "There is no key of this id.")
        if row.revoked_at is None:
            row.revoked_at = services.clock()
            await audit.note(session, services.clock, actor, "key_revoked", f"{row.name} ({key_id})")


async def who_has_key(services: Services, presented: str) -> Who:
    """The owner of a key. Raises Refused 401 `invalid_key` for any that is not good now."""
    hashed = digest(presented)
    known = services.caches.of(Who).get(hashed)
    if known is None:
        known = await services.caches.read(Who, hashed, lambda: look_key_up(services, presented))
    if known.expires_at is not None and known.expires_at <= services.clock():
        raise Refused("invalid_key", "This key has expired.", status=401)
    return known


async def look_key_up(services: Services, presented: str) -> Who:
    parts = KEY_PATTERN.fullmatch(presented)
    refused = Refused("invalid_key", "This is not a key of this server, or it was revoked.", status=401)
    if parts is None or not hmac.compare_digest(checksum(parts[2]), parts[3]):
        raise refused
    async with services.db.session() as session:
        row = await session.get(Key, parts[1])
    if row is None or row.revoked_at is not None or not hmac.compare_digest(row.secret_hash, digest(parts[2])):
        raise refused
    return Who(f"key:{row.name}", row.name, frozenset(row.scopes), person=False, expires_at=row.expires_at)


async def who_is_signed_in(services: Services, cookie: str) -> Who | None:
    """The person behind a sign-in cookie, None for one that is not good now."""
    hashed = digest(cookie)
    known = services.caches.of(Who).get(hashed)
    if known is None:
        epoch = services.caches.epoch
        async with services.db.session() as session:
            row = await session.get(SignIn, hashed)
            account = await session.get(Account, row.account_id) if row else None
        if row is None or account is None:
            return None
        who = Who(f"account:{account.name}", account.name, frozenset(), person=True, expires_at=row.expires_at)
        known = services.caches.keep(Who, hashed, who, epoch)
    return known if known.expires_at is None or known.expires_at > services.clock() else None


async def create_link(services: Services, account_name: str | None = None, *, actor: str = "cli") -> str:
    """The token of a link that signs a browser in, once, within the minutes of the settings.

    Without a name it makes the first account. Raises NotFound for an account that is not there.
    """
    token = secrets.token_urlsafe(32)
    expires_at = services.clock() + services.settings.link_minutes * 60
    async with services.db.begin() as session:
        account_id = None
        if account_name is not None:
            account_id = await session.scalar(select(Account.id).where(Account.name == account_name))
            if account_id is None:
                raise NotFound("unknown_account", "There is no account of this name.")
        await audit.note(session, services.clock, actor, "link_created", account_name or "the first account")
        await session.execute(delete(SignInLink).where(SignInLink.expires_at < services.clock()))
        session.add(SignInLink(token_hash=digest(token), account_id=account_id, expires_at=expires_at))
    return token


def link_text(settings: Settings, token: str) -> str:
    """The link as it is printed. Its token is in the fragment, which browsers do not send and servers do not log."""
    return f"\nSign in here, within {settings.link_minutes} minutes:\n  {settings.own_url}/sign-in#{token}\n"


async def create_account(services: Services, name: str, *, actor: str = "cli") -> None:
    """Raises AppError 409 `name_taken`."""
    if not NAME_PATTERN.fullmatch(name):
        raise AppError(422, "invalid_name", "A name has 1 to 100 characters and no control characters.")
    try:
        async with services.db.begin() as session:
            await audit.note(session, services.clock, actor, "account_created", name)
            session.add(Account(id=str(uuid7()), name=name, created_at=services.clock()))
    except IntegrityError:
        raise AppError(409, "name_taken", f"There is an account named {name} already.") from None


async def count(services: Services) -> int:
    async with services.db.session() as session:
        return int(await session.scalar(select(func.count()).select_from(Account)) or 0)


async def sign_in(services: Services, token: str, user_agent: str) -> tuple[str, str]:
    """Uses a link up: the new cookie and the account's name. Raises Refused 401 `invalid_link`.

    A link for no account makes the account `admin`, but only while there is none.
    """
    now = services.clock()
    cookie = secrets.token_urlsafe(32)
    async with services.change() as session:
        used = (
            update(SignInLink)
            .where(
                SignInLink.token_hash == digest(token),
                SignInLink.used_at.is_(None),
                SignInLink.expires_at > now,
            )
            .values(used_at=now)
            .returning(SignInLink.account_id)
        )
        found = (await session.execute(used)).first()
        first = await session.scalar(select(Account).limit(1)) is None
        if found is None or (found[0] is None and not first):
            raise Refused("invalid_link", "This link was used already, is too old, or is not one of ours.", status=401)
        account = await session.get(Account, found[0]) if found[0] else None
        if account is None:
            account = Account(id=str(uuid7()), name="admin", created_at=now)
            session.add(account)
            await session.flush()
        expires_at = now + services.settings.sign_in_hours * 3600
        session.add(
            SignIn(
                cookie_hash=digest(cookie),
                account_id=account.id,
                created_at=now,
                expires_at=expires_at,
                user_agent=user_agent[:300],
            )
        )
        await audit.note(session, services.clock, f"account:{account.name}", "signed_in", account.name)
    return cookie, account.name


async def sign_out(services: Services, cookie: str) -> None:
    """Ends a browser's session on the server."""
    async with services.change() as session:
        await session.execute(delete(SignIn).where(SignIn.cookie_hash == digest(cookie)))
