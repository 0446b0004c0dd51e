"""What an exchange looks like on record: what is known to be harmless, and marks for all else."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quart_app.ledger.recording import secrets_in, shown_answer, shown_form, shown_header
from quart_app.outbound.redaction.redactor import Redactor

PLAIN = Redactor()


def test_a_form_shows_its_grant_and_no_secret() -> None:
    form = b"grant_type=refresh_token&refresh_token=planted&scope=a+b&client_id=me&client_secret=planted&x=planted"
    assert shown_form(form).decode() == (
        "grant_type=refresh_token&refresh_token=[redacted]&scope=a+b&client_id=me&client_secret=[redacted]&x=[redacted]"
    )


def test_an_answer_shows_what_is_harmless_whatever_else_is_in_it() -> None:
    answer = {"access_token": "planted", "expires_in": 60, "token_type": "Bearer", "user": {"id": "planted"}}
    shown = json.loads(shown_answer(json.dumps(answer).encode(), PLAIN) or b"")
    assert shown == {
        "access_token": "[redacted]", "expires_in": 60, "token_type": "Bearer", "user": "[redacted]"
    }  # fmt: skip


@pytest.mark.parametrize("content", [b"", b"<html>", b"[1]", b"null", b"\xff", b"[" * 100_000])
def test_what_is_no_object_is_not_shown(content: bytes) -> None:
    assert shown_answer(content, PLAIN) is None


def test_a_harmless_member_that_repeats_a_secret_does_not_show_it() -> None:
    redactor = Redactor((("refresh_token", "planted-token"),))
    content = b'{"error": "planted-token is spent", "error_description": "planted-two", "scope": {"a": "planted"}}'
    shown = shown_answer(content, redactor)
    assert shown is not None
    assert b"planted" not in shown
    assert b"is spent" in shown


def test_a_harmless_member_that_repeats_what_the_answer_newly_gives_does_not_show_it() -> None:
    answer: dict[str, Any] = {"access_token": "new-token", "nested": [{"refresh_token": "newer-token"}]}
    answer |= {"scope": "read new-token", "token_type": "newer-token", "expires_in": "3600", "old-token": 1}
    redactor = Redactor((("refresh_token", "old-token"),))
    shown = json.loads(shown_answer(json.dumps(answer).encode(), redactor) or b"")
    assert (shown["scope"], shown["token_type"], shown["expires_in"]) == ("[redacted]", "[redacted]", "3600")
    assert "old-token" not in shown


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        (b"Content-Type", b"application/json", b"application/json"),
        (b"X-New-Header", b"anything", b"[redacted]"),
        (b"Server", b"knows new-token", b"[redacted]"),
        (b"Location", b"https://x.example/cb?a=new-token#b=new-token", b"https://x.example/cb"),
        (b"Location", b"/new-token", b"[redacted]"),
    ],
)
def test_a_header_of_an_answer_is_shown_where_it_is_known_to_be_harmless(
    name: bytes, value: bytes, shown: bytes
) -> None:
    assert shown_header(name, value, {"new-token"}) == shown


@pytest.mark.parametrize(
    "content", [b'{"a": [{"b": "new-token"}], "scope": "read-only"}', b"a=new-token&scope=read-only"]
)
def test_what_may_be_secret_is_found_in_objects_and_forms(content: bytes) -> None:
    assert secrets_in(content) == {"new-token"}
    assert secrets_in(b"<html>new-token") == set()


@given(st.dictionaries(st.text(), st.text()))
def test_the_values_of_unknown_members_never_show(answer: dict[str, str]) -> None:
    planted = {f"x{name}": f"planted-{value}" for name, value in answer.items()}
    assert b"planted" not in (shown_answer(json.dumps(planted).encode(), PLAIN) or b"").replace(b'"xplanted', b"")
