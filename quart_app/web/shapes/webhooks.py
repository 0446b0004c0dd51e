"""What comes out of webhooks and their deliveries."""

from typing import Annotated, Any, Literal

from pydantic import Field

from quart_app.forms.webhooks import Event
from quart_app.web.shapes.common import Instant, Shape


class WebhookSecretView(Shape):
    """That it is set, and a keyed fingerprint of it."""

    set: Literal[True]
    fingerprint: str
    value: Annotated[str | None, Field(description="`whsec_…`, only in the answer to what made it")] = None


class WebhookView(Shape):
    """A webhook. Of its URL, which may hold a key, the origin is shown, and a word before the rest."""

    id: str
    url: str
    events: list[Event]
    allow_private: bool
    secret: WebhookSecretView
    created_at: Instant


class WebhookPage(Shape):
    items: list[WebhookView]
    next: str | None


class TryView(Shape):
    """One POST: the status of its answer, else the reason why there was none; neither while it is on its way."""

    at: Instant
    status: int | None
    reason: str | None
    detail: str | None
    seconds: float | None


class DeliveryView(Shape):
    """An event on its way to a webhook. `body` is what is sent; `next_at` when it is tried (again)."""

    id: str
    webhook: str
    event: Literal["needs_sign_in", "recovered", "refresh_failed", "test"]
    connection: str | None
    state: Literal["pending", "delivered", "failed"]
    body: dict[str, Any]
    tries: list[TryView]
    created_at: Instant
    next_at: Instant | None
    ended_at: Instant | None


class DeliveryPage(Shape):
    items: list[DeliveryView]
    next: str | None
