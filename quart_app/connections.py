"""Connections: the external APIs, how to sign in to each and how to treat it."""

import re
from typing import Annotated, Any, Literal

import msgspec
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from uuid_utils import uuid7

from quart_app.errors import AppError, NotFound
from quart_app.instants import instant
from quart_app.models import Connection, Token
from quart_app.outbound.auth import Auth, NoAuth, OAuth2, Scheme, guarded
from quart_app.outbound.egress import denied_by
from quart_app.outbound.headers import HOP_BY_HOP, header_name, header_value, normal
from quart_app.outbound.redact import MARK
from quart_app.outbound.target import Policy, Target
from quart_app.outbound.urls import parse_base
from quart_app.services import Services

NAME_PATTERN = r"^[a-z0-9][a-z0-9_-]{0,62}$"
GRANT_FIELDS = ("grant", "token_url", "client_id", "refresh_token")
READ_ONLY = ("id", "state_reason", "created_at", "updated_at")
State = Literal["ready", "needs_sign_in", "config_error", "paused"]


def base_url(text: str) -> str:
    rule = egress_rule(text, allow_private=True)
    if rule:
        raise PydanticCustomError("egress_denied", f"egress rule {rule}: this address may not be reached")
    return text


def egress_rule(url: str, *, allow_private: bool) -> str | None:
    """The egress rule that a base URL breaks as it stands; what its name resolves to shows when it is dialled."""
    host = parse_base(url).host.strip("[]")
    try:
        return denied_by(host, allow_private=allow_private)
    except ValueError:
        local = host == "localhost" or host.endswith(".localhost")
        return "loopback" if local and not allow_private else None


def own_header(name: str) -> str:
    lowered = normal(header_name(name).encode())
    if lowered in HOP_BY_HOP or lowered in (b"host", b"content-length", b"authorization", b"cookie"):
        raise PydanticCustomError("invalid_header_name", "is set by Switchboard or by auth")
    return name


OwnName = Annotated[str, AfterValidator(own_header)]


class ConnectionForm(BaseModel):
    """A connection as it is given; what is read-only in an answer may be sent back and is ignored."""

    model_config = ConfigDict(extra="forbid")
    name: Annotated[str, Field(pattern=NAME_PATTERN)]
    title: Annotated[str, Field(max_length=200)] = ""
    base_url: Annotated[str, Field(max_length=2048), AfterValidator(base_url)]
    tags: Annotated[list[Annotated[str, Field(max_length=64)]], Field(max_length=32)] = []
    metadata: dict[str, Any] = {}
    auth: Auth = NoAuth()
    headers: Annotated[dict[OwnName, Annotated[str, AfterValidator(header_value)]], Field(max_length=50)] = {}
    policy: Annotated[Policy, Field(validate_default=True)] = Policy()
    state: State | None = None

    @model_validator(mode="before")
    @classmethod
    def ignore_read_only(cls, given: Any) -> Any:
        return {k: v for k, v in given.items() if k not in READ_ONLY} if isinstance(given, dict) else given

    @field_validator("policy")
    @classmethod
    def check_private(cls, policy: Policy, info: ValidationInfo) -> Policy:
        """Beside the policy's own faults and the others, so that a person learns of all at once."""
        given = info.data.get("base_url")
        rule = given and egress_rule(given, allow_private=policy.allow_private)
        if rule:
            advice = f"egress rule {rule}: the base URL is inside your network; set this to true to allow it"
            raise PydanticCustomError("egress_denied", "{advice}", {"advice": advice, "within": "/allow_private"})
        return policy


class ConnectionChange(BaseModel):
    """Any part of a connection; `auth` of the same scheme may leave its secrets out to keep them."""

    model_config = ConfigDict(extra="forbid")
    title: str | None = None
    base_url: str | None = None
    tags: list[str] | None = None
    metadata: dict[str, Any] | None = None
    auth: dict[str, Any] | None = None
    headers: dict[str, str] | None = None
    policy: dict[str, Any] | None = None
    state: Literal["ready", "paused"] | None = None


async def create(services: Services, form: ConnectionForm) -> Connection:
    """Adds a connection. Raises AppError 409 `name_taken`."""
    state = "paused" if form.state == "paused" else "ready"
    row = Connection(id=str(uuid7()), name=form.name, state=state, created_at=services.clock())
    fill(services, row, form)
    try:
        async with services.change() as session:
            session.add(row)
            await session.flush()
            if isinstance(form.auth, OAuth2):
                session.add(first_token(services, row.id, form.auth))
    except IntegrityError:
        raise AppError(409, "name_taken", f"There is a connection named {form.name} already.") from None
    return row


def fill(services: Services, row: Connection, form: ConnectionForm) -> None:
    auth = form.auth.model_dump(by_alias=True, exclude_none=True)
    sealed = {name: auth.pop(name) for name in form.auth.SECRETS if name in auth}
    row.title, row.base_url, row.tags = form.title or form.name, form.base_url, list(form.tags)
    row.metadata_json, row.headers = form.metadata, form.headers
    row.policy = form.policy.model_dump()
    row.tls, row.proxy = {}, {}
    row.auth = auth
    row.sealed_secrets = services.vault.seal(
        msgspec.json.encode(sealed).decode(), table="connections", column="sealed_secrets", row=row.id
    )
    row.updated_at = services.clock()


