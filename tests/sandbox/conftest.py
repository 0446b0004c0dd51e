"""A sandbox with a clock that stands still until a test moves it."""

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from hypercorn.asyncio import serve
from hypercorn.config import Config
from quart import Quart
from quart.testing import QuartClient

from quart_app.sandbox import API_KEY_HEADER, DEMO, AuthorizationServer, create_sandbox

VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"  # RFC 7636 appendix B
CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
CALLBACK = "http://127.0.0.1:8000/oauth/callback/demo"
KEY = {API_KEY_HEADER: DEMO.api_key}


@dataclass
class Clock:
    now: float = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@dataclass
class Person:
    """A browser and the client it works for, both played by one test client."""

    client: QuartClient
    request: dict[str, str] = field(
        default_factory=lambda: {
            "response_type": "code",
            "client_id": DEMO.client_id,
            "redirect_uri": CALLBACK,
            "state": "s&=ü",
            "scope": "items:read",
            "code_challenge": CHALLENGE,
            "code_challenge_method": "S256",
        }
    )

    async def ask(self, **changes: str) -> str:
        """Opens the consent page and returns the id of its transaction."""
        page = await self.client.get(f"/oauth/authorize?{urlencode({**self.request, **changes})}")
        assert page.status_code == 200
        found = re.search(r'name="transaction" value="([^"]+)"', await page.get_data(as_text=True))
        assert found is not None
        return found[1]

    async def decide(self, transaction: str, decision: str = "approve") -> dict[str, str]:
        """Presses a button and returns the query of the URL the browser is sent to."""
        form = {"transaction": transaction, "decision": decision}
        answer = await self.client.post("/oauth/authorize", form=form)
        assert answer.status_code == 303
        target = urlsplit(answer.headers["Location"])
        assert f"{target.scheme}://{target.netloc}{target.path}" == CALLBACK
        return {name: values[0] for name, values in parse_qs(target.query).items()}

    async def token(self, expected: int = 200, /, **form: str) -> dict[str, Any]:
        """Asks the token endpoint as the demo client."""
        answer = await self.client.post("/oauth/token", form=form, auth=(DEMO.client_id, DEMO.client_secret))
        assert answer.status_code == expected
        assert answer.headers["Cache-Control"] == "no-store"
        body: dict[str, Any] = await answer.get_json()
        return body


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def app(clock: Clock) -> Quart:
    return create_sandbox(clock=clock)


@pytest.fixture
def client(app: Quart) -> QuartClient:
    found = app.test_client()
    assert isinstance(found, QuartClient)
    return found


@pytest.fixture
def server(app: Quart) -> AuthorizationServer:
    found: AuthorizationServer = app.extensions["oauth"]
    return found


@pytest.fixture
def person(client: QuartClient) -> Person:
    return Person(client)


@pytest.fixture
async def port(app: Quart) -> AsyncIterator[int]:
    """The sandbox on Hypercorn, on a real socket, in this loop."""
    config = Config()
    config.bind = ["127.0.0.1:0"]
    config.accesslog = config.errorlog = None
    config.graceful_timeout = 0.5
    config.include_date_header = False
    sockets = config.create_sockets()
    sockets.insecure_sockets[0].listen()
    found: int = sockets.insecure_sockets[0].getsockname()[1]
    config.bind = [f"fd://{sockets.insecure_sockets[0].detach()}"]
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(serve(app, config, shutdown_trigger=stop.wait))
        yield found
        stop.set()
