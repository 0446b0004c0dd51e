"""Around every view: HEAD as GET without a body, OPTIONS without CORS, and the headers each answer carries."""

import re
from http.client import HTTPConnection

import pytest
from quart import Quart

from quart_app.web import ROUTES
from quart_app.web.hooks import ALWAYS
from tests.served import Served
from tests.web.conftest import Asker


@pytest.fixture
def database_url() -> str:
    """SQLite only: headers come from no database."""
    return ""


def filled(path: str) -> str:
    return re.sub(r"<[^>]+>", "x", path)


GETS = [route for route in ROUTES if route.method == "GET"]


async def test_head_answers_as_get_does_on_every_path(person: Asker) -> None:
    for route in GETS:
        path = filled(route.path)
        if path == "/api/events":
            continue  # never ends; see below
        seen, asked = await person.get(path), await person.ask("HEAD", path)
        assert asked.status_code == seen.status_code, path
        length = () if path == "/metrics" else ("Content-Length",)  # its figures change from one to the next
        for name in ("Content-Type", *length, "Cache-Control", "Location", "Content-Security-Policy"):
            assert asked.headers.get(name) == seen.headers.get(name), f"{name} of {path}"


async def test_options_says_every_method_of_the_path_and_nothing_to_other_origins(nobody: Asker) -> None:
    taken: dict[str, set[str]] = {}
    for route in ROUTES:
        taken.setdefault(filled(route.path), {"OPTIONS"}).update({route.method, *(["HEAD"] * (route.method == "GET"))})
    cors = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    for path, methods in taken.items():
        answer = await nobody.ask("OPTIONS", path, headers=cors)
        assert answer.status_code == 204
        assert set(answer.headers["Allow"].split(", ")) == methods, path
        assert "access-control" not in str(answer.headers).lower()
        assert await answer.get_data() == b""
    assert (await nobody.ask("OPTIONS", "/absent")).status_code == 404


async def test_every_answer_carries_the_headers_that_keep_a_browser_in_bounds(app: Quart, person: Asker) -> None:
    for route in GETS:
        answer = await person.ask("HEAD", filled(route.path))
        assert {name: answer.headers[name] for name in ALWAYS} == ALWAYS, route.path
        policy = answer.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'")
        assert ("script-src" in policy) == (answer.mimetype == "text/html"), route.path
        if route.path.startswith("/api/"):
            assert answer.headers["Cache-Control"] == "no-store", route.path


def test_on_the_wire_head_ends_and_204_has_nothing_of_a_body(served: Served) -> None:
    for route in GETS:
        status, content = served.request("HEAD", filled(route.path))
        assert content in (b"", None), route.path
        assert status in (200, 303, 400, 403, 404), route.path
    connection = HTTPConnection("127.0.0.1", served.port, timeout=5)
    connection.request("OPTIONS", "/api/calls")
    answer = connection.getresponse()
    assert (answer.status, answer.getheader("Allow")) == (204, "GET, HEAD, OPTIONS, POST")
    assert (answer.getheader("Content-Length"), answer.getheader("Content-Type")) == (None, None)
    connection.close()
