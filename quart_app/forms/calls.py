"""What a caller fills in to have a call sent: the request's parts, checked, and the bytes of its body."""

import base64
import re
from typing import Annotated, Any
from urllib.parse import urlencode

import msgspec
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from quart_app.outbound import headers as header_rules
from quart_app.outbound import multipart

BODIES = ("json", "text", "form", "multipart", "base64")
MOST_PARTS = 1000
MISSING: Any = msgspec.UNSET
TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
QUOTED = r'"(?:[\t \x21\x23-\x5b\x5d-\x7e]|\\[\t \x21-\x7e])*"'
MEDIA_TYPE = re.compile(rf"{TOKEN}/{TOKEN}(?:[ \t]*;[ \t]*{TOKEN}=(?:{TOKEN}|{QUOTED}))*")


def scalar(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError("must be text or a number")
    return value


Scalar = Annotated[str | int | float, BeforeValidator(scalar)]
Pairs = list[tuple[str, Scalar]]


def sendable(header: tuple[str, Scalar]) -> tuple[str, Scalar]:
    name, value = header
    header_rules.header_name(name)
    header_rules.header_value(str(value))
    return header


def in_base64(text: str) -> str:
    try:
        base64.b64decode(text, validate=True)
    except ValueError:
        raise ValueError("is not Base64") from None
    return text


Base64Text = Annotated[str, AfterValidator(in_base64)]


class Part(BaseModel):
    """A part of a `multipart` body: a field, or with `filename` a file. Its content is `text` or `base64`.

    Without `media_type`, text that is no file has none (RFC 7578 §4.4: it is text/plain), other text is text/plain in
    UTF-8, and bytes are application/octet-stream.
    """

    model_config = ConfigDict(extra="forbid")
    name: Annotated[str, Field(min_length=1, max_length=1000)]
    filename: Annotated[str, Field(max_length=1000)] | None = None
    media_type: Annotated[str, Field(max_length=255)] | None = None
    text: str | None = None
    base64: Base64Text | None = None

    @field_validator("media_type")
    @classmethod
    def check_media_type(cls, media_type: str | None) -> str | None:
        if media_type is not None and not MEDIA_TYPE.fullmatch(media_type):
            raise ValueError("is not a media type, such as image/png (RFC 9110 §8.3.1)")
        return media_type

    @model_validator(mode="after")
    def check_content(self) -> "Part":
        if (self.text is None) == (self.base64 is None):
            raise ValueError("give either text or base64")
        return self

    def made(self) -> multipart.Part:
        if self.base64 is not None:
            content, media_type = base64.b64decode(self.base64), "application/octet-stream"
            return multipart.Part(self.name, content, self.filename, self.media_type or media_type)
        by_itself = None if self.filename is None else "text/plain; charset=utf-8"
        return multipart.Part(self.name, (self.text or "").encode(), self.filename, self.media_type or by_itself)


class CallForm(BaseModel):
    """A request to send. One of `json`, `text`, `form`, `multipart` and `base64` is the body; none means no body.

    The body's media type is its own unless the headers have one; that of `multipart`, which names the boundary, always
    is.
    """

    model_config = ConfigDict(extra="forbid", populate_by_name=True)
    connection: str
    method: Annotated[str, Field(pattern=r"^[A-Za-z]{1,32}$")] = "GET"
    path: Annotated[str, Field(max_length=8192)] = "/"
    query: Pairs = []
    headers: Annotated[list[Annotated[tuple[str, Scalar], AfterValidator(sendable)]], Field(max_length=100)] = []
    json_: Any = Field(alias="json", default_factory=lambda: MISSING)
    text: str | None = None
    form: Pairs | None = None
    multipart: Annotated[list[Part], Field(max_length=MOST_PARTS)] | None = None
    base64: Base64Text | None = None
    total_seconds: Annotated[float, Field(gt=0, le=86400, strict=True)] | None = None
    idempotency_key: Annotated[str, Field(pattern=r"^[\x21-\x7e]{1,255}$")] | None = None

    @field_validator("query", "headers", "form", mode="before")
    @classmethod
    def pairs_of_object(cls, given: Any) -> Any:
        return list(given.items()) if isinstance(given, dict) else given

    @field_validator("method")
    @classmethod
    def upper(cls, method: str) -> str:
        if method.upper() == "CONNECT":
            raise ValueError("CONNECT cannot be sent through a connection")
        return method.upper()

    @model_validator(mode="after")
    def check_body(self) -> "CallForm":
        if len(self.bodies()) > 1:
            raise ValueError("give one body: json, text, form, multipart or base64")
        return self

    def bodies(self) -> list[str]:
        given = {"json": self.json_ is not MISSING}
        given |= {name: getattr(self, name) is not None for name in BODIES if name != "json"}
        return [name for name, there in given.items() if there]

    def content(self) -> tuple[bytes, str] | None:
        """The body's bytes and the media type it has by itself."""
        if self.json_ is not MISSING:
            return msgspec.json.encode(self.json_), "application/json"
        if self.text is not None:
            return self.text.encode(), "text/plain; charset=utf-8"
        if self.form is not None:
            return urlencode(self.form).encode(), "application/x-www-form-urlencoded"
        if self.multipart is not None:
            boundary = multipart.new_boundary()
            content = multipart.encode([part.made() for part in self.multipart], boundary)
            return content, f"multipart/form-data; boundary={boundary}"
        if self.base64 is not None:
            return base64.b64decode(self.base64), "application/octet-stream"
        return None


class CallChange(CallForm):
    """Parts of a recorded call that are to be other; the rest stays as it was."""

    connection: str = ""
