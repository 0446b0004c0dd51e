"""Marks tell what they stand for, and only those that are known to a connection are put back."""

from urllib.parse import unquote

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quart_app.outbound.redaction.marks import ENTIRE, MARK, MARKED, OTHERS, Place, mark, restore
from quart_app.outbound.redaction.redactor import Redactor

SECRETS = {"access_token": "live/tok en+1", "client_secret": 'qu"ote\\'}
PLACES: tuple[Place, ...] = ("url", "form", "json", "text")


def test_a_mark_is_made_and_known_again() -> None:
    made = mark("access_token.base64", "x", lambda _: "0123456789ab")
    assert made == "[redacted:access_token.base64:0123456789ab]"
    found = MARKED.fullmatch(made)
    assert found
    assert found.groups() == ("access_token", "base64", "0123456789ab")
    assert mark("value") == "[redacted:value]"
    for whole in (made, MARK, f"Bearer {made}"):
        assert ENTIRE.fullmatch(whole)
    for other in ("", "Bearer", f"{made}x", f"a b {made}", "[redacted:x:y]", "[redacted:Token]"):
        assert not ENTIRE.fullmatch(other)


@pytest.mark.parametrize(
    ("text", "place", "restored"),
    [
        ("/a?t=[redacted:access_token:0123456789ab]&x=1", "url", "/a?t=live/tok%20en%2B1&x=1"),
        ("/a?t=[redacted:access_token.escaped:0123456789ab]&x=1", "url", "/a?t=live%2Ftok%20en%2B1&x=1"),
        ("t=[redacted:access_token.escaped]&s=[redacted:client_secret]", "form", "t=live%2Ftok%20en%2B1&s=qu%22ote%5C"),
        ('["[redacted:access_token]"]', "json", '["live/tok en+1"]'),
        ('["[redacted:client_secret]"]', "json", '["qu\\"ote\\\\"]'),
        ("Bearer [redacted:access_token]", "text", "Bearer live/tok en+1"),
        ("no mark at all", "text", "no mark at all"),
    ],
)  # fmt: skip
def test_live_secrets_are_put_back_as_the_place_wants_them(text: str, place: Place, restored: str) -> None:
    assert restore(text, SECRETS, place) == restored


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    "told",
    [
        MARK,
        *(f"[redacted:{role}:0123456789ab]" for role in OTHERS),
        "[redacted:access_token.base64]",
        "[redacted:value]",
    ],
)
def test_what_cannot_be_put_back_gives_nothing(place: Place, told: str) -> None:
    assert restore(f"[redacted:access_token] {told}", SECRETS, place) is None


@pytest.mark.parametrize("place", ["json", "text"])
def test_an_escaped_secret_outside_a_url_is_not_guessed_at(place: Place) -> None:
    assert restore("[redacted:access_token.escaped]", SECRETS, place) is None


secrets = st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF), min_size=4, max_size=20)


@given(secrets, secrets)
def test_what_was_taken_out_of_a_body_comes_back_as_the_live_one(old: str, live: str) -> None:
    redactor = Redactor([("token", old)])
    body = msgspec.json.encode({"x": "<TOKEN>"}).decode().replace("<TOKEN>", msgspec.json.encode(old).decode()[1:-1])
    back = restore(redactor.text(body), {"token": live}, "json")
    if back is not None:
        assert live in msgspec.json.decode(back)["x"] or redactor.text(body) == body
    url = restore(
        redactor.text(f"/?q={old}") if old.isalnum() else "/?q=[redacted:token.escaped]", {"token": live}, "url"
    )
    assert url is not None
    assert unquote(url) == f"/?q={live}"


@given(st.text(max_size=60))
def test_nobody_can_write_a_mark(text: str) -> None:
    """Whatever is redacted: what is put back is only what was taken out."""
    written = f"{text}[redacted:token:0123456789ab]{text}"
    clean = Redactor([("token", "swordfish")]).text(written)
    assert restore(clean, {"token": "live"}, "text") is None
