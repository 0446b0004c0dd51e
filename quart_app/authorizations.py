"""Signing in at a provider by authorization code (RFC 6749 §4.1): begun here, finished by what the provider sends back.

What begins in one browser ends in it, once, within ten minutes: a row holds the hashes of the state, of a cookie made
for it and of the nonce, and the sealed PKCE verifier (RFC 9700 §2.1 and §4.7). Each connection has a redirect URI of
its own, so that no provider's answer passes for another's (§4.4).
"""

import asyncio
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from sqlalchemy import delete, update
from sqlalchemy.exc import IntegrityError

from quart_app import audit, connections, tokens
from quart_app.errors import AppError, CallFailed, Fault, Invalid, NotFound
from quart_app.models import Authorization, Connection
from quart_app.outbound.auth import OAuth2
from quart_app.outbound.client import AttemptFailed
from quart_app.outbound.oauth import GrantFailed, Issued, id_tokens
from quart_app.outbound.oauth.authorization import Callback, authorize_url, check_issuer, new_secret, wants_id_token
from quart_app.outbound.oauth.endpoints import Endpoints
from quart_app.outbound.oauth.requests import TokenRequest, redemption
from quart_app.outbound.target import Target
from quart_app.services import Services
from quart_app.tokens import discovery
from quart_app.vault import digest

LIFE_SECONDS = 600.0
TOLD_SECONDS = 3600.0
"""For so long after its end a sign-in is told to have ended; then it is not known any more."""

NO_ID_TOKEN = "The answer lacks the ID token that the scope openid asks for."
FAILURES = {
    "signed_out": (400, "code_refused", "The provider refused the code."),
    "wrong_client": (400, "client_refused", "The provider refused this connection's client."),
    "odd_answer": (502, "odd_answer", "The provider's answer cannot be used."),
    "clock": (502, "clock_wrong", "The times do not fit."),
}
PROVIDER_FAILED = (502, "provider_failed", "The provider did not give a token.")
"""What an exchange that failed is to a person: a code that is refused, or trouble at the provider."""


@dataclass(frozen=True, slots=True, repr=False)
class Begun:
    """`browser` is the secret that the browser must bring back as a cookie; `expires_at` in seconds since the epoch."""

    authorize_url: str
    redirect_uri: str
    expires_at: float
    state: str
    browser: str


async def begin(services: Services, name: str, *, actor: str) -> Begun:
    """Where a browser must go to sign in for this connection.

    Raises NotFound, AppError 409 `no_authorization` and `no_authorize_url`, 502 `provider_failed`.
    """
    target = await connections.load(services, name)
    auth = code_grant(target)
    endpoint, issuer = await authorize_endpoint(services, target)
    state, browser, nonce, verifier = (new_secret() for _ in range(4))
    redirect_uri = connections.redirect_uri(services.settings, name)
    now = services.clock()
    row = Authorization(
        state_hash=digest(state),
        browser_hash=digest(browser),
        connection_id=target.id,
        issuer=issuer,
        redirect_uri=redirect_uri,
        nonce_hash=digest(nonce),
        sealed_verifier=services.vault.seal(verifier, **place_of(digest(state))),
        actor=actor,
        created_at=now,
        expires_at=now + LIFE_SECONDS,
    )
    try:
        async with services.db.begin() as session:
            await audit.note(session, services.clock, actor, "authorization_begun", name)
            session.add(row)
    except IntegrityError:
        raise NotFound("unknown_connection", "There is no connection of this name any more.") from None
    url = authorize_url(auth, endpoint, redirect_uri=redirect_uri, state=state, nonce=nonce, verifier=verifier)
    return Begun(url, redirect_uri, row.expires_at, state, browser)


def code_grant(target: Target) -> OAuth2:
    auth = target.auth
    if not isinstance(auth, OAuth2) or auth.grant != "authorization_code":
        detail = "Nobody signs in for this connection: its auth is not oauth2 with the grant authorization_code."
        raise AppError(409, "no_authorization", detail)
    return auth


async def authorize_endpoint(services: Services, target: Target) -> tuple[str, str | None]:
    """The endpoint that a browser is sent to, and the issuer that will answer, if it is known."""
    try:
        found = await discovery.endpoints(services, target)
    except GrantFailed as error:
        if error.state is None:
            raise failed(error) from None
        raise no_authorize_url(error.detail) from None
    if found.authorize_url is None:
        raise no_authorize_url("The issuer's metadata names no authorization_endpoint.")
    return found.authorize_url, found.issuer


def no_authorize_url(why: str) -> AppError:
    detail = f"It is not known where to sign in: give authorize_url, or another issuer. {why}"
    return AppError(409, "no_authorize_url", detail)


def place_of(state_hash: str) -> dict[str, str]:
    return {"table": "authorizations", "column": "sealed_verifier", "row": state_hash}


async def finish(services: Services, name: str, callback: Callback, browser: str) -> None:
    """Exchanges the code that a browser came back with; `browser` is the secret in its cookie, or empty.

    In a task of its own: a browser that leaves cannot part the code that was used up from its token. Raises Invalid
    and AppError 400 for what is not this sign-in's good answer, 409 where another one, or a change of the connection,
    came first, 502 for trouble at the provider.
    """
    work = answered(services, name, callback, browser)
    await asyncio.shield(services.spawn(work, f"authorization {name}"))


