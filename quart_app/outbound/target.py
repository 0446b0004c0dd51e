"""Where calls of a connection go and how they are treated: all that the engine needs to know of it."""

from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from quart_app.outbound.auth import Credential, Scheme
from quart_app.outbound.headers import Headers
from quart_app.outbound.urls import Base
from quart_app.outbound.ways import Way

Seconds = Annotated[float, Field(gt=0, le=86400, strict=True, allow_inf_nan=False)]


class Policy(BaseModel):
    """How a connection's calls are treated. Durations are seconds, sizes bytes."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    connect_seconds: Seconds = 10
    first_byte_seconds: Seconds = 60
    idle_seconds: Seconds = 60
    total_seconds: Seconds = 300
    attempts: Annotated[int, Field(ge=1, le=10, strict=True)] = 3
    retry_unsafe: Annotated[bool, Field(strict=True)] = False
    per_minute: Annotated[int, Field(ge=1, le=1_000_000, strict=True)] | None = None
    concurrency: Annotated[int, Field(ge=1, le=10_000, strict=True)] = 32
    allow_private: Annotated[bool, Field(strict=True)] = False
    follow_redirects: Annotated[bool, Field(strict=True)] = False
    record_bodies: Annotated[bool, Field(strict=True)] = True
    record_bytes: Annotated[int, Field(ge=0, le=16 * 1024**2, strict=True)] = 262_144


@dataclass(frozen=True, slots=True)
class Target:
    """A connection, ready to be called.

    `credential` is what goes onto each attempt; with the scheme oauth2 it only guards the records, and
    `tokens.ensure_valid` gives the one to send. `injected` are header names that callers cannot set, `marks` what a
    record shows of those that auth sets; `way` is how the API is reached, over its own TLS or proxy where it has them.
    """

    id: str
    name: str
    base: Base
    auth: Scheme
    policy: Policy
    headers: Headers
    state: str
    state_reason: str | None
    credential: Credential
    injected: frozenset[bytes]
    way: Way
    marks: tuple[tuple[str, str], ...] = ()
