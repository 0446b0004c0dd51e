"""Differences of plain data: complete, in order, ignoring what is to be ignored, and bounded."""

import time
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quart_app.history.diffs import MOST_CHANGES, MOST_SHOWN, compare, parse_pointer, write_pointer

CASES: list[tuple[Any, Any, list[tuple[str, str, Any, Any]]]] = [
    ({}, {}, []),
    (1, 1, []),
    (1, 2, [("", "changed", 1, 2)]),
    ({"a": 1}, {"a": 1.0}, [("/a", "changed", 1, 1.0)]),
    ({"a": 1}, {"a": True}, [("/a", "changed", 1, True)]),
    ({"a": None}, {}, [("/a", "removed", None, None)]),
    ({}, {"a": {"b": 1}}, [("/a", "added", None, {"b": 1})]),
    ({"a": 1, "b": 2}, {"b": 2, "a": 1}, []),
    ({"a": {"b": [1, 2]}}, {"a": {"b": [1, 3]}}, [("/a/b/1", "changed", 2, 3)]),
    ({"a": []}, {"a": {}}, [("/a", "changed", [], {})]),
    ({"a": [1]}, {"a": "1"}, [("/a", "changed", [1], "1")]),
    ([1, 2, 3], [0, 1, 2, 3], [("/0", "added", None, 0)]),
    ([1, 2, 3], [1, 3], [("/1", "removed", 2, None)]),
    ([1, 2, 3], [1, 2, 3, 4], [("/3", "added", None, 4)]),
    (["x", "x"], ["x", "x", "x"], [("/2", "added", None, "x")]),
    (["a", "b", "c"], ["c", "a", "b"], [("/0", "added", None, "c"), ("/2", "removed", "c", None)]),
    (
        [{"id": 1, "n": "a"}, {"id": 2, "n": "b"}, {"id": 3, "n": "c"}],
        [{"id": 1, "n": "a"}, {"id": 2, "n": "B"}, {"id": 3, "n": "c"}],
        [("/1/n", "changed", "b", "B")],
    ),
    ({"a/b": {"c~d": 1}}, {"a/b": {"c~d": 2}}, [("/a~1b/c~0d", "changed", 1, 2)]),
    ({"": 1}, {"": 2}, [("/", "changed", 1, 2)]),
]


@pytest.mark.parametrize(("before", "after", "changes"), CASES)
def test_each_change_is_said_once_with_its_pointer(
    before: Any, after: Any, changes: list[tuple[str, str, Any, Any]]
) -> None:
    found = compare(before, after)
    assert [tuple(change.values()) for change in found.changes] == changes
    assert not found.truncated


@pytest.mark.parametrize(
    ("ignore", "left"),
    [
        ("/items", ["/at"]),
        ("/items/*/id", ["/items/0/n", "/at"]),
        ("/items/0/id", ["/items/0/n", "/items/1/id", "/at"]),
        ("/*/0", ["/items/1/id", "/at"]),
        ("/at", ["/items/0/id", "/items/0/n", "/items/1/id"]),
        ("/a", ["/items/0/id", "/items/0/n", "/items/1/id", "/at"]),
        ("/items/*/id/deeper", ["/items/0/id", "/items/0/n", "/items/1/id", "/at"]),
        ("", []),
    ],
)
def test_a_pointer_covers_what_it_points_to_and_all_below(ignore: str, left: list[str]) -> None:
    before = {"items": [{"id": 1, "n": 1}, {"id": 2, "n": 2}], "at": 1}
    after = {"items": [{"id": 3, "n": 9}, {"id": 4, "n": 2}], "at": 2}
    assert [one["pointer"] for one in compare(before, after, [parse_pointer(ignore)]).changes] == left


def test_pointers_are_read_and_written_alike() -> None:
    for text in ("", "/", "/a", "/a~1b/~0/*", "/response/body/json/items/0/name"):
        assert write_pointer(parse_pointer(text)) == text
    with pytest.raises(ValueError, match="must be a JSON Pointer"):
        parse_pointer("response/body")


def test_changes_are_bounded_and_that_is_said() -> None:
    found = compare(list(range(5000)), [f"{number}" for number in range(5000)])
    assert (len(found.changes), found.truncated) == (MOST_CHANGES, True)


def test_a_long_value_is_cut_and_that_is_said() -> None:
    found = compare({"a": "x" * 10_000}, {"a": ["y" * 10_000]})
    (change,) = found.changes
    assert change["before"] == "x" * MOST_SHOWN + "…"
    assert len(change["after"]) == MOST_SHOWN + 1
    assert found.truncated


HARD: list[tuple[str, Any, Any]] = [
    ("two values in turn", [0, 1] * 30_000, [1, 0, 0] * 20_000),
    ("all the same, one more", [7] * 60_000, [7] * 60_001),
    ("turned round", list(range(60_000)), list(range(60_000))[::-1]),
    ("lines", [f"line {number % 50}" for number in range(60_000)], [f"line {number % 49}" for number in range(60_000)]),
]


@pytest.mark.parametrize(("name", "before", "after"), HARD)
def test_no_list_takes_long(name: str, before: Any, after: Any) -> None:
    began = time.monotonic()
    compare(before, after)
    assert time.monotonic() - began < 5


def test_deep_data_is_compared_without_recursion() -> None:
    before: Any = 1
    after: Any = 2
    for _ in range(400):
        before, after = [before], {"a": [after]} if after == 3 else [after]
    (change,) = compare(before, after).changes
    assert change["pointer"] == "/0" * 400


def test_the_time_is_bounded() -> None:
    wide = {str(number): number for number in range(200_000)}
    found = compare(wide, {**wide, "199999": 0}, seconds=0.0)
    assert found.truncated


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text("ab/~", max_size=3),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text("ab/~", max_size=2), inner, max_size=4),
    max_leaves=20,
)


@given(plain, plain)
def test_there_are_changes_exactly_where_the_data_differs(before: Any, after: Any) -> None:
    same = msgspec.json.encode(before, order="sorted") == msgspec.json.encode(after, order="sorted")
    assert (compare(before, after).changes == []) == same
    assert compare(before, before).changes == []
    assert compare(before, after, [()]).changes == []
