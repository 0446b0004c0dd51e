"""How connections are, and their token exchanges."""

from typing import Annotated, Literal

from pydantic import Field

from quart_app.doctor.failures import Kind
from quart_app.doctor.sign_ins import When
from quart_app.forms.connections import State
from quart_app.web.shapes.common import Instant, Shape


class TokenExchangeView(Shape):
    """An exchange with a token endpoint; `id` is also the id of the call that shows it on the wire, where it was sent.

    `generation` is the one it set out from; `skew_seconds` how far our clock was ahead of the provider's.
    """

    id: str
    generation: int
    grant_type: str
    cause: Literal["expired", "ahead", "refused", "asked", "sign_in", "settled", "in_doubt", "spare"]
    owner: str
    state: Literal["claimed", "sent", "stored", "failed", "in_doubt"]
    failure: Kind | None
    reason: str | None
    detail: str | None
    oddities: list[str]
    skew_seconds: float | None
    claimed_at: Instant
    sent_at: Instant | None
    ended_at: Instant | None


class TokenExchangePage(Shape):
    items: list[TokenExchangeView]
    next: str | None


class FailureView(Shape):
    """`code` is the provider's or the engine's own word for it."""

    class_: Annotated[Kind, Field(alias="class")]
    code: str | None
    detail: str | None
    at: Instant | None


class HeldTokenView(Shape):
    """`scope_missing` was asked for and not granted; `scope` is null where the provider does not say."""

    generation: int
    expires_at: Instant | None
    refresh_at: Instant | None
    refreshed_at: Instant | None
    has_refresh_token: bool
    scope: str | None
    scope_missing: list[str]


class SignInAgainView(Shape):
    """When a person will have to sign in: `at` is there where `when` says so."""

    when: When
    at: Instant | None
    why: str


class SignedInView(Shape):
    """When a person signed this connection in, and who."""

    at: Instant
    by: str | None


class LastUseView(Shape):
    at: Instant
    actor: str
    origin: Literal["console", "api", "proxy", "run"]
    call: str
    status: int | None


class FailingView(Shape):
    """Of the newest calls, those without an answer or with 5xx, 401 or 403."""

    failed: int
    of: int


class HealthView(Shape):
    """How a connection is. `well` is true where there is no `failure`; `next` is what to do.

    `token`, `signed_in` and `last_exchange` are null where the connection has none; `last_used` also where it was
    before its newest 1,000 calls. `retry_at` is when a token is asked for again after a failure.
    """

    connection: str
    well: bool
    state: State
    summary: str
    failure: FailureView | None
    next: str
    retry_at: Instant | None
    last_exchange: TokenExchangeView | None
    token: HeldTokenView | None
    sign_in_again: SignInAgainView
    signed_in: SignedInView | None
    last_used: LastUseView | None
    clock_skew_seconds: float | None
    oddities: list[str]
    calls_failing: FailingView | None


class HealthPage(Shape):
    items: list[HealthView]
    next: str | None
