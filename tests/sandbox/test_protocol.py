"""The rules of OAuth that need no state."""

import base64

import pytest

from quart_app.sandbox import Client
from quart_app.sandbox.protocol import (
    OAuthError,
    authenticate,
    narrowed,
    redirect_to,
    single,
    verifier_fits,
)

from .conftest import CHALLENGE, VERIFIER


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


def test_basic_client_authentication_is_form_encoded_first() -> None:
    client = Client(client_id="my app:1", client_secret="p%41 +/ü")
    clients = {client.client_id: client}
    assert authenticate(clients, {}, basic("my+app%3A1:p%2541+%2B%2F%C3%BC")) is client
    with pytest.raises(OAuthError, match="secret is not right") as caught:
        authenticate(clients, {}, basic("my app:1:p%41 +/ü"))
    assert (caught.value.code, caught.value.status) == ("invalid_client", 401)


def test_a_client_authenticates_in_the_body_as_well_but_not_in_both() -> None:
    client = Client(client_id="a", client_secret="s")
    fields = {"client_id": "a", "client_secret": "s"}
    assert authenticate({"a": client}, fields, None) is client
    with pytest.raises(OAuthError, match="two ways"):
        authenticate({"a": client}, fields, basic("a:s"))


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "https://client.example/back",
        "https://client.example/back?x=1&",
        "https://client.example/back?x=1/../y",
        "http://127.0.0.1:9000/back",
    ],
)
def test_a_registered_redirect_uri_is_compared_exactly(uri: str) -> None:
    client = Client(client_id="a", client_secret="s", redirect_uris=("https://client.example/back?x=1",))
    assert client.may_redirect_to("https://client.example/back?x=1")
    assert not client.may_redirect_to(uri)


@pytest.mark.parametrize(
    ("uri", "allowed"),
    [
        ("http://127.0.0.1:1/x", True),
        ("http://127.0.0.1:65535/oauth/callback/demo", True),
        ("http://[::1]:8000/", True),
        ("http://localhost:8000/cb?x=1", True),
        ("https://127.0.0.1/", False),
        ("http://127.0.0.1.evil.example/", False),
        ("http://127.0.0.1@evil.example/", False),
        ("http://user@127.0.0.1/", False),
        ("http://127.0.0.1:99999/", False),
        ("http://127.0.0.1:8000/#part", False),
        ("http://127.0.0.1:8000\\@evil.example/", False),
        ("http://127.0.0.1:8000/\r\nX: y", False),
        ("http://①27.0.0.1/", False),
        ("javascript:alert(1)", False),
    ],
)
def test_loopback_redirects_take_any_port_of_this_machine_and_nothing_else(uri: str, allowed: bool) -> None:
    client = Client(client_id="a", client_secret="s", loopback_redirects=True)
    assert client.may_redirect_to(uri) is allowed


def test_a_redirect_keeps_the_clients_own_query_and_adds_state_and_issuer() -> None:
    target = redirect_to("https://client.example/back?x=1", {"code": "c+"}, "a b", "http://127.0.0.1:8099")
    expected = "https://client.example/back?x=1&code=c%2B&state=a+b&iss=http%3A%2F%2F127.0.0.1%3A8099"
    assert target == expected
    assert redirect_to("http://[::1]/", {}, "", "x") == "http://[::1]/?iss=x"


def test_the_verifier_of_the_standards_own_example_fits() -> None:
    assert verifier_fits(VERIFIER, CHALLENGE)
    assert not verifier_fits(VERIFIER[:-1] + "A", CHALLENGE)
    assert not verifier_fits(CHALLENGE, CHALLENGE)


def test_a_parameter_without_a_value_counts_as_not_sent_and_a_repeated_one_is_refused() -> None:
    assert single([("a", "1"), ("b", "")]) == {"a": "1"}
    with pytest.raises(OAuthError):
        single([("a", "1"), ("a", "")])


def test_a_scope_is_what_was_asked_within_what_was_granted() -> None:
    assert narrowed("b  b a", "a b c") == "b a"
    assert narrowed("", "a b") == "a b"
    with pytest.raises(OAuthError):
        narrowed("a d", "a b c")
