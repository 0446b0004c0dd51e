"""Tricks: how the OAuth server misbehaves on purpose, for the next requests that fit.

A trick is data. What it does to an answer is decided here, without I/O; `stage` plays it on the wire.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from quart_app.sandbox.catalogue import CATALOGUE

MOST_TRICKS = 100
MOST_BYTES = 8 * 1024**2
STATUS_OF = {"invalid_client": 401, "server_error": 500, "temporarily_unavailable": 503}
FRAMING = ("connection", "content-length", "date", "transfer-encoding")

Place = Literal["token", "authorization", "revocation", "metadata", "jwks"]
Seconds = Annotated[float, Field(ge=0, le=300)]


def checked_header(headers: dict[str, str]) -> dict[str, str]:
    for name, value in headers.items():
        if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", name) or not re.fullmatch(r"[\t -~\x80-\xff]*", value):
            raise ValueError("a header has a name and a value as HTTP allows them, without line breaks")
        if name.lower() in FRAMING:
            raise ValueError(f"{name} is the server's own; see ends and skew_seconds")
    return headers


def checked_encoding(encoding: str) -> str:
    try:
        "é".encode(encoding)
    except (LookupError, ValueError):
        raise ValueError("is no encoding that can write every text, such as utf-8, latin-1 or utf-16") from None
    return encoding


@dataclass(frozen=True)
class Answer:
    """What an endpoint says: `fields` as JSON or, with `redirect_uri`, as its query; None for no body at all."""

    fields: Mapping[str, Any] | None = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    redirect_uri: str = ""

    @property
    def is_good(self) -> bool:
        return self.status < 400 and self.fields is not None and "error" not in self.fields


class Trick(BaseModel):
    """A change of what the server does to `times` requests (None: to all, until it is cleared).

    `at`: the endpoint; `client_id` and `grant` narrow it down. `when`: whether a fault comes before the request
    was looked at, so that no token is spent, or after. `delay_seconds` is the wait before, `answer_delay_seconds`
    the wait after. `ends`: "whole", "closed" (without a byte), "reset" (RFC 9293 §3.10.5), "cut" (after half of
    the body) or "never". `error` is an OAuth error in place of the answer, `body` any text in place of it, as
    `encoding`. Else the answer's members: `answer` replaces some, `without` leaves some out, `long` makes some
    that many bytes long. `claims` are those of an ID token to replace. `skew_seconds` is added to `Date`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = ""
    at: Place = "token"
    client_id: str | None = None
    grant: str | None = None
    times: Annotated[int, Field(ge=1)] | None = 1
    when: Literal["before", "after"] = "before"
    delay_seconds: Seconds = 0
    answer_delay_seconds: Seconds = 0
    ends: Literal["whole", "closed", "reset", "cut", "never"] = "whole"
    status: Annotated[int, Field(ge=200, le=599)] | None = None
    headers: Annotated[dict[str, str], AfterValidator(checked_header)] = {}
    error: str | None = None
    body: str | None = None
    encoding: Annotated[str, AfterValidator(checked_encoding)] = "utf-8"
    answer: dict[str, Any] = {}
    without: tuple[str, ...] = ()
    long: dict[str, Annotated[int, Field(ge=0, le=MOST_BYTES)]] = {}
    claims: dict[str, Any] = {}
    skew_seconds: Annotated[float, Field(ge=-(10**9), le=10**9)] = 0

    def fits(self, at: Place, client_id: str, grant: str) -> bool:
        return at == self.at and self.client_id in (None, client_id) and self.grant in (None, grant)

    @property
    def keeps_off(self) -> bool:
        """Whether the request never reaches what would answer it."""
        faulty = self.error is not None or self.body is not None or self.ends != "whole"
        return faulty and self.when == "before" and self.at != "authorization"

    def change(self, answer: Answer) -> Answer:
        """The answer with its members as this trick has them; errors of the server itself stay as they are."""
        fields = answer.fields
        if self.error is not None:
            kept = {name: value for name, value in (fields or {}).items() if name in ("state", "iss")}
            fields = {"error": self.error, "error_description": "A trick of the sandbox.", **kept}
        if fields is not None and (self.error is not None or answer.is_good):
            fields = {name: value for name, value in fields.items() if name not in self.without}
            fields |= self.answer | {name: "x" * size for name, size in self.long.items()}
        redirect_uri = answer.redirect_uri if self.body is None else ""
        return Answer(fields, self._status(answer), {**answer.headers, **self.headers}, redirect_uri)

    def _status(self, answer: Answer) -> int:
        if self.status is not None:
            return self.status
        if self.body is not None:
            return 200
        if self.error is not None and not answer.redirect_uri:
            return STATUS_OF.get(self.error, 400)
        return answer.status

    def content(self, answer: Answer) -> bytes:
        """The bytes of the answer's body."""
        if self.body is not None:
            return self.body.encode(self.encoding, "replace")
        if answer.fields is None:
            return b""
        return json.dumps(answer.fields, ensure_ascii=False).encode(self.encoding, "replace")


