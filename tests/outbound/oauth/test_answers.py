"""What answers of a token endpoint mean: a token, with what is odd about it, or the kind of failure."""

import json
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from quart_app.outbound.oauth.answers import ANSWER_BYTES, LONGEST_LIFE_SECONDS, Issued, seconds, token_answer
from quart_app.outbound.oauth.refusals import GrantFailed

NO_LIFE = "does not say how long"
NO_TYPE = "does not say the token's type"


def answer(**more: Any) -> bytes:
    return json.dumps({"access_token": "at-1", "token_type": "Bearer", "expires_in": 3600} | more).encode()


def failure_of(status: int, body: bytes, **options: Any) -> GrantFailed:
    with pytest.raises(GrantFailed) as raised:
        token_answer(status, body, **options)
    return raised.value


def test_a_whole_answer_is_taken_and_nothing_about_it_is_odd() -> None:
    body = answer(refresh_token="rt-2", scope="read write", id_token="a.b.c", refresh_token_expires_in=86400)
    assert token_answer(200, body, scope="write read") == Issued(
        access_token="at-1",
        refresh_token="rt-2",
        lifetime_seconds=3600.0,
        refresh_lifetime_seconds=86400.0,
        scope="read write",
        id_token="a.b.c",
        oddities=(),
    )


@pytest.mark.parametrize("status", [200, 201])
def test_any_success_status_is_success(status: int) -> None:
    assert token_answer(status, answer()).access_token == "at-1"


RENEWALS = [
    ({}, None, ()),
    ({"refresh_token": None}, None, ()),
    ({"refresh_token": ""}, None, ("The refresh token in the answer is empty; the one before is kept.",)),
    ({"refresh_token": "rt-2"}, "rt-2", ()),
]


@pytest.mark.parametrize(("more", "kept", "oddities"), RENEWALS)
def test_an_answer_without_a_refresh_token_leaves_the_old_one_in_place(
    more: dict[str, Any], kept: str | None, oddities: tuple[str, ...]
) -> None:
    issued = token_answer(200, answer(**more))
    assert (issued.refresh_token, issued.oddities) == (kept, oddities)


TYPES = [
    ("bearer", None),
    ("BEARER", None),
    ("Bearer", None),
    (None, NO_TYPE),
    ("bot", "Slack"),
    ("user", "Slack"),
]


@pytest.mark.parametrize(("kind", "oddity"), TYPES)
def test_a_bearer_token_is_known_by_its_type(kind: str | None, oddity: str | None) -> None:
    issued = token_answer(200, answer(token_type=kind))
    assert issued.access_token == "at-1"
    assert [oddity in said for said in issued.oddities if oddity] == [True] * bool(oddity)
    assert len(issued.oddities) == bool(oddity)


def test_an_answer_that_has_but_the_token_is_taken_with_its_oddities() -> None:
    issued = token_answer(200, b'{"access_token": "at-1"}')
    assert (issued.access_token, issued.refresh_token, issued.lifetime_seconds, issued.scope) == (
        "at-1",
        None,
        None,
        None,
    )
    assert [NO_TYPE in issued.oddities[0], NO_LIFE in issued.oddities[1]] == [True, True]


@pytest.mark.parametrize("kind", ["mac", "DPoP", "N_A", "", "Bot", 7, ["bearer"], False, {}])
def test_another_type_is_refused_and_never_used_as_bearer(kind: Any) -> None:
    failed = failure_of(200, answer(token_type=kind))
    assert (failed.failure, failed.state) == ("wrong_client", "config_error")
    assert "not a bearer token" in failed.detail


LIVES = [
    (3600, 3600.0),
    ("3600", 3600.0),
    (" 3600 ", 3600.0),
    (3599.5, 3599.5),
    ("3599.5", 3599.5),
    (0, None),
    ("0", None),
    (-0.0, None),
    (-1, None),
    ("-5", None),
    (1e20, float(LONGEST_LIFE_SECONDS)),
    (10**400, None),
    ("1e20", float(LONGEST_LIFE_SECONDS)),
    ("inf", float(LONGEST_LIFE_SECONDS)),
    ("-inf", None),
    ("nan", None),
    (None, None),
    ("", None),
    ("soon", None),
    (True, None),
    ([3600], None),
    ({"seconds": 3600}, None),
]


