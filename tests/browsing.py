"""A person's way through a provider's sign-in, gone by a real client that keeps cookies, as a browser does."""

from typing import Any
from urllib.parse import parse_qsl, urlsplit

from aiohttp import ClientSession, CookieJar

from quart_app.sandbox import DEMO
from tests.sandboxed import Sandbox


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
