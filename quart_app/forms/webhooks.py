"""Webhooks as they are given: where to, which events, whether that may be inside the network."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from quart_app.forms.connections import check_address, denied, egress_rule
from quart_app.outbound.urls import QUERY, parse_base

Event = Literal["needs_sign_in", "recovered", "refresh_failed"]
EVENTS: tuple[Event, ...] = ("needs_sign_in", "recovered", "refresh_failed")
READ_ONLY = ("id", "secret", "created_at")


def webhook_url(text: str, info: ValidationInfo) -> str:
    """An http(s) URL, which may have a query. Raises ValueError with what is wrong with it, never with its text."""
    place, _, query = text.partition("?")
    if "@" in place.partition("://")[2].partition("/")[0]:
        raise ValueError("must not carry a user or password")
    if "#" in text:
        raise ValueError("must have no fragment")
    parse_base(place)
    if not QUERY.fullmatch(query):
        raise ValueError("has a query with characters that must be percent-encoded")
    check_address(text, info, allow_private=True)
    return text


def each_once(events: list[Event]) -> list[Event]:
    """In the order in which they are documented."""
    if len(set(events)) < len(events):
        raise ValueError("has the same event twice")
    return [event for event in EVENTS if event in events]


class WebhookForm(BaseModel):
    """A webhook as it is given; what is read-only in an answer may be sent back and is ignored."""

    model_config = ConfigDict(extra="forbid")
    url: Annotated[str, Field(max_length=2048, repr=False), AfterValidator(webhook_url)]
    events: Annotated[list[Event], Field(min_length=1), AfterValidator(each_once)] = list(EVENTS)
    allow_private: Annotated[bool, Field(strict=True, validate_default=True)] = False

    @field_validator("allow_private")
    @classmethod
    def check_private(cls, allow_private: bool, info: ValidationInfo) -> bool:
        """Beside the URL's own faults, so that a person learns of all at once."""
        given = info.data.get("url")
        if given is not None:
            rule, _, _ = egress_rule(given, info, allow_private=allow_private)
            if rule:
                raise denied(f"egress rule {rule}: the URL is inside your network; set this to true to allow it")
        return allow_private


class WebhookChange(BaseModel):
    """Any part of a webhook; what is left out stays as it is."""

    model_config = ConfigDict(extra="forbid")
    url: Annotated[str | None, Field(repr=False)] = None
    events: list[str] | None = None
    allow_private: bool | None = None


class DeliveryForm(BaseModel):
    """A delivery that somebody asks for: the body of the ended delivery `of` again, without one a test."""

    model_config = ConfigDict(extra="forbid")
    of: Annotated[str, Field(max_length=36)] | None = None


def merged(before: dict[str, Any], change: dict[str, Any], shown_url: str) -> dict[str, Any]:
    """The form of the webhook that a change would make; a URL sent back as answers show it is no change."""
    given = {name: value for name, value in change.items() if value is not None}
    if given.get("url") == shown_url:
        del given["url"]
    return before | given
