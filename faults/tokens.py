"""An upstream with a token endpoint of its own, for faults that have to do with it, and one that refuses all (38)."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

from faults.fakes import Asked, Fake, Peer, answer, fake
from faults.harness import Bench, fault
from faults.load import Ended, call
from faults.switchboard import Switchboard

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

LATER, CROWD = 6, 20


@fault(
    "38",
    "Upstream answers 401 to every token",
    invariant="one new token and one more request, then the 401 is passed on; where a token that came of a 401 is "
    "refused as well, no other is asked for within 30 s; callers at once share tokens",
    figure="token requests because of a 401 for a call, at most",
    unit="requests",
)
async def every_token_is_refused(bench: Bench) -> None:
    async def refuse(asked: Asked, peer: Peer) -> None:
        await peer.send(answer(b"no", 401, 'WWW-Authenticate: Bearer error="invalid_token"'))

    async with fake(issuing(refuse)) as upstream, bench.serving() as switchboard:
        most = max(
            [await one_after_the_other(bench, switchboard, upstream), await at_once(bench, switchboard, upstream)]
        )
        bench.figure(most)
        for name in ("alone", "crowded"):
            _, connection = await switchboard.ask("GET", f"/api/connections/{name}")
            bench.check(connection["state"] == "ready", f"{name} is {connection['state']}")


async def one_after_the_other(bench: Bench, switchboard: Switchboard, upstream: Fake) -> int:
    """The first call finds out, those after it know; how many tokens a 401 cost a call at most."""
    name = await switchboard.connect("alone", upstream.url, auth=auth_of(upstream))
    most = 0
    for number in range(LATER):
        dialled = upstream.count(AT)
        ended = await call(switchboard, f"{name}/{number}")
        because = upstream.count(AT) - dialled - (number == 0)  # one came before, so that there is a token at all
        requests, most = upstream.count(f"/{number}"), max(most, because)
        bench.ran()
        bench.check(ended.status == 401 and not ended.ours, f"the caller has {ended.status}, ours: {ended.ours}")
        expected = (0, 1) if number else (1, 2)
        bench.check((because, requests) == expected, f"call {number}: {because} token requests and {requests} requests")
        await on_record(bench, switchboard, ended, [None] if number else ["new_token", None])
    return most


async def at_once(bench: Bench, switchboard: Switchboard, upstream: Fake) -> int:
    """Callers that all find out together; how many tokens the 401s cost them all."""
    policy = {"concurrency": CROWD}
    name = await switchboard.connect("crowded", upstream.url, auth=auth_of(upstream), policy=policy)
    dialled = upstream.count(AT)
    together = await asyncio.gather(*(call(switchboard, f"{name}/crowd") for _ in range(CROWD)))
    because, requests = upstream.count(AT) - dialled - 1, upstream.count("/crowd")
    bench.ran(CROWD)
    bench.remark(f"{CROWD} calls at once made {because} token requests because of it, and {requests} requests.")
    bench.check(all(one.status == 401 for one in together), f"together: {[one.status for one in together]}")
    bench.check(because == 1 and requests <= 2 * CROWD, f"together: {because} token requests, {requests} requests")
    return because


async def on_record(bench: Bench, switchboard: Switchboard, ended: Ended, expected: list[str | None]) -> None:
    record = await switchboard.call(ended.id)
    reasons = [attempt["next_reason"] for attempt in record["attempts"]]
    bench.check(reasons == expected, f"on record: {reasons}")
