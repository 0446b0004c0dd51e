"""The form that adds and changes connections: an API chosen by name, the fields of each grant, faults at fields."""

import os
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from quart_app.forms import presets
from tests.browser.conftest import Demo
from tests.browser.test_console import ask
from tests.outbound.certificates import issued

pytestmark = pytest.mark.browser

KEY = issued("client.example", key=rsa.generate_private_key(65537, 2048)).key
SCOPED = {"scheme": "oauth2", "grant": "client_credentials", "client_id": "me", "client_secret": "a-secret"}


def adding(tabs: Any) -> tuple[Any, Any]:
    page = tabs.new_page()
    page.goto("/connections?add=1")
    page.locator("body[data-ready]").wait_for()
    return page, page.get_by_role("dialog")


def choose(page: Any, dialog: Any, text: str) -> None:
    """As a person does who uses no mouse; the first that is found."""
    field = dialog.get_by_role("combobox", name="Which API?")
    field.fill("")
    field.press_sequentially(text)
    page.keyboard.press("Enter")
    dialog.get_by_role("link", name="Documentation").wait_for()
    assert text in field.input_value().lower()


def value(dialog: Any, label: str) -> str:
    found: str = dialog.get_by_label(label, exact=True).input_value()
    return found


def left(dialog: Any) -> str:
    found: str = dialog.locator("#preset-left").inner_text()
    return found


def save(page: Any, dialog: Any) -> Any:
    """What was sent, and the status of the answer."""
    with page.expect_response(lambda answer: answer.request.method in ("POST", "PATCH")) as answered:
        dialog.get_by_role("button", name="Save connection").click()
    return answered.value.request.post_data_json, answered.value.status


def test_an_api_is_chosen_by_its_name_and_what_is_left_is_said_until_it_is_there(tabs: Any, demo: Demo) -> None:
    page, dialog = adding(tabs)
    assert dialog.get_by_label("Which API?").evaluate("field => field === document.activeElement")
    choose(page, dialog, "zendesk")
    assert (value(dialog, "Name"), value(dialog, "Title")) == ("zendesk", "Zendesk")
    assert value(dialog, "Base URL") == "https://{subdomain}.zendesk.com/api/v2"
    assert left(dialog) == "Still to be filled in: Subdomain, Client ID, Client secret"
    dialog.get_by_role("button", name="Subdomain").click()
    page.keyboard.type("acme")
    assert value(dialog, "Base URL") == "https://acme.zendesk.com/api/v2"
    assert value(dialog, "Token URL") == "https://acme.zendesk.com/oauth/tokens"
    assert value(dialog, "Authorize URL") == "https://acme.zendesk.com/oauth/authorizations/new"
    dialog.get_by_role("checkbox", name="write").check()
    assert value(dialog, "Scope") == "read write"
    dialog.get_by_label("Scope", exact=True).fill("write more")
    assert not dialog.get_by_role("checkbox", name="read").is_checked()
    dialog.get_by_label("Name", exact=True).fill("help-desk")
    redirect_uri = f"{demo.url}/oauth/callback/help-desk"
    assert dialog.locator("#redirect-uri").inner_text() == redirect_uri
    dialog.get_by_label("Client ID").fill("switchboard")
    dialog.get_by_label("Client secret").fill("a-secret")
    assert not dialog.locator("#preset-left").is_visible()
    _, status = save(page, dialog)
    assert status == 201
    page.wait_for_url("**/connections/help-desk")  # where one signs in
    made = ask(page, "GET", "/api/connections/help-desk")
    assert (made["redirect_uri"], made["state"]) == (redirect_uri, "needs_sign_in")
    assert made["metadata"] == {"preset": "zendesk", "check": "/users/me.json"}
    assert (made["auth"]["scope"], made["auth"]["client_auth"]) == ("write more", "post")


def test_another_choice_takes_the_place_of_the_first_but_not_of_what_a_person_wrote(tabs: Any) -> None:
    page, dialog = adding(tabs)
    choose(page, dialog, "zoho")
    dialog.get_by_label("Title").fill("Our own title")
    choose(page, dialog, "algolia")
    assert (value(dialog, "Name"), value(dialog, "Title")) == ("algolia", "Our own title")
    assert value(dialog, "Auth scheme") == "api_key"
    assert left(dialog) == "Still to be filled in: Application ID, Key value"
    dialog.get_by_label("Application ID").fill("LATENCY1AB")
    dialog.get_by_label("Key value").fill("a-key-of-algolia")
    sent, status = save(page, dialog)
    assert status == 201
    assert sent["headers"] == {"X-Algolia-Application-Id": "LATENCY1AB"}
    assert sent["auth"] == {
        "scheme": "api_key",
        "in": "header",
        "name": "X-Algolia-API-Key",
        "value": "a-key-of-algolia",
    }
    page.locator("[data-connection=algolia]").wait_for()


