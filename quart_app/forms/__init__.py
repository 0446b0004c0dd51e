"""Faults of a form as the API says them: every one at once, each with its JSON Pointer (RFC 6901)."""

from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, ValidationError

from quart_app.errors import Fault, Invalid

MOST_FAULTS = 20
LONGEST_PART = 64
CODES = {
    "extra_forbidden": "unknown_field",
    "greater_than": "out_of_range",
    "greater_than_equal": "out_of_range",
    "less_than": "out_of_range",
    "less_than_equal": "out_of_range",
    "int_parsing_size": "out_of_range",
    "invalid_header_name": "invalid_header_name",
    "invalid_header_value": "invalid_header_value",
    "egress_denied": "egress_denied",
}
"""The kinds of fault that programs can tell apart."""


def validate(form: type[BaseModel], given: Any, context: Any = None) -> Any:
    """The filled-in form. Raises Invalid 422 `invalid_input` with each fault.

    `context` is the egress that a connection's addresses are held against, by default the table alone.
    """
    try:
        return form.model_validate(given, context=context)
    except ValidationError as error:
        raise invalid_input(error, form) from None


def invalid_input(error: ValidationError, form: type[BaseModel]) -> Invalid:
    """The code is the one that all faults share, else `invalid_input`."""
    codes = {CODES.get(entry["type"], "invalid_input") for entry in error.errors(include_url=False)}
    code = codes.pop() if len(codes) == 1 else "invalid_input"
    return Invalid(code, "The input has faults; each is listed.", faults_of(error, form), status=422)


def faults_of(error: ValidationError, form: type[BaseModel]) -> list[Fault]:
    """The faults without the values that caused them: an input may hold a secret."""
    known = sorted(
        {name for model in models_within(form) for name, field in model.model_fields.items()}
        | {field.alias for model in models_within(form) for field in model.model_fields.values() if field.alias}
    )
    entries = error.errors(include_url=False, include_input=False)
    faults: list[Fault] = [
        {
            "pointer": pointer(entry["loc"]) + str(entry.get("ctx", {}).get("within", "")),
            "detail": sentence(entry, known),
        }
        for entry in entries[:MOST_FAULTS]
    ]
    if len(entries) > MOST_FAULTS:
        faults.append({"pointer": "", "detail": f"and {len(entries) - MOST_FAULTS} more"})
    return faults


def pointer(place: tuple[int | str, ...]) -> str:
    """The place of a fault; the name of a union's branch (auth's scheme) is no part of it."""
    parts = [str(part) for part in place if not (isinstance(part, str) and part.startswith("function-"))]
    if len(parts) > 1 and parts[0] == "auth" and parts[1] in SCHEMES:
        parts.pop(1)
    parts = parts[:1] + [part for part in parts[1:] if part not in ("[key]", "str", "int", "float")]
    return "".join("/" + part[:LONGEST_PART].replace("~", "~0").replace("/", "~1") for part in parts)


def sentence(entry: Any, known: list[str]) -> str:
    if entry["type"] == "extra_forbidden":
        close = get_close_matches(str(entry["loc"][-1]), known, n=1)
        return f"unknown field; did you mean {close[0]}?" if close else "unknown field"
    if entry["type"] == "union_tag_invalid":
        return f"must have a {entry['ctx']['discriminator'].strip(chr(39))} of {entry['ctx']['expected_tags']}"
    text: str = entry["msg"]
    return text.removeprefix("Value error, ").removeprefix("Assertion failed, ")


SCHEMES = ("none", "api_key", "basic", "bearer", "oauth2")


def models_within(form: type[BaseModel]) -> list[type[BaseModel]]:
    """The form and every model that its fields hold."""
    found: list[type[BaseModel]] = []

    def visit(kind: Any) -> None:
        if isinstance(kind, type) and issubclass(kind, BaseModel) and kind not in found:
            found.append(kind)
            for field in kind.model_fields.values():
                visit(field.annotation)
        for part in getattr(kind, "__args__", ()):
            visit(part)

    visit(form)
    return found
