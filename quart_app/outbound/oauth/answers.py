"""What the answer of a token endpoint means: a token with its oddities, or a failure of a kind (RFC 6749 §5)."""

import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from quart_app.outbound.oauth.refusals import Failure as Failure
from quart_app.outbound.oauth.refusals import GrantFailed as GrantFailed
from quart_app.outbound.oauth.refusals import refused

ANSWER_BYTES = 64 * 1024
LONGEST_LIFE_SECONDS = 10 * 365 * 86400
LONGEST_SCOPE = 16 * 1024
SHORTEST_TOKEN = 8
REFRESH_LIVES = ("refresh_token_expires_in", "refresh_expires_in", "x_refresh_token_expires_in")
"""As Microsoft and GitHub, Keycloak, and Intuit spell it; there is no standard."""
SLACK_TYPES = ("bot", "user")
NOT_ECHOED = frozenset(("offline_access",))
"""Scopes that ask for a refresh token and that many servers do not name in what they grant."""


@dataclass(frozen=True, slots=True)
class Issued:
    """A token as it was given: lives in seconds, None where the answer does not say.

    `refresh_token` is None where none came, and the one before stays good. `oddities` are sentences on what the
    answer has otherwise than its standard, without anything of its values.
    """

    access_token: str
    refresh_token: str | None
    lifetime_seconds: float | None
    refresh_lifetime_seconds: float | None
    scope: str | None
    id_token: str | None
    oddities: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"Issued(lifetime_seconds={self.lifetime_seconds}, oddities={self.oddities})"


def token_answer(
    status: int,
    body: bytes,
    *,
    retry_after: float | None = None,
    scope: str | None = None,
    secrets: Collection[str] | None = None,
) -> Issued:
    """The token in an answer. Raises GrantFailed that says what kind of failure it is.

    `scope` is what was asked for. `secrets` are those that were sent (`TokenRequest.secrets`): the provider's words
    on an error are kept only where these are known.
    """
    oddities: list[str] = []
    answer = read(status, body, oddities, retry_after)
    if answer.get("error") or not 200 <= status <= 299:
        raise refused(status, answer, retry_after=retry_after, secrets=secrets)
    check_type(answer.get("token_type"), oddities)
    access_token = token_in(answer, "access_token")
    if access_token is None:
        raise GrantFailed("The token endpoint's answer has no usable access_token.", failure="odd_answer")
    refresh_token = refresh_token_in(answer, oddities)
    return Issued(
        access_token=access_token,
        refresh_token=refresh_token,
        lifetime_seconds=lifetime_in(answer.get("expires_in"), oddities),
        refresh_lifetime_seconds=next(filter(None, (seconds(answer.get(name)) for name in REFRESH_LIVES)), None),
        scope=scope_in(answer.get("scope"), scope, oddities, tokens=(access_token, refresh_token)),
        id_token=id_token_in(answer.get("id_token"), oddities),
        oddities=tuple(oddities),
    )


def read(status: int, body: bytes, oddities: list[str], retry_after: float | None) -> dict[str, Any]:
    """The fields of an answer in JSON, or in a form as some servers have it. Raises GrantFailed."""
    answer = None
    if len(body) <= ANSWER_BYTES:
        try:
            answer = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            answer = mended(body, oddities) or form_in(body, oddities)
    if isinstance(answer, dict):
        return answer
    if status >= 500 or status in (408, 425, 429):
        raise refused(status, {}, retry_after=retry_after, secrets=None)
    raise GrantFailed(f"The token endpoint answered {status} {unreadable(status, body)}.", failure="odd_answer")


def mended(body: bytes, oddities: list[str]) -> Any:
    """JSON with half of a surrogate pair somewhere, as a text that was cut has it: with a question mark there.

    It may hold a token that is good only now, so it is not given up for a name beside it. None for what is no JSON.
    """
    try:
        text = json.dumps(json.loads(body.decode()), ensure_ascii=False)
        answer = msgspec.json.decode(text.encode("utf-8", "replace"))
    except (ValueError, RecursionError):  # msgspec's own among them
        return None
    oddities.append("The answer has a text that is no Unicode.")
    return answer