@pytest.mark.parametrize(("given", "expected"), LIVES)
def test_a_life_is_a_number_or_a_numeric_text_of_more_than_nothing_up_to_ten_years(
    given: Any, expected: float | None
) -> None:
    assert seconds(given) == expected


ODD_LIVES = [
    ("3600", None),
    ('"3600"', "is a text"),
    ("0", "not a time"),
    ("-1", "not a time"),
    ("1e20", None),
    ("null", NO_LIFE),
    ("1" * 300, None),
    ("1" * 400, "not a time"),
    ('"x"', "not a time"),
    ("[]", "not a time"),
    ("true", "not a time"),
    ('"0"', "not a time"),
]


@pytest.mark.parametrize(("text", "oddity"), ODD_LIVES, ids=[text[:8] + str(len(text)) for text, _ in ODD_LIVES])
def test_an_odd_life_never_costs_the_token(text: str, oddity: str | None) -> None:
    body = b'{"access_token": "at-1", "token_type": "bearer", "expires_in": ' + text.encode() + b"}"
    issued = token_answer(200, body)
    assert issued.access_token == "at-1"
    assert issued.lifetime_seconds is None or 0 < issued.lifetime_seconds <= LONGEST_LIFE_SECONDS
    assert [oddity in said for said in issued.oddities if oddity] == [True] * bool(oddity)
    assert len(issued.oddities) == bool(oddity)


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, None),
        ({"refresh_token_expires_in": "15897600"}, 15897600.0),
        ({"refresh_expires_in": 1800}, 1800.0),
        ({"refresh_expires_in": 0}, None),  # Keycloak's offline tokens
        ({"x_refresh_token_expires_in": 8726400}, 8726400.0),
        ({"refresh_token_expires_in": None, "refresh_expires_in": 60}, 60.0),
        ({"refresh_token_expires_in": "never"}, None),
        ({"refresh_token_expires_in": 10**12}, float(LONGEST_LIFE_SECONDS)),
    ],
)
def test_the_life_of_a_refresh_token_is_read_as_providers_spell_it(
    more: dict[str, Any], expected: float | None
) -> None:
    assert token_answer(200, answer(**more)).refresh_lifetime_seconds == expected


@pytest.mark.parametrize(
    "scope", ["read token-of-mine-1", "read,token-of-mine-2", ["xtoken-of-mine-1x"], "long " * 4000]
)
def test_a_scope_that_is_none_or_has_a_token_in_it_is_not_kept(scope: Any) -> None:
    body = answer(access_token="token-of-mine-1", refresh_token="token-of-mine-2", scope=scope)
    issued = token_answer(200, body, scope="read")
    assert issued.scope is None
    assert "too long to be one, or has the token in it" in issued.oddities[-1]
    assert issued.access_token == "token-of-mine-1"


SCOPES = [
    ("a b", "b a", []),
    ("a b", "a,b", []),
    ("a,b", ["a", "b"], ["is a list"]),
    ("a b", "a", ["some are missing"]),
    ("a b", "a c", ["some are missing"]),
    ("a b", "", ["some are missing"]),
    ("a", "a b", ["more scopes"]),
    ("a offline_access", "a", []),
    ("a", None, []),
    (None, "a", []),
    ("a", 7, ["not a text"]),
    ("a", ["a", 7], ["not a text"]),
    ("a", "a\nb", ["not a text"]),
]


@pytest.mark.parametrize(("asked", "granted", "oddities"), SCOPES)
def test_a_scope_other_than_asked_for_is_said(asked: str | None, granted: Any, oddities: list[str]) -> None:
    issued = token_answer(200, answer(scope=granted), scope=asked)
    assert len(issued.oddities) == len(oddities)
    assert all(part in said for part, said in zip(oddities, issued.oddities, strict=True))
    texts = granted if isinstance(granted, list) else [granted]
    taken = all(isinstance(text, str) and text.isprintable() for text in texts)
    assert issued.scope == (" ".join(texts) if taken else None)


