"""What the pages tell a person who knows none of it: waits, retries, limits, secrets taken out, differences."""

import socket
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import Demo

pytestmark = pytest.mark.browser

KEY = "sandbox-api-key"


def ask(page: Any, method: str, path: str, body: Any = None) -> Any:
    """What a page's own script would get from the API."""
    return page.evaluate(
        """async ([method, path, body]) => {
            const headers = { "X-Requested-By": "switchboard", "Content-Type": "application/json" }
            const answer = await fetch(path, { method, headers, body: body && JSON.stringify(body) })
            return answer.json()
        }""",
        [method, path, body],
    )


def with_connection(tabs: Any, demo: Demo, name: str, **policy: Any) -> Any:
    """A page that stands on Connections, after a connection to the sandbox was made anew."""
    page = tabs.new_page()
    page.goto("/connections")
    page.locator("body[data-ready]").wait_for()
    auth = {"scheme": "api_key", "in": "header", "name": "X-Api-Key", "value": KEY}
    form = {"name": name, "base_url": f"{demo.sandbox_url}/v1", "auth": auth}
    made = ask(page, "POST", "/api/connections", form | {"policy": {"allow_private": True} | policy})
    assert made["name"] == name, made
    return page


def send(page: Any, connection: str, path: str, **parts: Any) -> Any:
    return ask(page, "POST", "/api/calls", {"connection": connection, "path": path} | parts)


def open_call(page: Any, call: Any) -> Any:
    page.goto(f"/history/{call['id']}")
    shown = page.locator("#call")
    shown.locator(".answer").wait_for()
    return shown


def test_a_retried_call_tells_why_and_shows_each_wait_and_attempt_on_one_axis(tabs: Any, demo: Demo) -> None:
    page = with_connection(tabs, demo, "retried")
    shown = open_call(page, send(page, "retried", "/flaky?failures=2&key=retried"))
    story = shown.get_by_role("list", name="What happened")
    assert "It was tried again" in story.inner_text()
    table = shown.get_by_role("table")
    for number in (1, 2, 3):
        table.get_by_role("rowheader", name=f"Attempt {number}").wait_for()
    within = "tracks => tracks.every(({ scrollWidth, clientWidth }) => scrollWidth <= clientWidth)"
    assert table.locator(".waterfall__track").evaluate_all(within), "no bar may leave the axis"


def test_a_call_that_was_not_retried_says_why_and_leads_to_the_field_that_allows_it(tabs: Any, demo: Demo) -> None:
    page = with_connection(tabs, demo, "unsafe")
    shown = open_call(page, send(page, "unsafe", "/flaky?failures=1&key=unsafe", method="POST", json={}))
    shown.get_by_text("It was not tried again").wait_for()
    shown.get_by_role("link", name="Allow retries of all methods").click()
    dialog = page.get_by_role("dialog")
    dialog.wait_for()
    field = dialog.get_by_label("Retry all methods")
    assert field.evaluate("field => field === document.activeElement")
    field.check()
    dialog.get_by_role("button", name="Save connection").click()
    page.locator("#setup", has_text="whatever the method").wait_for()


def test_an_idempotency_key_that_the_page_makes_lets_a_post_be_tried_again(tabs: Any, demo: Demo) -> None:
    page = with_connection(tabs, demo, "keyed")
    page.goto("/send?connection=keyed")
    page.locator("body[data-ready]").wait_for()
    page.get_by_label("Method").select_option("POST")
    page.get_by_label("Path", exact=True).fill("/flaky?failures=1&key=keyed")
    page.get_by_role("tab", name="Headers").first.click()
    page.get_by_role("button", name="Make one").click()
    page.get_by_role("button", name="Send", exact=True).click()
    page.locator("#answer .answer[data-call]").wait_for()
    assert "2 attempts" in page.locator("#answer").inner_text()


def test_a_taken_out_secret_says_whose_it_is_and_whether_it_is_still_the_one_in_use(tabs: Any, demo: Demo) -> None:
    page = with_connection(tabs, demo, "marked")
    call = send(page, "marked", f"/echo?said={KEY}")
    mark = open_call(page, call).locator("#call-title .mark")
    mark.locator(".mark__age", has_text="present one").wait_for()
    assert "API key" in mark.inner_text()
    assert KEY not in page.content()
    auth = {"scheme": "api_key", "in": "header", "name": "X-Api-Key", "value": "another-api-key"}
    ask(page, "PATCH", "/api/connections/marked", {"auth": auth})
    mark = open_call(page, call).locator("#call-title .mark")
    mark.locator(".mark__age", has_text="older or other one").wait_for()
    assert "older or other" in mark.get_attribute("title")


