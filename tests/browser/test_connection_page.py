"""The page of a connection: its health in every class of failure, the way back, the ledger, and all of it live."""

import os
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import Demo
from tests.browser.doctored import doctored
from tests.browser.test_console import ask, send, with_connection
from tests.doctor.rows import NOW, exchange, failed, oauth, token

pytestmark = pytest.mark.browser

CODE = oauth(
    authorize_url="https://login.example/authorize", client_secret="a-secret-of-the-client", scope="read write"
)
OWN = oauth("client_credentials", client_secret="a-secret-of-the-client")
SIGNED_IN = {"signed_in_at": NOW - 7200, "signed_in_by": "account:ada"}

STATES: dict[str, Any] = {
    "well": (CODE, [exchange(), exchange("in_doubt", 780, failure="provider_down")], token(scope="read", **SIGNED_IN)),
    "signed-out": (CODE, [failed("signed_out", "invalid_grant"), exchange()], token(expires_at=NOW - 9, **SIGNED_IN)),
    "not-signed-in": (CODE, [], None),
    "wrong-client": (OWN, [failed("wrong_client", "invalid_client", generation=0)], None),
    "network": (OWN, [failed("network", "dns_failed")], token(failures=1, retry_at=NOW + 50)),
    "provider-down": (OWN, [failed("provider_down", "first_byte_timeout"), exchange()], token(failures=2)),
    "in-doubt": (CODE, [exchange("in_doubt", 3, failure="provider_down", reason="reset")], token(failures=1)),
    "odd-answer": (OWN, [failed("odd_answer", oddities=["The answer is a page."])], token(failures=1)),
    "clock": (OWN | {"client_auth": "basic"}, [failed("clock", skew_seconds=3600.0)], token(failures=1)),
}
WORDS = {
    "well": ("Well", "Well: the token was refreshed", "write is missing"),
    "signed-out": ("Needs sign-in", "The provider ended the sign-in", "Sign in with the button"),
    "not-signed-in": ("Needs sign-in", "Nobody has signed in yet.", "Sign in with the button"),
    "wrong-client": ("Set-up fault", "does not take this client (invalid_client)", "the client's secret"),
    "network": ("Not well", "its name cannot be resolved; the token it has lasts until", "tried again by itself"),
    "provider-down": ("Not well", "The provider was in trouble", "status page"),
    "in-doubt": ("Not well", "The answer to the last token request was lost", "seconds of grace"),
    "odd-answer": ("Not well", "is no token", "token URL"),
    "clock": ("Not well", "clock is 1 hour ahead of the provider's", "NTP"),
}
NEEDS = {"signed-out": "needs_sign_in", "not-signed-in": "needs_sign_in", "wrong-client": "config_error"}


@pytest.fixture(scope="module")
def patients(demo: Demo) -> Demo:
    """A connection in each state."""
    for name, (auth, exchanges, held) in STATES.items():
        doctored(demo, name, auth, *exchanges, state=NEEDS.get(name, "ready"), held=held)
    return demo


def opened(tabs: Any, name: str) -> Any:
    page = tabs.new_page()
    page.goto(f"/connections/{name}")
    page.locator(".health[data-well]").wait_for()
    return page


@pytest.mark.parametrize("name", STATES)
def test_each_state_is_told_with_what_to_do(tabs: Any, patients: Demo, name: str) -> None:
    page = opened(tabs, name)
    badge, summary, advice = WORDS[name]
    assert page.locator("#connection-state").inner_text() == badge
    assert summary in page.locator(".health__summary").inner_text()
    assert advice in page.locator(".health__next").inner_text()
    signs_in = page.get_by_role("button", name="Sign in")
    assert signs_in.count() == (STATES[name][0]["grant"] == "authorization_code")
    if signs_in.count():
        is_primary = "button--primary" in signs_in.get_attribute("class")
        assert is_primary == (NEEDS.get(name) == "needs_sign_in")


def test_the_facts_of_a_connection_that_is_well_are_shown(tabs: Any, patients: Demo) -> None:
    page = opened(tabs, "well")
    facts = {
        fact.locator("dt").inner_text(): fact.locator("dd").inner_text() for fact in page.locator(".health__fact").all()
    }
    assert facts["Last exchange"].startswith("Stored")
    assert "Generation 3. Good until" in facts["Token"]
    assert facts["Scope"] == "read Not granted: write"
    assert facts["Signed in"].endswith("by account:ada")
    assert facts["Sign in again"].startswith("Not known.")
    assert page.get_by_role("button", name="Sign in again").is_visible()


def test_the_ledger_tells_of_each_exchange_and_leads_to_its_call(tabs: Any, patients: Demo) -> None:
    page = opened(tabs, "well")
    rows = page.locator(".ledger tbody tr")
    rows.nth(1).wait_for()
    stored, lost = rows.nth(0), rows.nth(1)
    assert "claimed → sent → stored" in stored.locator(".ledger__outcome").inner_text().lower()
    assert "2 → 3" in stored.inner_text()
    assert "Ahead of its end" in stored.inner_text()
    assert "claimed → sent → in doubt" in lost.locator(".ledger__outcome").inner_text().lower()
    assert "The old one is tried again within the provider’s grace" in lost.inner_text()
    link = stored.get_by_role("link")
    assert link.get_attribute("href") == f"/history/{stored.get_attribute('data-exchange')}"
    assert "claimed → sent → failed" in opened(tabs, "network").locator(".ledger__outcome").inner_text().lower()


