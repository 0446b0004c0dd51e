"""Calls: sent through a connection, streamed, repeated, checked. All of them are flights."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import urlencode

import msgspec
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator
from sqlalchemy import select, update

from quart_app import connections, history
from quart_app.errors import AppError, CallFailed
from quart_app.flight import Flight
from quart_app.forms import validate
from quart_app.models import Call
from quart_app.outbound import headers as header_rules
from quart_app.outbound import urls
from quart_app.outbound.client import Outgoing
from quart_app.outbound.redact import MARK
from quart_app.outbound.target import Target
from quart_app.services import Services

USER_AGENT = b"Switchboard/0.1"
BODIES = ("json", "text", "form", "base64")
MISSING: Any = msgspec.UNSET


def scalar(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError("must be text or a number")
    return value


Scalar = Annotated[str | int | float, BeforeValidator(scalar)]
Pairs = list[tuple[str, Scalar]]


def sendable(header: tuple[str, Scalar]) -> tuple[str, Scalar]:
    name, value = header
    header_rules.header_name(name)
    header_rules.header_value(str(value))
    return header


class CallForm(BaseModel):
    """A request to send. One of `json`, `text`, `form` and `base64` is the body; none means no body."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)
    connection: str
    method: Annotated[str, Field(pattern=r"^[A-Za-z]{1,32}$")] = "GET"
    path: Annotated[str, Field(max_length=8192)] = "/"
    query: Pairs = []
    headers: Annotated[list[Annotated[tuple[str, Scalar], AfterValidator(sendable)]], Field(max_length=100)] = []
    json_: Any = Field(alias="json", default_factory=lambda: MISSING)
    text: str | None = None
    form: Pairs | None = None
    base64: str | None = None
    total_seconds: Annotated[float, Field(gt=0, le=86400, strict=True)] | None = None
    idempotency_key: Annotated[str, Field(pattern=r"^[\x21-\x7e]{1,255}$")] | None = None

    @field_validator("query", "headers", "form", mode="before")
    @classmethod
    def pairs_of_object(cls, given: Any) -> Any:
        return list(given.items()) if isinstance(given, dict) else given

    @field_validator("method")
    @classmethod
    def upper(cls, method: str) -> str:
        if method.upper() == "CONNECT":
            raise ValueError("CONNECT cannot be sent through a connection")
        return method.upper()

    @field_validator("base64")
    @classmethod
    def check_base64(cls, text: str | None) -> str | None:
        try:
            base64.b64decode(text or "", validate=True)
        except ValueError:
            raise ValueError("is not Base64") from None
        return text

    @model_validator(mode="after")
    def check_body(self) -> "CallForm":
        if len(self.bodies()) > 1:
            raise ValueError("give one body: json, text, form or base64")
        return self

    def bodies(self) -> list[str]:
        given = {"json": self.json_ is not MISSING, "text": self.text is not None}
        given |= {"form": self.form is not None, "base64": self.base64 is not None}
        return [name for name, there in given.items() if there]

    def content(self) -> tuple[bytes, str] | None:
        """The body's bytes and the media type it has by itself."""
        if self.json_ is not MISSING:
            return msgspec.json.encode(self.json_), "application/json"
        if self.text is not None:
            return self.text.encode(), "text/plain; charset=utf-8"
        if self.form is not None:
            return urlencode(self.form).encode(), "application/x-www-form-urlencoded"
        if self.base64 is not None:
            return base64.b64decode(self.base64), "application/octet-stream"
        return None


class CallChange(CallForm):
    """Parts of a recorded call that are to be other; the rest stays as it was."""

    connection: str = ""


@dataclass(frozen=True)
class Sent:
    """A call that ended: its flight, the answer's body as collected, and whether the record is on disk."""

    flight: Flight
    answer: bytes
    durable: bool

    @property
    def call(self) -> dict[str, Any]:
        """The row of `calls`."""
        return self.flight.record.call

    def view(self) -> dict[str, Any]:
        """The call in the form of the API, its answer whole even where the record holds less of it."""
        shown = history.view_record(self.flight.record)
        body = shown["response"] and shown["response"]["body"]
        if body and self.call["response_truncated"] and self.call["state"] == "done":
            content, whole = self.flight.clean(self.answer)
            told = {name: body[name] for name in ("size", "media_type", "sha256")} | {"truncated": not whole}
            shown["response"]["body"] = told | history.view_content(content, told["media_type"] or "", as_json=whole)
        if not self.durable:
            shown["recorded"] = False
        return shown


async def send(
    services: Services,
    form: CallForm,
    *,
    origin: str,
    actor: str,
    replay_of: str | None = None,
    patient: bool = False,
    insists: bool = False,
) -> Sent:
    """Sends a call and collects its answer. A call that fails is returned as well: it is a record.

    `patient` lets people go first, `insists` tries also while the breaker is open. Raises NotFound for the connection,
    Invalid for the path.
    """
    target = await connections.load(services, form.connection)
    flight = Flight(
        services,
        target,
        outgoing_of(form, target),
        origin=origin,
        actor=actor,
        total_seconds=form.total_seconds or target.policy.total_seconds,
        replay_of=replay_of,
        patient=patient,
        insists=insists,
    )
    durable = True
    answer = bytearray()
    try:
        await flight.depart()
        durable = await collect(flight, answer, services.settings.answer_bytes)
    except CallFailed:
        pass
    except BaseException:
        flight.abandon()
        raise
    return Sent(flight, bytes(answer), durable)


