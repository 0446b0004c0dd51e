"""The policy of a connection: its defaults, and values that cannot be."""

import math
from typing import Any

import pytest
from pydantic import ValidationError

from quart_app.outbound.target import Policy

SECONDS = ("connect_seconds", "first_byte_seconds", "idle_seconds", "total_seconds")


def test_the_defaults_are_those_of_the_contract() -> None:
    assert Policy().model_dump() == {
        "connect_seconds": 10,
        "first_byte_seconds": 60,
        "idle_seconds": 60,
        "total_seconds": 300,
        "attempts": 3,
        "retry_unsafe": False,
        "per_minute": None,
        "concurrency": 32,
        "allow_private": False,
        "follow_redirects": False,
        "record_bodies": True,
        "record_bytes": 262144,
    }


@pytest.mark.parametrize("name", SECONDS)
@pytest.mark.parametrize("value", [0, -1, 1e9, "5", None, True, math.nan, math.inf, [5]])
def test_a_duration_is_a_number_above_zero_up_to_a_day(name: str, value: Any) -> None:
    with pytest.raises(ValidationError) as raised:
        Policy.model_validate({name: value})
    assert raised.value.errors()[0]["loc"] == (name,)


@pytest.mark.parametrize("name", SECONDS)
@pytest.mark.parametrize("value", [0.001, 5, 86400])
def test_a_duration_may_be_whole_or_not(name: str, value: float) -> None:
    assert getattr(Policy.model_validate({name: value}), name) == value


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("attempts", 0),
        ("attempts", 11),
        ("attempts", 1.5),
        ("concurrency", 0),
        ("concurrency", 10_001),
        ("concurrency", "4"),
        ("concurrency", 2**63),
        ("record_bytes", -1),
        ("record_bytes", 16 * 1024**2 + 1),
        ("record_bodies", 1),
        ("record_bodies", "true"),
        ("allow_private", None),
        ("allow_private", "yes"),
        ("retry_unsafe", 0),
        ("follow_redirects", 1),
        ("per_minute", 0),
        ("timeout", 5),
    ],
)
def test_a_value_that_cannot_be_is_refused(name: str, value: Any) -> None:
    with pytest.raises(ValidationError) as raised:
        Policy.model_validate({name: value})
    assert raised.value.errors()[0]["loc"] == (name,)


def test_several_faults_are_said_at_once_and_a_policy_does_not_change() -> None:
    with pytest.raises(ValidationError) as raised:
        Policy.model_validate({"idle_seconds": 0, "concurrency": 0, "nonsense": 1})
    assert raised.value.error_count() == 3
    with pytest.raises(ValidationError):
        Policy().allow_private = True  # type: ignore[misc]
