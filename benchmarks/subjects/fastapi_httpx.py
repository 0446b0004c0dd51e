"""Subject b, as most would write it today: FastAPI, httpx, async SQLAlchemy, a commit per request."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Annotated, Any

import httpx
from fastapi import Depends, FastAPI, Request, Response
from sqlalchemy import JSON, event
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

UPSTREAM = os.environ["BENCH_UPSTREAM"]
MOST_CALLS = 2000
NOT_PASSED = {
    "host",
    "connection",
    "keep-alive",
    "transfer-encoding",
    "content-length",
    "content-encoding",
    "server",
    "date",
}

DATABASE = f"sqlite+aiosqlite:///{os.environ['BENCH_DATA']}/calls.db"

engine = create_async_engine(DATABASE, connect_args={"timeout": 60})
new_session = async_sessionmaker(engine, expire_on_commit=False)


class Base(DeclarativeBase):
    """The declarative base."""


class Call(Base):
    """One call on record."""

    __tablename__ = "calls"
    id: Mapped[int] = mapped_column(primary_key=True)
    method: Mapped[str]
    url: Mapped[str]
    status: Mapped[int]
    request_headers: Mapped[dict[str, str]] = mapped_column(JSON)
    response_headers: Mapped[dict[str, str]] = mapped_column(JSON)
    response_body: Mapped[bytes]
    started_at: Mapped[float]
    duration_seconds: Mapped[float]


@event.listens_for(engine.sync_engine, "connect")
def set_journal(connection: Any, _record: Any) -> None:
    """Write-ahead logging; `synchronous` keeps SQLite's default, FULL."""
    connection.execute("PRAGMA journal_mode=WAL")


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Make the table, and keep one client with room for every caller."""
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    limits = httpx.Limits(max_connections=MOST_CALLS, max_keepalive_connections=MOST_CALLS)
    async with httpx.AsyncClient(limits=limits, timeout=60, trust_env=False) as client:
        app.state.client = client
        yield
    await engine.dispose()


app = FastAPI(lifespan=lifespan)


async def get_session() -> AsyncIterator[AsyncSession]:
    """The session of this request; it takes a connection only when it writes."""
    async with new_session() as session:
        yield session


RequestSession = Annotated[AsyncSession, Depends(get_session)]


def passed(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers without those that belong to one connection only."""
    return {name: value for name, value in headers.items() if name.lower() not in NOT_PASSED}


async def send_and_record(session: AsyncSession, method: str, url: str, **extra: Any) -> httpx.Response:
    """Make one call and commit its record."""
    client: httpx.AsyncClient = app.state.client
    started_at = time.time()
    answer = await client.request(method, url, **extra)
    session.add(
        Call(
            method=method,
            url=url,
            status=answer.status_code,
            request_headers=dict(answer.request.headers),
            response_headers=dict(answer.headers),
            response_body=answer.content,
            started_at=started_at,
            duration_seconds=answer.elapsed.total_seconds(),
        )
    )
    await session.commit()
    return answer


@app.post("/batch")
async def batch(count: int, path: str) -> list[dict[str, Any]]:
    """`count` calls of `path` at once; the answers when all are there."""

    async def one(index: int) -> dict[str, Any]:
        async with new_session() as session:
            answer = await send_and_record(session, "GET", UPSTREAM + path)
        return {"index": index, "status": answer.status_code, "body": answer.text}

    return await asyncio.gather(*(one(index) for index in range(count)))


@app.api_route("/{path:path}", methods=["GET", "POST", "PUT", "PATCH", "DELETE"])
async def relay(path: str, request: Request, session: RequestSession) -> Response:
    """Pass one request on, and the answer back."""
    answer = await send_and_record(
        session,
        request.method,
        f"{UPSTREAM}/{path}",
        params=request.query_params,
        headers=passed(request.headers),
        content=await request.body(),
    )
    return Response(answer.content, answer.status_code, passed(answer.headers))
