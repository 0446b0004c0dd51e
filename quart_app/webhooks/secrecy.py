"""What of a webhook is secret: the secret it is signed with, and its URL, since many carry a key in path or query.

Both are sealed together in the row's `sealed_secret`; its `url` is only what may be shown.
"""

import re
from dataclasses import dataclass, replace

import msgspec

from quart_app.models import Webhook
from quart_app.outbound.urls import parse_base
from quart_app.services import Services
from quart_app.webhooks.signatures import new_secret

OVERLAP_SECONDS = 86400.0
"""For how long deliveries carry a signature by the secret before as well, once there is a new one."""

WORD = re.compile(r"[a-z]{1,10}")


@dataclass(frozen=True, repr=False)
class Kept:
    """In clear: `retired_secret` still signs as well until `retired_until`."""

    url: str
    secret: str
    retired_secret: str | None = None
    retired_until: float = 0.0

    def secrets_at(self, now: float) -> tuple[str, ...]:
        """What a try signs with, the present one first."""
        retired = self.retired_secret if now < self.retired_until else None
        return (self.secret, retired) if retired else (self.secret,)

    def renewed(self, now: float) -> "Kept":
        """With a new secret, the one before retired. One that was retired already goes."""
        return replace(self, secret=new_secret(), retired_secret=self.secret, retired_until=now + OVERLAP_SECONDS)


def keep(services: Services, row: Webhook, kept: Kept) -> None:
    text = msgspec.json.encode(kept).decode()
    row.url = shown(kept.url)
    row.sealed_secret = services.vault.seal(text, table="webhooks", column="sealed_secret", row=row.id)


def kept(services: Services, row: Webhook) -> Kept:
    text = services.vault.unseal(row.sealed_secret, table="webhooks", column="sealed_secret", row=row.id)
    return msgspec.json.decode(text, type=Kept)


def shown(url: str) -> str:
    """What tells a URL from others without what may be a key: the origin, and the first segment if more follow it.

    That only where it is a plain word: in some URLs the key comes first, as Telegram's `/bot123:…/sendMessage`.
    """
    place, query, _ = url.partition("?")
    base = parse_base(place)
    first, *more = base.path[1:].split("/")
    if more and WORD.fullmatch(first):
        return f"{base.origin}/{first}/…"
    return f"{base.origin}/…" if first or query else base.origin


def host_of(row: Webhook) -> str:
    """For the audit and the log."""
    return row.url.partition("://")[2].partition("/")[0]