@pytest.mark.parametrize("value", ["", 7, ["a.b.c"], "a.b.c\n", "ä.b.c"])
def test_an_id_token_that_is_no_text_is_left_out_and_said(value: Any) -> None:
    issued = token_answer(200, answer(id_token=value))
    assert (issued.id_token, issued.oddities) == (None, ("The ID token is not a text that could be one.",))


@pytest.mark.parametrize(
    "token", ["", None, 7, True, ["at"], {"t": 1}, "a\r\nX: y", "a\nb", "a\x00", "a\x7f", "ä", "\t", "a b", " "]
)
@pytest.mark.parametrize("name", ["access_token", "refresh_token"])
def test_a_token_that_cannot_stand_in_a_header_is_refused(name: str, token: Any) -> None:
    if name == "refresh_token" and not token:
        return
    failed = failure_of(200, answer(**{name: token}))
    assert (failed.failure, failed.state) == ("odd_answer", None)
    assert f"no usable {name}" in failed.detail
    assert "X: y" not in failed.detail


def test_an_answer_without_an_access_token_is_refused() -> None:
    assert "no usable access_token" in failure_of(200, b'{"token_type": "bearer"}').detail


NO_OBJECTS = [
    b"",
    b"<html>Sign in</html>",
    b"null",
    b'"at-1"',
    b"[]",
    b'{"access_token": "at-1"',
    b'{"access_token": "\xff"}',
    '{"access_token": "at-1"}'.encode("utf-16"),
    b"[" * 60_000,
    b'{"a":' * 10_000,
    b'{"access_token": NaN}',
    b"access_token=a&access_token=b",
    b"access_token",
    b"token=at-1&token_type=bearer",
    "access_token=ä".encode(),
    b"a=b&" * 60 + b"access_token=at-1",
]


@pytest.mark.parametrize("body", NO_OBJECTS, ids=range(len(NO_OBJECTS)))
@pytest.mark.parametrize(
    ("status", "failure"),
    [(200, "odd_answer"), (302, "odd_answer"), (400, "odd_answer"), (404, "odd_answer"), (503, "provider_down")],
)
def test_what_has_no_fields_is_no_verdict_on_the_connection(status: int, failure: str, body: bytes) -> None:
    failed = failure_of(status, body, retry_after=7.0)
    assert (failed.failure, failed.state, failed.code) == (failure, None, "")
    assert str(status) in failed.detail
    assert failed.retry_after == (7.0 if failure == "provider_down" else None)


@pytest.mark.parametrize(
    ("status", "body", "hint"),
    [
        (302, b"", "redirect"),
        (307, b"<html>", "redirect"),
        (200, b" <!DOCTYPE html>", "a page"),
        (404, b"<html>", "a page"),
        (200, b"nothing", "not a JSON object"),
    ],
)
def test_what_may_be_behind_it_is_said(status: int, body: bytes, hint: str) -> None:
    assert hint in failure_of(status, body).detail


def test_an_answer_longer_than_a_token_takes_up_is_not_read() -> None:
    body = answer(padding="x" * ANSWER_BYTES)
    assert "more than a token takes up" in failure_of(200, body).detail
    assert token_answer(200, answer(padding="x" * (ANSWER_BYTES - 200))).access_token == "at-1"


def test_an_answer_in_a_form_is_read_and_said() -> None:
    fields = {"access_token": "at+1", "token_type": "bearer", "scope": "repo,user", "expires_in": "28800"}
    issued = token_answer(200, urlencode(fields | {"refresh_token": "rt-1"}).encode(), scope="user repo")
    assert (issued.access_token, issued.refresh_token) == ("at+1", "rt-1")
    assert (issued.lifetime_seconds, issued.scope) == (28800.0, "repo,user")
    assert issued.oddities == (
        "The answer is a form, not JSON.",
        "The life of the token is a text, not a number.",
    )
    failed = failure_of(200, b"error=bad_verification_code&error_description=The+code+is+wrong.", secrets=())
    assert (failed.failure, failed.code) == ("signed_out", "bad_verification_code")
    assert failed.said == "The code is wrong."


