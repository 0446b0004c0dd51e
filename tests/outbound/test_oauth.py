"""The grants without I/O: what is asked of a token endpoint, and what its answers mean."""

import base64
import json
from typing import Any
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quart_app.outbound import oauth
from quart_app.outbound.oauth import LONGEST_LIFE_SECONDS, GrantFailed, Issued, token_answer, token_request
from tests.outbound.targets import scheme


def auth(**more: Any) -> Any:
    given = {"grant": "client_credentials", "token_url": "https://id.example.com/token", "client_id": "me"}
    return scheme(**({"scheme": "oauth2"} | given | more))


def answer(**more: Any) -> bytes:
    return json.dumps({"access_token": "at-1", "token_type": "Bearer", "expires_in": 3600} | more).encode()


COMMON = [("Accept", "application/json"), ("Content-Type", "application/x-www-form-urlencoded")]


def basic(pair: str) -> tuple[str, str]:
    return "Authorization", "Basic " + base64.b64encode(pair.encode()).decode()


REQUESTS = [
    # RFC 6749 §4.4.2 with §2.3.1: id and secret form-encoded, then Base64
    ({"client_secret": "s3"}, None, [basic("me:s3")], {"grant_type": "client_credentials"}),
    (
        {"client_id": "a b:c", "client_secret": "p%&=+/ x"},
        None,
        [basic("a+b%3Ac:p%25%26%3D%2B%2F+x")],
        {"grant_type": "client_credentials"},
    ),
    (
        {"client_secret": "s&3", "client_auth": "post"},
        None,
        [],
        {"grant_type": "client_credentials", "client_id": "me", "client_secret": "s&3"},
    ),
    ({}, None, [], {"grant_type": "client_credentials", "client_id": "me"}),
    (
        {
            "client_secret": "s",
            "scope": "a b",
            "audience": "urn:x",
            "resource": "https://r/",
            "extra": {"tenant": "t&1"},
        },
        None,
        [basic("me:s")],
        {
            "grant_type": "client_credentials",
            "scope": "a b",
            "audience": "urn:x",
            "resource": "https://r/",
            "tenant": "t&1",
        },
    ),
    # §6
    (
        {"grant": "refresh_token", "client_secret": "s"},
        "rt+1/=",
        [basic("me:s")],
        {"grant_type": "refresh_token", "refresh_token": "rt+1/="},
    ),
    ({"client_secret": "s"}, "left-over", [basic("me:s")], {"grant_type": "client_credentials"}),
]


@pytest.mark.parametrize(("given", "refresh_token", "headers", "form"), REQUESTS)
def test_a_token_request_is_what_the_standard_asks_for(
    given: dict[str, Any], refresh_token: str | None, headers: list[tuple[str, str]], form: dict[str, str]
) -> None:
    sent, body = token_request(auth(**given), refresh_token)
    assert sent == COMMON + headers
    pairs = parse_qsl(body.decode("ascii"), strict_parsing=True)
    assert len(pairs) == len(dict(pairs))
    assert dict(pairs) == form


@pytest.mark.parametrize("missing", [None, ""])
def test_without_a_refresh_token_nothing_is_asked_and_a_person_is_needed(missing: str | None) -> None:
    with pytest.raises(GrantFailed) as raised:
        token_request(auth(grant="refresh_token"), missing)
    assert raised.value.state == "needs_sign_in"


def test_a_whole_answer_is_taken() -> None:
    body = answer(refresh_token="rt-2", scope="read write", id_token="ignored")
    assert token_answer(200, body) == Issued("at-1", "rt-2", 3600.0, "read write")


@pytest.mark.parametrize("status", [200, 201])
def test_any_success_status_is_success(status: int) -> None:
    assert token_answer(status, answer()).access_token == "at-1"


@pytest.mark.parametrize(
    ("more", "kept"),
    [
        ({}, None),
        ({"refresh_token": None}, None),
        ({"refresh_token": ""}, None),
        ({"refresh_token": "rt-2"}, "rt-2"),
    ],
)
def test_an_answer_without_a_refresh_token_leaves_the_old_one_in_place(more: dict[str, Any], kept: str | None) -> None:
    assert token_answer(200, answer(**more)).refresh_token == kept


@pytest.mark.parametrize("kind", ["bearer", "BEARER", "Bearer"])
def test_the_type_bearer_is_taken_in_any_case(kind: str) -> None:
    assert token_answer(200, answer(token_type=kind)).access_token == "at-1"


def test_an_answer_that_does_not_say_its_type_is_taken_as_bearer() -> None:
    assert token_answer(200, b'{"access_token": "at-1"}') == Issued("at-1", None, None, None)


@pytest.mark.parametrize("kind", ["mac", "DPoP", "N_A", "", None, 7, ["bearer"]])
def test_another_type_is_refused_and_never_used_as_bearer(kind: Any) -> None:
    with pytest.raises(GrantFailed, match="not a bearer token") as raised:
        token_answer(200, answer(token_type=kind))
    assert raised.value.state == "config_error"


LIVES = [
    (3600, 3600.0),
    ("3600", 3600.0),
    (" 3600 ", 3600.0),
    (3599.5, 3599.5),
    ("3599.5", 3599.5),
    (0, 0.0),
    ("0", 0.0),
    (-1, 0.0),
    ("-5", 0.0),
    (1e20, float(LONGEST_LIFE_SECONDS)),
    (10**400, None),
    ("1e20", float(LONGEST_LIFE_SECONDS)),
    ("inf", float(LONGEST_LIFE_SECONDS)),
    ("-inf", 0.0),
    ("nan", None),
    (None, None),
    ("", None),
    ("soon", None),
    (True, None),
    ([3600], None),
    ({"seconds": 3600}, None),
]


