"""The rules of OAuth 2.0 that need no state: forms, client secrets, PKCE, scopes, audiences, redirects.

RFC 6749, RFC 7636 (S256 only), RFC 8252 §7.3 (loopback redirects on any port), RFC 8707 (`resource`).
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from urllib.parse import unquote_plus, urlencode

from quart_app.sandbox.clients import Client

SCOPES = {"items:read": "See the items", "items:write": "Add, change and delete items"}
API_SCOPE = " ".join(SCOPES)
OPENID = "openid"
SCOPE_TEXTS = {**SCOPES, OPENID: "Know who you are"}
CONSENT_SCOPE = " ".join(SCOPE_TEXTS)
REPEATABLE = ("resource",)

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

    def fields(self) -> dict[str, str]:
        return {"error": self.code, "error_description": self.description}


def single(form: Form) -> dict[str, str]:
    """Parameters by name: empty ones count as not sent, repeated ones are refused (RFC 6749 §3.1, §3.2).

    Only `resource` may be repeated (RFC 8707 §2); `audience_of` reads it.
    """
    fields: dict[str, str] = {}
    for name, value in form:
        if name in fields and name not in REPEATABLE:
            raise OAuthError("invalid_request", "A parameter is there more than once.")
        fields[name] = value
    return {name: value for name, value in fields.items() if value}


def required(fields: Mapping[str, str], name: str) -> str:
    """The parameter's value; a missing one is `invalid_request` (RFC 6749 §5.2)."""
    if name not in fields:
        raise OAuthError("invalid_request", f"{name} is missing.")
    return fields[name]


def audience_of(form: Form) -> tuple[str, ...]:
    """For whom tokens are asked: each `resource`, a URI without fragment (RFC 8707 §2), and the `audience`."""
    resources = [value for name, value in form if name == "resource" and value]
    for value in resources:
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*:[!-\"$-~]+", value):
            raise OAuthError("invalid_target", "A resource must be an absolute URI without a fragment.")
    return (*resources, *(value for name, value in form if name == "audience" and value))


def authenticate(clients: Mapping[str, Client], fields: Mapping[str, str], authorization: str | None) -> Client:
    """The client that a secret proves a request to be from: Basic or post, not both (RFC 6749 §2.3.1)."""
    if authorization is None:
        method, client_id, secret = "client_secret_post", fields.get("client_id", ""), fields.get("client_secret", "")
    elif "client_secret" in fields:
        raise OAuthError("invalid_request", "The client authenticates in two ways at once.")
    else:
        method, (client_id, secret) = "client_secret_basic", read_basic(authorization)
        if fields.get("client_id", client_id) != client_id:
            raise OAuthError("invalid_request", "client_id is not the one of the Authorization header.")
    client = clients.get(client_id)
    if client is None or not client.client_secret or not same(client.client_secret, secret):
        raise OAuthError("invalid_client", "The client or its secret is not right.", status=401)
    check_method(client, method)
    return client


def check_method(client: Client, method: str) -> None:
    if method not in client.auth_methods:
        raise OAuthError("invalid_client", f"This client may not authenticate by {method}.", status=401)


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
    if fields.get("response_type") != "code":
        raise OAuthError("unsupported_response_type", "Only response_type=code is supported.")
    if fields.get("code_challenge_method") != "S256":
        raise OAuthError("invalid_request", "code_challenge_method must be S256.")
    if not re.fullmatch(r"[A-Za-z0-9_-]{43}", fields.get("code_challenge", "")):
        raise OAuthError("invalid_request", "code_challenge must be the 43 characters of an S256 challenge.")
    return narrowed(fields.get("scope", ""), CONSENT_SCOPE, default=API_SCOPE)


def narrowed(asked: str, granted: str, *, default: str | None = None) -> str:
    """The scope `asked` for if it is within `granted`; without any `default`, or all of it (RFC 6749 §3.3, §6)."""
    words = list(dict.fromkeys(asked.split()))
    if not set(words) <= set(granted.split()):
        raise OAuthError("invalid_scope", "The scope is unknown or wider than what was granted.")
    return " ".join(words) or default or granted


def verifier_fits(verifier: str, challenge: str) -> bool:
    """RFC 7636 §4.6: whether the Base64url of the verifier's SHA-256 is the challenge."""
    if not re.fullmatch(r"[A-Za-z0-9._~-]{43,128}", verifier):
        return False
    digest = hashlib.sha256(verifier.encode()).digest()
    return same(base64.urlsafe_b64encode(digest).rstrip(b"=").decode(), challenge)


def with_query(uri: str, fields: Mapping[str, str]) -> str:
    """`uri` with the fields added to its query (RFC 6749 §4.1.2)."""
    return f"{uri}{'&' if '?' in uri else '?'}{urlencode(fields)}"
