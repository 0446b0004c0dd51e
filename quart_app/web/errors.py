"""Every error of a view becomes problem+json, for a page an error page; an unforeseen one says nothing but that."""

import traceback
from typing import Any

import structlog
from quart import Response, g, request
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from quart_app.db import is_busy
from quart_app.errors import AppError
from quart_app.web.pages import show
from quart_app.web.problems import problem, title

log = structlog.get_logger()

CODES = {
    400: ("bad_request", "The request cannot be understood."),
    404: ("not_found", "There is nothing here."),
    405: ("method_not_allowed", "This method is not taken here."),
    408: ("request_timeout", "The body took too long to come."),
    413: ("body_too_large", "The body is larger than this server takes."),
    415: ("unsupported_media_type", "This media type is not taken here."),
    500: ("internal_error", "Something went wrong here; the log says where."),
}
NO_DATABASE = ("storage_unavailable", "The database does not answer now; try again in a moment.")
BUSY = ("storage_busy", "Another process keeps the database locked; try again in a moment.")
NO_MEMORY = ("out_of_memory", "The server has no memory left for this now; try again in a moment.")
PASSING: tuple[tuple[type[Exception], tuple[str, str]], ...] = (
    (SQLAlchemyError, NO_DATABASE),
    (ConnectionError, NO_DATABASE),
    (MemoryError, NO_MEMORY),
)


async def on_app_error(error: AppError) -> Response:
    if wants_page():
        return await error_page(error)
    status, headers, body = problem(error)
    response = Response(body, status)
    for name, value in headers:
        response.headers[name] = value
    return response


async def on_http_error(error: HTTPException) -> Any:
    """Werkzeug's own errors, redirects for a missing slash excepted."""
    status = error.code or 500
    if status < 400:
        return error.get_response()
    code, detail = CODES.get(status, ("http_error", title(status) + "."))
    said = AppError(status, code, detail)
    if isinstance(error, MethodNotAllowed) and error.valid_methods:
        said.headers.append(("Allow", ", ".join(sorted(error.valid_methods))))
    if status in (408, 413):
        said.headers.append(("Connection", "close"))
    return await on_app_error(said)


async def on_unforeseen(error: Exception) -> Response:
    return await on_app_error(what_to_say(error, request.endpoint))


def what_to_say(error: Exception, endpoint: str | None) -> AppError:
    """503 for what passes: a database that does not answer, no memory left. 500 for what nobody foresaw.

    The log has the place of each.
    """
    log_unforeseen(error, endpoint)
    for kind, said in PASSING:
        if isinstance(error, kind):
            return AppError(503, *(BUSY if is_busy(error) else said), headers=[("Retry-After", "1")])
    return AppError(500, *CODES[500])


def log_unforeseen(error: Exception, endpoint: str | None) -> None:
    """By place and kind only: an exception's text may hold what must not be written down."""
    frames = traceback.extract_tb(error.__traceback__)[-4:]
    places = [f"{frame.filename.rpartition('/')[2]}:{frame.lineno} {frame.name}" for frame in frames]
    log.error("unforeseen", kind=type(error).__name__, at=places, endpoint=endpoint)


def wants_page() -> bool:
    """Whether a browser asked for a page: the API, the operations and scripts always get problem+json."""
    if request.path.startswith(("/api/", "/proxy/", "/healthz", "/readyz", "/metrics", "/_token_refresh")):
        return False
    return request.method in ("GET", "HEAD") and "text/html" in request.headers.get("Accept", "")


async def error_page(error: AppError) -> Response:
    text = await show(
        "error", getattr(g, "who", None), status=error.status, title=title(error.status), detail=error.detail
    )
    response = Response(text, error.status, content_type="text/html; charset=utf-8")
    for name, value in error.headers:
        response.headers[name] = value
    return response
