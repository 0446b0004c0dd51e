"""Faults of a form as the API says them: every one at once, each with its JSON Pointer (RFC 6901)."""

from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, ValidationError

from quart_app.errors import Fault, Invalid


def validate(form: type[BaseModel], given: Any) -> Any:
    """The filled-in form. Raises Invalid 422 `invalid_input` with each fault."""
    try:
        return form.model_validate(given)
    except ValidationError as error:
        raise invalid_input(faults_of(error, form)) from None


def invalid_input(faults: list[Fault]) -> Invalid:
    only_unknown = faults and all(fault["detail"].startswith("unknown field") for fault in faults)
    code = "unknown_field" if only_unknown else "invalid_input"
    return Invalid(code, "The input has faults; each is listed.", faults, status=422)


def faults_of(error: ValidationError, form: type[BaseModel]) -> list[Fault]:
    """The faults without the values that caused them: an input may hold a secret."""
    known = sorted(
        {name for model in models_within(form) for name, field in model.model_fields.items()}
        | {field.alias for model in models_within(form) for field in model.model_fields.values() if field.alias}
    )
    return [
        {"pointer": pointer(entry["loc"]), "detail": sentence(entry, known)}
        for entry in error.errors(include_url=False, include_input=False, include_context=False)
    ]


def pointer(place: tuple[int | str, ...]) -> str:
    """The place of a fault; the name of a union's branch (auth's scheme) is no part of it."""
    parts = [str(part) for part in place if not (isinstance(part, str) and part.startswith("function-"))]
    if len(parts) > 1 and parts[0] == "auth" and parts[1] in SCHEMES:
        parts.pop(1)
    parts = [part for part in parts if part not in ("[key]", "str", "int", "float")]
    return "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in parts)


def sentence(entry: Any, known: list[str]) -> str:
    if entry["type"] == "extra_forbidden":
        close = get_close_matches(str(entry["loc"][-1]), known, n=1)
        return f"unknown field; did you mean {close[0]}?" if close else "unknown field"
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
