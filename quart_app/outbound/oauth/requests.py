"""What is asked of a provider's endpoints, ready to be sent: form bodies and the client's proof of who it is."""

import base64
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, quote_plus, unquote_plus, urlencode

from quart_app.outbound.oauth.assertions import assertion
from quart_app.outbound.oauth.endpoints import Endpoints
from quart_app.outbound.oauth.form import OAuth2
from quart_app.outbound.oauth.refusals import GrantFailed

JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
CLIENT_ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
PUBLIC = frozenset(
    ("grant_type", "scope", "audience", "resource", "client_id", "redirect_uri", "client_assertion_type",
     "token_type_hint")
)  # fmt: skip
"""Parameters that are no secrets; any other may be one, also of `extra`."""
COMMON = (("Accept", "application/json"), ("Content-Type", "application/x-www-form-urlencoded"))


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """A POST that is sent once and as it is; `url` is absolute."""

    url: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def __repr__(self) -> str:
        return f"TokenRequest(url={self.url!r})"

    @property
    def secrets(self) -> tuple[str, ...]:
        """What of it must not be shown if an answer repeats it; of Basic both the secret and the pair as it is sent."""
        sent = [value for name, value in parse_qsl(self.body.decode("ascii")) if name not in PUBLIC]
        for name, value in self.headers:
            if name == "Authorization":
                pair = value.removeprefix("Basic ")
                sent += [pair, unquote_plus(base64.b64decode(pair).decode("ascii").partition(":")[2])]
        return tuple(dict.fromkeys(filter(None, sent)))


def renewal(auth: OAuth2, endpoints: Endpoints, refresh_token: str | None, *, now: float) -> TokenRequest:
    """Asks for a new access token by the connection's grant (RFC 6749 §4.4.2 and §6, RFC 7523 §2.1).

    Raises GrantFailed where that takes a refresh token and there is none.
    """
    if auth.grant == "client_credentials":
        form = {"grant_type": "client_credentials"} | scope_of(auth)
    elif auth.grant == "jwt_bearer":
        form = {"grant_type": JWT_BEARER, "assertion": grant_assertion(auth, endpoints, now)} | scope_of(auth)
    elif not refresh_token:
        raise no_refresh_token(auth)
    else:
        form = {"grant_type": "refresh_token", "refresh_token": refresh_token}
        if auth.grant == "refresh_token":  # else it is as the person granted it, which may be less than was asked
            form |= scope_of(auth)
    return token_request(auth, endpoints, form, now)


def scope_of(auth: OAuth2) -> dict[str, str]:
    return {"scope": auth.scope_as_sent} if auth.scope_as_sent else {}


def no_refresh_token(auth: OAuth2) -> GrantFailed:
    if auth.grant == "authorization_code":
        detail = "There is no refresh token of this connection: sign in at the provider."
    else:
        detail = "There is no refresh token; sign in again or enter one."
    return GrantFailed(detail, failure="signed_out", state="needs_sign_in")


def grant_assertion(auth: OAuth2, endpoints: Endpoints, now: float) -> str:
    """RFC 7523 §3; the scope stands in it too, since Google and others look for it there alone."""
    audience = auth.assertion_audience or endpoints.token_url
    claims = {"iss": auth.client_id, "sub": auth.subject or auth.client_id, "aud": audience} | scope_of(auth)
    return signed(auth, {**claims, **auth.claims}, now)


def signed(auth: OAuth2, claims: dict[str, Any], now: float) -> str:
    assert auth.private_key is not None  # the form asks for it
    return assertion(claims, private_key=auth.private_key, algorithm=auth.signing_alg, key_id=auth.key_id, now=now)


def redemption(
    auth: OAuth2, endpoints: Endpoints, *, code: str, verifier: str, redirect_uri: str, now: float
) -> TokenRequest:
    """Asks for the tokens of an authorization code (RFC 6749 §4.1.3) with its PKCE verifier (RFC 7636 §4.5)."""
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": redirect_uri, "code_verifier": verifier}
    return token_request(auth, endpoints, form, now)


def token_request(auth: OAuth2, endpoints: Endpoints, form: dict[str, str], now: float) -> TokenRequest:
    """A request to the token endpoint: the grant's own parameters, the target of RFC 8707, the client."""
    named = {name: getattr(auth, name) for name in ("audience", "resource") if getattr(auth, name)}
    return authenticated(auth, endpoints, endpoints.token_url, {**auth.extra, **form, **named}, now)


def revocation(auth: OAuth2, endpoints: Endpoints, token: str, *, hint: str, now: float) -> TokenRequest:
    """Takes a token back (RFC 7009 §2.1); `hint` is `access_token` or `refresh_token`.

    Raises GrantFailed where the provider is not known to have an endpoint for it.
    """
    if endpoints.revocation_url is None:
        raise GrantFailed("The provider names no endpoint that revokes tokens.", failure="wrong_client")
    form = {"token": token, "token_type_hint": hint}
    return authenticated(auth, endpoints, endpoints.revocation_url, form, now)


def authenticated(auth: OAuth2, endpoints: Endpoints, url: str, form: dict[str, str], now: float) -> TokenRequest:
    """The request with the client's proof of who it is (RFC 6749 §2.3.1, RFC 7523 §2.2), in one way only."""
    headers = list(COMMON)
    if auth.client_auth == "private_key_jwt":
        form |= {"client_id": auth.client_id, "client_assertion_type": CLIENT_ASSERTION}
        form |= {"client_assertion": client_assertion(auth, endpoints, now)}
    elif auth.client_secret and auth.client_auth == "basic":
        pair = f"{quote_plus(auth.client_id)}:{quote_plus(auth.client_secret)}"
        headers.append(("Authorization", "Basic " + base64.b64encode(pair.encode()).decode()))
    elif auth.client_secret:
        form |= {"client_id": auth.client_id, "client_secret": auth.client_secret}
    elif auth.grant != "jwt_bearer":  # whose assertion says who it is (RFC 7521 §4.1)
        form |= {"client_id": auth.client_id}
    return TokenRequest(url, tuple(headers), urlencode(form).encode())


def client_assertion(auth: OAuth2, endpoints: Endpoints, now: float) -> str:
    """RFC 7523 §3. The audience is the issuer where it is known, else the token endpoint.

    The issuer alone is what draft-ietf-oauth-rfc7523bis asks for: an assertion for an endpoint that a provider made
    up would be good at the real one. Servers from before it may want the token endpoint: `assertion_audience` says so.
    """
    audience = auth.assertion_audience or endpoints.issuer or endpoints.token_url
    return signed(auth, {"iss": auth.client_id, "sub": auth.client_id, "aud": audience}, now)
