"""A person's way through a provider's sign-in, gone by a real client that keeps cookies, as a browser does."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from aiohttp import ClientResponse, ClientSession, CookieJar
from hypercorn.asyncio import serve
from quart import Quart
from yarl import URL

from quart_app import accounts, create_app
from quart_app.sandbox import DEMO
from quart_app.services import Services
from quart_app.serving import config
from quart_app.settings import Settings
from tests.sandboxed import Sandbox, listening

PAGE = {"Accept": "text/html,application/xhtml+xml", "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "document"}


def code_grant(sandbox: Sandbox, **auth: Any) -> dict[str, Any]:
    """A connection `items` to the sandbox by authorization code; its endpoints are the sandbox's own metadata."""
    given = {
        "scheme": "oauth2",
        "grant": "authorization_code",
        "issuer": sandbox.url,
        "client_id": DEMO.client_id,
        "client_secret": DEMO.client_secret,
    }
    policy = {"allow_private": True}
    return {"name": "items", "base_url": f"{sandbox.url}/v1", "auth": given | auth, "policy": policy}


async def consent(authorize_url: str, decision: str = "approve") -> str:
    """Answers the consent page, if one is shown, and gives the URL that the provider then sends the browser to."""
    async with ClientSession(cookie_jar=CookieJar(unsafe=True)) as session:
        async with session.get(authorize_url, allow_redirects=False) as page:
            if page.status == 303:
                return page.headers["Location"]
            text = await page.text()
            assert page.status == 200, text
        transaction = text.partition('name="transaction" value="')[2].partition('"')[0]
        form = {"transaction": transaction, "decision": decision}
        endpoint = authorize_url.partition("?")[0]
        async with session.post(endpoint, data=form, allow_redirects=False) as answer:
            assert answer.status == 303, await answer.text()
            return answer.headers["Location"]


def query_of(url: str) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(url).query, keep_blank_values=True))


@asynccontextmanager
async def serving_app(settings: Settings) -> AsyncIterator[Quart]:
    """The app on its bind, served in this loop as users serve it."""
    app = create_app(settings)
    stop = asyncio.Event()
    made = config(settings.bind)
    made.graceful_timeout = 0.1
    served = asyncio.create_task(serve(app, made, shutdown_trigger=stop.wait), name="switchboard")
    try:
        await listening(settings.bind)
        yield app
    finally:
        stop.set()
        await served


@dataclass
class Visit:
    """What a browser was shown: `text` is the page or the JSON as it came."""

    status: int
    text: str
    headers: Any
    media_type: str
    cookies: Any

    @classmethod
    async def of(cls, answer: ClientResponse) -> "Visit":
        return cls(answer.status, await answer.text(), answer.headers, answer.content_type, answer.cookies)

    def json(self) -> Any:
        return json.loads(self.text)


class Person:
    """A browser that is signed in at `url`; its cookie jar is real, and it follows no redirect by itself."""

    def __init__(self, url: str, session: ClientSession) -> None:
        self.url = url
        self.session = session

    @classmethod
    @asynccontextmanager
    async def at(cls, app: Quart, url: str) -> AsyncIterator["Person"]:
        services: Services = app.extensions["services"][0]
        async with ClientSession(cookie_jar=CookieJar(unsafe=True)) as session:
            person = cls(url, session)
            found = await person.api("POST", "/api/sign-ins", {"token": await accounts.create_link(services)})
            assert found.status == 201, found.text
            yield person

    async def api(self, method: str, path: str, body: Any = None) -> Visit:
        """As our own page asks."""
        own = {"Origin": self.url, "Sec-Fetch-Site": "same-origin", "X-Requested-By": "switchboard"}
        async with self.session.request(method, self.url + path, json=body, headers=own) as answer:
            return await Visit.of(answer)

    async def goes_to(self, url: str, method: str = "GET", **headers: str) -> Visit:
        """As from another site's page, to a URL that is taken as it stands."""
        sent = PAGE | headers
        async with self.session.request(method, URL(url, encoded=True), headers=sent, allow_redirects=False) as answer:
            return await Visit.of(answer)

    async def begins(self, name: str = "items") -> str:
        """The URL of the provider's page."""
        begun = await self.api("POST", f"/api/connections/{name}/authorizations")
        assert begun.status == 201, begun.text
        url: str = begun.json()["authorize_url"]
        return url
