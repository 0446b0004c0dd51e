"""Why an attempt got no whole answer, in our words: no text of a library or of an upstream goes on."""

import aiohttp

from quart_app.outbound.egress import EgressDenied
from quart_app.outbound.timings import Timings
from quart_app.outbound.tls import tls_fault


class AttemptFailed(Exception):
    """No whole answer came. `reason` is one of `errors.REASONS`, `detail` a sentence without upstream text."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def explain(error: BaseException, *, answering: bool, timings: Timings | None = None, host: str = "") -> AttemptFailed:
    """What an error of the library means; before the answer `timings` and the `host` tell how far it came."""
    denied = denied_in(error)
    if denied is not None:
        return AttemptFailed("egress_denied", f"{denied}.")
    if timings is not None:
        fault = tls_fault(error, timings, host)
        if fault is not None:
            return AttemptFailed("tls_failed", fault)
        if isinstance(error, aiohttp.ConnectionTimeoutError) and timings.dns_started and not timings.dns_ended:
            return AttemptFailed("dns_failed", "The upstream's host name did not resolve within the connect time.")
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return proxy_refused(error.status)
    reason, detail = next((said for kind, *said in MEANINGS if isinstance(error, kind)), UNKNOWN)
    if reason == "first_byte_timeout" and answering:
        return AttemptFailed("idle_timeout", "The upstream stopped in the middle of its answer.")
    if isinstance(error, aiohttp.ClientPayloadError) and "enough data" not in str(error.__cause__ or error):
        return AttemptFailed("protocol_error", "The upstream's answer broke off its own framing.")
    return AttemptFailed(reason, detail)


def denied_in(error: BaseException | None) -> EgressDenied | None:
    """The refusal of an address, which the library wraps; also in a group of tried addresses."""
    while error is not None:
        if isinstance(error, EgressDenied):
            return error
        inner = getattr(error, "os_error", None)
        for nested in (inner, *getattr(inner, "exceptions", ()), *getattr(error, "exceptions", ())):
            if isinstance(nested, EgressDenied):
                return nested
        error = error.__cause__ or error.__context__
    return None


def proxy_refused(status: int) -> AttemptFailed:
    """The outbound proxy itself answered, instead of the upstream."""
    if status == 407:
        return AttemptFailed("connect_failed", "The outbound proxy wants another user name or password (407).")
    return AttemptFailed("connect_failed", f"The outbound proxy did not connect to the upstream ({status}).")


UNKNOWN = ["protocol_error", "The upstream's answer broke the rules of HTTP."]
MEANINGS: tuple[tuple[type[BaseException], str, str], ...] = (
    (
        aiohttp.ConnectionTimeoutError,
        "connect_timeout",
        "The upstream did not accept the connection in time.",
    ),
    (
        aiohttp.SocketTimeoutError,
        "first_byte_timeout",
        "The upstream took the request and did not answer in time.",
    ),
    (aiohttp.ClientConnectorDNSError, "dns_failed", "The upstream's host name does not resolve."),
    (aiohttp.ClientSSLError, "tls_failed", "The TLS handshake with the upstream failed."),
    (aiohttp.ServerFingerprintMismatch, "tls_failed", "The upstream's certificate is another one."),
    (aiohttp.ClientProxyConnectionError, "connect_failed", "The outbound proxy refused the connection."),
    (aiohttp.ClientConnectorError, "connect_failed", "The upstream refused the connection."),
    (aiohttp.ServerDisconnectedError, "reset", "The upstream closed the connection without an answer."),
    (aiohttp.ClientPayloadError, "reset", "The upstream closed the connection in the middle of its answer."),
    (aiohttp.ClientResponseError, "protocol_error", "The upstream's answer is not HTTP."),
    (aiohttp.ClientOSError, "reset", "The connection to the upstream broke."),
    (TimeoutError, "total_timeout", "The call took longer than its total time."),
    (OSError, "reset", "The connection to the upstream broke."),
)
"""In order: the first kind that fits says the reason."""