PLAIN = Trick()
"""No trick at all."""


@dataclass
class Staged:
    trick: Trick
    played: int = 0


class Tricks:
    """What is to be played, in order: the first that fits and is not used up."""

    def __init__(self) -> None:
        self.staged: list[Staged] = []

    def put(self, tricks: Sequence[Trick]) -> None:
        """These, and no others any more."""
        self.staged = [Staged(trick) for trick in tricks]

    def add(self, name: str = "", **changes: Any) -> None:
        """One more: one of the catalogue, with changes, or one made of nothing else. Raises ValidationError."""
        self.staged.append(Staged(made({"name": name, **changes})))

    def clear(self) -> None:
        self.staged.clear()

    def take(self, at: Place, client_id: str = "", grant: str = "") -> Trick:
        for staged in self.staged:
            left = staged.trick.times is None or staged.played < staged.trick.times
            if left and staged.trick.fits(at, client_id, grant):
                staged.played += 1
                return staged.trick
        return PLAIN

    def view(self) -> list[dict[str, Any]]:
        """Each as JSON takes it, without what it leaves as it is, and how often it was `played`."""
        return [
            {**staged.trick.model_dump(mode="json", exclude_defaults=True), "played": staged.played}
            for staged in self.staged
        ]


def made(given: Mapping[str, Any]) -> Trick:
    """The trick of the catalogue that `name` names, with the rest of `given` in place of its own.

    Raises ValidationError, or ValueError for a name that is not there.
    """
    name = given.get("name", "")
    if name and name not in CATALOGUE:
        close = get_close_matches(str(name), CATALOGUE, n=1)
        raise ValueError("there is no such trick" + (f"; did you mean {close[0]}?" if close else ""))
    return Trick.model_validate({**(CATALOGUE[name].fields if name else {}), **given})


def read_tricks(given: Mapping[str, Any]) -> tuple[list[Trick], list[dict[str, str]]]:
    """The tricks of `{"tricks": [a name, or an object, …]}`, and the faults with their pointers (RFC 6901)."""
    listed = given.get("tricks")
    if not isinstance(listed, list) or len(listed) > MOST_TRICKS or set(given) != {"tricks"}:
        return [], [fault(f"must be a list of up to {MOST_TRICKS} tricks, and all there is", "tricks")]
    tricks, faults = [], []
    for number, entry in enumerate(listed):
        named = {"name": entry} if isinstance(entry, str) else entry
        if not isinstance(named, dict) or not isinstance(named.get("name", ""), str):
            faults.append(fault("must be a name, or an object with a name or without", "tricks", number))
            continue
        try:
            tricks.append(made(named))
        except ValidationError as error:
            found = error.errors(include_url=False, include_input=False)
            faults += [fault(one["msg"], "tricks", number, *one["loc"]) for one in found]
        except ValueError as error:
            faults.append(fault(str(error), "tricks", number, "name"))
    return tricks, faults


def fault(detail: str, *place: str | int) -> dict[str, str]:
    parts = [str(part).replace("~", "~0").replace("/", "~1") for part in place]
    return {"pointer": "".join(f"/{part}" for part in parts), "detail": detail}
