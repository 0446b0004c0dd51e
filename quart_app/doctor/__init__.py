"""The doctor: is a connection well, what happened last, what is wrong with it, and what to do. It dials nobody.

A few short reads a connection, so that it can be asked often: `GET /api/health` is meant to be watched.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from quart_app import connections, ledger, tokens
from quart_app.doctor.advice import next_step
from quart_app.doctor.facts import Facts, Use
from quart_app.doctor.failures import Failure, failure_of
from quart_app.doctor.sign_ins import sign_in_again
from quart_app.doctor.summaries import clock_words, summary
from quart_app.instants import instant
from quart_app.models import Call, Connection, Token
from quart_app.services import Services

MOST_EXCHANGES = 5
MOST_USES = 20
MOST_CALLS = 1000
"""How far back the last use is looked for: refreshes of a connection that nobody uses are calls as well."""


async def show(services: Services, session: AsyncSession, name: str) -> dict[str, Any]:
    """How a connection is, in the form of the API. Raises NotFound."""
    return view(await examined(services, session, await connections.find(session, name)))


async def page(
    services: Services, session: AsyncSession, *, limit: int, after: str | None
) -> tuple[list[dict[str, Any]], str | None]:
    """The same of many, in the order of `connections.page`, and the id that the page ended with."""
    rows = await connections.page(session, limit=limit, after=after)
    return [view(await examined(services, session, row)) for row in rows], rows[-1].id if rows else None


async def examined(services: Services, session: AsyncSession, row: Connection) -> Facts:
    is_oauth = row.auth["scheme"] == "oauth2"
    return Facts(
        now=services.clock(),
        connection=row,
        token=await session.get(Token, row.id) if is_oauth else None,
        exchanges=await ledger.page(session, row.id, limit=MOST_EXCHANGES, after=None) if is_oauth else [],
        uses=await latest_uses(session, row),
        unstored=tokens.unstored(services, row.id),
    )


async def latest_uses(session: AsyncSession, row: Connection) -> list[Use]:
    """The newest calls of callers; an older connection of the same name had calls of its own."""
    columns = [getattr(Call, name) for name in Use.__dataclass_fields__]
    newest = (
        select(Call.connection_id, *columns)
        .where(Call.connection == row.name)
        .order_by(Call.id.desc())
        .limit(MOST_CALLS)
        .subquery()
    )
    query = (
        select(*(newest.c[name] for name in Use.__dataclass_fields__))
        .where(newest.c.origin != "token", newest.c.connection_id == row.id)
        .order_by(newest.c.id.desc())
        .limit(MOST_USES)
    )
    return [Use(*found) for found in await session.execute(query)]


def view(facts: Facts) -> dict[str, Any]:
    failure, latest = failure_of(facts), facts.latest
    again = sign_in_again(facts, failure)
    return {
        "connection": facts.connection.name,
        "well": failure is None,
        "state": facts.connection.state,
        "summary": summary(facts, failure),
        "failure": failure_view(failure),
        "next": next_step(facts, failure),
        "retry_at": instant(retry_at(facts)),
        "last_exchange": ledger.view(latest) if latest else None,
        "token": token_view(facts) if facts.token else None,
        "sign_in_again": {"when": again.when, "at": instant(again.at), "why": again.why},
        "signed_in": signed_in_view(facts.token) if facts.token else None,
        "last_used": use_view(facts.uses[0]) if facts.uses else None,
        "clock_skew_seconds": facts.skew_seconds,
        "oddities": oddities(facts, failure),
        "calls_failing": failing_view(facts.uses),
    }


def failure_view(failure: Failure | None) -> dict[str, Any] | None:
    if failure is None:
        return None
    return {"class": failure.kind, "code": failure.code, "detail": failure.detail, "at": instant(failure.at)}


def retry_at(facts: Facts) -> float | None:
    """When a token is asked for again, where a failure holds that back."""
    moment = facts.token.retry_at if facts.token else None
    return moment if moment is not None and moment > facts.now else None


def token_view(facts: Facts) -> dict[str, Any]:
    token = facts.token
    assert token is not None
    return {
        "generation": token.generation,
        "expires_at": instant(token.expires_at),
        "refresh_at": instant(token.refresh_at),
        "refreshed_at": instant(token.refreshed_at),
        "has_refresh_token": facts.has_refresh_token,
        "scope": token.scope,
        "scope_missing": facts.scope_missing,
    }


def signed_in_view(token: Token) -> dict[str, Any] | None:
    """Who signed in at the provider, and when; None where what the connection was given was enough."""
    if token.signed_in_by is None:
        return None
    return {"at": instant(token.signed_in_at), "by": token.signed_in_by}


def use_view(use: Use) -> dict[str, Any]:
    return {
        "at": instant(use.started_at),
        "actor": use.actor,
        "origin": use.origin,
        "call": use.id,
        "status": use.status,
    }


def oddities(facts: Facts, failure: Failure | None) -> list[str]:
    """What the last exchange had that it should not, though it may have gone well."""
    found = [str(said) for said in facts.judged.oddities] if facts.judged else []
    if facts.is_skewed and not (failure and failure.kind == "clock"):
        found.append(f"{clock_words(facts)}: see whether chrony or systemd-timesyncd keeps it by NTP.")
    return found


def failing_view(uses: Sequence[Use]) -> dict[str, int] | None:
    """How many of the last calls failed: no answer, 5xx, 401 or 403."""
    return {"failed": sum(use.failed for use in uses), "of": len(uses)} if uses else None
