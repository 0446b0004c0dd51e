"""Why there is no token: what kind of failure it is, and so who has to do something about it (RFC 6749 §5.2)."""

import re
from collections.abc import Collection
from typing import Any, Literal

from quart_app.outbound.oauth.form import OAuth2
from quart_app.outbound.redaction.redactor import Redactor

Failure = Literal["signed_out", "wrong_client", "clock", "network", "provider_down", "odd_answer", "storage"]
LONGEST_NAME = 64
LONGEST_DESCRIPTION = 200
LONGEST_RAW = 4_000
PIECE = 8
"""Characters of a secret that are too many to be shown."""
MOST_SKEW_SECONDS = 60.0
NAME = re.compile(r"[a-z]+(?:_[a-z]+){0,5}")

SIGNED_OUT = frozenset(
    ("invalid_grant", "access_denied",  # RFC 6749
     "invalid_token", "token_expired", "token_revoked", "invalid_refresh_token", "invalid_code", "code_already_used",
     "bad_refresh_token", "bad_verification_code",  # GitHub
     "interaction_required", "consent_required", "login_required", "account_selection_required")
)  # fmt: skip
"""The provider wants a person: also where somebody refused (access_denied), since only a person can ask again."""

WRONG_CLIENT = frozenset(
    ("invalid_client", "unauthorized_client", "unsupported_grant_type", "invalid_scope", "invalid_request",
     "invalid_target",  # RFC 8707 §2
     "invalid_client_id", "invalid_client_secret", "bad_client_secret", "bad_redirect_uri",  # Slack, Zoho
     "incorrect_client_credentials", "redirect_uri_mismatch")  # GitHub
)  # fmt: skip
DOWN = frozenset(("temporarily_unavailable", "slow_down", "rate_limit_exceeded", "ratelimited"))
FAILING = frozenset(("server_error", "internal_error"))
"""The provider failed on the way, and may have done what it was asked for; the others say that it did not begin."""

KNOWN = SIGNED_OUT | WRONG_CLIENT | DOWN | FAILING
DOWN_STATUSES = frozenset((408, 425, 429))


class GrantFailed(Exception):
    """There is no token. `failure` is the kind, `state` what that makes of the connection, None for no change.

    `code` is the provider's name for it; `retry_after` the seconds it asks to wait; `said` its own words, cleaned.
    These stand apart from `detail`, which goes to whoever made the call.
    """

    def __init__(
        self,
        detail: str,
        *,
        failure: Failure,
        code: str = "",
        state: Literal["needs_sign_in", "config_error"] | None = None,
        retry_after: float | None = None,
        said: str = "",
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.said = said
        self.failure: Failure = failure
        self.code = code
        self.state = state
        self.retry_after = retry_after


def refused(
    status: int, answer: dict[str, Any], *, retry_after: float | None, secrets: Collection[str] | None
) -> GrantFailed:
    """What an error answer means. A provider that fails (5xx, 429) is not believed in what it says of the grant."""
    code = named(answer.get("error"), secrets)
    said = told(answer.get("error_description"), secrets)
    if status >= 500 or status in DOWN_STATUSES or code in DOWN | FAILING:
        detail = f"The provider cannot give a token now ({status}); it is tried again."
        known = code if code in DOWN else ""
        return GrantFailed(detail, failure="provider_down", code=known, retry_after=retry_after, said=said)
    if code in SIGNED_OUT:
        detail = f"The provider no longer takes the sign-in ({code}): sign in again."
        return GrantFailed(detail, failure="signed_out", code=code, state="needs_sign_in", said=said)
    if code in WRONG_CLIENT:
        detail = f"The provider refused the client ({code}): check client id, secret, scope and client_auth."
        return GrantFailed(detail, failure="wrong_client", code=code, state="config_error", said=said)
    name = f" ({code})" if code else ""
    detail = f"The token endpoint answered {status} with an error that is not one of OAuth's{name}."
    return GrantFailed(detail, failure="odd_answer", code=code, retry_after=retry_after, said=said)


def named(code: Any, secrets: Collection[str] | None) -> str:
    """The provider's name for an error: one that is known, or that looks like one and is no secret; else empty."""
    if not isinstance(code, str) or len(code) > LONGEST_NAME or not NAME.fullmatch(code):
        return ""
    return code if code in KNOWN or not gives_away(code, secrets or ()) else ""


def told(description: Any, secrets: Collection[str] | None) -> str:
    """The provider's own words: printable, short, and free of all that was sent in secret.

    Nothing where they are no text, are mark-up, or have a piece of a secret in them; nor where the secrets are not
    known (None).
    """
    if secrets is None or not isinstance(description, str) or re.search(r"<[a-zA-Z/!?]", description):
        return ""
    raw = description[:LONGEST_RAW]
    words = "".join(letter if letter.isprintable() else " " for letter in raw).split()
    text = " ".join(words)
    if not text or any(gives_away(form, secrets) for form in (raw, text, "".join(words))):
        return ""
    return text if len(text) <= LONGEST_DESCRIPTION else text[: LONGEST_DESCRIPTION - 1] + "…"


def gives_away(text: str, secrets: Collection[str]) -> bool:
    """Whether a secret is in a text: whole in any form that records know, or a piece of it as it is."""
    if any(text[start : start + PIECE] in secret for secret in secrets for start in range(len(text) - PIECE + 1)):
        return True
    redactor = Redactor([("sent", secret) for secret in secrets])
    return redactor.text(text) != text or any(secret in text for secret in secrets)


def judged(failed: GrantFailed, auth: OAuth2, skew_seconds: float | None) -> GrantFailed:
    """What a refusal means for a grant: of an assertion that the clock has spoilt, or where nobody can sign in again.

    `skew_seconds` is how far our clock is ahead of the provider's, None where it is not known.
    """
    ahead = skew_seconds or 0.0
    if abs(ahead) > MOST_SKEW_SECONDS and is_of_assertion(failed, auth):
        way = "ahead of" if ahead > 0 else "behind"
        detail = f"This machine's clock is {abs(ahead):.0f} s {way} the provider's, which refuses what is signed by it."
        return GrantFailed(detail, failure="clock", code=failed.code, said=failed.said)
    if failed.failure != "signed_out":
        return failed
    if auth.grant == "jwt_bearer":
        detail = f"The provider does not take the assertion ({failed.code}): check key, subject, scope and audience."
    elif auth.grant == "client_credentials":
        detail = f"The provider refused the client ({failed.code}): see there whether it is still allowed."
    else:
        return failed
    return GrantFailed(detail, failure="wrong_client", code=failed.code, state="config_error", said=failed.said)


def is_of_assertion(failed: GrantFailed, auth: OAuth2) -> bool:
    """Whether what was refused may be something signed here: what is wrong with a refresh token no clock mends."""
    if failed.code == "invalid_client":
        return auth.client_auth == "private_key_jwt"
    signs = auth.grant == "jwt_bearer" or auth.client_auth == "private_key_jwt"
    return failed.code == "invalid_grant" and signs and not auth.spends_refresh_tokens