def test_a_refused_address_leads_to_the_box_that_allows_it(tabs: Any, demo: Demo) -> None:
    page = with_connection(tabs, demo, "inside")
    change = {"base_url": f"http://{socket.gethostname()}:8000/", "policy": {"allow_private": False}}
    ask(page, "PATCH", "/api/connections/inside", change)
    call = send(page, "inside", "/")
    if call["reason"] != "egress_denied":
        pytest.skip("this machine's own name does not lead to an address of its network")
    shown = open_call(page, call)
    assert "egress" in shown.locator(".notice--bad").inner_text()
    shown.get_by_role("link", name="Allow private addresses").click()
    field = page.get_by_role("dialog").get_by_label("Allow private and loopback addresses")
    field.wait_for()
    assert field.evaluate("field => field === document.activeElement")


def test_turning_verification_off_warns_and_stays_in_red_on_card_and_page(tabs: Any, demo: Demo) -> None:
    page = with_connection(tabs, demo, "unverified")
    page.goto("/connections/unverified?field=/tls/verify")
    dialog = page.get_by_role("dialog")
    dialog.wait_for()
    warning = dialog.get_by_text("Danger: nobody checks whom you talk to.")
    assert not warning.is_visible()
    dialog.get_by_label("Check the API’s certificate").uncheck()
    assert warning.is_visible()
    dialog.get_by_role("button", name="Save connection").click()
    page.locator("#connection-state [data-unverified]").wait_for()
    page.goto("/connections")
    page.locator("[data-connection=unverified] [data-unverified]").wait_for()


def test_the_budget_of_a_connection_is_shown_as_it_changes(tabs: Any, demo: Demo) -> None:
    page = with_connection(tabs, demo, "narrow", concurrency=1)
    page.goto("/connections/narrow")
    budget = page.locator("#budget")
    budget.get_by_text("0 of 1 place taken.").wait_for()
    other = tabs.new_page()
    other.goto("/connections")
    other.evaluate(
        """() => {
            const headers = { "X-Requested-By": "switchboard", "Content-Type": "application/json" }
            const body = JSON.stringify({ connection: "narrow", path: "/slow?seconds=4" })
            for (const _ of [1, 2]) fetch("/api/calls", { method: "POST", headers, body })
        }"""
    )
    page.bring_to_front()
    budget.get_by_text("1 of 1 place taken. 1 call waits for one.").wait_for()
    budget.get_by_text("0 of 1 place taken.").wait_for()
    page.locator("#latest a", has_text="/v1/slow").first.click()
    page.get_by_text("All places of the connection were taken by other calls.").wait_for()


def test_the_search_answers_while_one_types_and_keeps_the_caret(tabs: Any, demo: Demo) -> None:
    page = with_connection(tabs, demo, "sought")
    send(page, "sought", "/echo", method="POST", json={"note": "marmalade sandwich"})
    call = send(page, "sought", "/echo", method="POST", json={"note": "marmalade jar"})
    page.goto("/history?connection=sought")
    page.locator("body[data-ready]").wait_for()
    field = page.get_by_label("Search", exact=True)
    field.press_sequentially("marmalade ja", delay=40)
    page.locator("#found", has_text="1 call").wait_for()
    assert page.locator("#calls > li").evaluate_all("rows => rows.map((row) => row.dataset.call)") == [call["id"]]
    assert field.evaluate("field => field === document.activeElement && field.selectionStart === 12")
    field.press_sequentially("undice", delay=40)
    page.locator("#found", has_text="Nothing found").wait_for()
    page.get_by_role("button", name="Clear").click()
    page.locator("#calls > li").first.wait_for()


def test_the_disk_meter_tells_what_is_kept_and_until_when(tabs: Any) -> None:
    page = tabs.new_page()
    page.goto("/history?q=nothing-has-this-word")
    meter = page.locator("#storage summary")
    meter.wait_for()
    assert "kept" in meter.inner_text()
    meter.click()
    page.locator("#storage").get_by_text("after 90 days").wait_for()


