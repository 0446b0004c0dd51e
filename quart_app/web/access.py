"""Who may ask for what: one rule per route, and the checks that a browser's requests must pass.

A program shows a key in `Authorization: Bearer` (`/proxy` also takes `X-Switchboard-Key`); a page has its sign-in
cookie, and where it changes something or causes a call, its script's own header and an origin that is ours.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

from quart_app import accounts
from quart_app.accounts import Who
from quart_app.errors import AppError, Invalid, Refused
from quart_app.services import Services
from quart_app.settings import Settings

OWN_HEADER = ("x-requested-by", "switchboard")


@dataclass(frozen=True)
class Rule:
    """`scope` is what a key needs; None lets only people in. `acts`: it changes something or causes a call.

    `page`: a browser that is not signed in is shown where to sign in.
    """

    scope: str | None = None
    public: bool = False
    acts: bool = False
    page: bool = False


PUBLIC = Rule(public=True)
PAGE = Rule(page=True)
SIGNED_IN = Rule()
READ = Rule("read")
CALL = Rule("call", acts=True)
MANAGE = Rule("manage", acts=True)
SIGN_IN = Rule(public=True, acts=True)
PERSON = Rule(acts=True)


def cookie_name(settings: Settings) -> str:
    """`__Host-` pins a cookie to this host over TLS (RFC 6265bis §4.1.3.2); on loopback the port keeps them apart."""
    if settings.public_url.startswith("https://"):
        return "__Host-switchboard"
    return f"switchboard-{settings.bind.rpartition(':')[2]}"


def cookie_of(header: str, name: str) -> str | None:
    try:
        morsel = SimpleCookie(header).get(name)
    except CookieError:
        return None
    return morsel.value if morsel else None


async def identify(services: Services, headers: Mapping[str, str], *, proxied: bool = False) -> Who | None:
    """The one who asks, None for nobody. Raises Invalid for two credentials, Refused 401 for one that is not good.

    `headers` have lower-case names.
    """
    key = key_in(headers, proxied=proxied)
    cookie = cookie_of(headers.get("cookie", ""), cookie_name(services.settings)) if "cookie" in headers else None
    if key and cookie:
        raise Invalid("two_credentials", "Give a key or a sign-in cookie, not both.")
    if key:
        return await accounts.who_has_key(services, key)
    return await accounts.who_is_signed_in(services, cookie) if cookie else None


def key_in(headers: Mapping[str, str], *, proxied: bool) -> str | None:
    """The key presented. Raises Refused 401 for an Authorization that is none."""
    if proxied and "x-switchboard-key" in headers:
        return headers["x-switchboard-key"].strip()
    if "authorization" not in headers:
        return None
    scheme, _, key = headers["authorization"].strip().partition(" ")
    if scheme.lower() != "bearer" or not key.strip():
        raise Refused("invalid_key", "Give a key as Authorization: Bearer <key>.", status=401)
    return key.strip()


def admit(rule: Rule, who: Who | None, headers: Mapping[str, str], settings: Settings) -> None:
    """Raises AppError unless `who` may do what the rule is for."""
    if rule.acts and (who is None or who.person):
        check_origin(headers, settings)
    if rule.public:
        return
    if who is None:
        raise Refused("sign_in_required", "Sign in, or give a key as Authorization: Bearer <key>.", status=401)
    if rule.scope is None and not who.person:
        raise Refused("person_required", "A key cannot do this; sign in.")
    if rule.scope is not None and not who.may(rule.scope):
        raise Refused("insufficient_scope", f"This key lacks the scope {rule.scope}.")


def check_origin(headers: Mapping[str, str], settings: Settings) -> None:
    """A browser's request must come from our own page: another site's, even on our host, is refused (CSRF)."""
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    own = {f"http://{headers.get('host')}", f"https://{headers.get('host')}"}
    if settings.public_url:
        own.add(settings.public_url.rstrip("/"))
    if site is not None and site != "same-origin":
        raise cross_origin()
    if origin is not None and origin not in own:
        raise cross_origin()
    if site is None and origin is None:
        referer = urlsplit(headers.get("referer", ""))
        if f"{referer.scheme}://{referer.netloc}" not in own:
            raise cross_origin()
    if headers.get(OWN_HEADER[0]) != OWN_HEADER[1]:
        raise Refused("requested_by_required", "Give the header X-Requested-By: switchboard.")


def cross_origin() -> AppError:
    return Refused("cross_origin", "This came from a page that is not ours.")


def check_navigation(headers: Mapping[str, str]) -> None:
    """`/proxy` answers a browser session only for fetch: what an upstream sends never becomes a page of ours."""
    if headers.get("sec-fetch-dest", "") not in ("", "empty"):
        raise Refused("navigation_not_allowed", "Upstream content is not shown as a page; use fetch or a key.")
