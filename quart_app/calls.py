"""Calls: sent through a connection, streamed, repeated, checked. All of them are flights."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from sqlalchemy import select, update

from quart_app import connections, history, replays, tokens
from quart_app.errors import CallFailed
from quart_app.forms import validate
from quart_app.forms.calls import BODIES, CallForm
from quart_app.models import Call
from quart_app.outbound import codings, urls
from quart_app.outbound import headers as header_rules
from quart_app.outbound.client import Outgoing
from quart_app.outbound.target import Target
from quart_app.sending.flight import Flight
from quart_app.services import Services

USER_AGENT = b"Switchboard/0.1"


@dataclass(frozen=True)
class Sent:
    """A call that ended: its flight, the answer's body as collected, and whether the record is on disk.

    `clean` is the answer in clear and without the connection's secrets, and whether that is all of it, where the
    record does not hold it as it came.
    """

    flight: Flight
    answer: bytes
    durable: bool
    clean: tuple[bytes, bool] | None

    @property
    def call(self) -> dict[str, Any]:
        """The row of `calls`."""
        return self.flight.record.call

    def view(self) -> dict[str, Any]:
        """The call in the form of the API."""
        shown = history.view_record(self.flight.record)
        body = shown["response"] and shown["response"]["body"]
        if body and self.clean is not None:
            content, whole = self.clean
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
    inexact = flight.record.call["state"] == "done" and not flight.log.is_exact
    return Sent(flight, bytes(answer), durable, await flight.clean(bytes(answer)) if inexact else None)


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
    if form.multipart is not None:
        headers = [header for header in headers if header[0] != b"content-type"]
    present = {name for name, _ in headers}
    if content and b"content-type" not in present:
        headers.append((b"content-type", content[1].encode()))
    for name, value in (
        (b"accept", b"*/*"),
        (b"accept-encoding", codings.ACCEPTED),
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


def stream(
    services: Services, target: Target, outgoing: Outgoing, *, actor: str, total_seconds: float | None = None
) -> Flight:
    """A call whose answer is passed on as it comes: the caller of `/proxy` flies it. No total time unless asked."""
    return Flight(services, target, outgoing, origin="proxy", actor=actor, total_seconds=total_seconds)


async def replay(services: Services, call_id: str, changes: dict[str, Any], *, origin: str, actor: str) -> Sent:
    """Sends a recorded call again, with changes: any part of a CallForm, which replaces the recorded part.

    Through the same connection, the secrets that are live now stand where the record has marks of theirs. Raises
    NotFound, Invalid for the changes, AppError 409 where the record lacks a part, CallFailed where there is no token.
    """
    body = None
    async with services.db.session() as session:
        row = await history.find(session, call_id)
        if not set(BODIES) & set(changes) and row.request_size:
            body = (await history.body(session, call_id, "request"))[0] if row.request_body else b""
    target = await connections.load(services, str(changes.get("connection", row.connection)))
    live: dict[str, str] = {}
    if row.connection_id == target.id and replays.has_marks(row, body, target):
        credential = await tokens.ensure_valid(services, target)
        live = dict(reversed(credential.secrets))  # the first of a role is the live one
    form: CallForm = validate(CallForm, replays.recorded_form(row, body, target, live, changes))
    return await send(services, form, origin=origin, actor=actor, replay_of=call_id)


async def check(services: Services, name: str, *, origin: str, actor: str) -> tuple[bool, str, Sent]:
    """One GET that tells whether the connection works, and a sentence on what it found.

    It asks for the path in `check` of the connection's metadata, where presets put one, else for the base URL.
    """
    target = await connections.load(services, name)
    if target.state in ("needs_sign_in", "config_error"):
        await connections.set_state(services, target, "ready", None)
    path = await check_path(services, name)
    form: CallForm = validate(CallForm, {"connection": name, "path": path})
    sent = await send(services, form, origin=origin, actor=actor, insists=True)
    ok, detail = verdict(sent.call, path)
    return ok, detail, sent


async def check_path(services: Services, name: str) -> str:
    async with services.db.session() as session:
        row = await connections.find(session, name)
    path = row.metadata_json.get("check")
    return path if isinstance(path, str) else ""


def verdict(call: dict[str, Any], path: str) -> tuple[bool, str]:
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
            f"The API is there and did not refuse the credential; {path or 'its base URL itself'} answers {status}.",
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
