"""How a connection's API is reached: over which TLS, through which outbound proxy.

The classes are the forms a person fills in; fields named in `SECRETS` are sealed at rest and never shown.
"""

import base64
import hashlib
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, ClassVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from quart_app.outbound import pem
from quart_app.outbound.tls import make_context
from quart_app.outbound.urls import parse_base


def certificates(text: str) -> str:
    pem.certificates(text)
    return text


def private_key(text: str) -> str:
    pem.private_key(text)
    return text


Certificates = Annotated[str, Field(max_length=pem.LONGEST), AfterValidator(certificates)]


class Tls(BaseModel):
    """PEM texts. `ca` stands instead of the system's authorities; `certificate` and `key` are shown to the upstream."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    SECRETS: ClassVar[tuple[str, ...]] = ("key",)
    verify: Annotated[bool, Field(strict=True)] = True
    ca: Certificates | None = None
    certificate: Certificates | None = None
    key: Annotated[
        Annotated[str, Field(max_length=pem.LONGEST), AfterValidator(private_key)] | None,
        Field(validate_default=True, repr=False),
    ] = None

    @field_validator("key")
    @classmethod
    def check_pair(cls, key: str | None, info: ValidationInfo) -> str | None:
        if "certificate" not in info.data:  # has a fault of its own
            return key
        certificate = info.data["certificate"]
        if key and not certificate:
            raise ValueError("needs the certificate that it belongs to")
        if certificate and not key:
            raise ValueError("is missing: a client certificate needs its private key")
        if key and not pem.fits(key, certificate):
            raise ValueError("does not belong to the certificate")
        if key:
            check_usable(certificate, key)
        return key


def check_usable(certificate: str, key: str) -> None:
    """Raises ValueError for a pair that OpenSSL would refuse to show, such as one of a key that is too short."""
    try:
        make_context(verify=False, certificate=certificate, key=key)
    except OSError as error:
        reason = getattr(error, "reason", None) or "refused"
        raise ValueError(f"cannot be used with this certificate ({reason.lower()})") from None


def proxy_url(text: str) -> str:
    base = parse_base(text)
    if base.path or urlsplit(text).path not in ("", "/"):
        raise ValueError("must be http:// or https://, a host and a port, without a path")
    return str(base)


class Proxy(BaseModel):
    """An outbound HTTP proxy: CONNECT for https (RFC 9110 §9.3.6), absolute-form for http (RFC 9112 §3.2.2)."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    SECRETS: ClassVar[tuple[str, ...]] = ("password",)
    url: Annotated[str, Field(max_length=2048), AfterValidator(proxy_url)]
    username: Annotated[str, Field(min_length=1, max_length=1024, pattern=r"^[^:\x00-\x1f\x7f]*$")] | None = None
    password: Annotated[
        Annotated[str, Field(min_length=1, max_length=8192, pattern=r"^[^\x00-\x1f\x7f]*$")] | None,
        Field(validate_default=True, repr=False),
    ] = None

    @field_validator("password")
    @classmethod
    def check_both(cls, password: str | None, info: ValidationInfo) -> str | None:
        if "username" in info.data and bool(password) != bool(info.data["username"]):
            raise ValueError("goes with username: give both or neither")
        return password


@dataclass(frozen=True, slots=True, eq=False)
class Way:
    """A way out, ready for the engine. Connections of one `pool` may share sockets; `owner` is whose pool it is.

    `proxy_headers` are what the proxy is told of who asks.
    """

    pool: str
    owner: str
    allow_private: bool
    tls: Tls
    proxy: Proxy | None
    proxy_headers: dict[str, str] | None = None

    def __repr__(self) -> str:
        return f"Way({self.pool})"


PLAIN = Tls()
SHARED = {
    False: Way("public", "", allow_private=False, tls=PLAIN, proxy=None),
    True: Way("private", "", allow_private=True, tls=PLAIN, proxy=None),
}


def way_of(connection_id: str, *, allow_private: bool, tls: Tls, proxy: Proxy | None) -> Way:
    """The shared way of an egress policy, or one of the connection's own where it has TLS or a proxy of its own."""
    if proxy is None and tls == PLAIN:
        return SHARED[allow_private]
    parts = repr((allow_private, *tls.model_dump().values(), *(proxy.model_dump().values() if proxy else ())))
    digest = hashlib.sha256(parts.encode()).hexdigest()
    headers = credentials(proxy) if proxy else None
    return Way(f"{connection_id}:{digest}", connection_id, allow_private, tls, proxy, headers)


def credentials(proxy: Proxy) -> dict[str, str] | None:
    """RFC 7617, UTF-8."""
    if proxy.username is None:
        return None
    pair = base64.b64encode(f"{proxy.username}:{proxy.password}".encode()).decode()
    return {"Proxy-Authorization": f"Basic {pair}"}


@lru_cache(maxsize=64)
def without_certificate(way: Way) -> Way:
    """The same way, but the client certificate is shown to nobody: for another origin that an upstream names."""
    if way.tls.certificate is None:
        return way
    tls = way.tls.model_copy(update={"certificate": None, "key": None})
    return way_of(f"{way.owner}/bare", allow_private=way.allow_private, tls=tls, proxy=way.proxy)
