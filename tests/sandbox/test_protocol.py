"""The rules of OAuth that need no state."""

import base64

import pytest

from quart_app.sandbox import Client
from quart_app.sandbox.protocol import (
    OAuthError,
    audience_of,
    authenticate,
    narrowed,
    single,
    verifier_fits,
    with_query,
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


def test_a_redirect_keeps_the_clients_own_query() -> None:
    target = with_query("https://client.example/back?x=1", {"code": "c+", "state": "a b"})
    assert target == "https://client.example/back?x=1&code=c%2B&state=a+b"
    assert with_query("http://[::1]/", {"iss": "x"}) == "http://[::1]/?iss=x"


def test_a_resource_is_an_absolute_uri_and_may_be_there_more_than_once() -> None:
    form = [("resource", "https://a.example/x?y"), ("resource", "urn:b"), ("audience", "c")]
    assert single(form) == {"resource": "urn:b", "audience": "c"}
    assert audience_of(form) == ("https://a.example/x?y", "urn:b", "c")
    for wrong in ("a.example", "/x", "https://a.example/#part", "https://a.example/ü"):
        with pytest.raises(OAuthError) as caught:
            audience_of([("resource", wrong)])
        assert caught.value.code == "invalid_target"


def test_a_client_authenticates_only_by_the_methods_it_has() -> None:
    client = Client(client_id="a", client_secret="s", auth_methods=("client_secret_post",))
    assert authenticate({"a": client}, {"client_id": "a", "client_secret": "s"}, None) is client
    with pytest.raises(OAuthError, match="client_secret_basic") as caught:
        authenticate({"a": client}, {}, basic("a:s"))
    assert caught.value.code == "invalid_client"


def test_a_client_without_a_secret_cannot_authenticate_with_an_empty_one() -> None:
    clients = {"a": Client(client_id="a", public_key="-")}
    for fields, authorization in (({"client_id": "a"}, None), ({}, basic("a:"))):
        with pytest.raises(OAuthError) as caught:
            authenticate(clients, fields, authorization)
        assert caught.value.code == "invalid_client"


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
    assert narrowed("", "a b c", default="a b") == "a b"
    with pytest.raises(OAuthError):
        narrowed("a d", "a b c")
