"""The log: one line per event on stderr, made by structlog; nothing of a request's content ever goes into it."""

import logging
import sys

import structlog

from quart_app.errors import SettingsError

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


def configure(level: str) -> None:
    """Sets up structlog, and lets the libraries speak from warning up."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setLevel(logging.WARNING)  # the server has a handler of its own for what it says below that
    logging.basicConfig(level=logging.WARNING, handlers=[handler], format="%(levelname)s %(name)s %(message)s")
    for name in ("aiohttp", "asyncio", "sqlalchemy", "alembic", "quart.app", "hypercorn.error"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("quart_app").addFilter(unforeseen)
    structlog.configure(
        processors=[
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.add_log_level,
            structlog.dev.ConsoleRenderer() if sys.stderr.isatty() else structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),  # the stderr of the moment, which may be replaced
        cache_logger_on_first_use=False,
    )


def unforeseen(record: logging.LogRecord) -> bool:
    """Not a start that is refused: that is said in a sentence, and needs no traceback."""
    return record.exc_info is None or not isinstance(record.exc_info[1], SettingsError)