def test_the_list_is_used_with_keys_or_mouse_and_escape_leaves_the_form_open(tabs: Any) -> None:
    page, dialog = adding(tabs)
    field = dialog.get_by_role("combobox", name="Which API?")
    field.press_sequentially("google")
    options = dialog.get_by_role("listbox", name="APIs").get_by_role("option")
    options.first.wait_for()
    assert field.get_attribute("aria-expanded") == "true"
    page.keyboard.press("ArrowDown")
    second = options.nth(1)
    assert second.get_attribute("aria-selected") == "true"
    assert field.get_attribute("aria-activedescendant") == second.get_attribute("id")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowUp")
    assert options.last.get_attribute("aria-selected") == "true"
    page.keyboard.press("Escape")
    assert field.get_attribute("aria-expanded") == "false"
    assert dialog.is_visible()
    page.keyboard.press("ArrowDown")
    options.filter(has_text="Google Drive").click()
    dialog.get_by_role("link", name="Documentation").wait_for()
    assert value(dialog, "Name") == "google-drive"
    field.fill("no such api")
    dialog.get_by_text("No API is known by the name “no such api”.").wait_for()
    field.fill("")
    assert not dialog.get_by_role("link", name="Documentation").is_visible()


def test_faults_of_the_variables_and_of_the_server_stand_at_their_fields(tabs: Any) -> None:
    page, dialog = adding(tabs)
    choose(page, dialog, "twilio")
    dialog.get_by_label("Account SID").fill("mine")
    dialog.get_by_role("button", name="Save connection").click()
    fault = dialog.locator("[data-fault-of='/variables/account_sid']")
    assert fault.inner_text().lower().startswith("is not a account sid; such as ac0")
    dialog.get_by_label("Account SID").fill("AC" + "0" * 32)
    dialog.get_by_label("Auth scheme").select_option("oauth2")
    dialog.get_by_label("Grant").select_option("jwt_bearer")
    dialog.get_by_label("Token URL").fill("https://login.example.com/token")
    dialog.get_by_label("Private key").fill("no key")
    dialog.get_by_text("More for signing in").click()
    dialog.get_by_label("Further claims").fill("no JSON")
    _, status = save(page, dialog)
    assert status == 422
    for pointer, says in {
        "/auth/client_id": "Field required",
        "/auth/private_key": "PEM",
        "/auth/claims": "dictionary",
    }.items():
        dialog.locator(f"[data-fault-of='{pointer}']", has_text=says).wait_for()
    assert fault.is_hidden()


FIELDS = {
    "client_credentials": {"Client secret"},
    "authorization_code": {"Client secret", "Authorize URL", "Redirect URI", "Sign-in parameter name"},
    "refresh_token": {"Client secret", "Refresh token"},
    "jwt_bearer": {"Client secret", "Private key", "Key ID", "Subject", "Signed with", "Further claims"},
}


@pytest.mark.parametrize("grant", FIELDS)
def test_each_grant_shows_its_fields_and_no_others(tabs: Any, grant: str) -> None:
    _, dialog = adding(tabs)
    dialog.get_by_label("Auth scheme").select_option("oauth2")
    dialog.get_by_label("Grant").select_option(grant)
    dialog.get_by_text("More for signing in").click()
    for label in set().union(*FIELDS.values()):
        assert dialog.get_by_label(label, exact=True).is_visible() == (label in FIELDS[grant]), label
    dialog.get_by_label("Client authentication").select_option("private_key_jwt")
    assert dialog.get_by_label("Private key").is_visible()
    assert not dialog.get_by_label("Client secret").is_visible()