@pytest.mark.parametrize("nothing", [None, "", False])
def test_an_empty_error_beside_a_token_is_no_error(nothing: Any) -> None:
    assert token_answer(200, answer(error=nothing)).access_token == "at-1"


def test_an_error_beside_a_token_is_one() -> None:
    assert failure_of(200, answer(error="invalid_grant")).failure == "signed_out"


def test_a_token_beside_a_failing_status_is_not_used() -> None:
    assert failure_of(400, answer()).failure == "odd_answer"


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=10)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=5,
)
FIELDS = (
    "access_token", "token_type", "expires_in", "refresh_token", "refresh_expires_in", "scope", "error",
    "error_description", "id_token",
)  # fmt: skip
tokens = st.text(st.characters(max_codepoint=0x17F), min_size=1, max_size=12)
answers = st.fixed_dictionaries(
    {"access_token": st.one_of(tokens, json_values)},
    optional={name: st.one_of(json_values, tokens, st.just("bearer")) for name in FIELDS[1:]},
)


def outcome(status: int, body: bytes) -> Issued | GrantFailed:
    """Anything else that is raised fails the test."""
    try:
        return token_answer(status, body, scope="a b", secrets=("rt-secret", "s"))
    except GrantFailed as error:
        return error


def check_outcome(found: Issued | GrantFailed) -> None:
    if isinstance(found, GrantFailed):
        assert (found.detail + found.said).isprintable()
        assert found.state in (None, "needs_sign_in", "config_error")
        assert "rt-secret" not in found.detail + found.said
        return
    for token in (found.access_token, found.refresh_token, found.id_token):
        assert token is None or (token and all(" " <= letter <= "~" for letter in token))
    for life in (found.lifetime_seconds, found.refresh_lifetime_seconds):
        assert life is None or 0 < life <= LONGEST_LIFE_SECONDS
    assert found.scope is None or found.scope.isprintable()
    assert all(said.isprintable() and said.endswith(".") for said in found.oddities)
    assert repr(found) == f"Issued(lifetime_seconds={found.lifetime_seconds}, oddities={found.oddities})"


@given(st.integers(100, 599), answers)
@example(200, {"access_token": "at-1", "refresh_token": "rt\x1f", "token_type": "bearer"})
def test_any_answer_in_json_is_a_usable_token_or_a_failed_grant(status: int, fields: dict[str, Any]) -> None:
    check_outcome(outcome(status, json.dumps(fields).encode("utf-8", "surrogatepass")))


@given(st.integers(100, 599), st.dictionaries(st.sampled_from(FIELDS), tokens))
def test_any_answer_in_a_form_is_a_usable_token_or_a_failed_grant(status: int, fields: dict[str, str]) -> None:
    check_outcome(outcome(status, urlencode(fields).encode()))


@given(st.integers(100, 599), st.one_of(st.binary(max_size=200), st.text(max_size=50).map(str.encode)))
def test_any_bytes_at_all_are_a_usable_token_or_a_failed_grant(status: int, body: bytes) -> None:
    check_outcome(outcome(status, body))


@given(st.lists(tokens, min_size=1, max_size=3), st.integers(0, 2))
def test_no_oddity_repeats_anything_of_the_answer(values: list[str], place: int) -> None:
    body = answer(scope=[f"scope-{value}" for value in values], expires_in=f"life-{place}", refresh_token="")
    issued = token_answer(200, body, scope="asked")
    assert len(issued.oddities) == 4
    assert not any("scope-" in said or "life-" in said for said in issued.oddities)


def test_neither_an_issued_token_nor_a_failure_shows_it_when_printed() -> None:
    issued = token_answer(200, answer(refresh_token="rt-1", id_token="it-1", scope="sc-1"))
    assert not any(secret in repr(issued) for secret in ("at-1", "rt-1", "it-1", "sc-1"))


def test_half_of_a_surrogate_pair_beside_the_token_does_not_lose_it() -> None:
    body = b'{"access_token": "one", "token_type": "Bearer", "expires_in": 60, "user": "a\\ud83d"}'
    issued = token_answer(200, body)
    assert (issued.access_token, issued.lifetime_seconds) == ("one", 60)
    assert "The answer has a text that is no Unicode." in issued.oddities
