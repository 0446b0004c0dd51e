"""Answers of a token endpoint that are lost (36), and that are odd or hostile (37)."""

import asyncio
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, Scope

from faults.grants import Grant, sign_in
from faults.harness import Bench, fault
from faults.switchboard import Switchboard
from tests.sandboxed import Sandbox, serving_sandbox

# 36

RUNS, AT_ONCE = 50, 10
GRACE_SECONDS = 60
LOSSES = ("lost_answer", "reset", "cut")


@fault(
    "36",
    "Provider rotates, and its answer is lost: closed, reset, cut off in the middle",
    invariant="the same refresh token is sent again at once, and whoever waits has a token, where the provider takes "
    "it once more; where it does not, the connection asks for a person, says `lost_rotation`, and is tried no more",
    figure=f"recovered with a grace of {GRACE_SECONDS} s",
    unit="%",
)
async def answer_is_lost(bench: Bench) -> None:
    async with serving_sandbox() as sandbox, bench.serving() as switchboard:
        recovered: Counter[int] = Counter()
        for grace_seconds in (GRACE_SECONDS, 0):
            for first in range(0, RUNS, AT_ONCE):
                numbers = range(first, first + AT_ONCE)
                work = (lose(bench, switchboard, sandbox, grace_seconds, number) for number in numbers)
                recovered[grace_seconds] += sum(await asyncio.gather(*work))
        bench.figure(100 * recovered[GRACE_SECONDS] / RUNS)
        bench.check(recovered[GRACE_SECONDS] == RUNS, f"{RUNS - recovered[GRACE_SECONDS]} were not recovered")
        bench.check(recovered[0] == 0, f"{recovered[0]} were recovered without grace")
        bench.remark(f"Without grace {recovered[0]} of {RUNS} were, and the others were told so.")


async def lose(bench: Bench, switchboard: Switchboard, sandbox: Sandbox, grace_seconds: int, number: int) -> bool:
    """One answer is lost; whether the connection works afterwards."""
    loss = bench.random.choice(LOSSES)
    name = f"grace{grace_seconds}-{number}"
    said = f"{loss} with a grace of {grace_seconds} s: "
    grant = await sign_in(switchboard, sandbox, name, access_seconds=3600, grace_seconds=grace_seconds)
    grant.trick(loss)
    status = await grant.call()
    bench.ran()
    bench.check(grant.dials == 2, f"{said}{grant.dials} token requests")
    if status == 200:
        return bench.check(await grant.is_whole(), f"{said}it does not work: {grant.family.revoked}")
    exchanges = await grant.exchanges()
    told = [one["state"] for one in exchanges], exchanges[0]["reason"]
    bench.check(told == (["failed", "in_doubt"], "lost_rotation"), f"{said}the ledger has {told}")
    bench.check("lost" in (exchanges[0]["detail"] or ""), f"{said}{exchanges[0]['detail']}")
    again, state = await grant.call(), await grant.state()
    bench.check((again, state, grant.dials) == (502, "needs_sign_in", 2), f"{said}{again} {state}, {grant.dials}")
    return False


# 37

HOUR, YEARS = 3600.0, 10 * 365 * 86400.0
FUZZED = 40
HOSTILE = [chr(number) for number in (*range(32), 127, 32)] + list("éß\u0131\u2028\u202e\u3000")
"""Characters that no token may have: of control, spaces, and what is not ASCII."""


@dataclass(frozen=True)
class Odd:
    """An answer that can be used all the same: how long its token lives then, and whether the ledger remarks on it."""

    trick: Mapping[str, Any]
    life_seconds: float | None = HOUR
    told: bool = True


USABLE = {
    "expires_in '3600'": Odd({"name": "expires_in_string"}),
    "expires_in 'soon'": Odd({"name": "expires_in_words"}, None),
    "expires_in 0": Odd({"name": "expires_in_zero"}, None),
    "expires_in -1": Odd({"name": "expires_in_negative"}, None),
    "expires_in 1e20": Odd({"name": "expires_in_huge"}, YEARS, told=False),
    "expires_in 'nan'": Odd({"answer": {"expires_in": "nan"}}, None),
    "expires_in true": Odd({"answer": {"expires_in": True}}, None),
    "expires_in null": Odd({"name": "expires_in_null"}, None),
    "no expires_in": Odd({"name": "no_expires_in"}, None),
    "no refresh_token": Odd({"name": "no_refresh_token"}, told=False),
    "refresh_token ''": Odd({"name": "empty_refresh_token"}),
    "refresh_token null": Odd({"name": "null_refresh_token"}, told=False),
    "token_type BEARER": Odd({"name": "token_type_upper"}, told=False),
    "no token_type": Odd({"name": "no_token_type"}),
    "other members": Odd({"name": "extra_fields"}, told=False),
    "less scope": Odd({"name": "other_scope"}, told=False),
}
UNUSABLE: Mapping[str, tuple[Mapping[str, Any], str]] = {
    "CR and LF in the token": ({"name": "token_with_newline"}, "ready"),
    "a token of 1 MiB": ({"name": "huge_token"}, "ready"),
    "a token that is a number": ({"answer": {"access_token": 12345}}, "ready"),
    "a token that is a list": ({"answer": {"access_token": ["a"]}}, "ready"),
    "no token": ({"name": "no_access_token"}, "ready"),
    "CR and LF in the refresh token": ({"answer": {"refresh_token": "a\r\nX-Injected: b"}}, "ready"),
    "token_type mac": ({"name": "token_type_mac"}, "config_error"),
    "token_type DPoP": ({"name": "token_type_dpop"}, "config_error"),
    "CR and LF in the token_type": ({"answer": {"token_type": "Bearer\r\nX-Injected: b"}}, "config_error"),
}


