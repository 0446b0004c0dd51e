"""Signing in at a provider that is another site, in a real browser: which cookies come along, and what is left behind.

The provider is at `localhost` and the console at `127.0.0.1`, which are two sites to a browser.
"""

from typing import Any
from urllib.parse import urlsplit

import pytest

from quart_app.sandbox import DEMO
from tests.browser.conftest import Demo
from tests.browser.test_console import ask, send

pytestmark = pytest.mark.browser


@pytest.fixture
def provider(demo: Demo) -> str:
    return demo.sandbox_url.replace("127.0.0.1", "localhost")


@pytest.fixture
def page(tabs: Any) -> Any:
    opened = tabs.new_page()
    opened.goto("/connections")
    opened.locator("body[data-ready]").wait_for()
    return opened


def connect(page: Any, provider: str, name: str) -> None:
    auth = {
        "scheme": "oauth2",
        "grant": "authorization_code",
        "issuer": provider,
        "client_id": DEMO.client_id,
        "client_secret": DEMO.client_secret,
        "scope": "openid items:read",
    }
    form = {"name": name, "base_url": f"{provider}/v1", "auth": auth, "policy": {"allow_private": True}}
    ask(page, "POST", "/api/connections", form)


def begin(page: Any, name: str) -> str:
    """Where the browser has to go; its cookie is set with it."""
    url: str = ask(page, "POST", f"/api/connections/{name}/authorizations")["authorize_url"]
    return url


def allow(page: Any) -> None:
    page.get_by_role("button", name="Allow", exact=True).click()


def test_a_person_comes_back_from_another_site_and_is_still_signed_in(page: Any, provider: str) -> None:
    connect(page, provider, "cross-site")
    page.goto("/connections/cross-site")
    asked: list[Any] = []
    shown: list[str] = []
    page.on("request", lambda request: asked.append(request) if request.is_navigation_request() else None)
    page.on("framenavigated", lambda frame: shown.append(frame.url))
    page.get_by_role("button", name="Sign in").click()
    allow(page)
    page.wait_for_url("**/connections/cross-site")
    page.locator("#connection-state").get_by_text("Well", exact=True).wait_for()
    assert send(page, "cross-site", "/whoami")["status"] == 200

    cookies = {urlsplit(request.url).path: request.all_headers().get("cookie", "") for request in asked}
    sign_in = f"switchboard-{urlsplit(page.url).port}="
    assert "-flow-" in cookies["/oauth/callback/cross-site"]
    for path in ("/oauth/callback/cross-site", "/oauth/done/cross-site"):
        assert sign_in not in cookies[path], "a Strict cookie does not come from another site, nor after its redirect"
    assert sign_in in cookies["/connections/cross-site"]
    assert "-flow-" not in cookies["/connections/cross-site"]

    assert [urlsplit(url).path for url in shown] == [
        "/oauth/authorize", "/oauth/done/cross-site", "/connections/cross-site"
    ]  # fmt: skip
    for url in shown[1:]:
        assert urlsplit(url).query == "", "what the browser remembers has neither code nor state"
    assert not [cookie for cookie in page.context.cookies() if "-flow-" in cookie["name"]]


def test_two_tabs_that_began_at_once_both_finish(page: Any, tabs: Any, provider: str) -> None:
    connect(page, provider, "twice")
    others = [tabs.new_page(), tabs.new_page()]
    for other in others:
        other.goto(begin(page, "twice"))
    for other in reversed(others):
        allow(other)
        other.wait_for_url("**/connections/twice")
        other.locator("#connection-state").get_by_text("Well", exact=True).wait_for()


def test_without_scripts_a_link_leads_on(page: Any, chromium: Any, demo: Demo, provider: str) -> None:
    connect(page, provider, "scriptless")
    url = begin(page, "scriptless")
    context = chromium.new_context(
        storage_state=page.context.storage_state(), base_url=demo.url, java_script_enabled=False
    )
    plain = context.new_page()
    plain.goto(url)
    allow(plain)
    plain.wait_for_url("**/oauth/done/scriptless")
    plain.get_by_role("link", name="Go to the connection").click()
    plain.wait_for_url("**/connections/scriptless")
    assert "admin" in plain.locator(".header__account").inner_text(), "still signed in"
    context.close()


def test_a_page_of_failure_leaves_no_code_and_no_state_in_the_address(page: Any, provider: str) -> None:
    connect(page, provider, "declined")
    page.goto(begin(page, "declined"))
    page.get_by_role("button", name="Do not allow").click()
    page.get_by_text("Code: access_denied").wait_for()
    page.wait_for_url("**/oauth/callback/declined")
    assert urlsplit(page.url).query == ""
    page.get_by_role("link", name="Go to the connection").click()
    page.wait_for_url("**/connections/declined")
    page.locator("#connection-state", has_text="Needs sign-in").wait_for()


def test_another_browser_that_is_given_the_link_cannot_finish_it(
    page: Any, chromium: Any, demo: Demo, provider: str
) -> None:
    """So nobody is made to connect somebody else's account (RFC 9700 §4.7)."""
    connect(page, provider, "given-away")
    context = chromium.new_context(base_url=demo.url)
    other = context.new_page()
    other.goto(begin(page, "given-away"))
    allow(other)
    other.get_by_text("Code: other_browser").wait_for()
    context.close()
    shown = ask(page, "GET", "/api/connections/given-away")
    assert shown["state"] == "needs_sign_in"