def first_token(services: Services, connection_id: str, auth: OAuth2, generation: int = 0) -> Token:
    """No access token yet, and the refresh token a person gave, if the grant has one."""
    place = {"table": "tokens", "column": "sealed_refresh_token", "row": connection_id}
    sealed = services.vault.seal(auth.refresh_token, **place) if auth.refresh_token else None
    return Token(connection_id=connection_id, generation=generation, sealed_refresh_token=sealed)


async def update(services: Services, name: str, change: dict[str, Any]) -> Connection:
    """Changes parts of a connection; new auth starts with no access token and the state `ready`.

    Raises NotFound, and pydantic's ValidationError for the connection that the change would make.
    """
    async with services.change() as session:
        row = await find(session, name)
        before = form_of(services, row)
        form = ConnectionForm.model_validate(merged(before, change, row.name))
        fill(services, row, form)
        auth = ConnectionForm.model_validate(before).auth
        if form.auth != auth:
            row.state, row.state_reason = "ready", None
            await renew_token(services, session, row.id, auth, form.auth)
        if change.get("state"):
            row.state, row.state_reason = change["state"], None
    return row


async def renew_token(services: Services, session: AsyncSession, id_: str, before: Scheme, after: Scheme) -> None:
    """What new auth leaves of the tokens: the rotated refresh token, unless it is another grant or one is given anew.

    The one given at first is spent by then, and to send it again may end the whole family (RFC 9700 §4.14.2).
    """
    token = await session.get(Token, id_)
    if token is not None and isinstance(before, OAuth2) and isinstance(after, OAuth2) and same_grant(before, after):
        token.sealed_access_token = token.expires_at = token.lifetime_seconds = None
        return
    generation = token.generation + 1 if token else 0  # so a refresh of the old auth, on its way, does not fit here
    if token is not None:
        await session.delete(token)
        await session.flush()
    if isinstance(after, OAuth2):
        session.add(first_token(services, id_, after, generation))


def same_grant(before: OAuth2, after: OAuth2) -> bool:
    return all(getattr(before, name) == getattr(after, name) for name in GRANT_FIELDS)


def form_of(services: Services, row: Connection) -> dict[str, Any]:
    """The connection as its form, secrets included: for the app itself, never for an answer."""
    return {
        "name": row.name,
        "title": row.title,
        "base_url": row.base_url,
        "tags": row.tags,
        "metadata": row.metadata_json,
        "auth": row.auth | unsealed(services, row),
        "headers": row.headers,
        "policy": row.policy,
    }


def unsealed(services: Services, row: Connection) -> dict[str, str]:
    text = services.vault.unseal(row.sealed_secrets, table="connections", column="sealed_secrets", row=row.id)
    secrets: dict[str, str] = msgspec.json.decode(text)
    return secrets


def merged(before: dict[str, Any], change: dict[str, Any], name: str) -> dict[str, Any]:
    given = {key: value for key, value in change.items() if key != "state" and value is not None}
    result = before | given | {"name": name}
    if isinstance(given.get("policy"), dict):
        result["policy"] = before["policy"] | given["policy"]
    auth = given.get("auth")
    if isinstance(auth, dict):
        kept = {key: value for key, value in auth.items() if not (isinstance(value, dict) and "set" in value)}
        if auth.get("scheme", before["auth"]["scheme"]) == before["auth"]["scheme"]:
            secrets = {key: before["auth"][key] for key in SECRET_FIELDS if key in before["auth"]}
            kept = {"scheme": before["auth"]["scheme"]} | secrets | kept
        result["auth"] = kept
    return result


SECRET_FIELDS = frozenset(name for kind in Scheme.__subclasses__() for name in kind.SECRETS)


def view(services: Services, row: Connection) -> dict[str, Any]:
    """A connection in the form of the API: of its secrets only that they are set, and a keyed fingerprint."""
    secrets = unsealed(services, row)
    shown = {name: {"set": True, "fingerprint": services.vault.fingerprint(secret)} for name, secret in secrets.items()}
    return {
        "id": row.id,
        "name": row.name,
        "title": row.title,
        "base_url": row.base_url,
        "tags": row.tags,
        "metadata": row.metadata_json,
        "auth": row.auth | shown,
        "headers": row.headers,
        "policy": row.policy,
        "state": row.state,
        "state_reason": row.state_reason,
        "created_at": instant(row.created_at),
        "updated_at": instant(row.updated_at),
    }


async def delete(services: Services, name: str) -> None:
    """Removes a connection with its secrets and tokens; its calls stay on record. Raises NotFound."""
    async with services.change() as session:
        await session.delete(await find(session, name))


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
    form = ConnectionForm.model_validate(form_of(services, row))
    headers = [(name.lower().encode(), value.encode()) for name, value in form.headers.items()]
    return Target(
        id=row.id,
        name=row.name,
        base=parse_base(row.base_url),
        auth=form.auth,
        policy=form.policy,
        headers=headers,
        state=row.state,
        state_reason=row.state_reason,
        credential=guarded(form.auth.credential(), form.auth),
        injected=form.auth.injected() | {normal(name) for name, _ in headers},
        marks=tuple((name.decode(), MARK) for name in sorted(form.auth.injected())),
    )


async def set_state(services: Services, target: Target, state: State, reason: str | None) -> None:
    """Notes how a connection is doing and tells the pages; nothing is deleted."""
    async with services.change() as session:
        row = await session.get(Connection, target.id)
        if row is None:
            return
        row.state, row.state_reason = state, reason
    services.events.publish("connection", {"name": target.name, "state": state})
