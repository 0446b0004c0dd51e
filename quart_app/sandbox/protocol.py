"""The rules of OAuth 2.0 that need no state: forms, client authentication, PKCE, scopes, redirects.

RFC 6749, RFC 7636 (S256 only), RFC 8252 §7.3 (loopback redirects on any port), RFC 9207 (`iss`).
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import unquote_plus, urlencode, urlsplit

SCOPES = {"items:read": "See the items", "items:write": "Add, change and delete items"}
LOOPBACK_HOSTS = ("127.0.0.1", "::1", "localhost")

Form = Sequence[tuple[str, str]]


class OAuthError(Exception):
    """`code` and `description` as RFC 6749 §4.1.2.1 and §5.2 have them; `status` for the token endpoint.

    `redirect_uri`, where set, has been checked and is where the error belongs, together with `state`.
    """

    def __init__(
        self, code: str, description: str, *, status: int = 400, redirect_uri: str = "", state: str = ""
    ) -> None:
        super().__init__(description)
        self.code = code
        self.description = description
        self.status = status
        self.redirect_uri = redirect_uri
        self.state = state


@dataclass(frozen=True, kw_only=True)
class Client:
    """A registered client.

    `access_seconds` overrides the server's. `redirect_uris` are compared exactly; `loopback_redirects` allows
    any port and path of this machine as well. `refresh_token` is good for one first refresh: it is generation
    0 of a family.
    """

    client_id: str
    client_secret: str = field(repr=False)
    name: str = ""
    access_seconds: int | None = None
    redirect_uris: tuple[str, ...] = ()
    loopback_redirects: bool = False
    refresh_token: str = field(default="", repr=False)

    def may_redirect_to(self, uri: str) -> bool:
        return uri in self.redirect_uris or (self.loopback_redirects and is_loopback(uri))


def is_loopback(uri: str) -> bool:
    """Whether a redirect URI is http on this machine, any port, without user, fragment or odd characters."""
    if not re.fullmatch(r"[!-~]+", uri) or "\\" in uri or "#" in uri:
        return False
    try:
        parts = urlsplit(uri)
        return (
            parts.scheme == "http"
            and parts.hostname in LOOPBACK_HOSTS
            and "@" not in parts.netloc
            and (parts.port is None or parts.port > 0)
        )
    except ValueError:
        return False


def single(form: Form) -> dict[str, str]:
    """The parameters by name; an empty one counts as not sent, a repeated one is an error (RFC 6749 §3.2)."""
    fields: dict[str, str] = {}
    for name, value in form:
        if name in fields:
            raise OAuthError("invalid_request", "A parameter is there more than once.")
        fields[name] = value
    return {name: value for name, value in fields.items() if value}


def required(fields: Mapping[str, str], name: str) -> str:
    """The parameter's value; a missing one is `invalid_request` (RFC 6749 §5.2)."""
    if name not in fields:
        raise OAuthError("invalid_request", f"{name} is missing.")
    return fields[name]


def authenticate(clients: Mapping[str, Client], fields: Mapping[str, str], authorization: str | None) -> Client:
    """The client that a token request proves to be from: Basic or post, not both (RFC 6749 §2.3.1)."""
    if authorization is None:
        client_id, secret = fields.get("client_id", ""), fields.get("client_secret", "")
    elif "client_secret" in fields:
        raise OAuthError("invalid_request", "The client authenticates in two ways at once.")
    else:
        client_id, secret = read_basic(authorization)
        if fields.get("client_id", client_id) != client_id:
            raise OAuthError("invalid_request", "client_id is not the one of the Authorization header.")
    client = clients.get(client_id)
    if client is None or not same(client.client_secret, secret):
        raise OAuthError("invalid_client", "The client or its secret is not right.", status=401)
    return client


def read_basic(authorization: str) -> tuple[str, str]:
    """Client id and secret of a Basic header, each form-encoded before it was joined (RFC 6749 §2.3.1)."""
    scheme, _, encoded = authorization.partition(" ")
    try:
        if scheme.lower() != "basic":
            raise ValueError(scheme)
        client_id, _, secret = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
    except (ValueError, binascii.Error):
        raise OAuthError("invalid_client", "The Authorization header is not Basic.", status=401) from None
    return unquote_plus(client_id), unquote_plus(secret)


def same(left: str, right: str) -> bool:
    """Whether two secrets are equal, in a time that does not tell where they differ."""
    return hmac.compare_digest(left.encode(), right.encode())


def check_authorization(fields: Mapping[str, str]) -> str:
    """The scope asked for, once the request is seen to be whole; S256 is required (RFC 7636 §4.4.1)."""

    def refuse(code: str, description: str) -> OAuthError:
        return OAuthError(code, description, redirect_uri=fields["redirect_uri"], state=fields.get("state", ""))

    if fields.get("response_type") != "code":
        raise refuse("unsupported_response_type", "Only response_type=code is supported.")
    if fields.get("code_challenge_method") != "S256":
        raise refuse("invalid_request", "code_challenge_method must be S256.")
    if not re.fullmatch(r"[A-Za-z0-9_-]{43}", fields.get("code_challenge", "")):
        raise refuse("invalid_request", "code_challenge must be the 43 characters of an S256 challenge.")
    try:
        return narrowed(fields.get("scope", ""), " ".join(SCOPES))
    except OAuthError as error:
        raise refuse(error.code, error.description) from None


def narrowed(asked: str, granted: str) -> str:
    """The scope `asked` for if it is within `granted`, all of `granted` if none was (RFC 6749 §3.3, §6)."""
    words = list(dict.fromkeys(asked.split()))
    if not set(words) <= set(granted.split()):
        raise OAuthError("invalid_scope", "The scope is unknown or wider than what was granted.")
    return " ".join(words) or granted


def verifier_fits(verifier: str, challenge: str) -> bool:
    """RFC 7636 §4.6: whether the Base64url of the verifier's SHA-256 is the challenge."""
    if not re.fullmatch(r"[A-Za-z0-9._~-]{43,128}", verifier):
        return False
    digest = hashlib.sha256(verifier.encode()).digest()
    return same(base64.urlsafe_b64encode(digest).rstrip(b"=").decode(), challenge)


def redirect_to(uri: str, answer: Mapping[str, str], state: str, issuer: str) -> str:
    """`uri` with the answer, `state` where there was one, and `iss` (RFC 9207 §2) added to its query."""
    fields = {**answer, **({"state": state} if state else {}), "iss": issuer}
    return f"{uri}{'&' if '?' in uri else '?'}{urlencode(fields)}"
