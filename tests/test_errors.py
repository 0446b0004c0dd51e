"""The errors that are said on purpose."""

import pytest

from quart_app.errors import REASONS, AppError, CallFailed, Invalid, NotFound, Refused


@pytest.mark.parametrize("reason", sorted(REASONS))
def test_every_reason_of_a_failed_call_has_a_gateways_status(reason: str) -> None:
    error = CallFailed(reason, "It did not work.")
    assert error.code == reason
    assert error.status in (403, 502, 503, 504)
    assert (("Retry-After", "1") in error.headers) == (error.status == 503)


def test_a_refused_credential_says_how_to_ask() -> None:
    assert Refused("invalid_key", "No.", status=401).headers == [("WWW-Authenticate", 'Bearer error="invalid_token"')]
    assert Refused("cross_origin", "No.").headers == []


def test_errors_do_not_share_their_lists() -> None:
    first, second = NotFound(), NotFound()
    first.headers.append(("X", "1"))
    assert second.headers == []
    assert isinstance(first, AppError)
    assert Invalid("invalid_json", "No.").status == 400
