"""The catalogue of well-known APIs: each entry makes a whole connection of what only a person knows."""

import re
import tomllib
from importlib.resources import files
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from pydantic import ValidationError

from quart_app.errors import Invalid, NotFound
from quart_app.forms import presets, validate
from quart_app.forms.calls import CallForm
from quart_app.forms.connections import SECRET_FIELDS, ConnectionForm
from quart_app.forms.presets import Preset
from tests import presets_page
from tests.outbound.certificates import issued

ALL = list(presets.catalogue().values())
CLIENT = {"client_id": "the-client", "client_secret": "s"}
KEY = {
    "client_id": "the-client",
    "private_key": issued("client.example", key=rsa.generate_private_key(65537, 2048)).key,
}
GIVEN: dict[str, dict[str, str]] = {
    "api_key": {"value": "v"},
    "basic": {"username": "u", "password": "p"},
    "bearer": {"token": "t"},
    "authorization_code": CLIENT,
    "client_credentials": CLIENT,
    "refresh_token": CLIENT | {"refresh_token": "r"},
    "jwt_bearer": KEY,
}
"""What a person gives of each way to sign in."""
WHOLE: dict[str, Any] = {
    "id": "acme",
    "title": "Acme",
    "docs_url": "https://acme.example/docs",
    "base_url": "https://{sub}.acme.example",
    "variables": [{"name": "sub", "title": "subdomain", "example": "blue", "pattern": "[a-z]+"}],
    "auth": {"scheme": "oauth2", "grant": "client_credentials", "token_url": "https://{sub}.acme.example/token"},
    "headers": {"X-Client": "{client_id}"},
    "scopes": [{"name": "read", "means": "Read", "chosen": True}, {"name": "write", "means": "Write"}],
    "check": "/me/{sub}",
}


def made(**other: Any) -> Preset:
    return Preset.model_validate(WHOLE | other)


def examples(preset: Preset) -> dict[str, str]:
    return {variable.name: variable.example or variable.default for variable in preset.variables}


def credentials(preset: Preset) -> dict[str, str]:
    return KEY if preset.auth.get("client_auth") == "private_key_jwt" else GIVEN[presets.way(preset)]


def form_of(preset: Preset, auth: dict[str, str] | None = None) -> ConnectionForm:
    parts = presets.filled(preset, examples(preset), credentials(preset) if auth is None else auth)
    form: ConnectionForm = validate(ConnectionForm, {"name": "its-name"} | parts)
    return form


# --- the entries


def test_there_are_many_each_with_a_name_of_its_own_and_they_are_sorted() -> None:
    assert len(ALL) >= 40
    titles = [preset.title.lower() for preset in ALL]
    assert titles == sorted(set(titles))
    assert list(presets.catalogue()) == [preset.id for preset in ALL]
    kept = {file.name for file in files("quart_app").joinpath("presets").iterdir()}
    assert kept == {f"{preset.id}.toml" for preset in ALL}


@pytest.mark.parametrize("preset", ALL, ids=lambda preset: preset.id)
def test_with_what_only_a_person_knows_each_is_a_whole_connection(preset: Preset) -> None:
    form = form_of(preset)
    assert list(presets.variables_in(form.model_dump())) == []
    assert form.metadata["preset"] == preset.id
    path = form.metadata.get("check", "")
    assert path.startswith("/") == bool(preset.check)
    validate(CallForm, {"connection": "its-name", "path": path})


@pytest.mark.parametrize("preset", ALL, ids=lambda preset: preset.id)
def test_without_any_part_of_it_each_is_none(preset: Preset) -> None:
    """Nothing that a person has to give is in the catalogue."""
    for name in credentials(preset):
        if name not in preset.auth and name not in ("client_secret", "refresh_token"):  # which some have not
            with pytest.raises(Invalid) as raised:
                form_of(preset, {key: value for key, value in credentials(preset).items() if key != name})
            assert any(fault["pointer"] == f"/auth/{name}" for fault in raised.value.errors)
    for variable in preset.variables:
        values = examples(preset) | {variable.name: "not what it must be, with spaces!"}
        with pytest.raises(Invalid) as raised:
            presets.filled(preset, values, {})
        assert [fault["pointer"] for fault in raised.value.errors] == [f"/variables/{variable.name}"]


@pytest.mark.parametrize("preset", ALL, ids=lambda preset: preset.id)
def test_each_goes_over_tls_only_and_holds_no_secret(preset: Preset) -> None:
    text = files("quart_app").joinpath("presets", f"{preset.id}.toml").read_text("utf-8")
    assert "http://" not in text
    assert not SECRET_FIELDS & set(re.findall(r"^(\w+) =", text, re.MULTILINE))
    without_urls = re.sub(r"https://[^\s\"']+", "", text)
    words = re.findall(r"[A-Za-z0-9+_]{32,}", without_urls)
    assert [word for word in words if re.search("[1-9]", word) and re.search("[a-z]", word)] == []


@pytest.mark.parametrize("preset", ALL, ids=lambda preset: preset.id)
def test_each_says_what_it_says_in_sentences_and_names_its_client_authentication(preset: Preset) -> None:
    said = [*preset.oddities, *filter(None, (variable.help for variable in preset.variables))]
    assert [sentence for sentence in said if not re.fullmatch(r"[A-Za-z].*[.…]", sentence)] == []
    assert [scope for scope in preset.scopes if scope.means.endswith(".") or not scope.means[0].isupper()] == []
    if preset.auth["scheme"] == "oauth2":
        assert preset.auth["client_auth"] in ("basic", "post", "private_key_jwt")
    spends = preset.auth.get("grant") in ("authorization_code", "refresh_token")
    assert spends or (preset.rotates is None and "refresh_token_seconds" not in preset.auth)


