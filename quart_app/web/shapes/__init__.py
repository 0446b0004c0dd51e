"""What comes out, for the OpenAPI document; a test holds real answers against these. Some nouns have a file here."""

from typing import Annotated, Any, Literal

from pydantic import Field

from quart_app.errors import REASONS
from quart_app.forms.connections import State
from quart_app.outbound.target import Policy
from quart_app.web.shapes.common import Instant, Shape

WaitReason = Literal["concurrency", "rate", "told", "backoff", "token"]
"""What an attempt waited for longest: a free place, the declared rate, what the API said, a retry's pause, a token."""
NextReason = Literal[
    "retried", "redirected", "new_token",
    "attempts_spent", "budget_spent", "circuit_open", "method_unsafe", "body_gone", "told_to_wait_too_long",
    "time_spent", "redirects_spent", "redirect_refused",
]  # fmt: skip
"""Why another attempt followed, or why none did though the outcome was one to try again."""
CallState = Literal["sending", "done", "failed", "cancelled", "interrupted"]


class Problem(Shape):
    """RFC 9457."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    errors: list[dict[str, str]]
    request_id: str


class ConnectionView(Shape):
    """A connection; a secret is shown as `{"set": true, "fingerprint": "…"}`."""

    id: str
    name: str
    title: str
    base_url: str
    tags: list[str]
    metadata: dict[str, Any]
    auth: dict[str, Any]
    headers: dict[str, str]
    policy: Policy
    tls: dict[str, Any]
    proxy: dict[str, Any] | None
    state: State
    state_reason: str | None
    redirect_uri: Annotated[str | None, Field(description="to be entered at the provider; of authorization_code only")]
    created_at: Instant
    updated_at: Instant


class BodyView(Shape):
    """A body: `json`, `text` or `base64` where its content is shown; `size` is what went over the wire, in bytes."""

    size: int
    media_type: str | None
    truncated: bool
    sha256: str | None = None
    json_: Annotated[Any, Field(alias="json")] = None
    text: str | None = None
    base64: str | None = None


class MessageView(Shape):
    headers: list[tuple[str, str]]
    body: BodyView | None


class TimingsView(Shape):
    """Seconds of each phase; null for one that did not happen."""

    dns: float | None
    connect: float | None
    tls: float | None
    first_byte: float | None
    transfer: float | None


class AttemptView(Shape):
    number: int
    status: int | None
    reason: str | None
    started_at: Instant
    duration_seconds: float
    waited_seconds: float
    wait_reason: WaitReason | None
    next_reason: NextReason | None
    url: Annotated[str | None, Field(description="where it went, if not to the call's own URL: a redirect")]
    timings: TimingsView
    remote_address: str | None
    token_generation: int | None


class WebSocketView(Shape):
    """What a WebSocket carried (RFC 6455): data frames and their bytes each way, and how it closed."""

    frames_sent: int
    frames_received: int
    bytes_sent: int
    bytes_received: int
    close_code: int | None
    closed_by: Literal["caller", "upstream", "switchboard"] | None


class CallView(Shape):
    """A call on record. `reason` is there when it failed."""

    id: str
    connection: str
    origin: Literal["console", "api", "proxy", "run", "token"]
    actor: str
    replay_of: str | None
    method: str
    url: str
    state: CallState
    reason: Annotated[str | None, Field(json_schema_extra={"examples": sorted(REASONS)})]
    detail: str | None
    status: int | None
    started_at: Instant
    duration_seconds: float | None
    waited_seconds: float
    websocket: WebSocketView | None
    request: MessageView
    response: MessageView | None
    attempts: list[AttemptView]
    recorded: Annotated[bool, Field(description="false: the database fails, and the record waits in memory")] = True


class ConnectionPage(Shape):
    items: list[ConnectionView]
    next: str | None


class CallPage(Shape):
    items: list[CallView]
    next: str | None


class ChangeView(Shape):
    """A part that is other: a JSON Pointer (RFC 6901) to it; headers are by name in lower case, a text is by lines."""

    pointer: str
    kind: Literal["added", "removed", "changed"]
    before: Any
    after: Any


class DiffView(Shape):
    """`truncated`: there are more changes than these, or a value is shown cut."""

    from_: Annotated[str, Field(alias="from")]
    to: str
    same: bool
    truncated: bool
    changes: list[ChangeView]


class SearchLag(Shape):
    """Calls that the full-text search has, and those that it does not have yet."""

    indexed: int
    behind: int


class StorageView(Shape):
    """Bytes of the database in use, of its write-ahead log and of the disk's rest; null where PostgreSQL has them."""

    database_bytes: int
    wal_bytes: int | None
    free_bytes: int | None
    calls: int
    oldest_at: Instant | None
    keep_days: int
    keep_calls: int
    keep_bytes: int
    search: SearchLag | None


class CheckView(Shape):
    ok: bool
    detail: str
    call: CallView


class TokenView(Shape):
    connection: str
    state: State
    expires_at: Instant | None
    generation: int


class LearnedView(Shape):
    """What the API told of its limits in its own answers."""

    limit: int | None
    remaining: int | None
    resets_at: Instant | None


class BreakerView(Shape):
    """Attempts and failures of the last 30 seconds; `probes_at` is when a call may try again."""

    state: Literal["closed", "open", "half_open"]
    calls: int
    failures: int
    opened_at: Instant | None
    probes_at: Instant | None
    opened_count: int


class RetriesView(Shape):
    """Of the last 30 seconds; `left` may still be made."""

    calls: int
    retries: int
    left: int


class LimitsView(Shape):
    """What a connection may send now, as this process knows it. `sent_last_minute` is counted under a declared rate."""

    connection: str
    in_flight: int
    waiting: int
    concurrency: int
    per_minute: int | None
    sent_last_minute: int | None
    learned: LearnedView | None
    held_until: Instant | None
    breaker: BreakerView
    retries: RetriesView


class AuditEntryView(Shape):
    """Who changed what that matters for safety; `detail` names fields, never their values."""

    number: int
    at: Instant
    actor: str
    action: str
    subject: str
    detail: str


class AuditPage(Shape):
    items: list[AuditEntryView]
    next: str | None


class BatchLine(Shape):
    """One line of the answer: the call of item `index`, or what is wrong with the item."""

    index: int
    call: CallView | None = None
    error: dict[str, Any] | None = None


class NamedAccount(Shape):
    name: str


class SignInView(Shape):
    account: NamedAccount


class Health(Shape):
    status: Literal["ok", "failing"]
    reasons: list[str]