def unreadable(status: int, body: bytes) -> str:
    """What an answer is that has no fields, and what may be behind it."""
    if 300 <= status <= 399:
        return "with a redirect, which a token request does not follow: check token_url"
    if len(body) > ANSWER_BYTES:
        return "with more than a token takes up"
    if body.lstrip()[:1] == b"<":
        return "with a page, not a JSON object: check token_url"
    return "with something that is not a JSON object"


def form_in(body: bytes, oddities: list[str]) -> dict[str, str] | None:
    """The fields of a form-encoded answer, None where it is none or says something twice."""
    try:
        pairs = parse_qsl(body.decode("ascii").strip(), keep_blank_values=True, strict_parsing=True, max_num_fields=50)
    except ValueError:
        return None
    fields = dict(pairs)
    if len(fields) != len(pairs) or not fields.keys() & {"access_token", "error"}:
        return None
    oddities.append("The answer is a form, not JSON.")
    return fields


def check_type(kind: Any, oddities: list[str]) -> None:
    """Raises GrantFailed for a token that is not to be used as a bearer token (RFC 6749 §7.1)."""
    if kind is None:
        oddities.append("The answer does not say the token's type; it is used as a bearer token.")
    elif kind in SLACK_TYPES:
        oddities.append("The token's type is one of Slack's names for a bearer token.")
    elif not isinstance(kind, str) or kind.lower() != "bearer":
        detail = "The token endpoint gave a token that is not a bearer token, which cannot be used."
        raise GrantFailed(detail, failure="wrong_client", state="config_error")


def token_in(answer: dict[str, Any], name: str) -> str | None:
    """A token that can stand in a header; None where there is none. Raises GrantFailed for any other."""
    token = answer.get(name)
    if token is None or token == "":
        return None
    if not isinstance(token, str) or not token.isascii() or not token.isprintable() or " " in token:
        raise GrantFailed(f"The token endpoint's answer has no usable {name}.", failure="odd_answer")
    return token


def refresh_token_in(answer: dict[str, Any], oddities: list[str]) -> str | None:
    if answer.get("refresh_token") == "":
        oddities.append("The refresh token in the answer is empty; the one before is kept.")
    return token_in(answer, "refresh_token")


def lifetime_in(value: Any, oddities: list[str]) -> float | None:
    """How long the access token lives, None where that is not known: then a 401 tells."""
    found = seconds(value)
    if value is None:
        oddities.append("The answer does not say how long the token lives; it is renewed after a 401.")
    elif found is None:
        oddities.append("The life of the token is not a time; it is renewed after a 401.")
    elif isinstance(value, str):
        oddities.append("The life of the token is a text, not a number.")
    return found


def seconds(value: Any) -> float | None:
    """Seconds from a number or a numeric text, at most ten years; None for anything else, and for 0 and less.

    Several servers say 0 where they mean that it does not end.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return min(found, float(LONGEST_LIFE_SECONDS)) if found > 0 else None


def scope_in(value: Any, asked: str | None, oddities: list[str], *, tokens: Collection[str | None]) -> str | None:
    """What was granted; an answer that does not say means all that was asked for (RFC 6749 §5.1).

    It is kept in clear, so one that is too long to be one, or has a token in it, is not.
    """
    if isinstance(value, list) and all(isinstance(name, str) for name in value):
        oddities.append("The scope is a list, not a text.")
        value = " ".join(value)
    if not isinstance(value, str) or not value.isprintable():
        if value is not None:
            oddities.append("The scope is not a text.")
        return None
    if len(value) > LONGEST_SCOPE or any(token in value for token in tokens if token and len(token) >= SHORTEST_TOKEN):
        oddities.append("The scope is too long to be one, or has the token in it.")
        return None
    if asked is not None:
        wanted, granted = names_in(asked), names_in(value)
        if wanted - granted - NOT_ECHOED:
            oddities.append("The provider granted other scopes than were asked for; some are missing.")
        elif granted - wanted:
            oddities.append("The provider granted more scopes than were asked for.")
    return value


def names_in(scope: str) -> frozenset[str]:
    return frozenset(scope.replace(",", " ").split())


def id_token_in(value: Any, oddities: list[str]) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not value.isascii() or not value.isprintable() or not value:
        oddities.append("The ID token is not a text that could be one.")
        return None
    return value
