"""What the OAuth server remembers: families of tokens, authorization requests and codes.

Instants are seconds as the server's clock counts them.
"""

import secrets
from collections import Counter
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from quart_app.sandbox.clients import Client


@dataclass(kw_only=True)
class Family:
    """All tokens that descend from one grant; `generation` counts how often tokens were issued in it.

    `requests` counts the token requests that came with each generation; `refused` the answers 401 to its tokens.
    """

    family_id: str
    client: Client
    subject: str
    scope: str
    grant: str
    started_at: float
    audience: tuple[str, ...] = ()
    generation: int = 0
    refresh_token: str = field(default="", repr=False)
    revoked: str | None = None
    requests: Counter[int] = field(default_factory=Counter)
    refused: int = 0


@dataclass
class RefreshToken:
    """`used_at` is when it was issued or, where it is not spent by its use, last used."""

    family: Family
    generation: int
    used_at: float
    spent_at: float | None = None


@dataclass(frozen=True)
class AccessToken:
    family: Family
    scope: str
    audience: tuple[str, ...]
    generation: int
    expires_at: float


@dataclass(frozen=True, kw_only=True)
class Transaction:
    """An authorization request that waits for a person's answer, bound to the `browser` it is shown in."""

    client: Client
    redirect_uri: str
    scope: str
    audience: tuple[str, ...]
    state: str
    nonce: str
    code_challenge: str
    browser: str = field(repr=False)
    expires_at: float


@dataclass
class Code:
    request: Transaction
    expires_at: float
    used: bool = False
    family: Family | None = None  # what it was exchanged for, which a second use revokes


class Expiring(Protocol):
    @property
    def expires_at(self) -> float: ...


Kept = TypeVar("Kept", bound=Expiring)


def keep(table: dict[str, Kept], entry: Kept, now: float) -> str:
    """Stores `entry` under a new 256-bit name, and drops what has expired from the front of the table."""
    while table and next(iter(table.values())).expires_at <= now:
        del table[next(iter(table))]
    name = secrets.token_urlsafe(32)
    table[name] = entry
    return name
