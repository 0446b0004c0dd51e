"""The clients of the OAuth server, and the rules by which their tokens live."""

import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit

LOOPBACK_HOSTS = ("127.0.0.1", "::1", "localhost")
AUTH_METHODS = ("client_secret_basic", "client_secret_post", "private_key_jwt")


@dataclass(frozen=True, kw_only=True)
class Rules:
    """How tokens live, all in seconds.

    `access_seconds`: the life of an access token. `refresh_seconds`: how long a refresh token lives unused;
    `family_seconds`: how long a grant lives in all; None for both is without end. `rotates`: whether a refresh
    token is spent by its use and gets a successor; one that is not comes back in no refresh (RFC 6749 §6).
    `grace_seconds`: how long the token spent last may come back; it gets the same successor again, or with
    `fresh_successor` another one beside it. 0 means that a second use ends the family (RFC 9700 §4.14.2).
    """

    access_seconds: int = 60
    refresh_seconds: float | None = None
    family_seconds: float | None = None
    grace_seconds: float = 0
    fresh_successor: bool = False
    rotates: bool = True


@dataclass(frozen=True, kw_only=True)
class Client:
    """A registered client.

    `client_secret` is empty and `public_key` (PEM) too where there is none; `auth_methods` are those it may use.
    `rules` stand in place of the server's. `redirect_uris` are compared exactly; `loopback_redirects` allows
    any port and path of this machine as well. `refresh_token` is good for one first refresh: it is generation
    0 of a family.
    """

    client_id: str
    client_secret: str = field(default="", repr=False)
    public_key: str = ""
    auth_methods: tuple[str, ...] = AUTH_METHODS
    name: str = ""
    rules: Rules | None = None
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
