"""The form of a connection that signs in by OAuth: grant, endpoints, how the client proves who it is, parameters."""

from ipaddress import ip_address
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from quart_app.outbound import pem
from quart_app.outbound.credentials import Line, Scheme
from quart_app.outbound.oauth.assertions import algorithms_of
from quart_app.outbound.urls import QUERY, parse_base

Parameters = Annotated[dict[Line, Line], Field(max_length=50)]

OWN_FIELDS = frozenset(("grant_type", "client_id", "client_secret", "refresh_token", "scope", "audience", "resource"))
SET_IN_TOKEN_REQUESTS = OWN_FIELDS | {
    "assertion", "client_assertion", "client_assertion_type", "code", "code_verifier", "redirect_uri", "token",
    "token_type_hint",
}  # fmt: skip
SET_IN_AUTHORIZATION_REQUESTS = OWN_FIELDS | {
    "response_type", "response_mode", "redirect_uri", "state", "nonce", "code_challenge", "code_challenge_method",
}  # fmt: skip
SET_IN_ASSERTIONS = frozenset(("sub", "aud", "exp", "iat", "jti"))


def endpoint(text: str) -> str:
    """An absolute http(s) URL that may have a query, as token endpoints do. Raises ValueError with the reason."""
    base, _, query = text.partition("?")
    parse_base(base)
    if "#" in query:
        raise ValueError("must have no fragment")  # RFC 6749 §3.1 and §3.2
    if not QUERY.fullmatch(query):
        raise ValueError("has a query with characters that must be escaped")
    return text


def issuer_url(text: str) -> str:
    """An issuer as RFC 8414 §2 has it, over TLS unless it is on this host. Raises ValueError with the reason."""
    parse_base(text)
    if not is_safe(text):
        raise ValueError("must start with https://, since it is not on this host")
    return text


def is_safe(url: str) -> bool:
    """Whether a URL is over TLS, or leads to this host, where there is nobody in between."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    try:
        local = ip_address(host).is_loopback
    except ValueError:
        local = host == "localhost" or host.endswith(".localhost")  # RFC 6761 §6.3
    return parts.scheme == "https" or local


Endpoint = Annotated[Line, Field(max_length=2048), AfterValidator(endpoint)]


def check_free(given: dict[str, Any], taken: frozenset[str]) -> None:
    """Raises ValueError for parameters that are set from elsewhere."""
    found = taken & given.keys()
    if found:
        raise ValueError(f"must not set {', '.join(sorted(found))}, which Switchboard sets or which have own fields")


class OAuth2(Scheme):
    """RFC 6749 with RFC 7523, RFC 8414, RFC 8707 and rotation (RFC 9700 §4.14.2); `tokens` keeps the tokens.

    `extra` goes with token requests, `authorize_extra` with the authorization request, `claims` into the assertion
    of the grant jwt_bearer. `refresh_token_seconds` is how long a refresh token lives unused, where it is known.
    """

    SECRETS: ClassVar[tuple[str, ...]] = ("client_secret", "refresh_token", "private_key")
    NEVER_SENT: ClassVar[tuple[str, ...]] = ("private_key",)
    scheme: Literal["oauth2"]
    grant: Literal["client_credentials", "authorization_code", "refresh_token", "jwt_bearer"]
    issuer: Annotated[Line, Field(max_length=2048), AfterValidator(issuer_url)] | None = None
    token_url: Annotated[Endpoint | None, Field(validate_default=True)] = None
    authorize_url: Annotated[Endpoint | None, Field(validate_default=True)] = None
    revocation_url: Endpoint | None = None
    client_id: Line
    client_secret: Annotated[Line | None, Field(repr=False)] = None
    client_auth: Literal["basic", "post", "private_key_jwt"] = "basic"
    private_key: Annotated[
        Annotated[str, Field(max_length=pem.LONGEST)] | None, Field(validate_default=True, repr=False)
    ] = None
    key_id: Line | None = None
    signing_alg: (
        Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"]
        | None
    ) = None
    scope: Line | None = None
    scope_separator: Annotated[str, Field(pattern="^[ ,+]$")] = " "
    audience: Line | None = None
    resource: Line | None = None
    refresh_token: Annotated[Line | None, Field(repr=False)] = None
    extra: Parameters = Field(default_factory=dict)
    authorize_extra: Parameters = Field(default_factory=dict)
    claims: Annotated[dict[Line, Any], Field(max_length=50)] = Field(default_factory=dict)
    subject: Line | None = None
    assertion_audience: Line | None = None
    refresh_token_seconds: Annotated[int, Field(ge=60, le=10 * 365 * 86400, strict=True)] | None = None

    @field_validator("token_url")
    @classmethod
    def check_token_url(cls, token_url: str | None, info: ValidationInfo) -> str | None:
        if token_url is None and info.data.get("issuer", "") is None:
            raise ValueError("is missing: give it, or the issuer whose metadata names it")
        return token_url

    @field_validator("authorize_url")
    @classmethod
    def check_authorize_url(cls, authorize_url: str | None, info: ValidationInfo) -> str | None:
        needed = info.data.get("grant") == "authorization_code" and info.data.get("issuer", "") is None
        if authorize_url is None and needed:
            raise ValueError("is missing: give it, or the issuer whose metadata names it")
        return authorize_url

    @field_validator("private_key")
    @classmethod
    def check_private_key(cls, private_key: str | None, info: ValidationInfo) -> str | None:
        if private_key is not None:
            algorithms_of(private_key)
        elif info.data.get("grant") == "jwt_bearer":
            raise ValueError("is missing: the grant jwt_bearer signs with it")
        elif info.data.get("client_auth") == "private_key_jwt":
            raise ValueError("is missing: the client proves who it is with it")
        return private_key

    @field_validator("signing_alg")
    @classmethod
    def check_signing_alg(cls, signing_alg: str | None, info: ValidationInfo) -> str | None:
        key = info.data.get("private_key")
        if signing_alg and key and signing_alg not in algorithms_of(key):
            raise ValueError(f"does not fit the private key, which signs with {' or '.join(algorithms_of(key))}")
        return signing_alg

    @field_validator("extra")
    @classmethod
    def check_extra(cls, extra: dict[str, str]) -> dict[str, str]:
        check_free(extra, SET_IN_TOKEN_REQUESTS)
        return extra

    @field_validator("authorize_extra")
    @classmethod
    def check_authorize_extra(cls, extra: dict[str, str]) -> dict[str, str]:
        check_free(extra, SET_IN_AUTHORIZATION_REQUESTS)
        return extra

    @field_validator("claims")
    @classmethod
    def check_claims(cls, claims: dict[str, Any]) -> dict[str, Any]:
        check_free(claims, SET_IN_ASSERTIONS)
        return claims

    @property
    def spends_refresh_tokens(self) -> bool:
        """Whether a renewal sends a refresh token, which may be good only once."""
        return self.grant in ("authorization_code", "refresh_token")

    @property
    def scope_as_sent(self) -> str | None:
        """The scope with the provider's separator between its names; a person puts spaces there."""
        return self.scope and self.scope_separator.join(self.scope.split())

    def injected(self) -> frozenset[bytes]:
        return frozenset((b"authorization",))
