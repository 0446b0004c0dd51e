"""Faults of a form: all at once, each with its pointer, none with the value that caused it."""

from typing import Any

import pytest

from quart_app.errors import Invalid
from quart_app.forms import LONGEST_PART, MOST_FAULTS, models_within, validate
from quart_app.forms.calls import CallForm
from quart_app.forms.connections import ConnectionForm
from quart_app.outbound.auth import OAuth2
from quart_app.outbound.target import Policy

BASE = {"name": "orders", "base_url": "https://api.example.com"}


def refused(form: type[Any], given: Any) -> Invalid:
    with pytest.raises(Invalid) as caught:
        validate(form, given)
    assert caught.value.status == 422
    return caught.value


def pointers(error: Invalid) -> set[str]:
    return {fault["pointer"] for fault in error.errors}


def test_a_form_that_is_right_comes_back_filled_in() -> None:
    form = validate(ConnectionForm, BASE)
    assert isinstance(form, ConnectionForm)
    assert form.name == "orders"


def test_every_fault_is_said_at_once() -> None:
    given = {
        "name": "NO",
        "base_url": "ftp://x",
        "tags": ["ok", 5],
        "auth": {"scheme": "basic", "username": "a:b"},
        "policy": {"attempts": 0, "concurrency": "many"},
        "headers": {"Host": "x"},
    }
    error = refused(ConnectionForm, given)
    assert error.code == "invalid_input"
    assert pointers(error) == {
        "/name",
        "/base_url",
        "/tags/1",
        "/auth/username",
        "/auth/password",
        "/policy/attempts",
        "/policy/concurrency",
        "/headers/Host",
    }
    assert all(fault["detail"] for fault in error.errors)


@pytest.mark.parametrize(
    ("form", "given", "code", "pointer"),
    [
        (ConnectionForm, BASE | {"polcy": {}}, "unknown_field", "/polcy"),
        (ConnectionForm, BASE | {"policy": {"atempts": 1}}, "unknown_field", "/policy/atempts"),
        (ConnectionForm, BASE | {"policy": {"attempts": 11}}, "out_of_range", "/policy/attempts"),
        (ConnectionForm, BASE | {"policy": {"connect_seconds": -1}}, "out_of_range", "/policy/connect_seconds"),
        (ConnectionForm, BASE | {"policy": {"attempts": True}}, "invalid_input", "/policy/attempts"),
        (ConnectionForm, BASE | {"policy": None}, "invalid_input", "/policy"),
        (ConnectionForm, BASE | {"auth": {"scheme": "digest"}}, "invalid_input", "/auth"),
        (ConnectionForm, BASE | {"auth": {}}, "invalid_input", "/auth"),
        (ConnectionForm, BASE | {"auth": {"scheme": "bearer"}}, "invalid_input", "/auth/token"),
        (ConnectionForm, {**BASE, "base_url": "http://127.0.0.1"}, "egress_denied", "/policy/allow_private"),
        (ConnectionForm, [], "invalid_input", ""),
        (ConnectionForm, None, "invalid_input", ""),
        (CallForm, {"connection": "a", "path": 5}, "invalid_input", "/path"),
        (CallForm, {"connection": "a", "total_seconds": 10**9}, "out_of_range", "/total_seconds"),
    ],
)
def test_a_single_fault_has_a_code_and_a_pointer(form: type[Any], given: Any, code: str, pointer: str) -> None:
    error = refused(form, given)
    assert error.code == code
    assert pointers(error) == {pointer}


@pytest.mark.parametrize(
    ("field", "close"),
    [("bse_url", "base_url"), ("polici", "policy"), ("scheem", "scheme"), ("client_secert", "client_secret")],
)
def test_an_unknown_field_is_told_the_one_that_may_be_meant(field: str, close: str) -> None:
    (fault,) = refused(ConnectionForm, BASE | {field: 1}).errors
    assert fault["detail"] == f"unknown field; did you mean {close}?"
    (fault,) = refused(ConnectionForm, BASE | {"zzzzzz": 1}).errors
    assert fault["detail"] == "unknown field"


@pytest.mark.parametrize(
    ("given", "pointer"),
    [
        ({"grant": "jwt_bearer"}, "/auth/private_key"),
        ({"client_auth": "private_key_jwt", "private_key": "hunter2"}, "/auth/private_key"),
        ({"token_url": None}, "/auth/token_url"),
        ({"issuer": "http://hunter2.example"}, "/auth/issuer"),
        ({"issuer": "https://169.254.169.254"}, "/auth/issuer"),
        ({"revocation_url": "http://169.254.169.254/hunter2"}, "/auth/revocation_url"),
        ({"extra": {"scope": "hunter2"}}, "/auth/extra"),
        ({"claims": {"exp": "hunter2"}}, "/auth/claims"),
    ],
)
def test_a_fault_of_oauth_is_at_its_field_and_does_not_repeat_it(given: dict[str, Any], pointer: str) -> None:
    auth = {"scheme": "oauth2", "grant": "client_credentials", "token_url": "https://x.example/t", "client_id": "me"}
    (fault,) = refused(ConnectionForm, BASE | {"auth": auth | given}).errors
    assert fault["pointer"] == pointer
    assert "hunter2" not in fault["detail"]


def test_no_fault_repeats_the_value_that_caused_it() -> None:
    auth = {"scheme": "oauth2", "grant": "hunter2", "token_url": "hunter2", "client_id": "hunter2\n"}
    secret = {"client_secret": ["hunter2"], "refresh_token": {"hunter2": 1}, "extra": {"scope": "hunter2"}}
    error = refused(ConnectionForm, BASE | {"auth": auth | secret, "base_url": "hunter2://x"})
    said = str([fault["detail"] for fault in error.errors]) + error.detail
    assert len(error.errors) >= 5
    assert "hunter2" not in said


def test_a_pointer_escapes_and_shortens_the_names_it_goes_by() -> None:
    (fault,) = refused(ConnectionForm, BASE | {"a/b~c": 1}).errors
    assert fault["pointer"] == "/a~1b~0c"
    (fault,) = refused(ConnectionForm, BASE | {"x" * 5000: 1}).errors
    assert fault["pointer"] == "/" + "x" * LONGEST_PART


def test_very_many_faults_are_counted_and_not_all_listed() -> None:
    error = refused(ConnectionForm, BASE | {f"field{number}": 1 for number in range(500)})
    assert len(error.errors) == MOST_FAULTS + 1
    assert error.errors[-1] == {"pointer": "", "detail": f"and {500 - MOST_FAULTS} more"}
    assert error.code == "unknown_field"


def test_models_are_found_at_any_depth() -> None:
    assert {Policy, OAuth2} <= set(models_within(ConnectionForm))