def test_two_calls_are_chosen_and_compared_and_a_path_is_ignored_for_good(tabs: Any, demo: Demo) -> None:
    page = with_connection(tabs, demo, "compared")
    one = send(page, "compared", "/items?limit=2")
    other = send(page, "compared", "/items?limit=3")
    shown = open_call(page, one)
    shown.get_by_role("button", name="Compare").click()
    page.locator("#comparing").wait_for()
    page.locator(f"#calls > li[data-call='{other['id']}'] a").click()
    page.wait_for_url(f"**/history/{one['id']}/diffs/{other['id']}")
    page.get_by_text("+ Added").first.wait_for()
    changed = page.locator(".change", has_text="content-length")
    assert changed.get_by_text("≠ Changed").is_visible()
    changed.get_by_role("button", name="Ignore /response/headers/content-length", exact=True).click()
    page.locator("#diff-said", has_text="1 ignored path").wait_for()
    assert changed.count() == 0
    page.reload()
    page.locator("#diff-said", has_text="1 ignored path").wait_for()
    assert changed.count() == 0


def test_a_replay_is_compared_with_its_original_by_one_click(tabs: Any, demo: Demo) -> None:
    page = with_connection(tabs, demo, "replayed")
    call = send(page, "replayed", "/items?limit=2")
    shown = open_call(page, call)
    shown.get_by_role("button", name="Replay").click()
    shown.get_by_role("link", name="Compare with the original").click()
    page.wait_for_url(f"**/history/{call['id']}/diffs/*")
    page.get_by_text("Both are the same").wait_for()


def test_a_replay_that_cannot_be_made_says_so_beside_its_button(tabs: Any, demo: Demo) -> None:
    page = with_connection(tabs, demo, "cut", record_bytes=4)
    call = send(page, "cut", "/echo", method="POST", text="more than four bytes")
    shown = open_call(page, call)
    assert "Only the beginning is on record." in shown.inner_text()
    shown.get_by_role("button", name="Replay").click()
    page.get_by_role("button", name="Send again").click()
    shown.locator(".call__problem .notice--bad").wait_for()


def test_parts_and_files_are_sent_byte_for_byte(tabs: Any, demo: Demo, tmp_path: Path) -> None:
    page = with_connection(tabs, demo, "files")
    content = bytes(range(256))
    (tmp_path / "all.bin").write_bytes(content)
    page.goto("/send?connection=files")
    page.locator("body[data-ready]").wait_for()
    page.get_by_label("Method").select_option("POST")
    page.get_by_label("Path", exact=True).fill("/echo")
    page.get_by_role("tab", name="Body").first.click()
    page.get_by_label("Body type").select_option("file")
    page.get_by_label("File", exact=True).set_input_files(tmp_path / "all.bin")
    page.get_by_role("button", name="Send", exact=True).click()
    page.locator("#answer .answer[data-call]").wait_for()
    assert "256" in page.locator("#answer").inner_text()

    page.get_by_label("Body type").select_option("multipart")
    page.get_by_label("Part name").first.fill("note")
    page.get_by_label("Part text").first.fill("häh")
    page.get_by_label("Part name").nth(1).fill("upload")
    page.get_by_label("Part is").nth(1).select_option("file")
    page.get_by_label("Part file").nth(1).set_input_files(tmp_path / "all.bin")
    with page.expect_response("**/api/calls") as answered:
        page.get_by_role("button", name="Send", exact=True).click()
    assert answered.value.status == 201
    call = answered.value.json()
    assert (call["status"], call["request"]["body"]["media_type"]) == (200, "multipart/form-data")
    assert call["request"]["body"]["size"] > len(content)


@pytest.mark.parametrize("width", [360, 1280])
def test_a_call_and_a_comparison_fit_their_window(tabs: Any, demo: Demo, width: int) -> None:
    page = with_connection(tabs, demo, f"fits-{width}")
    page.set_viewport_size({"width": width, "height": 800})
    one = send(page, f"fits-{width}", f"/flaky?failures=2&key=fits{width}&said={KEY}")
    other = send(page, f"fits-{width}", "/items?limit=1")
    for path in (f"/history/{one['id']}", f"/history/{one['id']}/diffs/{other['id']}"):
        page.goto(path)
        page.locator("body[data-ready]").wait_for()
        page.wait_for_timeout(300)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
