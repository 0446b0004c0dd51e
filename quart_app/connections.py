"""Connections: the external APIs, how to sign in to each and how to treat it."""

import re
from typing import Any

import msgspec
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from uuid_utils import uuid7

from quart_app import audit, grants
from quart_app.errors import AppError, NotFound
from quart_app.forms.connections import KEPT, NAME_PATTERN, ConnectionForm, State, changed_fields, loosened, merged
from quart_app.instants import instant
from quart_app.models import Connection, Token
from quart_app.outbound.auth import OAuth2, guarded
from quart_app.outbound.headers import normal
from quart_app.outbound.redaction.marks import MARK
from quart_app.outbound.target import Target
from quart_app.outbound.urls import parse_base
from quart_app.outbound.ways import Proxy, Tls, way_of
from quart_app.services import Services
from quart_app.settings import Settings


async def create(services: Services, form: ConnectionForm, *, actor: str = "cli") -> Connection:
    """Adds a connection. Raises AppError 409 `name_taken`."""
    row = Connection(id=str(uuid7()), name=form.name, created_at=services.clock())
    token = grants.first_token(services, row.id, form.auth) if isinstance(form.auth, OAuth2) else None
    row.state, row.state_reason = grants.state_at_rest(form.auth, token, paused=form.state == "paused")
    fill(services, row, form)
    try:
        async with services.change() as session:
            session.add(row)
            await session.flush()
            if token is not None:
                session.add(token)
            await audit.note(session, services.clock, actor, "connection_created", row.name, row.base_url)
            for action in loosened(None, form):
                await audit.note(session, services.clock, actor, action, row.name)
    except IntegrityError:
        raise AppError(409, "name_taken", f"There is a connection named {form.name} already.") from None
    return row


def fill(services: Services, row: Connection, form: ConnectionForm) -> None:
    auth = form.auth.model_dump(by_alias=True, exclude_none=True)
    tls, proxy = form.tls.model_dump(), form.proxy.model_dump() if form.proxy else {}
    secrets = {name: auth.pop(name, None) for name in form.auth.SECRETS}
    secrets |= {f"tls.{name}": tls.pop(name) for name in Tls.SECRETS}
    secrets |= {f"proxy.{name}": proxy.pop(name, None) for name in Proxy.SECRETS}
    sealed = {name: secret for name, secret in secrets.items() if secret is not None}
    row.title, row.base_url, row.tags = form.title or form.name, form.base_url, list(form.tags)
    row.metadata_json, row.headers = form.metadata, form.headers
    row.policy = form.policy.model_dump()
    row.tls, row.proxy = tls, proxy
    row.auth = auth
    row.sealed_secrets = services.vault.seal(
        msgspec.json.encode(sealed).decode(), table="connections", column="sealed_secrets", row=row.id
    )
    row.updated_at = services.clock()


async def update(services: Services, name: str, change: dict[str, Any], *, actor: str = "cli") -> Connection:
    """Changes parts of a connection; new auth starts with no access token, and ready if no person must sign in.

    Raises NotFound, and pydantic's ValidationError for the connection that the change would make.
    """
    async with services.change() as session:
        row = await find(session, name)
        given = form_of(services, row)
        before = ConnectionForm.model_validate(given, context=KEPT)
        form = ConnectionForm.model_validate(merged(given, change, row.name), context=services.client.egress)
        fill(services, row, form)
        if form.auth != before.auth:
            await grants.renew_token(services, session, row.id, before.auth, form.auth)
            services.refreshes.pop(row.id, None)  # and with it the failure of the old auth that callers share
        if form.auth != before.auth or change.get("state"):
            token, paused = await session.get(Token, row.id), change.get("state") == "paused"
            row.state, row.state_reason = grants.state_at_rest(form.auth, token, paused=paused)
        await note_change(session, services, actor, before, form, change.get("state"))
    return row


async def note_change(
    session: AsyncSession,
    services: Services,
    actor: str,
    before: ConnectionForm,
    after: ConnectionForm,
    state: str | None,
) -> None:
    """On the audit: which fields are other, never their values; and what makes calls less safe, by its own name."""
    names = changed_fields(before, after) + ([f"state ({state})"] if state else [])
    if names:
        await audit.note(session, services.clock, actor, "connection_changed", after.name, ", ".join(names))
    for action in loosened(before, after):
        await audit.note(session, services.clock, actor, action, after.name)


def form_of(services: Services, row: Connection) -> dict[str, Any]:
    """The connection as its form, secrets included: for the app itself, never for an answer."""
    secrets = unsealed(services, row)
    return {
        "name": row.name,
        "title": row.title,
        "base_url": row.base_url,
        "tags": row.tags,
        "metadata": row.metadata_json,
        "auth": row.auth | of_part(secrets, ""),
        "headers": row.headers,
        "policy": row.policy,
        "tls": row.tls | of_part(secrets, "tls"),
        "proxy": row.proxy | of_part(secrets, "proxy") or None,
    }


def unsealed(services: Services, row: Connection) -> dict[str, str]:
    text = services.vault.unseal(row.sealed_secrets, table="connections", column="sealed_secrets", row=row.id)
    secrets: dict[str, str] = msgspec.json.decode(text)
    return secrets


