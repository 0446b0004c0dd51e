"""JSON in, strictly (RFC 8259, with the limits of I-JSON, RFC 7493), and JSON out."""

import json
import math
from typing import Any

import msgspec
from quart import Request, Response

from quart_app.errors import AppError, Invalid

DEEPEST = 64
MOST_KEYS = 100_000
LONGEST_NUMBER = 400


async def read_json(request: Request, *, optional: bool = False) -> Any:
    """The request's body, None for one that is `optional` and not there.

    Raises Invalid with what is wrong with it, AppError 413 and 415.
    """
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise AppError(415, "unsupported_encoding", "Send the body without Content-Encoding.")
    data = await request.get_data(cache=False)
    assert isinstance(data, bytes)
    if not data and optional:
        return None
    if not data:
        raise Invalid("body_required", "This needs a JSON body.")
    media_type = (request.content_type or "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise AppError(415, "unsupported_media_type", "Send Content-Type: application/json.")
    return parse_json(data)


def parse_json(data: bytes) -> Any:
    """Raises Invalid (400) with a code for each way in which it is not JSON that can be kept and sent on."""
    if json.detect_encoding(data) != "utf-8":
        raise Invalid("invalid_encoding", "The body is UTF-16 or UTF-32, or starts with a byte order mark.")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise Invalid("invalid_encoding", "The body is not UTF-8.") from None
    try:
        parsed = json.loads(
            text, object_pairs_hook=unique, parse_constant=no_constant, parse_float=finite, parse_int=whole
        )
    except RecursionError:
        raise too_deep() from None
    except json.JSONDecodeError as error:
        place = f"line {error.lineno} column {error.colno}"
        raise Invalid("invalid_json", f"The body is not JSON: {error.msg} at {place}.") from None
    check_values(parsed)
    return parsed


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise Invalid("duplicate_key", "An object has the same key twice.")
    return made


def no_constant(name: str) -> Any:
    raise Invalid("invalid_number", "NaN and Infinity are not JSON.")


def finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise Invalid("invalid_number", "A number is too large for a double.")
    return number


def whole(text: str) -> int:
    if len(text) > LONGEST_NUMBER:
        raise Invalid("number_out_of_range", f"An integer has more than {LONGEST_NUMBER} digits.")
    return int(text)


def check_values(parsed: Any) -> None:
    """Depth, count of keys, and text that could not be stored; without recursion."""
    level, depth, keys = [parsed], 0, 0
    while level:
        depth += 1
        if depth > DEEPEST and any(isinstance(item, dict | list) for item in level):
            raise too_deep()
        below: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                keys += len(item)
                below.extend(item)
                below.extend(item.values())
            elif isinstance(item, list):
                below.extend(item)
            elif isinstance(item, str):
                check_text(item)
        if keys > MOST_KEYS:
            raise Invalid("too_many_keys", f"The body has more than {MOST_KEYS} keys.")
        level = below


def check_text(text: str) -> None:
    if "\0" in text:
        raise Invalid("nul_not_allowed", "A string has a NUL character in it.")
    if not text.isascii():
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:
            raise Invalid("invalid_unicode", "A string has half of a surrogate pair in it.") from None


def too_deep() -> Invalid:
    return Invalid("json_too_deep", f"The body is nested deeper than {DEEPEST} levels.")


def answer(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A JSON answer that no cache keeps."""
    response = Response(msgspec.json.encode(value), status, content_type="application/json")
    response.headers["Cache-Control"] = "no-store"
    response.headers.update(headers or {})
    return response
