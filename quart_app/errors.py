"""Every error the app says on purpose.

    AppError                     status, code, detail and a list of faults; becomes problem+json
    ├── Invalid                  400, 422: the input; carries each fault with its pointer
    ├── Refused                  401, 403: who is asking
    ├── NotFound                 404
    └── CallFailed               502, 503, 504: the call could not be tried, or got no whole answer
    SettingsError                the app cannot start as it is told to
    └── DataError                the data folder or the database cannot be used as it is

An upstream's 4xx or 5xx is an answer, not an error.
"""

import math
from collections.abc import Sequence
from typing import TypedDict


class Fault(TypedDict):
    """One thing wrong with an input: a JSON Pointer (RFC 6901) to it and a sentence."""

    pointer: str
    detail: str


class AppError(Exception):
    """What the app says instead of an answer.

    `status` is the HTTP status, `code` stable snake_case for programs, `detail` a sentence for people without
    secrets and without text from an upstream, `errors` every fault of the input at once, `headers` go along.
    """

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        errors: Sequence[Fault] = (),
        headers: Sequence[tuple[str, str]] = (),
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.errors = list(errors)
        self.headers = list(headers)


class Invalid(AppError):
    def __init__(self, code: str, detail: str, errors: Sequence[Fault] = (), *, status: int = 400) -> None:
        super().__init__(status, code, detail, errors)


class Refused(AppError):
    def __init__(self, code: str, detail: str, *, status: int = 403) -> None:
        headers = [("WWW-Authenticate", 'Bearer error="invalid_token"')] if status == 401 else []
        super().__init__(status, code, detail, headers=headers)


class NotFound(AppError):
    def __init__(self, code: str = "not_found", detail: str = "There is nothing here.") -> None:
        super().__init__(404, code, detail)


class CallFailed(AppError):
    """A call that could not be tried or got no whole answer; `code` is one of `REASONS`.

    Where another try may go better, `retry_after` says in how many seconds.
    """

    def __init__(self, code: str, detail: str, *, retry_after: float = 1.0) -> None:
        headers = [("Retry-After", str(math.ceil(retry_after)))] if REASONS[code] == 503 else []
        super().__init__(REASONS[code], code, detail, headers=headers)
        self.retry_after = retry_after


REASONS = {
    "egress_denied": 403,
    "dns_failed": 502,
    "connect_timeout": 504,
    "connect_failed": 502,
    "tls_failed": 502,
    "first_byte_timeout": 504,
    "idle_timeout": 504,
    "total_timeout": 504,
    "reset": 502,
    "protocol_error": 502,
    "too_large": 502,
    "token_unavailable": 502,
    "circuit_open": 503,
    "limit_wait": 503,
}
"""Why a call failed, and the status a caller of `/proxy` gets for it."""


class SettingsError(Exception):
    """The app cannot start as it is told to; the text says what to change."""


class DataError(SettingsError):
    """The data folder or the database cannot be used as it is; the text says what to do."""
