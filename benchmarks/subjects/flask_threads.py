"""Subject a: the design Switchboard replaces, as it is found in the wild, with its usual workaround in place.

A thread for every request; in it a private event loop that runs an `async def _send()`; in that a thread
pool for the blocking `requests` call; and one global `scoped_session` over SQLite with
`check_same_thread=False`, with a commit for every call. Three things are kinder than in the original, so
that it is measured and not tripped: write-ahead logging with a patient lock, sessions that are given back,
and a server that does not log each request.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import requests
from flask import Flask, Response, jsonify, request
from requests.structures import CaseInsensitiveDict
from sqlalchemy import JSON, create_engine, event
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, scoped_session, sessionmaker
from werkzeug.datastructures import Headers

UPSTREAM = os.environ["BENCH_UPSTREAM"]
PORT = int(os.environ["BENCH_PORT"])
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

engine = create_engine(
    f"sqlite:///{os.environ['BENCH_DATA']}/calls.db", connect_args={"check_same_thread": False, "timeout": 60}
)
Session = scoped_session(sessionmaker(bind=engine))
app = Flask(__name__)


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


@event.listens_for(engine, "connect")
def set_journal(connection: Any, _record: Any) -> None:
    """Write-ahead logging; `synchronous` keeps SQLite's default, FULL."""
    connection.execute("PRAGMA journal_mode=WAL")


def passed(headers: Headers | CaseInsensitiveDict[str]) -> dict[str, str]:
    """The headers without those that belong to one connection only."""
    return {name: value for name, value in headers.items() if name.lower() not in NOT_PASSED}


async def _send(count: int, method: str, url: str, **extra: Any) -> list[requests.Response]:
    """Send the call `count` times at once, each blocking a thread of a pool made for the purpose."""
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(max_workers=count) as pool:
        send = partial(requests.request, method, url, timeout=60, **extra)
        return await asyncio.gather(*(loop.run_in_executor(pool, send) for _ in range(count)))


def send_and_record(count: int, method: str, url: str, **extra: Any) -> list[requests.Response]:
    """Run `_send` in a private event loop, then write each answer with a commit of its own."""
    started_at = time.time()
    loop = asyncio.new_event_loop()
    try:
        answers = loop.run_until_complete(_send(count, method, url, **extra))
    finally:
        loop.close()
    for answer in answers:
        Session.add(
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
        Session.commit()
    return answers


@app.post("/batch")
def batch() -> Response:
    """`?count=` calls of `?path=` at once; the answers when all are there."""
    answers = send_and_record(int(request.args["count"]), "GET", UPSTREAM + request.args["path"])
    found = enumerate(answers)
    return jsonify([{"index": index, "status": one.status_code, "body": one.text} for index, one in found])


@app.route("/<path:path>", methods=["GET", "POST", "PUT", "PATCH", "DELETE"])
def relay(path: str) -> Response:
    """Pass one request on, and the answer back."""
    [answer] = send_and_record(
        1,
        request.method,
        f"{UPSTREAM}/{path}",
        params=request.args,
        headers=passed(request.headers),
        data=request.get_data(),
    )
    return Response(answer.content, answer.status_code, passed(answer.headers))


@app.teardown_appcontext
def close_session(_error: BaseException | None) -> None:
    """Give the thread's session back."""
    Session.remove()


if __name__ == "__main__":
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    Base.metadata.create_all(engine)
    app.run("127.0.0.1", PORT, threaded=True)
