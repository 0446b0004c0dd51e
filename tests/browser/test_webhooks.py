"""The page of webhooks in a real browser: added, tested, told, sent again and deleted."""

from typing import Any

import pytest

from tests.webhooks.receiver import receiving, verified

pytestmark = pytest.mark.browser


@pytest.fixture
def page(tabs: Any) -> Any:
    """The page without any webhook."""
    made = tabs.new_page()
    made.goto("/webhooks")
    made.locator("body[data-ready]").wait_for()
    made.evaluate(
        """async () => {
            const headers = { "X-Requested-By": "switchboard" }
            const { items } = await (await fetch("/api/webhooks")).json()
            for (const { id } of items) await fetch(`/api/webhooks/${id}`, { method: "DELETE", headers })
        }"""
    )
    made.reload()
    made.get_by_role("button", name="Add your first webhook").wait_for()
    return made


def add(page: Any, url: str) -> str:
    """Adds a webhook on loopback; its secret as it is shown."""
    page.get_by_role("button", name="Add webhook").click()
    page.get_by_label("URL").fill(url)
    page.get_by_label("Allow private and loopback addresses").check()
    page.get_by_role("button", name="Save webhook").click()
    secret: str = page.get_by_label("Secret", exact=True).inner_text()
    page.get_by_role("button", name="Done").click()
    page.locator("#webhooks > .card").first.wait_for()
    return secret


def test_a_webhook_is_added_and_a_test_arrives_with_a_signature_that_verifies(page: Any) -> None:
    with receiving() as (url, arrived):
        page.get_by_role("button", name="Add your first webhook").click()
        page.get_by_label("URL").fill(f"{url}/services/key-in-path")
        page.get_by_role("button", name="Save webhook").click()
        fault = page.get_by_role("dialog").locator("[data-fault-of='/allow_private']")
        fault.get_by_text("inside your network").wait_for()
        page.get_by_role("button", name="Cancel").click()
        secret = add(page, f"{url}/services/key-in-path")
        assert secret.startswith("whsec_")
        page.get_by_role("button", name="Send a test").click()
        page.get_by_text("It arrived.").wait_for()
        assert verified(arrived.get(timeout=5), secret)["type"] == "webhook.test"
    page.locator(".delivery[data-state=delivered]", has_text="Test").wait_for()
    for hidden in (secret, "key-in-path"):
        assert hidden not in page.content()


def test_what_did_not_arrive_says_so_and_is_sent_again_from_the_keyboard(page: Any) -> None:
    with receiving(status=500) as (url, arrived):
        add(page, url)
        page.get_by_role("button", name="Send a test").press("Enter")
        page.get_by_text("It did not arrive.").wait_for()
        page.get_by_text("The receiver answered 500.").wait_for()
        row = page.locator(".delivery[data-state=failed] summary")
        row.focus()
        row.press("Enter")
        page.get_by_role("button", name="Send it again").press("Enter")
        page.locator(".delivery[data-state=failed]").nth(1).wait_for()
        first, second = arrived.get(timeout=5), arrived.get(timeout=5)
    assert first.body == second.body
    assert page.locator(".delivery[open]").count() == 1, "what was open stays open"


def test_a_webhook_is_edited_gets_a_new_secret_and_is_deleted(page: Any) -> None:
    with receiving() as (url, _):
        secret = add(page, f"{url}/in")
        card = page.locator("#webhooks > .card")
        assert "Recovered" in card.locator(".card__facts").inner_text()
        card.get_by_role("button", name="Edit").click()
        page.get_by_label("A connection has recovered").uncheck()
        page.get_by_role("button", name="Save webhook").click()
        card.locator(".card__facts", has_text="Needs sign-in · Refresh failed").wait_for()
        card.get_by_role("button", name="New secret").click()
        page.get_by_role("button", name="Make it").click()
        assert page.get_by_label("Secret", exact=True).inner_text() not in ("", secret)
        page.get_by_role("button", name="Done").click()
        card.get_by_text("There is a new secret.").wait_for()
        card.get_by_role("button", name="Delete").click()
        page.get_by_role("button", name="Delete webhook").click()
        page.get_by_role("button", name="Add your first webhook").wait_for()


@pytest.mark.parametrize("width", [360, 1280])
def test_the_page_fits_its_window(page: Any, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    with receiving(status=500) as (url, _):
        add(page, url)
        page.get_by_role("button", name="Send a test").click()
        page.get_by_text("It did not arrive.").wait_for()
        page.locator(".delivery summary").first.click()
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
