"""Token exchanges on record: calls of origin `token`, with times and outcome, never with bodies or headers."""

from collections.abc import Iterator
from contextlib import contextmanager

from uuid_utils import uuid7

from quart_app.outbound.client import AttemptFailed
from quart_app.outbound.oauth import GrantFailed
from quart_app.outbound.target import Target
from quart_app.outbound.timings import Timings
from quart_app.recorder import Record
from quart_app.records import add_attempt, new_call
from quart_app.services import Services


class Entry:
    """The exchange while it runs: its record, and the timings that the engine fills."""

    def __init__(self, record: Record) -> None:
        self.record = record
        self.timings = Timings()


@contextmanager
def exchange(services: Services, target: Target, token_url: str) -> Iterator[Entry]:
    """Records the exchange made inside it, whatever its outcome, without waiting for the disk."""
    record = new_call(
        target,
        id_=str(uuid7()),
        origin="token",
        actor="switchboard",
        owner=services.process,
        method="POST",
        url=target.credential.redactor.url(token_url),
        headers=[],
    )
    entry = Entry(record)
    try:
        yield entry
    except (AttemptFailed, GrantFailed) as error:
        settle(services, entry, getattr(error, "reason", None), error.detail)
        raise
    except BaseException:
        settle(services, entry, "reset", "The exchange was cut off.")
        raise
    settle(services, entry, None, None)


def settle(services: Services, entry: Entry, reason: str | None, detail: str | None) -> None:
    record, timings = entry.record, entry.timings
    add_attempt(record, timings, status=record.call["status"], reason=reason)
    record.call |= {
        "state": "failed" if reason else "done",
        "reason": reason,
        "detail": detail,
        "duration_seconds": round(timings.duration, 6),
    }
    services.recorder.put(record)
