"""Connections to a sandbox that outlives the server under test, and what became of their tokens."""

import asyncio
import json
import secrets
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal

from faults.switchboard import Switchboard
from faults.torture.aftermath import Kept
from quart_app.sandbox.grants import Family
from quart_app.sandbox.protocol import API_SCOPE
from tests.sandboxed import Sandbox
from tests.wire import Broken, Wire

RECOVERY_SECONDS = 20.0
PAUSE_SECONDS = 0.05
GONE = (OSError, Broken)
"""What a caller sees whose server was killed."""

Verdict = Literal["well", "signed out", "neither"]


@dataclass
class Victim:
    """A connection and the family of its tokens.

    `cuts` are the windows in which its exchanges were cut off since it worked last; `asked` counts the token requests
    that the sandbox had of it before the present process.
    """

    name: str
    family: Family
    cuts: list[str] = field(default_factory=list)
    asked: int = 0

    @property
    def requests(self) -> int:
        return self.family.requests.total()

    @property
    def kept(self) -> Kept:
        """What the connection must have at the end."""
        if self.family.revoked is not None:
            return Kept(self.name)
        return Kept(self.name, self.family.generation, self.family.refresh_token)


async def sign_in(switchboard: Switchboard, sandbox: Sandbox, name: str) -> Victim:
    """A new connection with the first refresh token of a new family."""
    server = sandbox.server
    client = next(iter(server.clients.values()))
    family = server.store.start(client, name, API_SCOPE, "authorization_code")
    server.store.give_refresh_token(family, secrets.token_urlsafe(32))
    form = sandbox.form("refresh_token", name=name)
    form["auth"]["refresh_token"] = family.refresh_token
    status, answer = await ask(switchboard, "POST", "/api/connections", form)
    assert status == 201, answer
    return Victim(name, family)


async def recover(switchboard: Switchboard, victim: Victim) -> Verdict:
    """Calls until one succeeds, or the connection says that a person must sign in; then one refresh more.

    That refresh shows that what is stored is what the provider takes.
    """
    deadline = asyncio.get_running_loop().time() + RECOVERY_SECONDS
    while asyncio.get_running_loop().time() < deadline:
        if await call(switchboard, victim) == 200 and await refresh(switchboard, victim) == 200:
            return "well"
        status, connection = await ask(switchboard, "GET", f"/api/connections/{victim.name}")
        if status == 200 and connection["state"] == "needs_sign_in":
            return "signed out"
        await asyncio.sleep(PAUSE_SECONDS)
    return "neither"


async def call(switchboard: Switchboard, victim: Victim) -> int:
    """The status of a call to the provider's API."""
    return (await ask(switchboard, "GET", f"/proxy/{victim.name}/whoami"))[0]


async def refresh(switchboard: Switchboard, victim: Victim) -> int:
    """The status of a refresh that a person asks for."""
    return (await ask(switchboard, "POST", f"/api/connections/{victim.name}/token-refreshes"))[0]


async def keep_refreshing(switchboard: Switchboard, victim: Victim) -> None:
    """One after the other, until it is cancelled, also while the server is gone."""
    while True:
        with suppress(*GONE):
            await refresh(switchboard, victim)
        await asyncio.sleep(PAUSE_SECONDS)


async def ask(switchboard: Switchboard, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    """Status and JSON of one request, without a thread. Raises OSError and Broken where the server is gone."""
    async with Wire.to(switchboard.port, switchboard.key) as wire:
        content = None if body is None else json.dumps(body).encode()
        answered = await wire.ask(method, path, ["Content-Type: application/json"] if content else [], content)
        return answered.status, json.loads(answered.body)
