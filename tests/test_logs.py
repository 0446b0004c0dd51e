"""The log: a line of JSON per event where no person watches, from the level of the settings up."""

import json

import pytest
import structlog

from quart_app import logs


def test_an_event_is_one_line_of_json_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info")
    structlog.get_logger().info("calls_interrupted", count=3)
    [line] = capsys.readouterr().err.splitlines()
    event = json.loads(line)
    assert (event["event"], event["level"], event["count"]) == ("calls_interrupted", "info", 3)
    assert event["timestamp"].endswith("Z")


def test_what_is_below_the_level_is_not_written(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("error")
    structlog.get_logger().warning("tick_failed")
    assert capsys.readouterr().err == ""
