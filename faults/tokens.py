"""An upstream with a token endpoint of its own, for faults that have to do with who signs in."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

from faults.fakes import Asked, Fake, Peer, answer

AT = "/token"


def auth_of(upstream: Fake) -> dict[str, Any]:
    """The auth of a connection to it."""
    at = f"{upstream.url}{AT}"
    auth = {"scheme": "oauth2", "grant": "client_credentials", "token_url": at}
    return auth | {"client_id": "faults", "client_secret": "known to both"}


def issuing(
    api: Callable[[Asked, Peer], Awaitable[None]],
    *,
    expires_in: int = 3600,
    before: Callable[[], Awaitable[None]] | None = None,
) -> Callable[[Asked, Peer], Awaitable[None]]:
    """Answers at the token endpoint with a new token, after `before`; all else is the API's."""

    async def reply(asked: Asked, peer: Peer) -> None:
        if asked.path != AT:
            await api(asked, peer)
            return
        if before is not None:
            await before()
        token = {"access_token": f"token{asked.number}", "token_type": "bearer", "expires_in": expires_in}
        await peer.send(answer(json.dumps(token).encode(), 200, "Content-Type: application/json"))

    return reply


async def greet_the_signed_in(asked: Asked, peer: Peer) -> None:
    """200 with a token of ours, 401 without."""
    good = asked.headers.get("authorization", "").startswith("Bearer token")
    await peer.send(answer(b"hi", 200 if good else 401))
