"""Which names tell that a value is a secret, in JSON and in forms; test_redactor.py has what becomes of the values."""

import time

import pytest

from quart_app.outbound.redaction.fields import FORM, HINTED_BYTES, JSON, LONGEST_VALUE, fields_of, plain

TELLING = [
    "token",
    "Access_Token",
    "idToken",
    "client-secret",
    "PASSWORD",
    "passwd",
    "client_assertion",
    "code_verifier",
]
TELLING += [
    "codeVerifier",
    "SAMLResponse",
    "SAMLRequest",
    "api_key",
    "apiKey",
    "X-API-KEY",
    "private_key",
    "privateKey",
]
OTHERS = ["token_type", "max_tokens", "tokens", "secretary", "name", "key", "keys", "session", "response", "saml"]


@pytest.mark.parametrize("padding", [0, HINTED_BYTES])
@pytest.mark.parametrize("name", TELLING + OTHERS)
def test_a_name_is_told_by_its_end(name: str, padding: int) -> None:
    more = b" " * padding
    assert JSON.occur(b'{"%b" : "x"}' % name.encode() + more) == (name in TELLING)
    assert FORM.occur(b"a=1&%b=x" % name.encode() + more) == (name in TELLING)


@pytest.mark.parametrize(
    ("media_type", "fields"),
    [
        ("application/json", JSON),
        ("application/problem+json", JSON),
        ("application/x-ndjson", JSON),
        ("application/x-www-form-urlencoded", FORM),
        ("text/html", None),
        ("", None),
    ],
)
def test_fields_are_looked_for_by_media_type(media_type: str, fields: object) -> None:
    assert fields_of(media_type) is fields


@pytest.mark.parametrize("name", ["page_token", "nextPageToken", "sync-token", "continuation_token"])
def test_a_place_in_a_list_is_no_secret(name: str) -> None:
    for fields, body in ((JSON, f'{{"token_x":1,"{name}":"x"}}'), (FORM, f"a=1&{name}=x")):
        found = fields.pattern.search(body.encode())
        assert found
        assert fields.is_cursor(found)
    found = JSON.pattern.search(b'{"page":"x","token":"y"}')
    assert found
    assert not JSON.is_cursor(found)


@pytest.mark.parametrize(("fields", "body"), [(JSON, '"token" : "{}"'), (FORM, "token={}")])
def test_no_match_is_longer_than_it_says(fields: object, body: str) -> None:
    assert fields in (JSON, FORM)
    for value in ("x", "\\\\"):
        found = (JSON if fields is JSON else FORM).pattern.search(body.format(value * LONGEST_VALUE * 2).encode())
        assert found
        assert LONGEST_VALUE // 2 <= len(found[0]) <= JSON.longest


def test_a_value_of_a_form_is_decoded_for_its_fingerprint() -> None:
    assert plain("a+b%21", FORM) == "a b!"
    assert plain("a+b%21", JSON) == "a+b%21"


def test_text_full_of_telling_words_takes_no_longer_than_other_text() -> None:
    began = time.thread_time()
    JSON.occur(b'token" : ' * 30_000)
    FORM.occur(b"token" * 50_000)
    assert time.thread_time() - began < 0.5