async def collect(flight: Flight, answer: bytearray, cap: int) -> bool:
    """Reads the answer to its end, into `answer`; over `cap` bytes the call fails as `too_large`."""
    piece = flight.take_rest()
    if piece is not None:
        answer += piece
    while piece is None and len(answer) <= cap and (more := await flight.read()):
        answer += more
    if len(answer) > cap:
        raise await flight.fail("too_large", f"The answer is larger than {cap} bytes; stream it through /proxy.")
    return await flight.land()


def outgoing_of(form: CallForm, target: Target) -> Outgoing:
    path, _, inline = form.path.partition("?")
    query = "&".join(filter(None, (inline, urlencode(form.query))))
    given = [(name.lower().encode(), str(value).encode()) for name, value in form.headers]
    headers = sent_headers(given, target)
    content = form.content()
    present = {name for name, _ in headers}
    if content and b"content-type" not in present:
        headers.append((b"content-type", content[1].encode()))
    for name, value in (
        (b"accept", b"*/*"),
        (b"accept-encoding", b"gzip, deflate"),
        (b"user-agent", USER_AGENT),
    ):
        if name not in present:
            headers.append((name, value))
    if form.idempotency_key:
        headers.append((b"idempotency-key", form.idempotency_key.encode()))
    url = urls.join(target.base, path, query)
    return Outgoing(form.method, url, headers, content[0] if content else None)


def sent_headers(given: header_rules.Headers, target: Target) -> header_rules.Headers:
    """What goes on of the caller's headers, and the connection's own, which win."""
    return header_rules.forwarded(given, target.injected) + target.headers


def stream(services: Services, target: Target, outgoing: Outgoing, *, actor: str) -> Flight:
    """A call whose answer is passed on as it comes: the caller of `/proxy` flies it, without a total time."""
    return Flight(services, target, outgoing, origin="proxy", actor=actor)


async def replay(services: Services, call_id: str, changes: dict[str, Any], *, origin: str, actor: str) -> Sent:
    """Sends a recorded call again, with changes: any part of a CallForm, which replaces the recorded part.

    Raises NotFound, Invalid for the changes, and AppError 409 where the record lacks a part.
    """
    async with services.db.session() as session:
        row = await history.find(session, call_id)
        given = dict(changes)
        if not set(BODIES) & set(changes) and row.request_size:
            if not row.request_exact:
                raise AppError(409, "body_not_kept", "The request's body is not on record whole; give one.")
            content, _ = await history.body(session, call_id, "request")
            given["base64"] = base64.b64encode(content).decode()
    target = await connections.load(services, str(given.get("connection", row.connection)))
    form: CallForm = validate(CallForm, recorded_form(row, target, given))
    return await send(services, form, origin=origin, actor=actor, replay_of=call_id)


def recorded_form(row: Call, target: Target, changes: dict[str, Any]) -> dict[str, Any]:
    """The form that a recorded call came from; what was redacted is left out or refused."""
    url = row.url
    if target.credential.query:
        url = url.replace(f"{target.credential.query.partition('=')[0]}={MARK}", "").rstrip("?&")
    base, rest = str(target.base), url.removeprefix(str(target.base))
    if "query" in changes:
        rest = rest.partition("?")[0]
    if "path" not in changes and (not url.startswith(base) or rest[:1] not in ("", "/", "?") or MARK in rest):
        raise AppError(409, "path_not_kept", "The recorded URL has a secret in it or another base URL; give a path.")
    injected = target.injected
    headers = [
        (name, value)
        for name, value in row.request_headers
        if MARK not in value and header_rules.normal(name.encode()) not in (*injected, b"idempotency-key")
    ]
    form = {"connection": target.name, "method": row.method, "path": rest, "headers": headers}
    return form | changes


async def check(services: Services, name: str, *, origin: str, actor: str) -> tuple[bool, str, Sent]:
    """One GET of the base URL that tells whether the connection works, and a sentence on what it found."""
    target = await connections.load(services, name)
    if target.state in ("needs_sign_in", "config_error"):
        await connections.set_state(services, target, "ready", None)
    sent = await send(services, CallForm(connection=name, path=""), origin=origin, actor=actor, insists=True)
    ok, detail = verdict(sent.call)
    return ok, detail, sent


def verdict(call: dict[str, Any]) -> tuple[bool, str]:
    status = call["status"]
    if call["state"] != "done":
        return False, call["detail"] or "The call did not end."
    if status in (401, 403, 407):
        return False, f"The API is there and refused the credential ({status}): check auth."
    if status >= 500:
        return False, f"The API is there and has trouble of its own ({status})."
    if status >= 400:
        return (
            True,
            f"The API is there and did not refuse the credential; its base URL itself answers {status}.",
        )
    return True, f"The API answers ({status})."


async def settle_interrupted(services: Services, gone: Sequence[str]) -> int:
    """Marks what stopped processes left `sending`: whether it was sent is unknown, and it is never sent again."""
    async with services.db.begin() as session:
        outcome: Any = await session.execute(
            update(Call)
            .where(Call.state == "sending", Call.owner.in_(gone))
            .values(state="interrupted", detail="The app stopped; whether it was sent is unknown.")
        )
        return int(outcome.rowcount)


async def owners_sending(services: Services) -> list[str]:
    async with services.db.session() as session:
        query = select(Call.owner).where(Call.state == "sending").distinct()
        return list(await session.scalars(query))
