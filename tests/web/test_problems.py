"""The one builder of error answers."""

import msgspec
import pytest

from quart_app.errors import REASONS, AppError, CallFailed, Invalid, Refused
from quart_app.web.problems import problem, send_problem, title
from quart_app.web.shapes import Problem

ERRORS = [
    AppError(500, "internal_error", "Sorry."),
    Invalid("invalid_input", "Faults.", [{"pointer": "/a/0", "detail": "wrong"}], status=422),
    Refused("sign_in_required", "Sign in.", status=401),
    *(CallFailed(reason, "It failed.") for reason in REASONS),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.code)
def test_an_error_becomes_rfc_9457_with_a_stable_code(error: AppError) -> None:
    status, headers, body = problem(error)
    said = Problem.model_validate_json(body, strict=True)
    assert (status, said.status, said.code, said.detail) == (error.status, error.status, error.code, error.detail)
    assert said.type == f"urn:switchboard:error:{error.code}"
    assert said.errors == error.errors
    assert dict(headers)["Content-Type"] == "application/problem+json"
    assert dict(headers)["Cache-Control"] == "no-store"


def test_each_has_an_id_of_its_own_unless_one_is_given() -> None:
    ids = {msgspec.json.decode(problem(ERRORS[0])[2])["request_id"] for _ in range(3)}
    assert len(ids) == 3
    assert msgspec.json.decode(problem(ERRORS[0], "mine")[2])["request_id"] == "mine"


def test_401_says_how_to_sign_in_and_503_when_to_come_back() -> None:
    assert dict(problem(Refused("sign_in_required", "Sign in.", status=401))[1])["WWW-Authenticate"].startswith(
        "Bearer"
    )
    assert dict(problem(CallFailed("circuit_open", "Wait."))[1])["Retry-After"] == "1"


@pytest.mark.parametrize(("status", "expected"), [(404, "Not Found"), (421, "Misdirected Request"), (599, "Error")])
def test_the_title_is_the_name_of_the_status(status: int, expected: str) -> None:
    assert title(status) == expected


async def test_in_front_of_quart_it_is_the_same_and_head_gets_the_head_only() -> None:
    for head in (False, True):
        sent: list[dict[str, object]] = []

        async def send(message: dict[str, object], to: list[dict[str, object]] = sent) -> None:
            to.append(message)

        await send_problem(send, ERRORS[0], [("X-More", "1")], head=head)
        start, body = sent
        headers = dict(start["headers"])  # type: ignore[call-overload]
        assert (start["status"], headers[b"x-more"], body["more_body"]) == (500, b"1", False)
        assert (body["body"] == b"") == head
        assert int(headers[b"content-length"]) > 100
