"""What goes onto a request to sign it in, what a record shows of it, and the form that every scheme is made on."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from quart_app.outbound.headers import normal
from quart_app.outbound.redaction.marks import Fingerprint, mark
from quart_app.outbound.redaction.redactor import Redactor

NOTHING_SECRET = Redactor()


@dataclass(frozen=True, slots=True)
class Credential:
    """What is added to a request: `headers` as bytes pairs, `query` a raw `name=value` or empty.

    `secrets` are the values that must not be recorded, each with its role (the field that holds it, `pair`,
    `access_token`); `redactor` takes them out of records. `shown` and `shown_query` are what a record shows of the
    headers and of the query, with marks. `generation` is that of the OAuth token, if it is one, and `expires_at` its
    end in seconds since the epoch, where that is known.
    """

    headers: tuple[tuple[bytes, bytes], ...] = ()
    query: str = ""
    secrets: tuple[tuple[str, str], ...] = ()
    generation: int | None = None
    expires_at: float | None = None
    redactor: Redactor = NOTHING_SECRET
    shown: tuple[tuple[str, str], ...] = ()
    shown_query: str = ""

    def __repr__(self) -> str:
        return f"Credential(generation={self.generation})"

    def is_over(self, now: float) -> bool:
        """Whether it is a token that has expired, as far as is known."""
        return self.expires_at is not None and self.expires_at <= now


def guarded(
    credential: Credential,
    scheme: "Scheme",
    fingerprint: Fingerprint | None = None,
    more: Iterable[tuple[str, str]] = (),
) -> Credential:
    """The credential with all that must not be recorded of it, its scheme and `more`, and what a record shows instead.

    The first secret of a role is the one that is live.
    """
    held = ((name, getattr(scheme, name)) for name in scheme.SECRETS if name not in scheme.NEVER_SENT)
    known = dict.fromkeys((*credential.secrets, *(pair for pair in held if pair[1]), *more))
    redactor = Redactor(known, fingerprint)
    role, secret = credential.secrets[0] if credential.secrets else ("", "")
    name = credential.query.partition("=")[0]
    return replace(
        credential,
        secrets=tuple(known),
        redactor=redactor,
        shown=tuple((name.decode("latin-1"), shown_value(value, redactor, role)) for name, value in credential.headers),
        shown_query=name and f"{name}={mark(role, secret, fingerprint)}",
    )


def shown_value(value: bytes, redactor: Redactor, role: str) -> str:
    """A header's value with marks; nothing but one where its secret is too short to be found in it."""
    clean = redactor.content(value)
    return redactor.whole(value, role) if clean is value else clean.decode("latin-1")


def bearer(*secrets: tuple[str, str], generation: int | None = None) -> Credential:
    """The credential of a token, which is the first of the secrets; further ones are only kept out of records."""
    header = (b"authorization", b"Bearer " + secrets[0][1].encode())
    return Credential(headers=(header,), secrets=secrets, generation=generation)


def single_line(text: str) -> str:
    if not text.isprintable() or not text.isascii():
        raise ValueError("must be printable ASCII on one line")
    if text != text.strip():
        raise ValueError("must not begin or end with a space")  # HTTP drops it, and records would not know the rest
    return text


Line = Annotated[str, Field(min_length=1, max_length=8192), AfterValidator(single_line)]


class Scheme(BaseModel):
    """What a person fills in. `SECRETS` are sealed at rest and never shown.

    Those of them in `NEVER_SENT` leave in no form, so that no answer can bring them back and records need not look.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=False, hide_input_in_errors=True)
    SECRETS: ClassVar[tuple[str, ...]] = ()
    NEVER_SENT: ClassVar[tuple[str, ...]] = ()

    def credential(self) -> Credential:
        """What goes onto each attempt; a scheme with tokens makes it from the token instead."""
        return Credential()

    def injected(self) -> frozenset[bytes]:
        """The normalised names of headers that a caller cannot set."""
        return frozenset(normal(name) for name, _ in self.credential().headers)