def test_oddities_stand_with_their_exchange(tabs: Any, patients: Demo) -> None:
    page = opened(tabs, "odd-answer")
    assert "Odd: The answer is a page." in page.locator(".ledger__outcome").inner_text()
    assert "The answer is a page." in page.locator(".health__facts").inner_text()
    clock = opened(tabs, "clock").locator(".ledger__outcome").inner_text()
    assert "This machine’s clock was 60 min ahead." in clock


def test_a_long_ledger_shows_older_exchanges_when_asked(tabs: Any, demo: Demo) -> None:
    doctored(demo, "long", CODE, *(exchange(seconds_ago=60 * number) for number in range(1, 26)), held=token())
    page = opened(tabs, "long")
    rows = page.locator(".ledger tbody tr")
    rows.nth(9).wait_for()
    assert rows.count() == 10
    older = page.get_by_role("button", name="Show older ones")
    for count in (20, 25):
        older.click()
        rows.nth(count - 1).wait_for()
        assert rows.count() == count
    assert not older.is_visible()


def test_a_refresh_is_followed_live_on_page_card_and_ledger(tabs: Any, demo: Demo) -> None:
    other = tabs.new_page()
    other.goto("/connections")
    card = other.locator("[data-connection=items]")
    card.get_by_text("Well: the token was refreshed").wait_for()
    page = opened(tabs, "items")
    page.bring_to_front()
    before = page.locator(".ledger tbody tr").first.get_attribute("data-exchange")
    page.get_by_role("button", name="Refresh now").click()
    page.locator(".health .notice--good", has_text="There is a new token.").wait_for()
    page.locator(f".ledger tbody tr:first-child:not([data-exchange='{before}'])", has_text="A person asked").wait_for()
    page.locator(".health__summary", has_text="just now").or_(
        page.locator(".health__summary", has_text="second")
    ).wait_for()


def test_a_refresh_that_fails_says_why_and_is_in_the_ledger_at_once(tabs: Any, demo: Demo) -> None:
    auth = OWN | {"token_url": f"{demo.sandbox_url}/oauth/token", "client_secret": "not-the-secret"}
    page = with_connection(tabs, demo, "mistyped")
    ask(page, "PATCH", "/api/connections/mistyped", {"auth": auth})
    page = opened(tabs, "mistyped")
    page.get_by_role("button", name="Refresh now").click()
    page.locator(".health .notice--bad").wait_for()
    page.locator("#connection-state", has_text="Set-up fault").wait_for()
    row = page.locator(".ledger tbody tr", has_text="(invalid_client)")
    row.wait_for()
    row.get_by_role("link").click()
    page.locator("#call", has_text="/oauth/token").wait_for()


def test_a_refused_key_is_seen_after_the_call_that_was_refused(tabs: Any, demo: Demo) -> None:
    page = with_connection(tabs, demo, "refused")
    auth = {"scheme": "api_key", "in": "header", "name": "X-Api-Key", "value": "an-old-key-of-it"}
    ask(page, "PATCH", "/api/connections/refused", {"auth": auth})
    page = opened(tabs, "refused")
    assert page.locator("#connection-state").inner_text() == "Well"
    assert not page.locator("#ledger-section").is_visible()
    assert page.get_by_role("button", name="Refresh now").count() == 0
    assert send(page, "refused", "/whoami")["status"] == 401
    page.locator(".health__summary", has_text="The API refuses the credential").wait_for()
    assert page.locator("#connection-state").inner_text() == "Not well"


def test_a_connection_that_gets_another_grant_gets_its_ledger_without_a_reload(tabs: Any, demo: Demo) -> None:
    with_connection(tabs, demo, "regranted")
    page = opened(tabs, "regranted")
    assert not page.locator("#ledger-section").is_visible()
    ask(page, "PATCH", "/api/connections/regranted", {"auth": CODE})
    page.locator("#ledger-section").wait_for()
    page.get_by_role("button", name="Sign in", exact=True).wait_for()


def test_the_list_says_how_each_is_and_has_the_way_back(tabs: Any, patients: Demo) -> None:
    page = tabs.new_page()
    page.goto("/connections")
    for name in ("well", "signed-out", "network"):
        card = page.locator(f"[data-connection={name}]")
        card.locator(".card__health", has_text=WORDS[name][1]).wait_for()
        assert card.locator(".card__state").inner_text() == WORDS[name][0]
        assert card.get_by_role("button", name="Sign in").count() == (name == "signed-out")


@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["well", "signed-out", "network", "in-doubt"])
def test_the_page_fits_its_window_and_is_photographed(
    chromium: Any, patients: Demo, signed_in: Any, name: str, width: int, scheme: Any
) -> None:
    """Into SWITCHBOARD_TEST_PICTURES where that is set."""
    context = chromium.new_context(
        storage_state=signed_in, base_url=patients.url, color_scheme=scheme, viewport={"width": width, "height": 1400}
    )
    page = context.new_page()
    page.goto(f"/connections/{name}")
    page.locator(".ledger tbody tr").first.wait_for()
    page.locator(".health[data-well]").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    folder = os.environ.get("SWITCHBOARD_TEST_PICTURES")
    if folder:
        page.wait_for_timeout(300)
        page.screenshot(path=str(Path(folder) / f"health-{name}-{width}-{scheme}.png"), full_page=True)
        page.goto("/connections")
        page.locator(".card__health[data-well]").first.wait_for()
        page.wait_for_timeout(300)
        page.screenshot(path=str(Path(folder) / f"connections-{width}-{scheme}.png"), full_page=True)
    context.close()
