"""What the sandbox's views share: problems as answers, numbers in queries, JSON bodies, bytes as text."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from quart import Response, jsonify, request
from werkzeug.exceptions import HTTPException


class Problem(Exception):
    """An answer that is an error; becomes `application/problem+json` (RFC 9457)."""

    def __init__(
        self,
        status: int,
        title: str,
        detail: str,
        *,
        errors: Sequence[Mapping[str, str]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.title = title
        self.detail = detail
        self.errors = list(errors)
        self.headers = dict(headers or {})


async def answer_problem(error: Problem) -> Response:
    body: dict[str, Any] = {"title": error.title, "status": error.status, "detail": error.detail}
    response = jsonify(body | ({"errors": error.errors} if error.errors else {}))
    response.status_code = error.status
    response.content_type = "application/problem+json"
    response.headers.update(error.headers)
    return response


async def answer_http_exception(error: HTTPException) -> Response:
    headers = {name: value for name, value in error.get_headers() if name.lower() == "allow"}
    return await answer_problem(
        Problem(error.code or 500, error.name, error.description or error.name, headers=headers)
    )


def whole_number(name: str, default: int, least: int, most: int) -> int:
    """The query parameter as an int from `least` to `most`; Problem 400 if it is not one."""
    text = request.args.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) <= 18 and least <= int(text) <= most):
        raise Problem(400, "Bad Request", f"{name} must be a whole number from {least} to {most}.")
    return int(text)


def seconds(name: str, default: float, most: float) -> float:
    """The query parameter as seconds from 0 to `most`; Problem 400 if it is not that."""
    try:
        value = float(request.args.get(name, default))
    except ValueError:
        value = math.nan
    if not 0 <= value <= most:
        raise Problem(400, "Bad Request", f"{name} must be a number of seconds from 0 to {most:g}.")
    return value


async def json_object() -> dict[str, Any]:
    """The body as a JSON object in UTF-8 (RFC 8259, so without NaN); Problem 400 or 415 if it is not one."""
    media_type = request.mimetype
    if media_type != "application/json" and not media_type.endswith("+json"):
        raise Problem(415, "Unsupported Media Type", "Send the body as application/json.")
    try:
        value = json.loads((await whole_body()).decode(), parse_constant=refuse_constant)
    except (ValueError, RecursionError) as error:
        raise Problem(400, "Bad Request", f"The body is not JSON: {type(error).__name__}.") from None
    if not isinstance(value, dict):
        raise Problem(400, "Bad Request", "The body must be a JSON object.")
    return value


async def whole_body() -> bytes:
    """The body; 413 over the app's MAX_CONTENT_LENGTH, 408 when it takes longer than BODY_TIMEOUT."""
    return await request.get_data(cache=True, as_text=False, parse_form_data=False)


def refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


def raw_headers() -> list[list[str]]:
    """The request's header fields in order, as name and value; each character is one byte."""
    return [[name.decode("latin-1"), value.decode("latin-1")] for name, value in request.scope["headers"]]


def empty(status: int, headers: Mapping[str, str] | None = None) -> Response:
    """An answer without a body, and without the header fields that describe one."""
    response = Response(None, status, dict(headers or {}))
    del response.headers["Content-Type"]
    return response
