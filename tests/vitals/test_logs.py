"""The log: a line of JSON per event where no person watches, from the level of the settings up, and never a storm."""

import json
import logging
import subprocess
import sys
from typing import Any

import pytest
import structlog

from quart_app.errors import SettingsError
from quart_app.vitals import logs
from quart_app.vitals.logs import LINES_A_SECOND, MOST_KINDS, LineHandler, Throttle


def written(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_an_event_is_one_line_of_json_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info")
    structlog.get_logger().info("calls_interrupted", count=3)
    [event] = written(capsys)
    assert (event["event"], event["level"], event["count"]) == ("calls_interrupted", "info", 3)
    assert event["timestamp"].endswith("Z")
    assert list(event)[:3] == ["timestamp", "level", "event"]


def test_what_is_below_the_level_is_not_written(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("error")
    structlog.get_logger().warning("tick_failed")
    assert capsys.readouterr().err == ""


def library(name: str) -> logging.Logger:
    """A library's logger, as it is where our handler is the only one."""
    logger = logging.getLogger(name)
    logger.handlers, logger.propagate = [LineHandler()], False
    return logger


def test_a_library_s_message_is_a_line_of_the_same_form_with_its_traceback_in_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    try:
        raise OSError(24, "Too many open files")
    except OSError:
        library("some.package").exception("accept failed on %s\nsocket: %r", "7", object)
    library("some.package").warning("100 % wrong: %d", "x")
    [event] = written(capsys)
    assert (event["level"], event["logger"]) == ("error", "some.package")
    assert event["event"].startswith("accept failed on 7\n")
    assert "Too many open files" in event["exception"]


def test_a_kind_that_comes_too_often_is_held_back_and_the_log_says_how_many_there_were() -> None:
    now = [10.0]
    throttle = Throttle(lambda: now[0])
    taken = [throttle.takes("storm") for _ in range(1000)]
    assert taken == [True] * LINES_A_SECOND + [False] * (1000 - LINES_A_SECOND)
    assert throttle.takes("another")
    assert list(throttle.held_back()) == []
    now[0] = 11.0
    assert throttle.takes("storm")
    assert list(throttle.held_back()) == []
    now[0] = 12.0
    assert list(throttle.held_back()) == [("storm", 900)]
    assert list(throttle.held_back()) == []
    assert throttle.suppressed == 900


def test_kinds_without_number_are_held_back_together() -> None:
    throttle = Throttle(lambda: 1.0)
    taken = sum(throttle.takes(f"failed {number}") for number in range(MOST_KINDS + 5000))
    assert taken == MOST_KINDS + LINES_A_SECOND


async def test_storms_are_told_of_in_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info")
    now = [1e9]
    logs.THROTTLE = Throttle(lambda: now[0])
    for number in range(150):
        structlog.get_logger().warning("storm", number=number)
        library("some.package").error(f"accept failed\nsocket: {number}")
    now[0] += 1
    await logs.tell_suppressed()
    events = written(capsys)
    logs.THROTTLE = Throttle()
    assert len([event for event in events if event["event"] == "storm"]) == LINES_A_SECOND
    assert len([event for event in events if event.get("logger")]) == LINES_A_SECOND
    told = [(event["kind"], event["count"]) for event in events if event["event"] == "log_suppressed"]
    assert sorted(told) == [("some.package: accept failed", 50), ("storm", 50)]


def test_a_start_that_is_refused_needs_no_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info")
    logger = library("quart_app")
    for error in (SettingsError("no"), ValueError("no")):
        logger.error("failed", exc_info=error)
    logger.handlers, logger.propagate = [], True
    [event] = written(capsys)
    assert "ValueError" in event["exception"]


def test_a_terminal_gets_lines_for_a_person() -> None:
    """Run under a terminal of its own (pty(7))."""
    work = """if True:
        import os, pty, sys
        pid, terminal = pty.fork()
        if pid == 0:
            import logging, structlog
            from quart_app.vitals import logs
            logs.configure("info")
            structlog.get_logger().info("calls_interrupted", count=3)
            logging.getLogger("asyncio").warning("slow %s", "socket")
            os._exit(0)
        seen = b""
        try:
            while piece := os.read(terminal, 4096):
                seen += piece
        except OSError:
            pass
        print(seen.decode())
    """
    done = subprocess.run([sys.executable, "-c", work], capture_output=True, text=True, timeout=30, check=True)
    assert "calls_interrupted" in done.stdout
    assert "WARNING asyncio slow socket" in done.stdout
    assert "{" not in done.stdout
