"""Signing in at a provider by authorization code: what is asked of it and what it answers, without I/O.

RFC 6749 §4.1, with PKCE S256 always (RFC 7636), the issuer in the answer (RFC 9207), a resource (RFC 8707).
"""

import base64
import hashlib
import secrets
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote, unquote_plus, urlencode

from quart_app.errors import Invalid
from quart_app.outbound.oauth.form import OAuth2

SECRET_BYTES = 32
LONGEST_CODE = 4096
LONGEST_SAID = 200
MOST_PARAMETERS = 50
READ = ("state", "code", "error", "error_description", "iss")


@dataclass(frozen=True, slots=True, repr=False)
class Callback:
    """What a provider sent a browser back with: a code, or else an error and what it says of it.

    `said` is the provider's own text, at most 200 printable characters; it is to be shown as text only.
    """

    state: str
    code: str
    error: str
    said: str
    issuer: str


def new_secret() -> str:
    """256 random bits in the 43 characters that a verifier may have (RFC 7636 §4.1)."""
    return secrets.token_urlsafe(SECRET_BYTES)


def challenge(verifier: str) -> str:
    """S256 (RFC 7636 §4.2)."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def wants_id_token(auth: OAuth2) -> bool:
    """Whether the scope makes it a request of OpenID Connect, which alone knows a nonce (Core §3.1.2.1)."""
    return "openid" in (auth.scope_as_sent or "").split(auth.scope_separator)


def authorize_url(auth: OAuth2, endpoint: str, *, redirect_uri: str, state: str, nonce: str, verifier: str) -> str:
    """Where the browser is sent (RFC 6749 §4.1.1). What the endpoint's own query says stays, but for our parameters."""
    ours = {
        "response_type": "code",
        "client_id": auth.client_id,
        "redirect_uri": redirect_uri,
        "scope": auth.scope_as_sent or "",
        "state": state,
        "code_challenge": challenge(verifier),
        "code_challenge_method": "S256",
        "nonce": nonce if wants_id_token(auth) else "",
        "resource": auth.resource or "",
        "audience": auth.audience or "",
    }
    fields = auth.authorize_extra | {name: value for name, value in ours.items() if value}
    base, _, query = endpoint.partition("?")
    kept = [pair for pair in query.split("&") if pair and unquote_plus(pair.partition("=")[0]) not in fields]
    return f"{base}?{'&'.join([*kept, urlencode(fields, quote_via=quote)])}"


def read_callback(query: bytes) -> Callback:
    """The answer in a callback's query (RFC 6749 §4.1.2). Raises Invalid for one that no provider may send.

    Parameters that are not known are ignored, and an empty one counts as not sent (§3.1).
    """
    fields = single(query)
    if not fields.get("state"):
        raise Invalid("state_missing", "The provider's answer lacks the state that it was given.")
    code, error = fields.get("code", ""), fields.get("error", "")
    if code and error:
        raise Invalid("code_and_error", "The provider's answer has a code and an error at once.")
    if not code and not error:
        raise Invalid("code_missing", "The provider's answer has neither a code nor an error.")
    if len(code) > LONGEST_CODE or not (code.isascii() and code.isprintable()):
        raise Invalid("invalid_code", f"The provider's code is longer than {LONGEST_CODE} characters, or is not text.")
    said = ": ".join(filter(None, (error, fields.get("error_description", "")))) if error else ""
    return Callback(fields["state"], code, error, shown(said), fields.get("iss", ""))


def single(query: bytes) -> dict[str, str]:
    """The parameters that are read; one that is there twice is refused (RFC 6749 §3.1)."""
    try:
        pairs = parse_qsl(
            query.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MOST_PARAMETERS
        )
    except ValueError:
        raise Invalid("invalid_callback", "The provider's answer cannot be read.") from None
    fields: dict[str, str] = {}
    for name, value in pairs:
        if name in fields and name in READ:
            raise Invalid("duplicate_parameter", f"The provider's answer has the parameter {name} twice.")
        fields[name] = value
    return fields


def shown(text: str) -> str:
    """Nothing that could turn the text around or end its line."""
    return "".join(sign if sign.isprintable() else " " for sign in text[:LONGEST_SAID]).strip()


def check_issuer(given: str, expected: str | None, *, required: bool) -> None:
    """RFC 9207 §2.4, against mix-up of providers: compared as it stands. Raises Invalid."""
    if given and expected and given != expected:
        raise Invalid("wrong_issuer", "The answer came from another provider than the one that was asked.")
    if required and not given:
        raise Invalid("issuer_missing", "The answer does not say which provider it came from, as this one's do.")
