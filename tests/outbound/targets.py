"""Targets as the engine takes them, without a database: what `connections.load` makes of a stored row."""

from typing import Any

from pydantic import TypeAdapter

from quart_app.outbound.auth import Auth, Scheme, guarded
from quart_app.outbound.client import Answer, Outgoing
from quart_app.outbound.target import Policy, Target
from quart_app.outbound.urls import join, parse_base
from quart_app.outbound.ways import Proxy, Tls, way_of

READER: TypeAdapter[Scheme] = TypeAdapter(Auth)


def scheme(**given: Any) -> Any:
    """A filled-in auth form, as a person would give it in JSON."""
    return READER.validate_python(given)


def target(
    base_url: str, auth: Scheme | None = None, *, tls: Tls | None = None, proxy: Proxy | None = None, **policy: Any
) -> Target:
    """A connection to `base_url`, private addresses allowed unless `policy` says otherwise."""
    auth = auth or scheme(scheme="none")
    rules = Policy.model_validate({"allow_private": True} | policy)
    return Target(
        id=base_url,
        name="orders",
        base=parse_base(base_url),
        auth=auth,
        policy=rules,
        headers=[],
        state="ready",
        state_reason=None,
        credential=guarded(auth.credential(), auth),
        injected=auth.injected(),
        way=way_of(base_url, allow_private=rules.allow_private, tls=tls or Tls(), proxy=proxy),
        marks=(),
    )


def get(aim: Target, path: str = "/", query: str = "") -> Outgoing:
    return Outgoing("GET", join(aim.base, path, query))


async def read_all(answer: Answer) -> bytes:
    pieces = b""
    while piece := await answer.read():
        pieces += piece
    answer.close()
    return pieces
