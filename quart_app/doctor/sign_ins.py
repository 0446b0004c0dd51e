"""When a person will have to sign in again, as far as that can be known. Pure."""

from dataclasses import dataclass
from typing import Literal

from quart_app.doctor.facts import Facts
from quart_app.doctor.failures import Failure
from quart_app.doctor.words import span

When = Literal["now", "at", "never", "unknown"]


@dataclass(frozen=True, slots=True)
class SignInAgain:
    """`at` is there where `when` says so; `why` is a sentence."""

    when: When
    why: str
    at: float | None = None


def sign_in_again(facts: Facts, failure: Failure | None) -> SignInAgain:
    if not facts.is_oauth:
        return SignInAgain("never", "Nobody signs in here: its credential is good until who gave it out ends it.")
    if facts.is_unattended:
        return SignInAgain("never", "This grant needs nobody: the connection's own credential gets each token.")
    if facts.connection.state == "needs_sign_in" or (failure and failure.kind in ("signed_out", "not_signed_in")):
        return SignInAgain("now", "There is nothing left that a new token could be got with.")
    if not facts.has_refresh_token:
        return without_refresh_token(facts)
    return with_refresh_token(facts)


def without_refresh_token(facts: Facts) -> SignInAgain:
    missing = "The provider gave no refresh token"
    if facts.expires_at is None:
        return SignInAgain("unknown", f"{missing}, and does not say when the access token ends.")
    return SignInAgain("at", f"{missing}, so the access token cannot be renewed when it ends.", facts.expires_at)


def with_refresh_token(facts: Facts) -> SignInAgain:
    """A life that is known from the provider's documentation begins anew with each use; of one that only its
    answers tell nobody can know whether it does.
    """
    unused_seconds = facts.auth.get("refresh_token_seconds")
    if unused_seconds:
        return SignInAgain(
            "never",
            f"A refresh token of this provider lives {span(unused_seconds)} unused, and each refresh begins that anew; "
            "it is refreshed ahead of that, also while nobody uses it.",
        )
    ends_at = facts.token.refresh_expires_at if facts.token else None
    if ends_at is None:
        return SignInAgain(
            "unknown",
            "The provider does not say how long its refresh token lives. It is kept alive by being refreshed ahead, "
            "but the provider may end it for reasons of its own.",
        )
    return SignInAgain(
        "at", "The provider said that its refresh token ends then, unless a refresh brings a later end.", ends_at
    )
