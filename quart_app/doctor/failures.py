"""What is wrong with a connection now, if anything: one failure, the one that keeps its calls from going. Pure."""

from dataclasses import dataclass
from typing import Literal

from quart_app.doctor.facts import Facts, Use
from quart_app.models import TokenExchange

Kind = Literal[
    "signed_out", "wrong_client", "clock", "network", "provider_down", "odd_answer", "storage",
    "not_signed_in", "refused", "paused",
]  # fmt: skip
"""The classes of failures: those of a token exchange, and what only the whole connection can have."""
JUDGED_USES = 3


@dataclass(frozen=True, slots=True)
class Failure:
    """`code` is the provider's or the engine's own word for it, `detail` a sentence, `at` when it was seen.

    `in_doubt`: an answer was lost, and with it perhaps the refresh token's successor.
    """

    kind: Kind
    code: str | None = None
    detail: str | None = None
    at: float | None = None
    in_doubt: bool = False


def failure_of(facts: Facts) -> Failure | None:
    """None where the connection is well. The one that has to be put right first comes first."""
    if facts.connection.state == "paused":
        return Failure("paused")
    if not facts.is_oauth:
        return refused(facts)
    if facts.unstored:
        at = facts.latest.claimed_at if facts.latest else None
        return Failure("storage", "unstored", "A new token waits for the database.", at)
    of_token = of_state(facts) or of_exchange(facts) or unsigned(facts) or lapsed(facts)
    return of_token or unavailable(facts) or refused(facts)


def of_state(facts: Facts) -> Failure | None:
    """Where the connection's own state says that a person is needed."""
    state, reason, row = facts.connection.state, facts.connection.state_reason, facts.judged
    if state not in ("needs_sign_in", "config_error"):
        return None
    if row is not None and row.state == "failed" and is_present(facts, row):
        return of_row(facts, row)
    if state == "config_error":
        return Failure("wrong_client", None, reason)
    return unsigned(facts) or Failure("signed_out", None, reason)


def of_exchange(facts: Facts) -> Failure | None:
    """What went wrong with the last exchange, if that still counts.

    Not where a token was stored or other auth given since: then its generation is an older one, or no failure is
    counted; nor where a person's sign-in failed beside a good token.
    """
    row, token = facts.judged, facts.token
    if row is None or row.state == "stored" or token is None or not is_present(facts, row):
        return None
    counts = not facts.has_access_token if row.cause == "sign_in" else row.state != "failed" or token.failures > 0
    return of_row(facts, row) if counts else None


def is_present(facts: Facts, row: TokenExchange) -> bool:
    """Whether an exchange without a token set out from what the connection has now."""
    return facts.token is None or row.generation >= facts.token.generation


def of_row(facts: Facts, row: TokenExchange) -> Failure:
    at = row.ended_at if row.ended_at is not None else row.claimed_at
    doubtful = row.state != "failed" and row.cause != "sign_in"
    return Failure(kind_of(facts, row), row.reason, row.detail, at, in_doubt=doubtful)


def kind_of(facts: Facts, row: TokenExchange) -> Kind:
    """The class on record; a signature that was refused by a wrong clock is the clock's failure."""
    if facts.signs_assertions and facts.is_skewed and row.failure in ("signed_out", "wrong_client", "odd_answer"):
        return "clock"
    kind: Kind = row.failure or "network"  # type: ignore[assignment]  # the ledger writes no other words
    return kind


def unsigned(facts: Facts) -> Failure | None:
    """Where there was never anything to get a token with."""
    if facts.renews_itself or facts.has_access_token:
        return None
    return Failure("not_signed_in", None, facts.connection.state_reason)


def lapsed(facts: Facts) -> Failure | None:
    if not facts.has_lapsed:
        return None
    detail = "The access token has ended, and the provider gave no refresh token with it."
    return Failure("signed_out", "expired", detail, facts.expires_at)


def unavailable(facts: Facts) -> Failure | None:
    """Where a call got no token though no exchange failed since: it came to none, as when discovery fails."""
    last = facts.uses_of_this_credential[0] if facts.uses_of_this_credential else None
    if last is None or last.reason != "token_unavailable":
        return None
    return Failure("network", "token_unavailable", last.detail, last.started_at)


def refused(facts: Facts) -> Failure | None:
    """Whether the API itself took none of the newest answered calls, all with the credential in use."""
    answered = [use for use in facts.uses_of_this_credential if use.status is not None][:JUDGED_USES]
    if not answered or not all(use.refused for use in answered):
        return None
    return Failure("refused", str(answered[0].status), refusals(answered), answered[0].started_at)


def refusals(answered: list[Use]) -> str:
    statuses = " and ".join(sorted({str(use.status) for use in answered}))
    if len(answered) == 1:
        return f"The last call was answered {statuses}."
    return f"The last {len(answered)} calls were answered {statuses}."