def test_an_assertion_with_claims_and_parameters_is_added_and_an_edit_keeps_what_it_does_not_show(tabs: Any) -> None:
    page, dialog = adding(tabs)
    choose(page, dialog, "google cloud")
    dialog.get_by_label("Client ID").fill("robot@acme.iam.gserviceaccount.com")
    dialog.get_by_label("Private key").fill(KEY)
    dialog.get_by_label("Key ID").fill("k1")
    dialog.get_by_label("Subject").fill("ann@example.com")
    dialog.get_by_text("More for signing in").click()
    dialog.get_by_label("Further claims").fill('{"target": ["a", 1]}')
    dialog.get_by_label("Token parameter name").fill("tenant")
    dialog.get_by_label("Token parameter value").first.fill("acme")
    _, status = save(page, dialog)
    assert status == 201
    path = "/api/connections/google-service-account"
    page.locator("[data-connection=google-service-account]").wait_for()
    made = ask(page, "GET", path)["auth"]
    assert (made["grant"], made["subject"], made["claims"]) == ("jwt_bearer", "ann@example.com", {"target": ["a", 1]})
    assert (made["extra"], made["assertion_audience"]) == ({"tenant": "acme"}, "https://oauth2.googleapis.com/token")

    page.locator("[data-connection=google-service-account]").get_by_role("button", name="Edit").click()
    dialog.get_by_role("link", name="Documentation").wait_for()
    assert not dialog.get_by_label("Which API?").is_visible()
    assert "kept unless" in dialog.get_by_label("Private key").get_attribute("placeholder")
    assert dialog.get_by_label("Further claims").is_visible(), "what is set is not folded away"
    dialog.get_by_label("Title").fill("The robot")
    assert save(page, dialog) == ({"title": "The robot"}, 200)
    dialog.wait_for(state="hidden")
    page.locator("[data-connection=google-service-account]").get_by_role("button", name="Edit").click()
    dialog.get_by_label("Subject").fill("")
    sent, status = save(page, dialog)
    assert (status, list(sent), "subject" in sent["auth"], "private_key" in sent["auth"]) == (
        200,
        ["auth"],
        False,
        False,
    )
    changed = ask(page, "GET", path)["auth"]
    assert changed == {name: part for name, part in made.items() if name != "subject"}


def test_a_sign_in_without_a_preset_is_changed_with_its_secrets_kept(tabs: Any, demo: Demo) -> None:
    page = tabs.new_page()
    page.goto("/connections")
    page.locator("body[data-ready]").wait_for()
    auth = SCOPED | {"token_url": f"{demo.sandbox_url}/oauth/token", "scope": "a,b", "scope_separator": ","}
    form = {"name": "scoped", "base_url": demo.sandbox_url, "policy": {"allow_private": True}, "auth": auth}
    before = ask(page, "POST", "/api/connections", form)["auth"]
    page.goto("/connections/scoped?field=/auth/scope")
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Scope", exact=True).fill("a b c")
    dialog.get_by_label("Grant").select_option("authorization_code")
    dialog.get_by_label("Authorize URL").fill("https://login.example.com/authorize")
    dialog.get_by_text("More for signing in").click()
    dialog.get_by_label("Sign-in parameter name").fill("prompt")
    dialog.get_by_label("Sign-in parameter value").first.fill("consent")
    sent, status = save(page, dialog)
    assert (status, "client_secret" in sent["auth"], sent["auth"]["scope_separator"]) == (200, False, ",")
    after = ask(page, "GET", "/api/connections/scoped")["auth"]
    assert after["client_secret"] == before["client_secret"]
    assert (after["scope"], after["authorize_extra"]) == ("a b c", {"prompt": "consent"})


def test_every_pattern_of_the_presets_means_to_a_browser_what_it_means_here(tabs: Any) -> None:
    page = tabs.new_page()
    page.goto("/connections")
    fits = """patterns => patterns.filter(([pattern, text]) => !new RegExp(`^(?:${pattern})$`, "u").test(text))"""
    variables = [variable for preset in presets.catalogue().values() for variable in preset.variables]
    assert (
        page.evaluate(fits, [(variable.pattern, variable.example or variable.default) for variable in variables]) == []
    )


@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_form_fits_its_window_and_is_photographed(
    chromium: Any, demo: Demo, signed_in: Any, width: int, scheme: Any
) -> None:
    context = chromium.new_context(
        storage_state=signed_in, base_url=demo.url, color_scheme=scheme, viewport={"width": width, "height": 900}
    )
    page, dialog = adding(context)
    choose(page, dialog, "quickbooks")
    dialog.get_by_text("More for signing in").click()
    body = dialog.locator(".dialog__body")
    assert body.evaluate("body => body.scrollWidth <= body.clientWidth")
    folder = os.environ.get("SWITCHBOARD_TEST_PICTURES")
    for part in ("#preset-choice", "#connection-auth-grant", ".oauth__more"):
        page.locator(part).evaluate("part => part.scrollIntoView()")
        if folder:
            page.screenshot(path=str(Path(folder) / f"form-{part.strip('#.')}-{width}-{scheme}.png"))
    context.close()
