"""Connections to a sandbox, each with a client and a family of tokens of its own, so that each has its own tricks."""

import secrets
from dataclasses import dataclass
from typing import Any

from faults.switchboard import Switchboard
from quart_app.sandbox import Client, Rules
from quart_app.sandbox.grants import Family
from quart_app.sandbox.protocol import API_SCOPE
from tests.sandboxed import Sandbox

EXCHANGES = 50


@dataclass
class Grant:
    """A connection, its client at the sandbox, and the family of its tokens."""

    name: str
    sandbox: Sandbox
    switchboard: Switchboard
    family: Family

    @property
    def dials(self) -> int:
        """How many token requests came with a refresh token of this family."""
        return self.family.requests.total()

    def trick(self, name: str = "", **changes: Any) -> None:
        """What the sandbox does wrong to token requests of this connection: once, unless `times` says otherwise."""
        self.sandbox.server.tricks.add(name, client_id=self.name, **changes)

    def behave(self) -> None:
        """No tricks on it any more."""
        tricks = self.sandbox.server.tricks
        tricks.staged = [staged for staged in tricks.staged if staged.trick.client_id != self.name]

    async def call(self) -> int:
        """The status of a call to the sandbox's API."""
        return int((await self.switchboard.ask("GET", f"/proxy/{self.name}/whoami"))[0])

    async def refresh(self) -> tuple[int, Any]:
        """Status and answer of a refresh that a person asks for."""
        status, answer = await self.switchboard.ask("POST", f"/api/connections/{self.name}/token-refreshes")
        return status, answer

    async def state(self) -> str:
        return str((await self.switchboard.ask("GET", f"/api/connections/{self.name}"))[1]["state"])

    async def exchanges(self) -> list[Any]:
        """What the ledger says of it, newest first."""
        path = f"/api/connections/{self.name}/token-exchanges?limit={EXCHANGES}"
        items: list[Any] = (await self.switchboard.ask("GET", path))[1]["items"]
        return items

    async def is_whole(self) -> bool:
        """Whether calls work, and what is stored is what the provider takes: one refresh shows it."""
        return await self.call() == 200 and (await self.refresh())[0] == 200 and self.family.revoked is None


async def sign_in(
    switchboard: Switchboard, sandbox: Sandbox, name: str, *, policy: dict[str, Any] | None = None, **rules: Any
) -> Grant:
    """A new connection with the first refresh token of a new family, whose tokens live by these `rules`."""
    server = sandbox.server
    client = Client(client_id=name, client_secret=secrets.token_urlsafe(16), rules=Rules(**rules))
    server.clients[name] = client
    family = server.store.start(client, name, API_SCOPE, "authorization_code")
    server.store.give_refresh_token(family, secrets.token_urlsafe(32))
    auth = sandbox.form("refresh_token")["auth"]
    auth |= {"client_id": name, "client_secret": client.client_secret, "refresh_token": family.refresh_token}
    await switchboard.connect(name, f"{sandbox.url}/v1", auth=auth, policy=policy or {})
    return Grant(name, sandbox, switchboard, family)