@pytest.mark.parametrize(("given", "seconds"), LIVES)
def test_a_life_is_a_number_or_a_numeric_text_between_nothing_and_ten_years(given: Any, seconds: float | None) -> None:
    assert oauth.lifetime(given) == seconds


@pytest.mark.parametrize("text", ["3600", '"3600"', "0", "-1", "1e20", "null", "1" * 300, '"x"', "[]", "true"])
def test_an_odd_life_never_costs_the_token(text: str) -> None:
    issued = token_answer(200, b'{"access_token": "at-1", "expires_in": ' + text.encode() + b"}")
    assert issued.access_token == "at-1"
    assert issued.lifetime_seconds is None or 0 <= issued.lifetime_seconds <= LONGEST_LIFE_SECONDS


@pytest.mark.parametrize(
    "token", ["", None, 7, True, ["at"], {"t": 1}, "a\r\nX: y", "a\nb", "a\x00", "a\x7f", "ä", "\t"]
)
@pytest.mark.parametrize("name", ["access_token", "refresh_token"])
def test_a_token_that_cannot_stand_in_a_header_is_refused(name: str, token: Any) -> None:
    if name == "refresh_token" and not token:
        return
    with pytest.raises(GrantFailed, match=f"no usable {name}") as raised:
        token_answer(200, answer(**{name: token}))
    assert raised.value.state is None
    assert "X: y" not in raised.value.detail


def test_an_answer_without_an_access_token_is_refused() -> None:
    with pytest.raises(GrantFailed, match="no usable access_token"):
        token_answer(200, b'{"token_type": "bearer"}')


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>Sign in</html>",
        b"access_token=at-1&token_type=bearer",
        b"null",
        b'"at-1"',
        b"[]",
        b'{"access_token": "at-1"',
        b'{"access_token": "\xff"}',
        '{"access_token": "at-1"}'.encode("utf-16"),
        b"[" * 60_000,
        b'{"a":' * 10_000,
        b'{"access_token": NaN}',
    ],
)
@pytest.mark.parametrize("status", [200, 302, 400, 503])
def test_what_is_no_json_object_is_no_verdict_on_the_connection(status: int, body: bytes) -> None:
    with pytest.raises(GrantFailed, match=f"{status}.*not a JSON object") as raised:
        token_answer(status, body)
    assert raised.value.state is None


ERRORS = [
    ("invalid_grant", 400, "needs_sign_in", "sign in again"),
    ("invalid_grant", 200, "needs_sign_in", "sign in again"),
    ("invalid_client", 401, "config_error", "invalid_client"),
    ("unauthorized_client", 400, "config_error", "unauthorized_client"),
    ("unsupported_grant_type", 400, "config_error", "unsupported_grant_type"),
    ("invalid_scope", 400, "config_error", "invalid_scope"),
    ("invalid_request", 400, "config_error", "invalid_request"),
    ("server_error", 500, None, "500"),
    ("temporarily_unavailable", 503, None, "503"),
    ("slow_down", 429, None, "429"),
    ("<script>", 400, None, "400"),
    (None, 500, None, "500"),
    ("", 400, None, "400"),
    (["invalid_grant"], 400, None, "400"),
    ({"code": 7}, 400, None, "400"),
    (7, 400, None, "400"),
]


@pytest.mark.parametrize(("code", "status", "state", "detail"), ERRORS)
def test_an_error_says_who_has_to_do_something(code: Any, status: int, state: str | None, detail: str) -> None:
    body = json.dumps({"error": code, "error_description": "at https://evil.example <b>now</b>"}).encode()
    with pytest.raises(GrantFailed, match=detail) as raised:
        token_answer(status, body)
    assert raised.value.state == state
    assert "evil" not in raised.value.detail
    assert "<script>" not in raised.value.detail


@pytest.mark.parametrize("nothing", [None, "", False])
def test_an_empty_error_beside_a_token_is_no_error(nothing: Any) -> None:
    assert token_answer(200, answer(error=nothing)).access_token == "at-1"


def test_a_token_beside_a_failing_status_is_not_used() -> None:
    with pytest.raises(GrantFailed):
        token_answer(400, answer())


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=10)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=5,
)
FIELDS = ("access_token", "token_type", "expires_in", "refresh_token", "scope", "error")


@given(st.integers(100, 599), st.dictionaries(st.sampled_from(FIELDS), json_values))
def test_any_answer_is_a_usable_token_or_a_failed_grant(status: int, fields: dict[str, Any]) -> None:
    body = json.dumps(fields).encode("utf-8", "surrogatepass")
    failed, issued = None, None
    try:
        issued = token_answer(status, body)
    except GrantFailed as error:
        failed = error
    if issued is None:
        assert failed is not None
        assert failed.state in (None, "needs_sign_in", "config_error")
        return
    assert issued.access_token.isprintable()
    assert issued.refresh_token != ""
    assert issued.scope is None or isinstance(issued.scope, str)


def test_neither_an_issued_token_nor_a_failure_shows_it_when_printed() -> None:
    assert "at-1" not in repr(token_answer(200, answer(refresh_token="rt-1")))


def test_the_credential_of_a_token_keeps_all_secrets_out_of_records() -> None:
    credential = oauth.credential(auth(client_secret="client-secret", refresh_token="first-rt"), "at-1", "rt-2", 7)
    assert credential.headers == ((b"authorization", b"Bearer at-1"),)
    assert credential.generation == 7
    text = credential.redactor.text("<at-1> <rt-2> <client-secret> <first-rt>")
    roles = ("access_token", "refresh_token", "client_secret", "refresh_token")
    assert text == " ".join(f"<[redacted:{role}]>" for role in roles)
