"""The main job in a real Chromium: sign in, add a connection, send, see it arrive in another tab, replay it."""

import os
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import Demo

pytestmark = pytest.mark.browser


def test_a_person_adds_a_connection_sends_sees_it_live_in_a_second_tab_and_replays_it(tabs: Any, demo: Demo) -> None:
    page = tabs.new_page()
    page.goto("/connections")
    page.get_by_role("button", name="Add connection").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Name", exact=True).fill("mine")
    dialog.get_by_label("Base URL").fill(f"{demo.sandbox_url}/v1")
    dialog.get_by_label("Auth scheme").select_option("api_key")
    dialog.get_by_label("Key name").fill("X-Api-Key")
    dialog.get_by_label("Key value").fill("sandbox-api-key")
    dialog.get_by_label("Allow private and loopback addresses").check()
    dialog.get_by_role("button", name="Save connection").click()
    card = page.locator("[data-connection=mine]")
    card.get_by_role("button", name="Check").click()
    card.locator(".notice--good").wait_for()
    card.get_by_role("link", name="Send").click()

    other = tabs.new_page()
    other.goto("/history?connection=mine")
    other.locator("#live[data-state=live]").wait_for()
    before = other.locator("#calls > li").count()

    page.get_by_label("Path", exact=True).fill("/whoami")
    page.get_by_role("button", name="Send", exact=True).click()
    answer = page.locator("#answer .answer[data-call]")
    answer.wait_for()
    assert "api_key" in answer.inner_text()
    assert "sandbox-api-key" not in page.content()
    call = answer.get_attribute("data-call")

    row = other.locator(f"#calls > li[data-call='{call}']")
    row.wait_for()
    assert other.locator("#calls > li").count() == before + 1
    row.locator("a").click()
    other.get_by_role("button", name="Replay").click()
    other.wait_for_function("id => !location.pathname.endsWith(id)", arg=call)
    replayed = other.url.rpartition("/")[2].partition("?")[0]
    other.locator(f"#calls > li[data-call='{replayed}'][data-state=done]").wait_for()


def test_a_wrong_base_url_is_explained_beside_its_field(tabs: Any) -> None:
    page = tabs.new_page()
    page.goto("/connections?add=1")
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Name", exact=True).fill("Not A Name")
    dialog.get_by_label("Base URL").fill("ftp://example.com")
    with page.expect_response("**/api/connections") as answered:
        dialog.get_by_role("button", name="Save connection").click()
    assert answered.value.status == 422
    assert "http" in dialog.locator("[data-fault-of='/base_url']").inner_text()
    assert dialog.locator("[data-fault-of='/name']").inner_text()


def test_a_reload_keeps_what_was_typed(tabs: Any) -> None:
    page = tabs.new_page()
    page.goto("/send?connection=items")
    page.locator("body[data-ready]").wait_for()
    page.get_by_label("Path", exact=True).fill("/items/7")
    page.get_by_label("Method").select_option("DELETE")
    page.wait_for_timeout(500)
    page.reload()
    page.locator("body[data-ready]").wait_for()
    assert page.get_by_label("Path", exact=True).input_value() == "/items/7"
    assert page.get_by_label("Method").input_value() == "DELETE"


def test_a_used_link_says_what_to_do(chromium: Any, demo: Demo, signed_in: Any) -> None:
    page = chromium.new_page()
    page.goto(demo.link)
    page.locator("#sign-in-help").wait_for()
    assert "switchboard account link" in page.locator("body").inner_text()
    page.close()


@pytest.mark.parametrize(
    "path", ["/connections", "/connections/items", "/send?connection=items", "/history", "/sign-in", "/nowhere"]
)
@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_fit_their_window_and_are_photographed(
    chromium: Any, demo: Demo, signed_in: Any, path: str, width: int, scheme: Any
) -> None:
    """Each page at both widths and both schemes, into SWITCHBOARD_TEST_PICTURES where that is set."""
    context = chromium.new_context(
        storage_state=signed_in, base_url=demo.url, color_scheme=scheme, viewport={"width": width, "height": 800}
    )
    page = context.new_page()
    page.goto(path)
    page.wait_for_load_state("load")
    page.wait_for_timeout(200)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    folder = os.environ.get("SWITCHBOARD_TEST_PICTURES")
    if folder:
        name = f"{path.strip('/').partition('?')[0].replace('/', '-')}-{width}-{scheme}.png"
        page.screenshot(path=str(Path(folder) / name))
    context.close()


def test_the_picture_of_the_readme(chromium: Any, demo: Demo, signed_in: Any) -> None:
    """An open call in the history, into SWITCHBOARD_TEST_PICTURES/history.png: see `make picture`."""
    context = chromium.new_context(storage_state=signed_in, base_url=demo.url, viewport={"width": 1280, "height": 720})
    page = context.new_page()
    page.goto("/history?connection=items")
    page.locator("#calls a", has_text="/v1/items").first.click()
    page.locator("#call .answer, #call .facts").first.wait_for()
    page.get_by_role("button", name="Replay").wait_for()
    folder = os.environ.get("SWITCHBOARD_TEST_PICTURES")
    if folder:
        page.screenshot(path=str(Path(folder) / "history.png"))
    context.close()


def test_signing_out_ends_the_session(tabs: Any) -> None:
    page = tabs.new_page()
    page.goto("/connections")
    [cookie] = tabs.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/sign-in")
    assert tabs.cookies() == []
    tabs.add_cookies([cookie])
    page.goto("/connections")
    page.wait_for_url("**/sign-in")
