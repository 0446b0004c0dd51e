"""Where a connection's provider takes its requests: as filled in, or from its metadata, which is kept for an hour.

A document that is older is still used while the provider cannot be reached, so that nothing but a first sign-in hangs
on it. What is kept is this process's own and is not in the caches, which every change of a connection empties.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import msgspec
from multidict import CIMultiDict
from yarl import URL

from quart_app.ledger import recording
from quart_app.outbound.auth import OAuth2
from quart_app.outbound.client import Answer, AttemptFailed, Client
from quart_app.outbound.oauth.endpoints import Endpoints, chosen, metadata_urls, of_form, read_metadata
from quart_app.outbound.oauth.refusals import Failure, GrantFailed
from quart_app.outbound.retry import retry_after_seconds
from quart_app.outbound.target import Target
from quart_app.services import Services
from quart_app.tokens.verdicts import NEVER_SENT

DOCUMENT_BYTES = 256 * 1024
DOCUMENT_SECONDS = 10.0
FRESH_SECONDS = 3600.0
PAUSE_SECONDS = 60.0
"""Where there is something else to go by, a provider is not asked more often than this."""

Place = tuple[str, str]
"""The way out and the URL: over another connection's TLS or proxy the same URL may be another server."""


@dataclass(slots=True)
class Kept:
    """What was read at an instant, and the try that is on its way. Instants are seconds since the epoch."""

    value: Any = None
    read_at: float = 0.0
    tried_at: float = 0.0
    failed: GrantFailed | None = None
    task: asyncio.Task[Any] | None = None


MEMORY: WeakKeyDictionary[Client, dict[Place, Kept]] = WeakKeyDictionary()


async def endpoints(services: Services, target: Target) -> Endpoints:
    """The endpoints that the connection's grant needs; what a person filled in goes before what was discovered.

    Without an issuer nothing is asked, and a form that has enough is enough where its issuer gives no metadata.
    Raises GrantFailed.
    """
    auth = target.auth
    assert isinstance(auth, OAuth2)
    form = of_form(auth)
    issuer = auth.issuer
    if issuer is None:
        assert form is not None  # the form asks for one of the two
        return form
    is_enough = form is not None and (form.authorize_url is not None or auth.grant != "authorization_code")
    try:
        read = await remembered(services, target, issuer, lambda: metadata(services, target, issuer), spare=is_enough)
    except GrantFailed:
        if form is None or not is_enough:
            raise
        return form
    found: Endpoints = read
    return chosen(auth, found)


async def jwks(services: Services, target: Target, endpoints: Endpoints, *, fresh: bool = False) -> dict[str, Any]:
    """The keys that a provider signs ID tokens with (RFC 7517 §5).

    `fresh` is for a token of a key that is not among them: asks anew, at most once a minute. Raises GrantFailed.
    """
    url = endpoints.jwks_uri
    if url is None:
        raise GrantFailed("The provider does not say where its keys are.", failure="odd_answer")
    found: dict[str, Any] = await remembered(
        services, target, url, lambda: key_set(services, target, url), spare=False, fresh=fresh
    )
    return found


async def remembered(
    services: Services,
    target: Target,
    url: str,
    work: Callable[[], Awaitable[Any]],
    *,
    spare: bool,
    fresh: bool = False,
) -> Any:
    """The outcome of `work` from memory, else anew, by one task for all who ask at once. Raises GrantFailed.

    `spare` says that the caller has something else to go by.
    """
    kept = MEMORY.setdefault(services.client, {}).setdefault((target.way.pool, url), Kept())
    now = services.clock()
    if kept.value is not None and not fresh and 0 <= now - kept.read_at < FRESH_SECONDS:
        return kept.value
    if kept.task is None and 0 <= now - kept.tried_at < PAUSE_SECONDS and (kept.value is not None or spare):
        return given(kept)
    if kept.task is None:
        kept.task = services.spawn(read_again(services, kept, work), f"discover {target.name}")
    await asyncio.shield(kept.task)
    return given(kept)


async def read_again(services: Services, kept: Kept, work: Callable[[], Awaitable[Any]]) -> None:
    """One try, whose outcome is in `kept`. A verdict on the metadata ends what was known before; silence does not."""
    kept.tried_at = services.clock()
    try:
        kept.value, kept.failed = await work(), None
        kept.read_at = services.clock()
    except GrantFailed as error:
        kept.failed = error
        if error.state is not None:
            kept.value = None
    finally:
        kept.task = None


def given(kept: Kept) -> Any:
    if kept.value is None and kept.failed is not None:
        failed = kept.failed
        raise GrantFailed(
            failed.detail, failure=failed.failure, code=failed.code, state=failed.state, retry_after=failed.retry_after
        )
    return kept.value


async def metadata(services: Services, target: Target, issuer: str) -> Endpoints:
    """What an issuer says of itself, at the first of the two places that has a document. Raises GrantFailed."""
    for url in metadata_urls(issuer):
        document = await document_at(services, target, url)
        if document is not None:
            return read_metadata(issuer, document)
    raise GrantFailed(
        "The issuer has no metadata (RFC 8414, OpenID); check the issuer, or enter the endpoints themselves.",
        failure="wrong_client",
        state="config_error",
    )


async def key_set(services: Services, target: Target, url: str) -> dict[str, Any]:
    document = await document_at(services, target, url)
    if document is None or not isinstance(document.get("keys"), list):
        raise GrantFailed("The provider's keys cannot be read.", failure="odd_answer")
    return document


async def document_at(services: Services, target: Target, url: str) -> dict[str, Any] | None:
    """The JSON object there, None where there is none; no redirect is followed. Raises GrantFailed."""
    headers = CIMultiDict({"Accept": "application/json"})
    try:
        with recording.exchange(services, target, url, method="GET", headers=headers.items()) as entry:
            answer = await services.client.request(
                target,
                "GET",
                URL(url, encoded=True),
                headers,
                None,
                entry.timings,
                total_seconds=DOCUMENT_SECONDS,
            )
            entry.record.call["status"] = answer.status
            try:
                content = await beginning(answer)
            finally:
                answer.close()
    except AttemptFailed as error:
        failure: Failure = "network" if error.reason in NEVER_SENT else "provider_down"
        raise GrantFailed(f"The provider's metadata cannot be read: {error.detail}", failure=failure) from None
    if answer.status >= 500 or answer.status in (408, 429):
        raise down(answer, services.clock())
    return object_in(content) if answer.status == 200 and len(content) <= DOCUMENT_BYTES else None


async def beginning(answer: Answer) -> bytes:
    """The body, or a little more of it than a document may have. Raises AttemptFailed."""
    pieces = bytearray()
    while len(pieces) <= DOCUMENT_BYTES and (piece := await answer.read()):
        pieces += piece
    return bytes(pieces)


def down(answer: Answer, now: float) -> GrantFailed:
    told = next((value for name, value in answer.headers if name.lower() == b"retry-after"), None)
    return GrantFailed(
        f"The provider cannot give its metadata now ({answer.status}).",
        failure="provider_down",
        retry_after=retry_after_seconds(told, now) if told is not None else None,
    )


def object_in(content: bytes) -> dict[str, Any] | None:
    """Many hosts answer any path with a page, which is no document."""
    try:
        document = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return document if isinstance(document, dict) else None
