"""How a connection signs in to its API: one small class per scheme, without I/O.

A class is the form a person fills in and, filled in, makes the `Credential` that goes onto each attempt.
Fields named in `SECRETS` are sealed at rest and never shown.
"""

import base64
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Literal
from urllib.parse import quote

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from quart_app.outbound.headers import NAME, NOT_FORWARDED, normal
from quart_app.outbound.redaction.marks import Fingerprint, mark
from quart_app.outbound.redaction.redactor import Redactor
from quart_app.outbound.urls import parse_base

NOTHING_SECRET = Redactor()


@dataclass(frozen=True, slots=True)
class Credential:
    """What is added to a request: `headers` as bytes pairs, `query` a raw `name=value` or empty.

    `secrets` are the values that must not be recorded, each with its role (the field that holds it, `pair`,
    `access_token`); `redactor` takes them out of records. `shown` and `shown_query` are what a record shows of the
    headers and of the query, with marks. `generation` is that of the OAuth token, if it is one.
    """

    headers: tuple[tuple[bytes, bytes], ...] = ()
    query: str = ""
    secrets: tuple[tuple[str, str], ...] = ()
    generation: int | None = None
    redactor: Redactor = NOTHING_SECRET
    shown: tuple[tuple[str, str], ...] = ()
    shown_query: str = ""

    def __repr__(self) -> str:
        return f"Credential(generation={self.generation})"


def guarded(
    credential: Credential,
    scheme: "Scheme",
    fingerprint: Fingerprint | None = None,
    more: Iterable[tuple[str, str]] = (),
) -> Credential:
    """The credential with all that must not be recorded of it, its scheme and `more`, and what a record shows instead.

    The first secret of a role is the one that is live.
    """
    held = ((name, getattr(scheme, name)) for name in scheme.SECRETS)
    known = dict.fromkeys((*credential.secrets, *(pair for pair in held if pair[1]), *more))
    redactor = Redactor(known, fingerprint)
    role, secret = credential.secrets[0] if credential.secrets else ("", "")
    name = credential.query.partition("=")[0]
    return replace(
        credential,
        secrets=tuple(known),
        redactor=redactor,
        shown=tuple((name.decode("latin-1"), shown_value(value, redactor, role)) for name, value in credential.headers),
        shown_query=name and f"{name}={mark(role, secret, fingerprint)}",
    )


def shown_value(value: bytes, redactor: Redactor, role: str) -> str:
    """A header's value with marks; nothing but one where its secret is too short to be found in it."""
    clean = redactor.content(value)
    return redactor.whole(value, role) if clean is value else clean.decode("latin-1")


def single_line(text: str) -> str:
    if not text.isprintable() or not text.isascii():
        raise ValueError("must be printable ASCII on one line")
    if text != text.strip():
        raise ValueError("must not begin or end with a space")  # HTTP drops it, and records would not know the rest
    return text


Line = Annotated[str, Field(min_length=1, max_length=8192), AfterValidator(single_line)]
Text = Annotated[str, Field(min_length=1, max_length=8192)]


class Scheme(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=False)
    SECRETS: ClassVar[tuple[str, ...]] = ()

    def credential(self) -> Credential:
        """What goes onto each attempt; a scheme with tokens makes it from the token instead."""
        return Credential()

    def injected(self) -> frozenset[bytes]:
        """The normalised names of headers that a caller cannot set."""
        return frozenset(normal(name) for name, _ in self.credential().headers)


class NoAuth(Scheme):
    scheme: Literal["none"] = "none"


class ApiKey(Scheme):
    SECRETS: ClassVar[tuple[str, ...]] = ("value",)
    scheme: Literal["api_key"]
    place: Literal["header", "query", "cookie"] = Field(alias="in", default="header")
    name: Line
    value: Line
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    @field_validator("name")
    @classmethod
    def check_name(cls, name: str, info: ValidationInfo) -> str:
        if not NAME.fullmatch(name.encode()):
            raise ValueError("must be a name without spaces or separators")
        if info.data.get("place") == "header" and normal(name.encode()) in NOT_FORWARDED - {b"authorization"}:
            raise ValueError("is a header that cannot carry a key")
        return name

    def credential(self) -> Credential:
        if self.place == "query":
            query = f"{quote(self.name, safe='')}={quote(self.value, safe='')}"
            return Credential(query=query, secrets=(("value", self.value),))
        if self.place == "cookie":
            header = (b"cookie", f"{self.name}={self.value}".encode())
        else:
            header = (self.name.lower().encode(), self.value.encode())
        return Credential(headers=(header,), secrets=(("value", self.value),))


class Basic(Scheme):
    """RFC 7617, UTF-8."""

    SECRETS: ClassVar[tuple[str, ...]] = ("password",)
    scheme: Literal["basic"]
    username: Annotated[str, Field(max_length=1024, pattern=r"^[^:\x00-\x1f\x7f]*$")]
    password: Annotated[str, Field(max_length=8192, pattern=r"^[^\x00-\x1f\x7f]*$")]

    def credential(self) -> Credential:
        pair = f"{self.username}:{self.password}"
        header = (b"authorization", b"Basic " + base64.b64encode(pair.encode()))
        return Credential(headers=(header,), secrets=(("pair", pair), ("password", self.password)))


class Bearer(Scheme):
    """RFC 6750 with a token that does not change."""

    SECRETS: ClassVar[tuple[str, ...]] = ("token",)
    scheme: Literal["bearer"]
    token: Line

    def credential(self) -> Credential:
        return bearer(("token", self.token))


def bearer(*secrets: tuple[str, str], generation: int | None = None) -> Credential:
    """The credential of a token, which is the first of the secrets; further ones are only kept out of records."""
    header = (b"authorization", b"Bearer " + secrets[0][1].encode())
    return Credential(headers=(header,), secrets=secrets, generation=generation)


def endpoint(text: str) -> str:
    """An absolute http(s) URL that may have a query, as token endpoints do."""
    parse_base(text.partition("?")[0])
    return text


class OAuth2(Scheme):
    """RFC 6749 with rotation (RFC 9700 §4.14.2); the tokens themselves are kept by `tokens.py`."""

    SECRETS: ClassVar[tuple[str, ...]] = ("client_secret", "refresh_token")
    scheme: Literal["oauth2"]
    grant: Literal["client_credentials", "refresh_token"]
    token_url: Annotated[Line, AfterValidator(endpoint)]
    client_id: Line
    client_secret: Line | None = None
    client_auth: Literal["basic", "post"] = "basic"
    scope: Line | None = None
    audience: Line | None = None
    resource: Line | None = None
    refresh_token: Line | None = None
    extra: dict[Line, Line] = Field(default_factory=dict)

    @field_validator("extra")
    @classmethod
    def check_extra(cls, extra: dict[str, str]) -> dict[str, str]:
        taken = {"grant_type", "client_id", "client_secret", "refresh_token", "scope"} & set(extra)
        if taken:
            raise ValueError(f"must not set {', '.join(sorted(taken))}, which have fields of their own")
        return extra

    def injected(self) -> frozenset[bytes]:
        return frozenset((b"authorization",))


Auth = Annotated[NoAuth | ApiKey | Basic | Bearer | OAuth2, Field(discriminator="scheme")]