@dataclass
class Watched:
    """What reaches the sandbox's API: which connection called, and how often it said something that it must not."""

    sandbox: Sandbox
    calls: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._wrapped = self.sandbox.app.asgi_app
        # replacing the method is how Quart documents a middleware
        self.sandbox.app.asgi_app = self.asgi_app  # type: ignore[method-assign]

    async def asgi_app(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        if scope["type"] == "http" and scope["path"].startswith("/v1"):
            headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
            said = headers.get("authorization", "")
            if "x-injected" in headers or said.removeprefix("Bearer ") not in self.sandbox.server.access_tokens:
                self.wrong.append(said[:60])
            self.calls[scope["query_string"].decode()] += 1
        await self._wrapped(scope, receive, send)


@fault(
    "37",
    "Token answers that are odd or hostile: no refresh token, lives of all kinds, CR and LF, 1 MiB, other types",
    invariant="what can be used is used, for as long as its life makes sense, and its oddities are in the ledger; what "
    "cannot is refused, nothing of it goes into a header, and a token that is there already goes on",
    figure="tokens that were wrongly taken",
    unit="tokens",
    note=f"{FUZZED} tokens have a character in them that no token may have, at any place.",
)
async def answer_is_odd(bench: Bench) -> None:
    async with serving_sandbox() as sandbox, bench.serving() as switchboard:
        watched = Watched(sandbox)
        for number, (kind, odd) in enumerate(USABLE.items()):
            grant = await sign_in(switchboard, sandbox, f"usable{number}", access_seconds=3600, rotates=False)
            grant.trick(**odd.trick, times=None)
            await is_used(bench, grant, kind, odd)
        for number, (kind, (trick, state)) in enumerate(UNUSABLE.items()):
            grant = await sign_in(switchboard, sandbox, f"unusable{number}", access_seconds=3600, rotates=False)
            grant.trick(**trick, times=None)
            await is_refused(bench, grant, kind, state)
        await hostile(bench, switchboard, sandbox)
        taken = [name for name in watched.calls if name.startswith("unusable")]
        bench.figure(len(taken) + len(watched.wrong))
        bench.check(not taken, f"calls went out with what was refused: {taken}")
        bench.check(not watched.wrong, f"calls had {watched.wrong}")


async def is_used(bench: Bench, grant: Grant, kind: str, odd: Odd) -> None:
    status, said = await grant.refresh()
    bench.ran()
    if not bench.check(status == 200, f"{kind}: {status} {said}"):
        return
    life = said["expires_at"] and datetime.fromisoformat(said["expires_at"]).timestamp() - time.time()
    right = life is None if odd.life_seconds is None else life and abs(life - odd.life_seconds) < 60
    bench.check(right, f"{kind}: it lives for {life} s")
    works = await called(grant)
    bench.check(works == 200, f"{kind}: a call with it is answered with {works}")
    oddities = (await grant.exchanges())[0]["oddities"]
    bench.check(bool(oddities) == odd.told, f"{kind}: the ledger says {oddities}")
    bench.check(await grant.is_whole(), f"{kind}: the next one fails")


async def is_refused(bench: Bench, grant: Grant, kind: str, state: str) -> None:
    """There is no other token: calls fail, and the provider's next good answer is taken."""
    status = await called(grant)
    bench.ran()
    bench.check(status == 502, f"{kind}: a call is answered with {status}")
    found = await grant.state()
    bench.check(found == state, f"{kind}: the connection is {found}")
    grant.behave()
    status, said = await grant.refresh()
    bench.check(status == 200 and await grant.is_whole(), f"{kind}: a good answer afterwards: {status} {said}")


async def hostile(bench: Bench, switchboard: Switchboard, sandbox: Sandbox) -> None:
    """Tokens with a character that none may have; the one that is there goes on."""
    grant = await sign_in(switchboard, sandbox, "hostile", access_seconds=3600, rotates=False)
    bench.check(await called(grant) == 200, "no token at first")
    for _ in range(FUZZED):
        character, at = bench.random.choice(HOSTILE), bench.random.randrange(1, 40)
        token = "t" * at + character + "X-Injected: b"
        role = bench.random.choice(("access_token", "refresh_token"))
        grant.trick(answer={role: token}, times=None)
        status, _ = await grant.refresh()
        works = await called(grant)
        bench.ran()
        bench.check((status, works) == (502, 200), f"{role} with {character!r}: {status}, then a call: {works}")
        grant.behave()
    bench.check((await grant.refresh())[0] == 200 and await grant.is_whole(), "a good answer afterwards is not taken")


async def called(grant: Grant) -> int:
    """The status of a call that can be told from others at the API."""
    return int((await grant.switchboard.ask("GET", f"/proxy/{grant.name}/whoami?{grant.name}"))[0])
