"""TLS on the way out: contexts made when they are first needed, and what a failed handshake means in our words."""

import asyncio
import os
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import aiohttp
from cryptography import x509

from quart_app.outbound.timings import Timings, current

SELF_SIGNED = 18
NOT_GOOD_YET = 9
EXPIRED = 10
UNKNOWN_AUTHORITY = (2, 19, 20, 21)
OTHER_HOST = (62, 64)
"""X509_V_ERR_… of OpenSSL."""

ORDINARY = (ssl.SSLWantReadError, ssl.SSLWantWriteError, ssl.SSLZeroReturnError)


class Handshake(ssl.SSLObject):
    """Remembers the fault that ended it: the event loop makes a plain end of connection of some."""

    fault: ssl.SSLError | None = None

    def do_handshake(self) -> None:
        try:
            super().do_handshake()
        except ORDINARY:
            raise
        except ssl.SSLError as error:
            self.fault = error
            raise

    def read(self, *args: Any) -> Any:
        try:
            return super().read(*args)
        except ORDINARY:
            raise
        except ssl.SSLError as error:  # TLS 1.3: the other side judges our certificate after the handshake
            self.fault = error
            raise


class TimedContext(ssl.SSLContext):
    """A context that tells the current Timings when a handshake begins, for which aiohttp has no hook."""

    sslobject_class = Handshake

    def wrap_bio(self, *args: Any, **kwargs: Any) -> ssl.SSLObject:
        made = super().wrap_bio(*args, **kwargs)
        timings = current.get()
        if timings is not None:
            timings.tls_started = time.perf_counter()
            timings.handshake = made
        return made


def make_context(
    *, verify: bool = True, ca: str | None = None, certificate: str | None = None, key: str | None = None
) -> TimedContext:
    """TLS 1.2 and up. The authorities in `ca` stand instead of the system's; without `verify` nobody is checked.

    All three are PEM. Raises OSError, of which ssl.SSLError is a kind, for what OpenSSL does not take.
    """
    context = TimedContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif ca:
        context.load_verify_locations(cadata=ca)
    else:
        context.load_default_certs()
    if certificate and key:
        with piped(certificate) as certificate_path, piped(key) as key_path:
            context.load_cert_chain(certificate_path, key_path, password=no_passphrase)
    return context


@contextmanager
def piped(text: str) -> Iterator[str]:
    """The text as a file that can be read once: OpenSSL takes a key from nowhere else, and a disk must not have it.

    A pipe holds 64 KiB; `pem.LONGEST` keeps below that.
    """
    reader, writer = os.pipe()
    try:
        os.write(writer, text.encode())
        os.close(writer)
        yield f"/dev/fd/{reader}"
    finally:
        os.close(reader)


def no_passphrase() -> str:
    """Else OpenSSL asks the terminal."""
    raise ssl.SSLError("the key has a passphrase")


class LazyContext:
    """A context made in a thread when it is first asked for: the system's authorities take 50 ms to read."""

    def __init__(self, make: Callable[[], ssl.SSLContext]) -> None:
        self._make = make
        self._made: ssl.SSLContext | None = None
        self._turn = asyncio.Lock()

    async def get(self) -> ssl.SSLContext:
        """Raises OSError, as `make_context` does."""
        async with self._turn:
            if self._made is None:
                self._made = await asyncio.to_thread(self._make)
            return self._made


def tls_fault(error: BaseException, timings: Timings, host: str) -> str | None:
    """What went wrong with TLS to `host`, as a sentence; None when it was not TLS."""
    handshake = timings.handshake
    fault = ssl_error_in(error) or (handshake.fault if isinstance(handshake, Handshake) else None)
    if isinstance(fault, ssl.SSLCertVerificationError):
        return certificate_fault(fault, presented(handshake), host)
    if fault is not None:
        return REASONS.get(fault.reason or "", "The TLS handshake with the upstream failed.")
    if timings.tls_started is None or timings.connected is not None:
        return None
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return "The upstream did not end the TLS handshake within the connect time."
    if isinstance(error, TimeoutError):  # the call's total time, which has a reason of its own
        return None
    return "The upstream broke off the TLS handshake; it may want a client certificate, or other TLS settings."


def ssl_error_in(error: BaseException | None) -> ssl.SSLError | None:
    """OpenSSL's own error; the library's, which are of the same kinds, have no reason in them."""
    while error is not None:
        if isinstance(error, ssl.SSLError) and hasattr(error, "reason") and not isinstance(error, ORDINARY):
            return error
        error = error.__cause__ or error.__context__
    return None


def certificate_fault(fault: ssl.SSLCertVerificationError, shown: x509.Certificate | None, host: str) -> str:
    code = fault.verify_code
    if shown is not None and code in (EXPIRED, NOT_GOOD_YET):
        since, until = (f"{day:%Y-%m-%d %H:%M} UTC" for day in (shown.not_valid_before_utc, shown.not_valid_after_utc))
        when = "has expired" if code == EXPIRED else "is not good yet"
        return f"The upstream's certificate {when}: it is for the time from {since} to {until}."
    if code in OTHER_HOST:
        return f"The upstream's certificate is for another host than {host}."
    if code == SELF_SIGNED:
        return "The upstream's certificate is signed by itself; if that is meant, give it as the connection's tls.ca."
    if code in UNKNOWN_AUTHORITY:
        return "The upstream's certificate is by an authority unknown here; give that one as the connection's tls.ca."
    return "The upstream's certificate, or one above it, does not hold."


def presented(handshake: Any) -> x509.Certificate | None:
    """The certificate that the other side showed, good or not. Public since Python 3.13, there before."""
    try:
        if hasattr(handshake, "get_unverified_chain"):
            return x509.load_der_x509_certificate(handshake.get_unverified_chain()[0])
        return x509.load_pem_x509_certificate(handshake._sslobj.get_unverified_chain()[0].public_bytes().encode())
    except (AttributeError, IndexError, TypeError, ValueError):
        return None


OLD = "The upstream speaks only TLS older than 1.2, which protects nothing any more."
NO_TLS = "The upstream does not speak TLS on this port."
REFUSED = "The upstream refused the client certificate, or wants another one."
REASONS = {
    "UNSUPPORTED_PROTOCOL": OLD,
    "TLSV1_ALERT_PROTOCOL_VERSION": OLD,
    "WRONG_SSL_VERSION": OLD,
    "WRONG_VERSION_NUMBER": NO_TLS,
    "HTTP_REQUEST": NO_TLS,
    "RECORD_LAYER_FAILURE": NO_TLS,
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "The upstream wants a client certificate: give the connection one.",
    "TLSV1_ALERT_UNKNOWN_CA": REFUSED,
    "SSLV3_ALERT_BAD_CERTIFICATE": REFUSED,
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": REFUSED,
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": REFUSED,
    "SSLV3_ALERT_CERTIFICATE_REVOKED": REFUSED,
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE": REFUSED,
    "SSLV3_ALERT_HANDSHAKE_FAILURE": "The upstream refused the TLS handshake; it may want a client certificate.",
}
"""OpenSSL's reasons that a person can do something about."""
