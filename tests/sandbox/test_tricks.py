"""What a trick does to an answer, and which request it is played on."""

import json
from typing import Any

import pytest

from quart_app.sandbox.catalogue import CATALOGUE
from quart_app.sandbox.tricks import PLAIN, Answer, Trick, Tricks, made, read_tricks

GOOD = Answer({"access_token": "t", "token_type": "Bearer", "expires_in": 60, "refresh_token": "r"})
BAD = Answer({"error": "invalid_grant", "error_description": "No."}, 400)
REDIRECT = Answer({"code": "c", "state": "s", "iss": "i"}, 303, {}, "https://client.example/")


def said(name: str, answer: Answer = GOOD, **changes: Any) -> tuple[int, Any]:
    """Status and JSON of the answer once the trick was played on it."""
    trick = made({"name": name, **changes})
    changed = trick.change(answer)
    return changed.status, json.loads(trick.content(changed))


def test_without_a_trick_an_answer_stays_as_it_is() -> None:
    assert PLAIN.change(GOOD) == GOOD
    assert (PLAIN.keeps_off, PLAIN.ends) == (False, "whole")


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        ("expires_in_string", "expires_in", "3600"),
        ("expires_in_words", "expires_in", "soon"),
        ("expires_in_zero", "expires_in", 0),
        ("expires_in_negative", "expires_in", -1),
        ("expires_in_huge", "expires_in", 1e20),
        ("expires_in_null", "expires_in", None),
        ("empty_refresh_token", "refresh_token", ""),
        ("token_with_newline", "access_token", "a\r\nX-Injected: b"),
        ("huge_token", "access_token", "x" * 1024**2),
        ("token_type_mac", "token_type", "mac"),
        ("token_type_upper", "token_type", "BEARER"),
        ("other_scope", "scope", "items:read"),
    ],
)
def test_an_odd_value_stands_in_place_of_the_right_one_and_leaves_the_rest(name: str, field: str, value: Any) -> None:
    assert said(name) == (200, {**(GOOD.fields or {}), field: value})


@pytest.mark.parametrize("field", ["expires_in", "refresh_token", "token_type", "access_token"])
def test_a_member_can_be_left_out(field: str) -> None:
    status, fields = said(f"no_{field}")
    assert (status, field in fields, len(fields)) == (200, False, 3)


@pytest.mark.parametrize("name", ["expires_in_zero", "no_expires_in", "huge_token", "extra_fields"])
def test_odd_values_leave_the_servers_own_errors_alone(name: str) -> None:
    assert said(name, BAD) == (400, BAD.fields)


@pytest.mark.parametrize(
    ("name", "status"),
    [("invalid_grant", 400), ("slow_down", 400), ("invalid_client", 401), ("temporarily_unavailable", 503)],
)
def test_an_error_stands_in_place_of_the_answer_with_the_status_that_is_usual(name: str, status: int) -> None:
    found, fields = said(name)
    assert (found, fields["error"], "access_token" in fields) == (status, name, False)
    assert said(name, status=418)[0] == 418


def test_an_error_may_come_with_status_200_and_with_more_members() -> None:
    trick = made({"name": "error_with_200", "answer": {"error_uri": "https://docs.example"}})
    changed = trick.change(GOOD)
    assert changed.fields is not None
    assert (changed.status, changed.fields["error"]) == (200, "invalid_grant")
    assert changed.fields["error_uri"] == "https://docs.example"


def test_a_body_stands_in_place_of_any_answer() -> None:
    for answer in (GOOD, BAD, REDIRECT):
        trick = made({"name": "status_502", "headers": {"X-Proxy": "a"}})
        changed = trick.change(answer)
        assert (changed.status, changed.redirect_uri, changed.headers) == (502, "", {"X-Proxy": "a"})
        assert trick.content(changed).startswith(b"<!doctype html>")


def test_a_status_alone_changes_nothing_else() -> None:
    assert said("", status=201) == (201, GOOD.fields)


def test_an_answer_can_be_large_and_in_another_encoding() -> None:
    large, latin = made({"name": "large_answer"}), made({"name": "not_utf8"})
    assert len(large.content(large.change(GOOD))) > 64 * 1024
    with pytest.raises(UnicodeDecodeError):
        latin.content(latin.change(GOOD)).decode()


@pytest.mark.parametrize(
    ("name", "query"),
    [
        ("wrong_issuer", {"code": "c", "state": "s", "iss": "https://wrong.example"}),
        ("no_issuer", {"code": "c", "state": "s"}),
        ("wrong_state", {"code": "c", "state": "wrong", "iss": "i"}),
        ("no_state", {"code": "c", "iss": "i"}),
        ("no_code", {"state": "s", "iss": "i"}),
        ("code_and_error", {"code": "c", "state": "s", "iss": "i", "error": "server_error"}),
        (
            "denied",
            {"error": "access_denied", "error_description": "A trick of the sandbox.", "state": "s", "iss": "i"},
        ),
    ],
)
def test_a_redirect_is_changed_in_its_query(name: str, query: dict[str, str]) -> None:
    changed = made({"name": name}).change(REDIRECT)
    assert (changed.fields, changed.status, changed.redirect_uri) == (query, 303, REDIRECT.redirect_uri)


