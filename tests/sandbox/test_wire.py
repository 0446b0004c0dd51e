"""Numbers, JSON and errors as the sandbox's views read and write them."""

import pytest
from quart import Quart, request

from quart_app.sandbox.wire import Problem, answer_problem, json_object, seconds, whole_number


async def test_a_whole_number_is_ascii_digits_within_bounds(app: Quart) -> None:
    async with app.test_request_context("/", query_string={"n": "007", "bad": "٣", "long": "9" * 5000}):
        assert whole_number("n", 1, 0, 10) == 7
        assert whole_number("missing", 3, 0, 10) == 3
        for name in ("bad", "long"):
            with pytest.raises(Problem, match=name):
                whole_number(name, 1, 0, 10)


async def test_seconds_are_finite_and_within_bounds(app: Quart) -> None:
    async with app.test_request_context("/", query_string={"s": "0.25", "a": "nan", "b": "-0.1", "c": "1e9"}):
        assert seconds("s", 1, 10) == 0.25
        assert seconds("missing", 1, 10) == 1
        for name in ("a", "b", "c"):
            with pytest.raises(Problem, match=name):
                seconds(name, 1, 10)


async def test_json_of_any_json_type_is_read(app: Quart) -> None:
    headers = {"Content-Type": "application/merge-patch+json; charset=utf-8"}
    async with app.test_request_context("/", method="PATCH", headers=headers, data='{"ü": 1}'):
        assert request.mimetype == "application/merge-patch+json"
        assert await json_object() == {"ü": 1}


async def test_a_problem_carries_its_status_headers_and_faults(app: Quart) -> None:
    problem = Problem(422, "No", "Why", errors=[{"pointer": "/a", "detail": "b"}], headers={"X-A": "1"})
    async with app.test_request_context("/"):
        answer = await answer_problem(problem)
        assert (answer.status_code, answer.headers["X-A"]) == (422, "1")
        assert (await answer.get_json(force=True))["errors"] == [{"pointer": "/a", "detail": "b"}]