def of_part(secrets: dict[str, Any], part: str) -> dict[str, Any]:
    """The secrets of auth by their names, those of `tls` and `proxy` by theirs without the part's."""
    return {name.rpartition(".")[2]: secret for name, secret in secrets.items() if name.rpartition(".")[0] == part}


def view(services: Services, row: Connection) -> dict[str, Any]:
    """A connection in the form of the API: of its secrets only that they are set, and a keyed fingerprint."""
    secrets, returns = unsealed(services, row), row.auth.get("grant") == "authorization_code"
    shown = {name: {"set": True, "fingerprint": services.vault.fingerprint(secret)} for name, secret in secrets.items()}
    return {
        "id": row.id,
        "name": row.name,
        "title": row.title,
        "base_url": row.base_url,
        "tags": row.tags,
        "metadata": row.metadata_json,
        "auth": row.auth | of_part(shown, ""),
        "headers": row.headers,
        "policy": row.policy,
        "tls": Tls().model_dump() | row.tls | of_part(shown, "tls"),
        "proxy": {"password": None} | row.proxy | of_part(shown, "proxy") if row.proxy else None,
        "state": row.state,
        "state_reason": row.state_reason,
        "redirect_uri": redirect_uri(services.settings, row.name) if returns else None,
        "created_at": instant(row.created_at),
        "updated_at": instant(row.updated_at),
    }


def redirect_uri(settings: Settings, name: str) -> str:
    """Where its provider sends browsers back; each connection has its own, against mix-up (RFC 9700 §4.4)."""
    return f"{settings.own_url}/oauth/callback/{name}"


async def show(services: Services, session: AsyncSession, name: str) -> dict[str, Any]:
    """A connection with the tokens it has now, as its other secrets: a mark in a record can be held against them.

    Raises NotFound.
    """
    row = await find(session, name)
    shown, token = view(services, row), await session.get(Token, row.id)
    for role in ("access_token", "refresh_token"):
        column = f"sealed_{role}"
        sealed = getattr(token, column, None)
        if sealed is not None:
            secret = services.vault.unseal(sealed, table="tokens", column=column, row=row.id)
            shown["auth"][role] = {"set": True, "fingerprint": services.vault.fingerprint(secret)}
    return shown


async def delete(services: Services, name: str, *, actor: str = "cli") -> Token | None:
    """Removes a connection with its secrets; its calls stay on record. Gives its last tokens. Raises NotFound."""
    async with services.change() as session:
        row = await find(session, name)
        token = await session.get(Token, row.id)
        await session.delete(row)
        await audit.note(session, services.clock, actor, "connection_deleted", name)
    return token


async def find(session: AsyncSession, name: str) -> Connection:
    """Raises NotFound `unknown_connection`."""
    row = None
    if re.fullmatch(NAME_PATTERN, name):
        row = await session.scalar(select(Connection).where(Connection.name == name))
    if row is None:
        raise NotFound("unknown_connection", "There is no connection of this name.")
    return row


async def page(session: AsyncSession, *, limit: int, after: str | None) -> list[Connection]:
    """Connections, newest first; `after` is the id that the page before ended with."""
    query = select(Connection).order_by(Connection.id.desc()).limit(limit)
    if after:
        query = query.where(Connection.id < after)
    return list(await session.scalars(query))


async def load(services: Services, name: str) -> Target:
    """The connection ready to be called, from memory unless it changed. Raises NotFound `unknown_connection`."""
    found = services.caches.of(Target).get(name)
    if found is not None:
        return found
    return await services.caches.read(Target, name, lambda: read(services, name))


async def read(services: Services, name: str) -> Target:
    async with services.db.session() as session:
        return target_of(services, await find(session, name))


def target_of(services: Services, row: Connection) -> Target:
    form = ConnectionForm.model_validate(form_of(services, row), context=KEPT)
    headers = [(name.lower().encode(), value.encode()) for name, value in form.headers.items()]
    proxy_password = form.proxy.password if form.proxy else None
    more = (("proxy_password", proxy_password),) if proxy_password else ()
    credential = guarded(form.auth.credential(), form.auth, services.vault.fingerprint, more)
    return Target(
        id=row.id,
        name=row.name,
        base=parse_base(row.base_url),
        auth=form.auth,
        policy=form.policy,
        headers=headers,
        state=row.state,
        state_reason=row.state_reason,
        credential=credential,
        injected=form.auth.injected() | {normal(name) for name, _ in headers},
        way=way_of(row.id, allow_private=form.policy.allow_private, tls=form.tls, proxy=form.proxy),
        marks=credential.shown or tuple((name.decode(), MARK) for name in sorted(form.auth.injected())),
    )


def is_current(services: Services, row: Connection | None, target: Target) -> bool:
    """Whether the connection still signs in as the target says: one loaded before a change must not use its tokens."""
    given = target.auth.model_dump(by_alias=True, exclude_none=True)
    return row is not None and bool(row.auth | of_part(unsealed(services, row), "") == given)


async def set_state(services: Services, target: Target, state: State, reason: str | None) -> None:
    """Notes how a connection is doing and tells the pages; nothing is deleted."""
    async with services.change() as session:
        row = await session.get(Connection, target.id)
        if row is None:
            return
        row.state, row.state_reason = state, reason
    services.events.publish("connection", {"name": target.name, "state": state})
