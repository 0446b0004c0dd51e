"""What a person granted: a connection's first tokens, and what is left of them when its auth changes."""

from sqlalchemy import delete, update
from sqlalchemy.ext.asyncio import AsyncSession

from quart_app.forms.connections import State, origin
from quart_app.models import Authorization, Token, TokenExchange
from quart_app.outbound.auth import OAuth2, Scheme
from quart_app.services import Services

GRANT_FIELDS = ("grant", "client_id", "refresh_token")
UNSIGNED = "Nobody has signed in at the provider yet: sign in, from the connection's page."


def first_token(services: Services, connection_id: str, auth: OAuth2, generation: int = 0) -> Token:
    """No access token yet, and the refresh token a person gave, if the grant has one."""
    place = {"table": "tokens", "column": "sealed_refresh_token", "row": connection_id}
    sealed = services.vault.seal(auth.refresh_token, **place) if auth.refresh_token else None
    began = services.clock()
    return Token(connection_id=connection_id, generation=generation, sealed_refresh_token=sealed, signed_in_at=began)


def state_at_rest(auth: Scheme, token: Token | None, *, paused: bool) -> tuple[State, str | None]:
    """The state, and its reason, of a connection that no call has tried yet: whether it waits for a first sign-in."""
    if paused:
        return "paused", None
    signed_in = token is not None and (token.sealed_refresh_token or token.sealed_access_token)
    signs_in = isinstance(auth, OAuth2) and auth.grant == "authorization_code"
    return ("needs_sign_in", UNSIGNED) if signs_in and not signed_in else ("ready", None)


async def renew_token(services: Services, session: AsyncSession, id_: str, before: Scheme, after: Scheme) -> None:
    """What new auth leaves of the tokens: the rotated refresh token, unless it is another grant or one is given anew.

    The one given at first is spent: sent again, it may end the family (RFC 9700 §4.14.2). Sign-ins under way are void.
    """
    await session.execute(delete(Authorization).where(Authorization.connection_id == id_))
    token = await session.get(Token, id_)
    if token is not None and isinstance(before, OAuth2) and isinstance(after, OAuth2) and same_grant(before, after):
        if token.sealed_refresh_token is not None or not after.spends_refresh_tokens:  # else it is all there is
            token.sealed_access_token = token.expires_at = token.lifetime_seconds = None
        token.failures, token.retry_at = 0, None  # what failed is what was changed
        return
    generation = token.generation + 1 if token else 0  # so a refresh of the old auth, on its way, does not fit here
    if token is not None:
        await session.delete(token)
        await session.flush()
        await supersede(session, services, id_)
    if isinstance(after, OAuth2):
        session.add(first_token(services, id_, after, generation))


async def supersede(session: AsyncSession, services: Services, id_: str, *, but: str = "") -> None:
    """Exchanges that are still open for a connection count no more: it was signed in anew, or given other auth."""
    detail = "The connection was signed in anew or given other auth."
    which = (TokenExchange.connection_id == id_, TokenExchange.id != but, TokenExchange.state.in_(("claimed", "sent")))
    query = update(TokenExchange).where(*which)
    query = query.values(state="failed", reason="superseded", detail=detail, ended_at=services.db.now())
    await session.execute(query.execution_options(synchronize_session=False))


def same_grant(before: OAuth2, after: OAuth2) -> bool:
    """Whether the tokens are still good: the same client at the same provider, whose paths may be other."""
    places = {origin(auth.token_url or auth.issuer) for auth in (before, after)}
    return len(places) == 1 and all(getattr(before, name) == getattr(after, name) for name in GRANT_FIELDS)