@pytest.mark.parametrize("preset", ALL, ids=lambda preset: preset.id)
def test_each_default_and_example_is_what_its_variable_takes(preset: Preset) -> None:
    for variable in preset.variables:
        assert variable.example or variable.default, variable.name
        for value in filter(None, (variable.example, variable.default)):
            assert re.fullmatch(variable.pattern, value), (variable.name, value)


def test_the_table_of_the_documents_is_that_of_the_presets() -> None:
    assert presets_page.kept() == presets_page.rows(), "run python -m tests.presets_page"


def test_the_example_of_the_documents_is_one_that_does() -> None:
    text = presets_page.PAGE.read_text("utf-8").partition("```toml\n")[2].partition("```")[0]
    preset = Preset.model_validate({"id": "acme"} | tomllib.loads(text))
    assert presets.filled(preset, {"subdomain": "blue"}, CLIENT)["base_url"] == "https://blue.acme.example/v2"


# --- their form


@pytest.mark.parametrize(
    ("other", "says"),
    [
        ({"auth": WHOLE["auth"] | {"client_secret": "s"}}, "holds a secret: client_secret"),
        ({"auth": {"scheme": "basic", "username": "{sub}", "password": "p"}, "scopes": []}, "holds a secret: password"),
        ({"auth": {"scheme": "bearer"}}, "scopes, which only oauth2 knows"),
        ({"base_url": "https://acme.example", "auth": {"scheme": "none"}, "scopes": [], "check": ""}, "['sub']"),
        ({"headers": {"X-Team": "{team}"}}, "['team']"),
        ({"base_url": "http://{sub}.acme.example"}, "must begin with https://"),
        ({"docs_url": "acme.example"}, "must begin with https://"),
        ({"variables": [{"name": "sub", "title": "subdomain", "pattern": "["}]}, "variables.0.pattern"),
        ({"headers": {"X Team": "blue"}}, "headers.X Team"),
        ({"check": "me"}, "check"),
        ({"id": "Acme"}, "id"),
        ({"colour": "blue"}, "colour"),
    ],
)
def test_an_entry_that_would_not_do_is_refused(other: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError) as raised:
        made(**other)
    assert says in str(raised.value)


# --- finding one


def titles(text: str) -> list[str]:
    return [preset.title for preset in presets.search(text)]


def test_what_begins_with_the_text_comes_before_what_has_it_inside() -> None:
    found = titles("GIT")
    assert found[0].startswith("GitHub")
    assert found.index("GitLab") < found.index("DigitalOcean")
    assert titles("x")[:2] == ["X", "X (as the application itself)"]
    assert titles("twilio") == ["Twilio", "SendGrid"]
    assert titles("goog").index("Google Sheets") < titles("goog").index("Gmail")
    assert titles("slack") == titles("  SLACK ") == ["Slack", "Slack (bot or user token)"]


def test_a_name_that_people_also_know_finds_it() -> None:
    assert "X" in titles("twitter")
    assert "Meta Graph" in titles("facebook")
    assert "Microsoft Graph" in titles("office 365")
    assert titles("no such api") == []


def test_each_is_found_by_its_title_and_its_id_and_nothing_asked_finds_all() -> None:
    for preset in ALL:
        assert preset in presets.search(preset.title)
        assert preset in presets.search(preset.id)
        assert presets.find(preset.id) is preset
    assert presets.search("") == ALL
    with pytest.raises(NotFound) as raised:
        presets.find("nope")
    assert raised.value.code == "unknown_preset"


# --- filling one in


def test_variables_are_put_in_everywhere_and_the_client_id_where_it_is_wanted() -> None:
    parts = presets.filled(made(), {"sub": "blue"}, CLIENT)
    assert parts == {
        "title": "Acme",
        "base_url": "https://blue.acme.example",
        "auth": {
            "scheme": "oauth2",
            "grant": "client_credentials",
            "token_url": "https://blue.acme.example/token",
            "scope": "read",
            **CLIENT,
        },
        "headers": {"X-Client": "the-client"},
        "metadata": {"preset": "acme", "check": "/me/blue"},
    }


def test_what_a_person_gives_of_auth_goes_before_the_preset_and_is_taken_as_it_stands() -> None:
    given = {"client_secret": "a{sub}b", "scope": "write", "token_url": "https://other.example"}
    auth = presets.filled(made(), {"sub": "blue"}, given)["auth"]
    assert {name: auth[name] for name in given} == given


def test_every_fault_of_the_variables_comes_at_once() -> None:
    with pytest.raises(Invalid) as raised:
        presets.filled(made(), {"sub": "BLUE", "nope": "1"}, {})
    assert raised.value.status == 422
    assert {fault["pointer"]: fault["detail"] for fault in raised.value.errors} == {
        "/variables/nope": "is no variable of this preset; it has sub",
        "/variables/sub": "is not a subdomain; such as blue",
    }
    with pytest.raises(Invalid) as raised:
        presets.filled(made(), {}, {})
    assert [fault["detail"] for fault in raised.value.errors] == ["is required: the subdomain; such as blue"]


def test_a_variable_may_have_a_value_beforehand() -> None:
    variable = WHOLE["variables"][0] | {"default": "green"}
    for values in ({}, {"sub": ""}):
        assert presets.filled(made(variables=[variable]), values, {})["base_url"] == "https://green.acme.example"
