"""What to do about each class of failure, in one or two sentences. Pure."""

from quart_app.doctor.facts import Facts
from quart_app.doctor.failures import Failure

REACH = {
    "egress_denied": "If the address is one of yours, allow private addresses for this connection; any other an "
    "administrator has to allow with the setting egress_allow, as the refusal says.",
    "dns_failed": "Look for a typing mistake in the token URL, and see whether this machine can resolve names.",
    "connect_timeout": "A firewall may drop the way there, or the provider is down: see its status page.",
    "connect_failed": "See whether host and port of the token URL are right and the service runs.",
    "tls_failed": "Its certificate may have expired, be for another name, or be signed by nobody this machine trusts; "
    "if it is your own authority's, give its certificate to the connection.",
    "token_unavailable": "Look at the calls of origin token in the history: they show what the provider said.",
}
OUT = "See whether other calls from this machine get out."
IN_DOUBT = (
    "Nothing for now: the old refresh token is tried again, at first within the seconds of grace that many providers "
    "give, and the next exchange shows the outcome. If the provider refuses it, somebody has to sign in again."
)
ADVICE = {
    "paused": "Set its state to ready when calls may go again.",
    "storage": "Make room on the disk or bring the database back, and do not stop this process before: it then stores "
    "the token by itself.",
    "clock": "Set this machine's clock by NTP (see whether chrony or systemd-timesyncd runs), then refresh the token.",
    "odd_answer": "See whether the token URL is that of the token endpoint and not of a page; the call on record shows "
    "what came.",
}


def next_step(facts: Facts, failure: Failure | None) -> str:
    if failure is None:
        return (missing_scope(facts) if facts.is_oauth else None) or "Nothing."
    if failure.in_doubt:
        return IN_DOUBT
    match failure.kind:
        case "not_signed_in" | "signed_out":
            return to_sign_in(facts)
        case "wrong_client":
            return to_mend_client(facts, failure)
        case "network":
            return f"{REACH.get(failure.code or '', OUT)} {then(facts)}"
        case "provider_down":
            return f"Nothing here is wrong: see the provider's status page. {then(facts)}"
        case "refused":
            return to_mend_credential(facts, failure)
        case kind:
            return ADVICE[kind]


def then(facts: Facts) -> str:
    return "It is tried again by itself." if facts.renews_itself else "Then sign in again."


def to_sign_in(facts: Facts) -> str:
    if facts.is_by_browser:
        path = f"/api/connections/{facts.connection.name}/authorizations"
        return f"Sign in with the button on the connection's page (by API: POST {path}). Nothing else is lost."
    if facts.is_unattended:
        return "See at the provider whether the key and the subject it signs for are still allowed; then refresh."
    return "Get a new refresh token from the provider and enter it in the connection. Nothing else is lost."


def to_mend_client(facts: Facts, failure: Failure) -> str:
    if failure.code == "invalid_scope":
        return "Change the scope in the connection to what the provider lets this client ask for."
    if failure.code in ("unsupported_grant_type", "unauthorized_client"):
        return "Allow the grant for this client at the provider, or change the grant in the connection."
    way = facts.auth.get("client_auth") or "basic"
    proof = "the key and its id" if way == "private_key_jwt" else "the client's secret"
    return f"Check the client id, {proof} and how it is shown (now {way}): the secret may have ended at the provider."


def to_mend_credential(facts: Facts, failure: Failure) -> str:
    if facts.is_oauth:
        return missing_scope(facts) or (
            "The provider gives tokens, but this API does not take them: check scope, audience and resource."
        )
    if failure.code == "403":
        return "See at the API whether the credential may do what is called, or enter another one in the connection."
    return "See at the API whether the credential has ended, and enter a new one in the connection."


def missing_scope(facts: Facts) -> str | None:
    if not facts.scope_missing:
        return None
    return f"The provider did not grant all of the scope: {', '.join(facts.scope_missing)} is missing."
