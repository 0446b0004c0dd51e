"""Tokens that are wanted no more are taken back at the provider, where it can do that (RFC 7009); best effort."""

from multidict import CIMultiDict
from yarl import URL

from quart_app.ledger import recording
from quart_app.outbound.auth import OAuth2
from quart_app.outbound.client import AttemptFailed
from quart_app.outbound.oauth import GrantFailed
from quart_app.outbound.oauth.requests import revocation
from quart_app.outbound.target import Target
from quart_app.services import Services
from quart_app.tokens.discovery import endpoints

REVOKE_SECONDS = 5.0


async def revoke(services: Services, target: Target, access_token: str | None, refresh_token: str | None) -> str:
    """Empty when the provider took it back, else a sentence on why it did not.

    The refresh token, with which the whole grant ends (§2.1), else the access token.
    """
    token, hint = (refresh_token, "refresh_token") if refresh_token else (access_token, "access_token")
    assert isinstance(target.auth, OAuth2)
    if not token:
        return "There was no token."
    try:
        where = await endpoints(services, target)
        request = revocation(target.auth, where, token, hint=hint, now=services.clock())
        with recording.exchange(
            services, target, request.url, headers=request.headers, secrets=request.secrets
        ) as entry:
            entry.sends(request.body)
            answer = await services.client.request(
                target,
                "POST",
                URL(request.url, encoded=True),
                CIMultiDict(request.headers),
                request.body,
                entry.timings,
                total_seconds=REVOKE_SECONDS,
            )
            entry.record.call["status"] = answer.status
            answer.close()
    except (AttemptFailed, GrantFailed) as error:
        return error.detail
    return "" if 200 <= answer.status <= 299 else f"The provider answered {answer.status}."
