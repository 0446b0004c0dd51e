"""Errors of the library in our words. What real servers make of them is in test_client, test_tls and test_sessions."""

import ssl

import pytest

from quart_app.errors import REASONS
from quart_app.outbound.egress import EgressDenied
from quart_app.outbound.failures import MEANINGS, denied_in, explain, proxy_refused
from quart_app.outbound.timings import Timings


def test_every_meaning_is_a_reason_of_the_list() -> None:
    assert {reason for _, reason, _ in MEANINGS} <= REASONS.keys()


def test_a_refusal_is_found_in_whatever_wraps_it() -> None:
    denied = EgressDenied("private", "10.0.0.1", 80)
    wrapped = OSError("outer")
    wrapped.__cause__ = ExceptionGroup("tried", [OSError("other"), denied])
    assert denied_in(denied) is denied
    assert denied_in(wrapped) is denied
    assert denied_in(OSError("none")) is None
    assert explain(wrapped, answering=False).reason == "egress_denied"


@pytest.mark.parametrize("error", [OSError("secret text"), ValueError("secret text"), ssl.SSLError("secret text")])
def test_no_text_of_an_error_goes_on(error: Exception) -> None:
    assert "secret" not in explain(error, answering=False, timings=Timings()).detail


def test_a_proxy_that_refuses_is_told_with_its_status() -> None:
    assert "407" in proxy_refused(407).detail
    assert proxy_refused(503).reason == "connect_failed"
