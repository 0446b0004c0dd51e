"""How a connection is, in one sentence for somebody who did not build this. Pure."""

from quart_app.doctor.facts import Facts
from quart_app.doctor.failures import Failure
from quart_app.doctor.words import ago, clock_time, span

UNREACHED = {
    "egress_denied": "this installation does not allow its address",
    "dns_failed": "its name cannot be resolved",
    "connect_timeout": "nothing answers at its address",
    "connect_failed": "its host refuses the connection",
    "tls_failed": "the encrypted connection cannot be made",
}
CLIENT = {
    "invalid_scope": "The provider does not grant the scope that is asked for",
    "unsupported_grant_type": "The provider does not support this grant",
    "unauthorized_client": "The provider does not let this client use this grant",
}
"""By the error codes of RFC 6749 §5.2."""
IN_DOUBT = "The answer to the last token request was lost, so nobody can know whether the provider gave a new token"


def summary(facts: Facts, failure: Failure | None) -> str:
    if failure is None:
        return well_with_token(facts) if facts.is_oauth else well_without_token(facts)
    said = IN_DOUBT if failure.in_doubt else trouble(facts, failure)
    if failure.kind in ("paused", "refused") or not facts.is_oauth or not may_go_on(facts):
        return f"{said}."
    return f"{said}; the token it has lasts until {clock_time(facts.now, facts.works_until or 0.0)}."


def may_go_on(facts: Facts) -> bool:
    """Whether calls still go with the token in hand: it has not ended, and the API did not refuse it."""
    return facts.works_until is not None and (facts.judged is None or facts.judged.cause != "refused")


def well_with_token(facts: Facts) -> str:
    token = facts.token
    if token is None or not facts.has_access_token or token.refreshed_at is None:
        return "Well: the first token is on its way." if facts.is_renewing else "Well: the first call gets a token."
    had = f"the token was refreshed {ago(facts.now, token.refreshed_at)}"
    if token.expires_at is None:
        return f"Well: {had}, and the provider does not say when it ends."
    if token.expires_at > facts.now:
        return f"Well: {had} and lasts until {clock_time(facts.now, token.expires_at)}."
    more = "a new one is on its way" if facts.is_renewing else "the next call gets a new one"
    return f"Well: the token ended {ago(facts.now, token.expires_at)}, and {more}."


def well_without_token(facts: Facts) -> str:
    if not facts.uses:
        return "Nothing was sent through it yet."
    last = facts.uses[0]
    said = f"the last call, {ago(facts.now, last.started_at)},"
    if last.status is None:
        how = "is on its way" if last.state == "sending" else f"got no answer ({last.reason or last.state})"
        return f"Its credential is in place; {said} {how}."
    return f"{'Its credential is in place;' if last.failed else 'Well:'} {said} was answered {last.status}."


def trouble(facts: Facts, failure: Failure) -> str:
    """The failure in words, without the full stop."""
    since = f" {ago(facts.now, failure.at)}" if failure.at is not None else ""
    code = f" ({failure.code})" if failure.code and failure.code != failure.kind else ""
    match failure.kind:
        case "paused":
            return "Paused by a person: no call goes through it"
        case "storage":
            return "The database fails, so a token waits in memory until it can be stored"
        case "not_signed_in":
            return "Nobody has signed in yet" if facts.is_by_browser else "There is no refresh token yet"
        case "signed_out":
            return signed_out(facts, failure, since, code)
        case "wrong_client":
            return f"{CLIENT.get(failure.code or '', 'The provider does not take this client')}{code}"
        case "clock":
            return f"{clock_words(facts)}, and the provider refuses what depends on the time"
        case "network" if failure.code == "token_unavailable":
            return f"The last call{since} got no token"
        case "network":
            why = UNREACHED.get(failure.code or "", "the connection to it broke")
            return f"The token endpoint was not reached{since}: {why}"
        case "provider_down":
            return f"The provider was in trouble{since}{code}"
        case "odd_answer":
            return f"What the provider answered{since} is no token"
        case "refused":
            return f"The API refuses the credential: {(failure.detail or '')[:1].lower()}{(failure.detail or '')[1:-1]}"


def signed_out(facts: Facts, failure: Failure, since: str, code: str) -> str:
    if failure.code == "expired":
        return f"The access token ended{since} and cannot be renewed"
    if facts.is_unattended:
        return f"The provider refused the grant{since}{code}"
    if failure.code == "lost_rotation":
        return f"The sign-in was lost{since}: an answer with its new refresh token never arrived"
    return f"The provider ended the sign-in{since}: it no longer takes the refresh token"


def clock_words(facts: Facts) -> str:
    seconds = facts.skew_seconds
    if seconds is None or abs(seconds) < 1:
        return "This machine's clock and the provider's differ"
    return f"This machine's clock is {span(abs(seconds))} {'ahead of' if seconds > 0 else 'behind'} the provider's"
