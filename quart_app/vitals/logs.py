"""The log: one line per event on stderr; nothing of a request's content ever goes into it.

Our own events come through structlog, those of libraries through `logging`; both become the same lines. A kind of
event that comes more than LINES_A_SECOND times is held back for the rest of that second, and the next line says so.
"""

import logging
import sys
import time
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import msgspec
import structlog

from quart_app.errors import SettingsError
from quart_app.vitals.stderr import Stderr

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
PLAIN = structlog.dev.plain_traceback
"""Where the package `rich` is installed, structlog would take that, which shows the values of local variables."""
LINES_A_SECOND = 100
MOST_KINDS = 1000
OTHERS = "others"
LIBRARIES = ("aiohttp", "asyncio", "sqlalchemy", "alembic", "quart.app", "hypercorn.error")

Event = MutableMapping[str, Any]


class Throttle:
    """How many lines of each kind came in this second, and how many were held back."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.suppressed = 0
        self._clock = clock
        self._kinds: dict[str, list[int]] = {}

    def takes(self, kind: str) -> bool:
        """Whether one more line of this kind may be written now."""
        second = int(self._clock())
        if kind not in self._kinds and len(self._kinds) >= MOST_KINDS:
            kind = OTHERS
        counts = self._kinds.setdefault(kind, [second, 0, 0])  # the second, lines in it, lines held back
        if counts[0] != second:
            counts[:2] = second, 0
        counts[1] += 1
        if counts[1] <= LINES_A_SECOND:
            return True
        counts[2] += 1
        self.suppressed += 1
        return False

    def held_back(self) -> Iterator[tuple[str, int]]:
        """Kinds and how many of each were held back in seconds that are over, each told once."""
        second = int(self._clock())
        for kind, counts in list(self._kinds.items()):
            if counts[0] < second:
                del self._kinds[kind]
                if counts[2]:
                    yield kind, counts[2]


STDERR = Stderr()
THROTTLE = Throttle()
"""Both belong to the process, as stderr does."""


def configure(level: str) -> None:
    """Sets up structlog, and lets the libraries speak from warning up."""
    handler = LineHandler()
    handler.setLevel(logging.WARNING)  # the server has a handler of its own for what it says below that
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    for name in LIBRARIES:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("quart_app").addFilter(unforeseen)
    structlog.configure(
        processors=[
            throttled,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.add_log_level,
            structlog.dev.ConsoleRenderer(exception_formatter=PLAIN) if sys.stderr.isatty() else as_json,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=lambda *_: LineLogger(),
        cache_logger_on_first_use=False,
    )


def server_logger() -> logging.Logger:
    """For Hypercorn, which otherwise writes to stderr by itself, and waits for it."""
    logger = logging.getLogger("hypercorn.error")
    logger.handlers, logger.propagate = [LineHandler()], False
    logger.setLevel(logging.INFO)
    return logger


def throttled(logger: Any, method: str, event: Event) -> Event:
    if not THROTTLE.takes(event["event"]):
        raise structlog.DropEvent
    return event


def as_json(logger: Any, method: str, event: Event) -> str:
    first = {name: event.pop(name) for name in ("timestamp", "level", "event")}
    return msgspec.json.encode(first | dict(event), enc_hook=str).decode()


class LineLogger:
    """Where structlog's lines go."""

    def msg(self, line: str) -> None:
        STDERR.write(f"{line}\n".encode())

    debug = info = warning = error = msg


class LineHandler(logging.Handler):
    """Where the libraries' lines go, each in the same form as ours, with a traceback as one field of it."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter("%(levelname)s %(name)s %(message)s"))  # for a person at a terminal

    def emit(self, record: logging.LogRecord) -> None:
        with suppress(Exception):  # what cannot be formatted has nobody to tell
            kind = f"{record.name}: {str(record.msg).partition(chr(10))[0]}"
            if THROTTLE.takes(kind):
                STDERR.write(self.line(record))

    def line(self, record: logging.LogRecord) -> bytes:
        if sys.stderr.isatty():
            return f"{self.format(record)}\n".encode()
        event = {
            "timestamp": now(),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            "logger": record.name,
        }
        if record.exc_info:
            event["exception"] = logging.Formatter().formatException(record.exc_info)
        return msgspec.json.encode(event) + b"\n"


def now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


def unforeseen(record: logging.LogRecord) -> bool:
    """Not a start that is refused: that is said in a sentence, and needs no traceback."""
    return record.exc_info is None or not isinstance(record.exc_info[1], SettingsError)


async def tell_suppressed() -> None:
    """Says how many lines were held back or found no room; called once a second."""
    log = structlog.get_logger()
    for kind, count in THROTTLE.held_back():
        log.warning("log_suppressed", kind=kind, count=count)
    STDERR.flush()
    if STDERR.dropped:
        count, STDERR.dropped = STDERR.dropped, 0
        log.warning("log_suppressed", kind="all: stderr did not take them", count=count)
