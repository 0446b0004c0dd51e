"""What is written down of a call under way: attempts with their waits, bodies up to a cap, and never a secret."""

import json
from typing import Any

import pytest

from quart_app.outbound.client import Answer, Outgoing
from quart_app.outbound.timings import Timings
from quart_app.outbound.urls import join
from quart_app.sending.call_log import CallLog, Outcome
from tests.outbound.targets import scheme, target

SECRET = "swordfish-0123456789"


class Response:
    """An answer's head, as the engine hands it on."""

    def __init__(self, status: int = 200, *headers: tuple[bytes, bytes]) -> None:
        self.status = status
        self.raw_headers = headers


def log_of(method: str = "GET", path: str = "/", query: str = "", **more: Any) -> CallLog:
    policy = more.pop("policy", {})
    aim = target("http://api.example/v1", scheme(scheme="bearer", token=SECRET), **policy)
    outgoing = Outgoing(method, join(aim.base, path, query), more.pop("headers", []), **more)
    return CallLog(aim, outgoing, origin="api", actor="key:test", owner="host:1:2", replay_of=None)


def answer(status: int = 200, *headers: tuple[bytes, bytes]) -> Answer:
    return Answer(Response(status, *headers), Timings())  # type: ignore[arg-type]


def closed(log: CallLog, given: Answer | None = None, outcome: Outcome | None = None) -> dict[str, Any]:
    log.close(outcome or Outcome("done"), given)
    return log.record.call


def body(log: CallLog, side: str) -> bytes:
    """What is kept of a body."""
    content = log.record.bodies[log.record.call[f"{side}_body"]]
    return content if isinstance(content, bytes) else bytes(content)


def test_each_attempt_has_the_waits_before_it_and_is_told_by_the_longest() -> None:
    log = log_of()
    log.waited(0.5, "concurrency")
    log.waited(2.0, "token")
    log.attempt_ended(Timings(), status=503, reason=None, next_reason="retried")
    log.waited(0.0, None)
    log.waited(0.25, "backoff")
    log.attempt_ended(Timings(), status=200, reason=None)
    log.attempt_ended(Timings(), status=200, reason=None)
    waits = [(one["waited_seconds"], one["wait_reason"], one["next_reason"]) for one in log.record.attempts]
    assert waits == [(2.5, "token", "retried"), (0.25, "backoff", None), (0.0, None, None)]
    assert closed(log)["waited_seconds"] == 2.75


def test_a_wait_that_no_attempt_followed_is_the_call_s() -> None:
    log = log_of()
    log.waited(10.0, "concurrency")
    call = closed(log, None, Outcome("failed", "limit_wait", "All places were taken."))
    assert (call["waited_seconds"], log.record.attempts) == (10.0, [])
    assert (call["state"], call["reason"], call["status"]) == ("failed", "limit_wait", None)


def test_what_did_not_follow_is_taken_back() -> None:
    log = log_of()
    log.none_followed("circuit_open")
    log.attempt_ended(Timings(), status=503, reason=None, next_reason="retried")
    log.none_followed("circuit_open")
    assert [one["next_reason"] for one in log.record.attempts] == ["circuit_open"]


def test_the_url_of_a_hop_holds_no_secret() -> None:
    log = log_of()
    log.attempt_ended(Timings(), status=200, reason=None, url=f"https://files.example/x?a={SECRET}&token=theirs")
    (attempt,) = log.record.attempts
    assert attempt["url"].startswith("https://files.example/x?a=[redacted")
    assert SECRET not in attempt["url"]
    assert "theirs" not in attempt["url"]


def test_nothing_gets_into_a_record_but_through_the_redactor() -> None:
    headers = [(b"x-mine", SECRET.encode()), (b"cookie", b"sid=caller-secret")]
    log = log_of("POST", f"/{SECRET}", f"q={SECRET}&password=caller-secret", headers=headers, body=SECRET.encode())
    log.sent.add(SECRET.encode())
    log.received.add(b"you sent " + SECRET.encode())
    closed(log, answer(200, (b"X-Echo", f"Bearer {SECRET}".encode()), (b"Set-Cookie", b"sid=server-secret")))
    text = str(log.record.call) + str([bytes(content) for content in log.record.bodies.values()])
    for secret in (SECRET, "caller-secret", "server-secret"):
        assert secret not in text
    assert log.record.call["request_exact"] is False


def test_a_request_body_is_kept_to_its_cap_and_measured_whole() -> None:
    log = log_of("POST", headers=[(b"content-type", b"Text/Plain; charset=x")], body=b"", policy={"record_bytes": 5})
    for piece in (b"hel", b"lo wor", b"ld"):
        log.sent.add(piece)
    call = closed(log, answer())
    assert (call["request_size"], call["request_truncated"], call["request_media_type"]) == (11, True, "text/plain")
    assert (body(log, "request"), call["request_exact"]) == (b"hello", False)


def test_no_body_is_told_from_an_empty_one() -> None:
    assert closed(log_of(), answer())["request_size"] is None
    assert closed(log_of("POST", body=b""), answer())["request_size"] == 0


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304)])
def test_an_answer_without_a_body_has_none(method: str, status: int) -> None:
    call = closed(log_of(method), answer(status, (b"Content-Type", b"text/plain")))
    assert (call["status"], call["response_size"], call["response_body"]) == (status, None, None)
    assert json.loads(call["response_headers"]) == [["Content-Type", "text/plain"]]


@pytest.mark.parametrize(("state", "truncated"), [("done", False), ("failed", True), ("cancelled", True)])
def test_what_came_of_an_answer_is_kept_and_whole_only_if_the_call_was(state: str, truncated: bool) -> None:
    log = log_of()
    log.received.add(b"half of it")
    call = closed(log, answer(200), Outcome(state))
    assert (call["response_size"], call["response_truncated"]) == (10, truncated)
    assert body(log, "response") == b"half of it"


async def test_an_unsafe_call_is_on_record_before_it_leaves_without_attempts_and_without_secrets() -> None:
    log = log_of("POST", body=b"x")
    log.sent.add(f"a={SECRET}".encode())
    log.attempt_ended(Timings(), status=200, reason=None)
    record = await log.so_far()
    assert (record.call["state"], record.attempts, record.call["request_size"]) == ("sending", [], 22)
    assert SECRET not in str(record.call) + str([bytes(content) for content in record.bodies.values()])
    log.record.call["state"] = "done"
    assert record.call["state"] == "sending"
