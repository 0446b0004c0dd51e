"""The whole way by authorization code in a real browser: signed in, signed out by the provider, and back again."""

import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from quart_app.sandbox import DEMO
from tests.browser.test_console import ask, send
from tests.served import SWITCHBOARD, clean_environment, free_port

pytestmark = pytest.mark.browser
ACCESS_SECONDS = 4


@pytest.fixture(scope="module")
def provider() -> Iterator[str]:
    """A sandbox of its own as a process, whose access tokens end soon; where it is."""
    bind = f"127.0.0.1:{free_port()}"
    command = [*SWITCHBOARD, "sandbox", "--bind", bind, "--access-seconds", str(ACCESS_SECONDS)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=clean_environment())
    try:
        for _ in range(300):
            with suppress(OSError):
                told(f"http://{bind}", "GET", "/oauth/stats")
                break
            time.sleep(0.1)
        yield f"http://{bind}"
    finally:
        process.terminate()
        process.wait(30)


def form(provider: str, name: str) -> dict[str, Any]:
    auth = {
        "scheme": "oauth2",
        "grant": "authorization_code",
        "authorize_url": f"{provider}/oauth/authorize",
        "token_url": f"{provider}/oauth/token",
        "client_id": DEMO.client_id,
        "client_secret": DEMO.client_secret,
        "scope": "items:read",
    }
    return {"name": name, "base_url": f"{provider}/v1", "auth": auth, "policy": {"allow_private": True}}


def told(provider: str, method: str, path: str) -> Any:
    """What the sandbox itself answers, beside Switchboard."""
    with urlopen(Request(f"{provider}{path}", method=method), timeout=10) as answer:
        content = answer.read()
    return json.loads(content) if content else None


def family(provider: str) -> dict[str, Any]:
    """The family of the last sign-in, as the sandbox knows it."""
    found: dict[str, Any] = told(provider, "GET", "/oauth/stats")["families"][-1]
    return found


def until_refused(page: Any, name: str) -> dict[str, Any]:
    """Calls until one is not sent for want of a token: the access token in hand may outlive the sign-in."""
    for _ in range(20 * ACCESS_SECONDS):
        call: dict[str, Any] = send(page, name, "/items")
        if call["reason"]:
            return call
        page.wait_for_timeout(100)
    raise AssertionError(call)


def sign_in(page: Any, decision: str = "Allow") -> None:
    """Presses the button and answers the provider's question."""
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("button", name=decision, exact=True).click()


def ledger(page: Any) -> list[str]:
    return [row.inner_text() for row in page.locator(".ledger tbody tr").all()]


def photographed(page: Any, name: str) -> None:
    folder = os.environ.get("SWITCHBOARD_TEST_PICTURES")
    if folder:
        page.screenshot(path=str(Path(folder) / f"{name}.png"), full_page=True)


@pytest.fixture
def page(tabs: Any) -> Any:
    opened = tabs.new_page()
    opened.goto("/connections")
    opened.locator("body[data-ready]").wait_for()
    return opened


def test_a_connection_signed_out_by_its_provider_is_signed_in_again_and_the_ledger_tells_all(
    page: Any, provider: str
) -> None:
    ask(page, "POST", "/api/connections", form(provider, "garden"))
    page.goto("/connections/garden")
    page.locator(".health__summary", has_text="Nobody has signed in yet.").wait_for()
    assert "button--primary" in page.get_by_role("button", name="Sign in").get_attribute("class")
    sign_in(page)
    page.wait_for_url("**/connections/garden")
    page.locator("#connection-state").get_by_text("Well", exact=True).wait_for()
    assert send(page, "garden", "/items")["status"] == 200
    first = family(provider)
    assert first["grant"] == "authorization_code"

    told(provider, "DELETE", f"/oauth/families/{first['family_id']}")
    assert until_refused(page, "garden")["reason"] == "token_unavailable"
    page.locator("#connection-state", has_text="Needs sign-in").wait_for()
    page.locator(".health__summary", has_text="The provider ended the sign-in").wait_for()
    assert "Sign in with the button" in page.locator(".health__next").inner_text()
    page.locator(".ledger tr[data-state=failed]", has_text="(invalid_grant)").wait_for()
    photographed(page, "way-back-signed-out")

    assert "button--primary" in page.get_by_role("button", name="Sign in").get_attribute("class")
    sign_in(page)
    page.wait_for_url("**/connections/garden")
    page.locator("#connection-state").get_by_text("Well", exact=True).wait_for()
    assert send(page, "garden", "/items")["status"] == 200
    assert family(provider)["family_id"] != first["family_id"]
    page.locator(".ledger tbody tr").nth(2).wait_for()
    rows = ledger(page)
    signed_in = [number for number, row in enumerate(rows) if "A person signed in" in row]
    refused = [number for number, row in enumerate(rows) if "invalid_grant" in row]
    assert signed_in[0] < refused[0] <= refused[-1] < signed_in[1] == len(rows) - 1, rows
    page.locator(".health__fact", has_text="Signed in").get_by_text("by account:admin").wait_for()
    photographed(page, "way-back-signed-in")


def test_a_sign_in_that_is_declined_changes_nothing_and_leads_back(page: Any, provider: str) -> None:
    ask(page, "POST", "/api/connections", form(provider, "hedge"))
    page.goto("/connections/hedge")
    sign_in(page, "Do not allow")
    page.get_by_text("The sign-in was declined, and nothing was changed.").wait_for()
    photographed(page, "way-back-declined")
    page.get_by_role("link", name="Go to the connection").click()
    page.locator("#connection-state", has_text="Needs sign-in").wait_for()
    assert ledger(page) == []


def test_the_card_has_the_way_back_as_well(page: Any, provider: str) -> None:
    ask(page, "POST", "/api/connections", form(provider, "orchard"))
    page.reload()
    card = page.locator("[data-connection=orchard]")
    card.locator(".card__health", has_text="Nobody has signed in yet.").wait_for()
    card.get_by_role("button", name="Sign in").click()
    page.get_by_role("button", name="Allow", exact=True).click()
    page.wait_for_url("**/connections/orchard")
    page.locator("#connection-state").get_by_text("Well", exact=True).wait_for()
