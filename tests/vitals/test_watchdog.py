"""The watchdog: a loop that stands still is noticed while it does, with the place, and remembered for a while."""

import asyncio
import json
import threading
import time
from typing import Any

import pytest

from quart_app.vitals import logs
from quart_app.vitals.watchdog import BLOCKED_SECONDS, TICK_SECONDS, UNWELL_SECONDS, Watchdog


def blocked(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    events = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    return [event for event in events if event["event"] == "loop_blocked"]


def stand_still(seconds: float) -> None:
    time.sleep(seconds)


async def test_a_stop_is_logged_once_while_it_lasts_with_the_place(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info")
    watchdog = Watchdog()
    async with watchdog.running():
        await asyncio.sleep(TICK_SECONDS)
        stand_still(UNWELL_SECONDS + 0.5)
        [event] = blocked(capsys)
        assert BLOCKED_SECONDS < event["seconds"] < BLOCKED_SECONDS + 2 * TICK_SECONDS + 0.5
        assert event["at"][-1].startswith("test_watchdog.py:")
        assert event["at"][-1].endswith(" stand_still")
        assert "/" not in "".join(event["at"])
        await asyncio.sleep(2 * TICK_SECONDS)
        assert blocked(capsys) == []
    assert watchdog.blocks == 1
    assert UNWELL_SECONDS < watchdog.blocked_seconds < UNWELL_SECONDS + 1.5
    assert watchdog.worst_lag() == watchdog.blocked_seconds


async def test_a_loop_that_turns_is_left_in_peace(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info")
    watchdog = Watchdog()
    async with watchdog.running():
        for _ in range(20):
            await asyncio.sleep(0.05)
            stand_still(0.05)
    assert (watchdog.blocks, watchdog.worst_lag(), blocked(capsys)) == (0, 0.0, [])
    assert 0 <= watchdog.lag_seconds < 0.5


async def test_its_thread_ends_with_it() -> None:
    async with Watchdog().running():
        assert "watchdog" in {thread.name for thread in threading.enumerate()}
    assert "watchdog" not in {thread.name for thread in threading.enumerate()}
