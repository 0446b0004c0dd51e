"""A wall clock that jumps (30)."""

import asyncio
import json
import re
from http.client import HTTPConnection

from faults import tokens
from faults.fakes import Asked, Fake, Peer, fake
from faults.grants import Grant, sign_in
from faults.harness import Bench, fault
from faults.load import Ended, call
from faults.switchboard import Switchboard
from tests.sandboxed import Sandbox, serving_sandbox

HOUR, YEAR = 3600.0, 365 * 86400.0
JUMPS = (HOUR, 0.0, YEAR, -YEAR, 0.0, -HOUR, HOUR, 2 * HOUR)
"""Where the clock is after each jump, in seconds from the right time."""
CALLERS = 30
SIGNED_CALLERS = 10
SILENCE_SECONDS = 1.0
BROWSER_SECONDS = 14 * 86400.0


@fault(
    "30",
    "The wall clock jumps by an hour and by a year, forth and back, while tokens live",
    invariant="at most one token request for each connection and jump, over all callers; no call fails, no wait is "
    "negative, keys stay good, sign-ins end by the clock and come back with it, timeouts do not notice",
    figure="token requests of a connection for one jump, at most",
    unit="requests",
    note="The clock is moved inside the server under test, where all of it reads the wall clock for tokens, sign-ins "
    "and keys. One connection has client credentials, two have refresh tokens that rotate, and a provider whose clock "
    "is right; once it lets their access tokens end while they look good for another year.",
)
async def clock_jumps(bench: Bench) -> None:
    async def api(asked: Asked, peer: Peer) -> None:
        if asked.path == "/never":
            await peer.until_left()
        else:
            await tokens.greet_the_signed_in(asked, peer)

    async with (
        fake(tokens.issuing(api)) as upstream,
        serving_sandbox() as sandbox,
        bench.serving(hand=()) as switchboard,
    ):
        policy = {"first_byte_seconds": SILENCE_SECONDS, "concurrency": 100}
        await switchboard.connect("api", upstream.url, auth=tokens.auth_of(upstream), policy=policy)
        grants = [await sign_in(switchboard, sandbox, f"signed{number}", access_seconds=3600) for number in range(2)]
        browser = await asyncio.to_thread(Browser, switchboard)
        await asyncio.gather(call(switchboard, "api/first"), *(grant.call() for grant in grants))
        most = 0
        for seconds in JUMPS:
            most = max(most, await jump(bench, switchboard, upstream, sandbox, grants, seconds))
            expected = 401 if seconds >= BROWSER_SECONDS else 200
            status = await asyncio.to_thread(browser.look)
            bench.check(status == expected, f"at {seconds:+.0f} s a browser's sign-in is answered with {status}")
        bench.figure(most)
        for name in ("api", *(grant.name for grant in grants)):
            await nothing_negative(bench, switchboard, name)
        for grant in grants:
            bench.check(await grant.is_whole(), f"{grant.name}: {await grant.state()}, {grant.family.revoked}")


async def jump(
    bench: Bench, switchboard: Switchboard, upstream: Fake, sandbox: Sandbox, grants: list[Grant], seconds: float
) -> int:
    """One jump, over a call that waits, and callers of all connections after it; most token requests of one of them."""
    before = [upstream.count(tokens.AT), *(grant.dials for grant in grants)]
    unanswered = asyncio.create_task(call(switchboard, "api/never"))
    await asyncio.sleep(0.3)
    await switchboard.do("clock", seconds=seconds)
    if seconds == -YEAR:
        sandbox.server.access_tokens.clear()
    targets = ["api/hello"] * CALLERS + [f"{grant.name}/whoami" for grant in grants for _ in range(SIGNED_CALLERS)]
    ended = await asyncio.gather(*(call(switchboard, target) for target in targets))
    bench.ran()
    bench.check(all(one.status == 200 for one in ended), f"at {seconds:+.0f} s: {[one.status for one in ended]}")
    check_silence(bench, await unanswered, seconds)
    await asyncio.sleep(0.2)
    after = [upstream.count(tokens.AT), *(grant.dials for grant in grants)]
    dials = [now - then for now, then in zip(after, before, strict=True)]
    bench.check(max(dials) <= 1, f"at {seconds:+.0f} s: {dials} token requests")
    return max(dials)


def check_silence(bench: Bench, silent: Ended, seconds: float) -> None:
    said = (silent.status, silent.code, round(silent.seconds, 2))
    in_time = SILENCE_SECONDS <= silent.seconds < SILENCE_SECONDS + 0.5
    bench.check(silent.code == "first_byte_timeout" and in_time, f"at {seconds:+.0f} s silence ended as {said}")


class Browser:
    """Signed in by the link that a first start prints."""

    def __init__(self, switchboard: Switchboard) -> None:
        self.switchboard = switchboard
        found = re.search(r"/sign-in#(\S+)", switchboard.log.read_text())
        assert found is not None
        status, self.cookie = self.ask("POST", "/api/sign-ins", {"token": found[1]})
        assert status == 201

    def ask(self, method: str, path: str, body: dict[str, str] | None = None, cookie: str = "") -> tuple[int, str]:
        """Status, and the cookie that is set."""
        connection = HTTPConnection("127.0.0.1", self.switchboard.port, timeout=10)
        headers = {"Content-Type": "application/json", "X-Requested-By": "switchboard", "Origin": self.switchboard.url}
        connection.request(
            method, path, json.dumps(body) if body else None, headers | ({"Cookie": cookie} if cookie else {})
        )
        answer = connection.getresponse()
        answer.read()
        connection.close()
        return answer.status, (answer.getheader("Set-Cookie") or "").partition(";")[0]

    def look(self) -> int:
        """The status for who looks whether it is signed in."""
        return self.ask("GET", "/api/sign-ins/current", cookie=self.cookie)[0]


async def nothing_negative(bench: Bench, switchboard: Switchboard, name: str) -> None:
    for one in await switchboard.calls(name):
        times = [one["duration_seconds"], one["waited_seconds"]]
        times += [attempt[what] for attempt in one["attempts"] for what in ("duration_seconds", "waited_seconds")]
        bench.check(all(0 <= (seconds or 0) < 10 for seconds in times), f"times on record: {times}")
