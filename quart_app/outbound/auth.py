"""How a connection signs in to its API: one small class per scheme, without I/O.

A class is the form a person fills in and, filled in, makes the `Credential` that goes onto each attempt.
Fields named in `SECRETS` are sealed at rest and never shown.
"""

import base64
from typing import Annotated, ClassVar, Literal
from urllib.parse import quote

from pydantic import ConfigDict, Field, ValidationInfo, field_validator

from quart_app.outbound.credentials import Credential as Credential
from quart_app.outbound.credentials import Line
from quart_app.outbound.credentials import Scheme as Scheme
from quart_app.outbound.credentials import bearer as bearer
from quart_app.outbound.credentials import guarded as guarded
from quart_app.outbound.headers import NAME, NOT_FORWARDED, normal
from quart_app.outbound.oauth.form import OAuth2 as OAuth2


class NoAuth(Scheme):
    scheme: Literal["none"] = "none"


class ApiKey(Scheme):
    SECRETS: ClassVar[tuple[str, ...]] = ("value",)
    scheme: Literal["api_key"]
    place: Literal["header", "query", "cookie"] = Field(alias="in", default="header")
    name: Line
    value: Annotated[Line, Field(repr=False)]
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
    password: Annotated[str, Field(max_length=8192, pattern=r"^[^\x00-\x1f\x7f]*$", repr=False)]

    def credential(self) -> Credential:
        pair = f"{self.username}:{self.password}"
        header = (b"authorization", b"Basic " + base64.b64encode(pair.encode()))
        return Credential(headers=(header,), secrets=(("pair", pair), ("password", self.password)))


class Bearer(Scheme):
    """RFC 6750 with a token that does not change."""

    SECRETS: ClassVar[tuple[str, ...]] = ("token",)
    scheme: Literal["bearer"]
    token: Annotated[Line, Field(repr=False)]

    def credential(self) -> Credential:
        return bearer(("token", self.token))


Auth = Annotated[NoAuth | ApiKey | Basic | Bearer | OAuth2, Field(discriminator="scheme")]