async def answered(services: Services, name: str, callback: Callback, browser: str) -> None:
    row = await waiting(services, name, callback.state, browser)
    await use_up(services, row)
    check_issuer(callback.issuer, row.issuer, required=False)
    if callback.error:
        raise declined(callback)
    target = await connections.load(services, name)
    try:
        endpoints = await discovery.endpoints(services, target)
        check_issuer(callback.issuer, endpoints.issuer, required=endpoints.iss_required)
        check = await id_token_check(services, target, endpoints, row.nonce_hash)
        request = code_request(services, target, endpoints, row, callback.code)
        await check_not_void(services, row)
        await tokens.redeem(services, target, request, actor=row.actor, check=check)
    except (GrantFailed, AttemptFailed) as error:
        raise failed(error) from None
    except CallFailed as error:
        raise changed_meanwhile(error.detail) from None


async def waiting(services: Services, name: str, state: str, browser: str) -> Authorization:
    """The sign-in that waits for this answer, here and in this browser. Raises Invalid, and leaves it as it is."""
    async with services.db.session() as session:
        row = await session.get(Authorization, digest(state))
        connection = await session.get(Connection, row.connection_id) if row else None
    if row is None or connection is None:
        raise Invalid("unknown_state", "This sign-in is not known here: begin again from the connection.")
    if connection.name != name:
        raise Invalid("other_connection", "This answer is for the sign-in of another connection.")
    if row.used_at is not None:
        raise used()
    if not hmac.compare_digest(row.browser_hash, digest(browser)):
        raise Invalid("other_browser", "This sign-in was begun in another browser: finish it there, or anew.")
    if row.expires_at <= services.clock():
        raise Invalid("expired_state", "This sign-in took longer than ten minutes: begin again.")
    return row


async def use_up(services: Services, row: Authorization) -> None:
    """From now on it is good no more, however many ask at once. Raises Invalid for all but one of them."""
    now = services.clock()
    query = (
        update(Authorization)
        .where(Authorization.state_hash == row.state_hash, Authorization.used_at.is_(None))
        .where(Authorization.expires_at > now)
        .values(used_at=now)
        .returning(Authorization.state_hash)
    )
    async with services.db.begin() as session:
        if (await session.execute(query)).first() is None:
            raise used()


def used() -> Invalid:
    return Invalid("used_state", "This sign-in was answered before: the connection shows what came of it.")


def code_request(
    services: Services, target: Target, endpoints: Endpoints, row: Authorization, code: str
) -> TokenRequest:
    verifier = services.vault.unseal(row.sealed_verifier, **place_of(row.state_hash))
    return redemption(
        code_grant(target),
        endpoints,
        code=code,
        verifier=verifier,
        redirect_uri=row.redirect_uri,
        now=services.clock(),
    )


async def check_not_void(services: Services, row: Authorization) -> None:
    """Right before the code goes out: it must not go to the provider of auth that was changed meanwhile."""
    async with services.db.session() as session:
        if await session.get(Authorization, row.state_hash) is None:
            raise changed_meanwhile("The connection was given other auth meanwhile: begin again.")


def changed_meanwhile(detail: str) -> AppError:
    return AppError(409, "changed_meanwhile", detail)


def declined(callback: Callback) -> AppError:
    """What the provider says instead of a code (RFC 6749 §4.1.2.1); its own words stand apart from ours."""
    said: list[Fault] = [{"pointer": "/error", "detail": callback.said}]
    if callback.error == "access_denied":
        return AppError(400, "access_denied", "The sign-in was declined, and nothing was changed.", said)
    return AppError(400, "provider_refused", "The provider refused the sign-in, and nothing was changed.", said)


async def id_token_check(
    services: Services, target: Target, endpoints: Endpoints, nonce_hash: str
) -> Callable[[Issued], Issued]:
    """What an answer must stand before anything is kept. The keys are asked for first: a code may not wait for long."""
    auth = code_grant(target)
    if not wants_id_token(auth):
        return lambda issued: issued
    keys = None
    if endpoints.jwks_uri is not None:
        keys = await discovery.jwks(services, target, endpoints, fresh=True)
    expected = id_tokens.Expected(issuer=endpoints.issuer, client_id=auth.client_id, nonce_hash=nonce_hash)
    return partial(check_id_token, services, expected, keys)


def check_id_token(
    services: Services, expected: id_tokens.Expected, keys: Mapping[str, Any] | None, issued: Issued
) -> Issued:
    """Raises GrantFailed. One that is missing is an oddity of the answer and no more, since nothing is read off it."""
    if issued.id_token is None:
        return replace(issued, oddities=(*issued.oddities, NO_ID_TOKEN))
    id_tokens.check(issued.id_token, expected, keys, now=services.clock())
    return issued


def failed(error: GrantFailed | AttemptFailed) -> AppError:
    """What a person learns of an exchange that failed."""
    failure = error.failure if isinstance(error, GrantFailed) else ""
    status, code, short = FAILURES.get(failure, PROVIDER_FAILED)
    return AppError(status, code, f"{short} {error.detail}")


async def prune(services: Services) -> int:
    """Takes away what ended long ago, and says how many that were."""
    ended = Authorization.expires_at < services.clock() - TOLD_SECONDS
    async with services.db.begin() as session:
        outcome: Any = await session.execute(delete(Authorization).where(ended))
        return int(outcome.rowcount)
