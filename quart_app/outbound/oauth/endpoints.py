"""Where a provider's endpoints are, as the form says or as its metadata does (RFC 8414, OpenID Connect Discovery)."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from quart_app.outbound.oauth.form import OAuth2, endpoint, is_safe
from quart_app.outbound.oauth.refusals import GrantFailed


@dataclass(frozen=True, slots=True)
class Endpoints:
    """`iss_required` says that the provider names itself in authorization responses (RFC 9207).

    `id_token_algs` are what it signs ID tokens with, empty where it does not say.
    """

    token_url: str
    authorize_url: str | None = None
    revocation_url: str | None = None
    issuer: str | None = None
    iss_required: bool = False
    jwks_uri: str | None = None
    id_token_algs: tuple[str, ...] = ()


def of_form(auth: OAuth2) -> Endpoints | None:
    """The endpoints that a person filled in, None where the token endpoint has yet to be discovered."""
    if auth.token_url is None:
        return None
    return Endpoints(auth.token_url, auth.authorize_url, auth.revocation_url, auth.issuer)


def chosen(auth: OAuth2, found: Endpoints) -> Endpoints:
    """What was discovered, but what a person filled in goes before it."""
    return Endpoints(
        token_url=auth.token_url or found.token_url,
        authorize_url=auth.authorize_url or found.authorize_url,
        revocation_url=auth.revocation_url or found.revocation_url,
        issuer=found.issuer,
        iss_required=found.iss_required,
        jwks_uri=found.jwks_uri,
        id_token_algs=found.id_token_algs,
    )


def metadata_urls(issuer: str) -> tuple[str, str]:
    """Where an issuer's metadata may be: as OpenID Connect Discovery §4 appends it, as RFC 8414 §3.1 inserts it."""
    parts = urlsplit(issuer)
    path = parts.path.rstrip("/")
    origin = f"{parts.scheme}://{parts.netloc}"
    return (
        f"{origin}{path}/.well-known/openid-configuration",
        f"{origin}/.well-known/oauth-authorization-server{path}",
    )


def read_metadata(issuer: str, document: Any) -> Endpoints:
    """The endpoints in a provider's metadata. Raises GrantFailed for what is not to be trusted or used.

    The issuer must be the one that was asked, to the letter (RFC 8414 §3.3): else any host that answers could put its
    own endpoints in another's place.
    """
    if not isinstance(document, dict):
        raise unusable("is not a JSON object")
    named = document.get("issuer")
    if named != issuer:
        slash = isinstance(named, str) and named.rstrip("/") == issuer.rstrip("/")
        raise unusable("is of another issuer" + (": only the slash at the end differs" if slash else ""))
    methods = document.get("code_challenge_methods_supported")
    if isinstance(methods, list) and "S256" not in methods:
        raise unusable("says that it does not know PKCE with S256")
    token_url = url_in(issuer, document, "token_endpoint")
    if token_url is None:
        raise unusable("has no token_endpoint")
    return Endpoints(
        token_url=token_url,
        authorize_url=url_in(issuer, document, "authorization_endpoint"),
        revocation_url=url_in(issuer, document, "revocation_endpoint"),
        issuer=issuer,
        iss_required=document.get("authorization_response_iss_parameter_supported") is True,
        jwks_uri=url_in(issuer, document, "jwks_uri"),
        id_token_algs=texts_in(document, "id_token_signing_alg_values_supported"),
    )


def unusable(reason: str) -> GrantFailed:
    return GrantFailed(
        f"The metadata of the issuer {reason}; check the issuer, or enter the endpoints themselves.",
        failure="wrong_client",
        state="config_error",
    )


def url_in(issuer: str, document: dict[str, Any], name: str) -> str | None:
    """An endpoint over TLS; one of an issuer on this host may be there without. Raises GrantFailed for any other."""
    url = document.get(name)
    if url is None:
        return None
    try:
        endpoint(url if isinstance(url, str) else "")
    except ValueError:
        raise unusable(f"has a {name} that is no URL") from None
    if url.startswith("https://") or (issuer.startswith("http://") and is_safe(url)):
        return str(url)
    raise unusable(f"has a {name} without https://")


def texts_in(document: dict[str, Any], name: str) -> tuple[str, ...]:
    found = document.get(name)
    return tuple(text for text in found if isinstance(text, str)) if isinstance(found, list) else ()