def test_a_fault_before_keeps_the_request_off_and_one_after_does_not() -> None:
    for name in ("lost_request", "status_503", "invalid_grant", "empty"):
        assert made({"name": name}).keeps_off
        assert not made({"name": name, "when": "after"}).keeps_off
    for name in ("lost_answer", "cut", "hang", "slow_request", "slow_answer", "expires_in_zero", "denied"):
        assert not made({"name": name}).keeps_off


def test_the_first_trick_that_fits_and_is_not_used_up_is_played() -> None:
    tricks = Tricks()
    tricks.add("status_503", times=2)
    tricks.add("lost_answer", client_id="a")
    tricks.add("denied")
    tricks.add("empty", grant="refresh_token", times=None)
    taken = [tricks.take("token", "b", "refresh_token").name for _ in range(4)]
    assert taken == ["status_503", "status_503", "empty", "empty"]
    assert tricks.take("token", "a", "refresh_token").name == "lost_answer"
    assert tricks.take("token", "a", "client_credentials") is PLAIN
    assert tricks.take("authorization", "a").name == "denied"
    assert [staged["played"] for staged in tricks.view()] == [2, 1, 1, 2]
    tricks.clear()
    assert (tricks.view(), tricks.take("token", "b", "refresh_token")) == ([], PLAIN)


def test_a_view_says_what_is_not_as_usual_in_json() -> None:
    tricks = Tricks()
    tricks.put([made({"name": "expires_in_huge", "times": 3}), Trick(status=201)])
    assert json.loads(json.dumps(tricks.view())) == [
        {"name": "expires_in_huge", "times": 3, "answer": {"expires_in": 1e20}, "played": 0},
        {"status": 201, "played": 0},
    ]


def test_tricks_are_read_by_name_by_name_with_changes_and_from_parts() -> None:
    given = ["lost_answer", {"name": "lost_answer", "when": "before", "times": None}, {"answer": {"expires_in": []}}]
    tricks, faults = read_tricks({"tricks": given})
    assert faults == []
    assert [(trick.name, trick.when, trick.times, trick.ends) for trick in tricks] == [
        ("lost_answer", "after", 1, "closed"),
        ("lost_answer", "before", None, "closed"),
        ("", "before", 1, "whole"),
    ]
    assert read_tricks({"tricks": []}) == ([], [])


@pytest.mark.parametrize(
    ("entry", "place", "detail"),
    [
        ("lost_anser", "/tricks/0/name", "there is no such trick; did you mean lost_answer?"),
        ({"name": "qqq"}, "/tricks/0/name", "there is no such trick"),
        (7, "/tricks/0", "a name, or an object"),
        ({"name": 7}, "/tricks/0", "a name, or an object"),
        ({"when": "later"}, "/tricks/0/when", "before"),
        ({"at": "nowhere"}, "/tricks/0/at", "token"),
        ({"ends": "badly"}, "/tricks/0/ends", "reset"),
        ({"times": 0}, "/tricks/0/times", "greater than or equal to 1"),
        ({"delay_seconds": 301}, "/tricks/0/delay_seconds", "300"),
        ({"delay_seconds": -1}, "/tricks/0/delay_seconds", "0"),
        ({"status": 199}, "/tricks/0/status", "200"),
        ({"long": {"a/b": 10**9}}, "/tricks/0/long/a~1b", "8388608"),
        ({"headers": {"X-A": "a\r\nX-B: b"}}, "/tricks/0/headers", "line breaks"),
        ({"headers": {"a b": "c"}}, "/tricks/0/headers", "line breaks"),
        ({"headers": {"Content-Length": "1"}}, "/tricks/0/headers", "the server's own"),
        ({"encoding": "nonsense"}, "/tricks/0/encoding", "utf-8"),
        ({"encoding": "rot13"}, "/tricks/0/encoding", "utf-8"),
        ({"colour": "red"}, "/tricks/0/colour", "Extra"),
    ],
)
def test_what_cannot_be_played_is_refused_with_its_place(entry: Any, place: str, detail: str) -> None:
    tricks, faults = read_tricks({"tricks": [entry]})
    assert tricks == []
    assert [fault["pointer"] for fault in faults] == [place]
    assert detail in faults[0]["detail"]


def test_every_fault_is_named_at_once() -> None:
    faults = read_tricks({"tricks": ["empty", "nothing", {"times": 0, "when": "later"}]})[1]
    assert [fault["pointer"] for fault in faults] == ["/tricks/1/name", "/tricks/2/times", "/tricks/2/when"]


@pytest.mark.parametrize("given", [{}, {"tricks": None}, {"tricks": ["empty"] * 101}, {"tricks": [], "more": 1}])
def test_what_is_no_list_of_tricks_is_refused(given: dict[str, Any]) -> None:
    assert [fault["pointer"] for fault in read_tricks(given)[1]] == ["/tricks"]


@pytest.mark.parametrize("name", CATALOGUE)
def test_every_trick_of_the_catalogue_changes_something(name: str) -> None:
    trick = made({"name": name})
    assert trick.model_copy(update={"name": "", "at": "token"}) != PLAIN
