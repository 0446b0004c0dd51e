"""Who may ask for what: one rule per route, and the checks that a browser's requests must pass.

A program shows a key in `Authorization: Bearer` (`/proxy` also takes `X-Switchboard-Key`); a page has its sign-in
cookie, and where it changes something or causes a call, its script's own header and an origin that is ours.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

from sqlalchemy.exc import SQLAlchemyError

from quart_app import accounts
from quart_app.accounts import Who
from quart_app.errors import AppError, Invalid, Refused
from quart_app.services import Services
from quart_app.settings import Settings

OWN_HEADER = ("x-requested-by", "switchboard")
FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")
LOOPBACK = ("127.", "::1")


@dataclass(frozen=True)
class Rule:
    """`scope` is what a key needs; None lets only people in. `acts`: it changes something or causes a call.

    `page`: a browser that is not signed in is shown where to sign in. `local`: it is public where only programs on
    this machine can reach the server.
    """

    scope: str | None = None
    public: bool = False
    acts: bool = False
    page: bool = False
    socket: bool = False
    local: bool = False


PUBLIC = Rule(public=True)
PAGE = Rule(page=True)
SIGNED_IN = Rule()
READ = Rule("read")
METRICS = Rule("read", local=True)
CALL = Rule("call", acts=True)
SOCKET = Rule("call", acts=True, socket=True)
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


def admit(rule: Rule, who: Who | None, headers: Mapping[str, str], settings: Settings, *, peer: str = "") -> None:
    """Raises AppError unless `who` may do what the rule is for; `peer` is the address that the request came from."""
    if rule.acts and (who is None or who.person):
        check_origin(headers, settings, socket=rule.socket)
    if rule.public or (rule.local and is_local(peer, headers, settings)):
        return
    if who is None:
        raise Refused("sign_in_required", "Sign in, or give a key as Authorization: Bearer <key>.", status=401)
    if rule.scope is None and not who.person:
        raise Refused("person_required", "A key cannot do this; sign in.")
    if rule.scope is not None and not who.may(rule.scope):
        raise Refused("insufficient_scope", f"This key lacks the scope {rule.scope}.")


def is_local(peer: str, headers: Mapping[str, str], settings: Settings) -> bool:
    """Whether a program on this machine asks by itself: from loopback, and no proxy in front by settings or request."""
    reachable = settings.behind_proxy or settings.public_url or settings.hosts
    return peer.startswith(LOOPBACK) and not reachable and not any(name in headers for name in FORWARDED)


def check_origin(headers: Mapping[str, str], settings: Settings, *, socket: bool = False) -> None:
    """A browser's request must come from our own page: another site's, even on our host, is refused (CSRF).

    A page's `socket` has an Origin always, and no header of its script's.
    """
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    own = {f"http://{headers.get('host')}", f"https://{headers.get('host')}"}
    if settings.public_url:
        own.add(settings.public_url.rstrip("/"))
    if site is not None and site != "same-origin":
        raise cross_origin()
    if origin is not None and origin not in own:
        raise cross_origin()
    if socket:
        if origin is None:
            raise cross_origin()
        return
    if site is None and origin is None:
        referer = urlsplit(headers.get("referer", ""))
        if f"{referer.scheme}://{referer.netloc}" not in own:
            raise cross_origin()
    if headers.get(OWN_HEADER[0]) != OWN_HEADER[1]:
        raise Refused("requested_by_required", "Give the header X-Requested-By: switchboard.")


def cross_origin() -> AppError:
    return Refused("cross_origin", "This came from a page that is not ours.")


class Admission:
    """Whether the one who was let in to something that lasts still would be, as calls that last ask now and then.

    `epoch` is that of the caches when it was first asked: whatever is revoked empties them.
    """

    __slots__ = ("_epoch", "_headers", "_proxied", "_rule", "_services", "who")

    def __init__(
        self,
        services: Services,
        headers: Mapping[str, str],
        who: Who,
        rule: Rule,
        epoch: int,
        *,
        proxied: bool = True,
    ) -> None:
        self.who = who
        self._services = services
        self._headers = headers
        self._rule = rule
        self._epoch = epoch
        self._proxied = proxied

    def is_in_doubt(self) -> bool:
        """Whether `holds` is worth asking; without I/O."""
        expires_at = self.who.expires_at
        expired = expires_at is not None and expires_at <= self._services.clock()
        return expired or self._epoch != self._services.caches.epoch

    async def holds(self) -> bool:
        """Asks again. While the database does not answer, what was so stays so."""
        epoch = self._services.caches.epoch
        try:
            who = await identify(self._services, self._headers, proxied=self._proxied)
            admit(self._rule, who, self._headers, self._services.settings)
        except AppError:
            return False
        except (SQLAlchemyError, OSError):
            return True
        self._epoch = epoch
        return True


def withdrawn() -> AppError:
    return Refused("invalid_key", "The key or sign-in has ended while the call was under way.", status=401)


def check_navigation(headers: Mapping[str, str]) -> None:
    """`/proxy` answers a browser session only for fetch: what an upstream sends never becomes a page of ours."""
    if headers.get("sec-fetch-dest", "") not in ("", "empty"):
        raise Refused("navigation_not_allowed", "Upstream content is not shown as a page; use fetch or a key.")


def check_loop(instance_id: str, values: Iterable[bytes]) -> None:
    """Raises AppError 508 where the Via headers name this installation: the request has been here (RFC 9110 §7.6.3)."""
    own = f"sb-{instance_id}".encode()
    if any(own in value.replace(b",", b" ").split() for value in values):
        raise AppError(508, "loop_detected", "This request came through here before: a connection leads back to us.")
