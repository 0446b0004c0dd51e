"""An upstream with a token endpoint of its own, for faults that have to do with it, and one that refuses all (38)."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

from faults.fakes import Asked, Fake, Peer, answer, fake
from faults.harness import Bench, fault
from faults.load import call

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


# 38

LONE, CROWD = 6, 20


@fault(
    "38",
    "Upstream answers 401 to every token",
    invariant="one new token and one more request for a call, then the 401 is passed on; callers at once share tokens",
    figure="token requests for a call, at most",
    unit="requests",
)
async def every_token_is_refused(bench: Bench) -> None:
    async def refuse(asked: Asked, peer: Peer) -> None:
        await peer.send(answer(b"no", 401, 'WWW-Authenticate: Bearer error="invalid_token"'))

    async with fake(issuing(refuse)) as upstream, bench.serving() as switchboard:
        auth = auth_of(upstream)
        name = await switchboard.connect("api", upstream.url, auth=auth, policy={"concurrency": CROWD})
        most = 0
        for number in range(LONE):
            dials, requests = upstream.count(AT), upstream.count(f"/{number}")
            ended = await call(switchboard, f"{name}/{number}")
            dials, requests = upstream.count(AT) - dials - (number == 0), upstream.count(f"/{number}") - requests
            most = max(most, dials)
            bench.ran()
            bench.check(ended.status == 401 and not ended.ours, f"the caller has {ended.status}, ours: {ended.ours}")
            bench.check((dials, requests) == (1, 2), f"{dials} token requests and {requests} requests for a call")
        dials = upstream.count(AT)
        together = await asyncio.gather(*(call(switchboard, f"{name}/crowd") for _ in range(CROWD)))
        dials, requests = upstream.count(AT) - dials, upstream.count("/crowd")
        bench.ran(CROWD)
        bench.figure(max(most, dials / CROWD))
        bench.remark(f"{CROWD} calls at once made {dials} token requests and {requests} requests.")
        bench.check(all(one.status == 401 for one in together), f"together: {[one.status for one in together]}")
        bench.check(dials <= CROWD and requests <= 2 * CROWD, f"together: {dials} token requests, {requests} requests")
        record = await switchboard.call(together[0].id)
        reasons = [attempt["next_reason"] for attempt in record["attempts"]]
        bench.check(reasons == ["new_token", None], f"on record: {reasons}")
        bench.check(
            (await switchboard.ask("GET", f"/api/connections/{name}"))[1]["state"] == "ready", "state is not ready"
        )
