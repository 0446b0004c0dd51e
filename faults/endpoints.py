"""Token endpoints that fail for a while (33), and that refuse for good (34)."""

import asyncio
import base64
import binascii
import sqlite3
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from typing import Any

from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, Scope

from faults.grants import Grant, sign_in
from faults.harness import Bench, fault
from faults.load import Ended, call, eventually
from faults.switchboard import Switchboard
from quart_app.sandbox import Rules
from tests.sandboxed import Sandbox, serving_sandbox


class InFlight:
    """How many token requests of a client were at the sandbox at the same time, at most."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.now: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self._wrapped = sandbox.app.asgi_app
        # replacing the method is how Quart documents a middleware
        sandbox.app.asgi_app = self.asgi_app  # type: ignore[method-assign]

    async def asgi_app(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        client = client_in(scope["headers"]) if scope["type"] == "http" and scope["path"] == "/oauth/token" else ""
        self.now[client] += 1
        self.most[client] = max(self.most[client], self.now[client])
        try:
            await self._wrapped(scope, receive, send)
        finally:
            self.now[client] -= 1


def client_in(headers: Any) -> str:
    """The client that authenticates by basic (RFC 6749 §2.3.1)."""
    said = dict(headers).get(b"authorization", b"")
    try:
        return base64.b64decode(said.partition(b" ")[2]).partition(b":")[0].decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""


# 33

WATCHED_SECONDS = 60.0
VALID_SECONDS = 45.0
LIFE_SECONDS, AHEAD_SECONDS = 3600, 3541.0
"""After a jump of the clock by so much a token of such a life is due to be refreshed, and good for a minute yet."""
SHORT_SECONDS = 300
PAUSE_SECONDS = 1.0
TOTAL_SECONDS = 2.0
SLACK_SECONDS = 1.0
MOST_DIALS = 10
"""In the first minute: three for an answer that may be lost, then after 1, 2, 4, 8, 16 and 32 s."""

FAILURES: Mapping[str, dict[str, Any]] = {
    "500": {"name": "status_500", "times": None},
    "502 with a page": {"name": "status_502", "times": None},
    "503": {"name": "status_503", "times": None},
    "200 with a page": {"name": "html_ok", "times": None},
    "200 with nothing": {"name": "empty", "times": None},
    "an answer after 29 s": {"answer_delay_seconds": 29, "times": None},
    "a request that hangs, twice": {"ends": "never", "times": 2},
    "a reset, twice, after it rotated": {"name": "reset", "times": 2},
}
PASSES = ("an answer after 29 s", "a reset, twice, after it rotated")
"""What comes to a good end by itself."""


@fault(
    "33",
    "Token endpoint answers 500, 502, 503, with a page or with nothing, after 29 s, never, or resets after it rotated",
    invariant="one token request of a connection in flight at any time; the connection stays ready; a token that is "
    "good yet is used meanwhile; who waits is told in its own total time; all works again as soon as the endpoint does",
    figure="token requests of a connection in the first minute, at most",
    unit="requests",
    note="Each failure has one connection whose token is due to be refreshed and good yet, and one whose token has "
    f"expired, with a caller a second who has {TOTAL_SECONDS:g} s. The server's clock is moved to get there.",
    waits=True,
)
async def endpoint_fails(bench: Bench) -> None:
    async with serving_sandbox() as sandbox, bench.serving(hand=()) as switchboard:
        watch = InFlight(sandbox)
        numbers = range(len(FAILURES))
        valid = [
            await sign_in(switchboard, sandbox, f"valid{n}", access_seconds=LIFE_SECONDS, grace_seconds=60)
            for n in numbers
        ]
        expired = [
            await sign_in(switchboard, sandbox, f"expired{n}", access_seconds=SHORT_SECONDS, grace_seconds=60)
            for n in numbers
        ]
        grants = [*valid, *expired]
        statuses = await asyncio.gather(*(grant.call() for grant in grants))
        bench.check(set(statuses) == {200}, f"before: {statuses}")
        for grant, trick in zip(grants, [*FAILURES.values()] * 2, strict=True):
            grant.trick(**trick)
        before = [grant.dials for grant in grants]
        await switchboard.do("clock", seconds=AHEAD_SECONDS)
        kept = await asyncio.gather(
            *(keep_calling(switchboard, grant, VALID_SECONDS) for grant in valid),
            *(keep_calling(switchboard, grant, WATCHED_SECONDS) for grant in expired),
        )
        for kind, ended, late in zip(FAILURES, kept, kept[len(valid) :], strict=False):
            bench.ran(len(ended) + len(late))
            used(bench, kind, ended)
            told(bench, kind, late)
        dials = [grant.dials - then for grant, then in zip(grants, before, strict=True)]
        bench.figure(max(dials))
        for kind, grant, count in zip([*FAILURES] * 2, grants, dials, strict=True):
            at_once = watch.most[grant.name]
            bench.check(count <= MOST_DIALS, f"{kind}, {grant.name}: {count} token requests in a minute")
            bench.check(count and at_once == 1, f"{kind}, {grant.name}: {at_once} at once, {count} in all")
            grant.behave()
        for kind, grant in zip([*FAILURES] * 2, grants, strict=True):
            state = await grant.state()
            bench.check(state == "ready", f"{kind}, {grant.name}: {state}")
        refreshed = [status for status, _ in await asyncio.gather(*(grant.refresh() for grant in grants))]
        whole = await asyncio.gather(*(grant.is_whole() for grant in grants))
        bench.check(set(refreshed) == {200} and all(whole), f"afterwards: {refreshed}, {whole}")


async def keep_calling(switchboard: Switchboard, grant: Grant, seconds: float) -> list[Ended]:
    """One caller, again and again, in a total time of its own."""
    until, ended = time.monotonic() + seconds, []
    while time.monotonic() < until:
        said = [f"X-Switchboard-Total-Seconds: {TOTAL_SECONDS:g}"]
        ended.append(await call(switchboard, f"{grant.name}/whoami", headers=said))
        await asyncio.sleep(PAUSE_SECONDS)
    return ended


def used(bench: Bench, kind: str, ended: list[Ended]) -> None:
    """A token that is good yet is used all the time."""
    wrong = Counter((one.status, one.code) for one in ended if one.status != 200)
    bench.check(not wrong, f"{kind}, with a token that is good yet: {dict(wrong)}")


def told(bench: Bench, kind: str, ended: list[Ended]) -> None:
    """Without a token each caller is told in its own time, and that it passes."""
    good = ("token_unavailable", "total_timeout")
    wrong = Counter((one.status, one.code) for one in ended if one.status != 200 and one.code not in good)
    bench.check(not wrong, f"{kind}, expired: {dict(wrong)}")
    slowest = max(one.seconds for one in ended)
    bench.check(slowest <= TOTAL_SECONDS + SLACK_SECONDS, f"{kind}: a caller was told after {slowest:.1f} s")
    if kind in PASSES:
        bench.check(ended[-1].status == 200, f"{kind}: {ended[-1].status} {ended[-1].code} at the end")


# 34

HAMMER_SECONDS = 6.0
HAMMERING = 5
STALE_SECONDS = 10
REFUSALS: Mapping[str, tuple[str, dict[str, Any], int]] = {
    "invalid_grant": ("needs_sign_in", {}, 1),
    "access_denied": ("needs_sign_in", {"error": "access_denied", "times": None}, 1),
    "invalid_client": ("config_error", {"error": "invalid_client", "times": None}, 1),
    "unauthorized_client": ("config_error", {"error": "unauthorized_client", "times": None}, 1),
    "an error that is not one of OAuth's": ("ready", {"error": "odd_error", "status": 400, "times": None}, 3),
}
"""What becomes of a connection, the trick for it, and how many token requests callers may cause."""


@fault(
    "34",
    "Token endpoint refuses: invalid_grant (true, and of a copy that is stale), invalid_client, access_denied, others",
    invariant="invalid_grant and access_denied ask for a person, what is wrong with the client is an error of "
    "configuration, an unknown error passes; nothing is deleted; one token request, however many call, for what passes "
    "one for each pause; where another process moved the tokens on meanwhile, its token is used and nobody asked",
    figure=f"token requests of a connection in {HAMMER_SECONDS:g} s under {HAMMERING} callers, at most",
    unit="requests",
)
async def endpoint_refuses(bench: Bench) -> None:
    async with serving_sandbox() as sandbox, bench.serving() as switchboard:
        counts, _ = await asyncio.gather(
            asyncio.gather(*(refused(bench, switchboard, sandbox, kind) for kind in REFUSALS)),
            copy_is_stale(bench, switchboard, sandbox),
        )
        bench.figure(max(counts))


async def refused(bench: Bench, switchboard: Switchboard, sandbox: Sandbox, kind: str) -> int:
    """One kind of refusal, under callers, and its cure; how many token requests there were."""
    state, trick, most = REFUSALS[kind]
    name = f"refused{list(REFUSALS).index(kind)}"
    grant = await sign_in(switchboard, sandbox, name, access_seconds=2)
    bench.check(await grant.call() == 200, f"{kind}: no token at first")
    if trick:
        grant.trick(**trick)
    else:
        sandbox.server.end_family(grant.family.family_id)
    before, dials = tokens_kept(switchboard, name), grant.dials
    await asyncio.sleep(2)
    until = time.monotonic() + HAMMER_SECONDS
    ended = [one for many in await asyncio.gather(*(hammer(grant, until) for _ in range(HAMMERING))) for one in many]
    dials = grant.dials - dials
    bench.ran(len(ended))
    codes = Counter((one.status, one.code) for one in ended)
    bench.check(set(codes) == {(502, "token_unavailable")}, f"{kind}: callers are told {dict(codes)}")
    bench.check(1 <= dials <= most, f"{kind}: {dials} token requests")
    bench.check(await grant.state() == state, f"{kind}: the connection is {await grant.state()}")
    bench.check(tokens_kept(switchboard, name) == before, f"{kind}: what was stored is other than before")
    await cured(bench, grant, kind)
    return dials


async def hammer(grant: Grant, until: float) -> list[Ended]:
    ended = []
    while time.monotonic() < until:
        ended.append(await call(grant.switchboard, f"{grant.name}/whoami"))
        await asyncio.sleep(0.05)
    return ended


async def cured(bench: Bench, grant: Grant, kind: str) -> None:
    """A person signs in anew, or asks once the provider is well; then all works."""
    if grant.family.revoked is not None:
        store = grant.sandbox.server.store
        grant.family = store.start(grant.family.client, grant.name, grant.family.scope, grant.family.grant)
        store.give_refresh_token(grant.family, f"signed-in-anew-{grant.name}")
        _, connection = await grant.switchboard.ask("GET", f"/api/connections/{grant.name}")
        change = {"auth": connection["auth"] | {"refresh_token": grant.family.refresh_token}}
        status, said = await grant.switchboard.ask("PATCH", f"/api/connections/{grant.name}", change)
        bench.check(status == 200, f"{kind}: signed in anew: {status} {said}")
    grant.behave()
    status, said = await grant.refresh()
    bench.check(status == 200 and await grant.is_whole(), f"{kind}: not cured: {status} {said}")


def tokens_kept(switchboard: Switchboard, name: str) -> Any:
    """The tokens of a connection as they are stored."""
    query = "SELECT generation, sealed_access_token, sealed_refresh_token FROM tokens WHERE connection_id = "
    with closing(sqlite3.connect(f"file:{switchboard.data}/switchboard.db?mode=ro", uri=True)) as database:
        return database.execute(f"{query} (SELECT id FROM connections WHERE name = ?)", [name]).fetchone()


async def copy_is_stale(bench: Bench, switchboard: Switchboard, sandbox: Sandbox) -> None:
    """The server's request hangs at the provider until its lease is over; the command line takes over meanwhile."""
    grant = await sign_in(switchboard, sandbox, "stale", access_seconds=2)
    bench.check(await grant.call() == 200, "stale: no token at first")
    grant.family.client = replace(grant.family.client, rules=Rules(access_seconds=3600))
    grant.trick(error="invalid_grant", delay_seconds=STALE_SECONDS)
    await asyncio.sleep(2)
    dials = grant.dials
    asked = asyncio.create_task(grant.call())
    await eventually(lambda: grant.dials > dials, 5)
    with closing(sqlite3.connect(switchboard.data / "switchboard.db", timeout=5)) as database:
        which = "connection_id = (SELECT id FROM connections WHERE name = 'stale')"
        database.execute(f"UPDATE tokens SET lease_until = 0 WHERE {which}")
        database.commit()
    await asyncio.to_thread(switchboard.cli, "call", "stale", "GET", "/whoami")
    bench.check(not asked.done(), "stale: the provider answered before another process had a token")
    status = await asked
    bench.ran()
    bench.check(status == 200, f"stale: the caller has {status}")
    bench.check(await grant.state() == "ready", f"stale: the connection is {await grant.state()}")
    bench.check(grant.dials == dials + 2, f"stale: {grant.dials - dials} token requests of two processes")
    bench.check(await grant.is_whole(), f"stale: {grant.family.revoked}")
