"""Every error of every route has the one shape; a page gets an error page."""

import re
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from quart import Quart
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as WaitedTooLong

from quart_app import accounts, create_app
from quart_app.errors import AppError
from quart_app.services import Services
from quart_app.settings import load_settings
from quart_app.web import ROUTES
from quart_app.web.openapi import Route
from tests.web.conftest import OWN_PAGE, Asker, KeyMaker, problem_in

ABSENT = {
    "name": "absent",
    "call_id": "01900000-0000-7000-8000-000000000000",
    "other_id": "01900000-0000-7000-8000-000000000001",
    "webhook_id": "01900000-0000-7000-8000-000000000002",
    "preset_id": "absent",
    "digest": "0",
    "path:name": "absent.js",
}
READS_JSON = [route for route in ROUTES if route.form or route.takes]
HTML = {"Accept": "text/html,application/xhtml+xml"}


@pytest.fixture
def database_url() -> str:
    """SQLite only: no database tells these errors apart."""
    return ""


def path_of(route: Route) -> str:
    """The route's path with things in it that are not there."""
    return re.sub(r"<([^>]+)>", lambda found: ABSENT[found[1]], route.path)


async def test_nobody_gets_401_from_every_route_that_is_not_public_and_a_page_leads_to_the_sign_in(
    nobody: Asker,
) -> None:
    closed = [route for route in ROUTES if not route.rule.public]
    assert len(closed) > 15
    for route in closed:
        answer = await nobody.ask(route.method, path_of(route), headers=OWN_PAGE)
        if route.rule.page:
            assert (answer.status_code, answer.headers["Location"]) == (303, "/sign-in"), route
        else:
            await problem_in(answer, 401, "sign_in_required")
            assert answer.headers["WWW-Authenticate"].startswith("Bearer"), route


async def test_a_key_without_the_scope_gets_403_from_every_route(key_of: KeyMaker) -> None:
    bare = await key_of()
    for route in ROUTES:
        if not route.rule.public:
            answer = await bare.ask(route.method, path_of(route))
            await problem_in(answer, 403, "insufficient_scope" if route.rule.scope else "person_required")


async def test_a_person_on_a_foreign_page_gets_403_from_every_route_that_acts(person: Asker) -> None:
    acting = [route for route in ROUTES if route.rule.acts]
    assert len(acting) > 10
    for route in acting:
        answer = await person.ask(route.method, path_of(route), headers={"Sec-Fetch-Site": "cross-site"})
        await problem_in(answer, 403, "cross_origin")


async def test_what_is_not_there_gets_404_from_every_route_that_names_something(program: Asker) -> None:
    codes = {"name": "unknown_connection", "call_id": "unknown_call", "other_id": "unknown_call"}
    codes |= {"webhook_id": "unknown_webhook", "preset_id": "unknown_preset"}
    for route in ROUTES:
        if "<" in route.path and not route.rule.page and not route.path.startswith("/oauth/"):
            body: dict[str, Any] = {"json": {}} if route.method in ("POST", "PATCH") else {}
            answer = await program.ask(route.method, path_of(route), **body)
            [*_, last] = re.findall(r"(\w+)>", route.path)
            await problem_in(answer, 404, codes[last] if route.path.startswith("/api/") else "not_found")


async def test_an_unknown_path_gets_404_whoever_asks(nobody: Asker, program: Asker) -> None:
    for path in ("/absent", "/api/absent", "/api", "/api/", "/static/x", "/proxy", "/healthz/", "/api/calls/"):
        for asker in (nobody, program):
            await problem_in(await asker.get(path), 404, "not_found")


async def test_every_path_refuses_every_method_that_it_does_not_take_and_says_which_it_takes(person: Asker) -> None:
    taken: dict[str, set[str]] = {}
    for route in ROUTES:
        taken.setdefault(path_of(route), {"OPTIONS"}).update(
            {route.method} | ({"HEAD"} if route.method == "GET" else set())
        )
    refused = 0
    for path, methods in taken.items():
        for method in {"GET", "POST", "PUT", "PATCH", "DELETE"} - methods:
            answer = await person.ask(method, path)
            await problem_in(answer, 405, "method_not_allowed")
            assert set(answer.headers["Allow"].split(", ")) == methods, path
            refused += 1
    assert refused > 80


JSON = {"Content-Type": "application/json"}
NO_BODY_OF_OURS: list[tuple[bytes, dict[str, str], int, str]] = [
    (b"x", JSON | {"Content-Length": "99999999"}, 413, "body_too_large"),
    (b"{}", {"Content-Type": "text/plain"}, 415, "unsupported_media_type"),
    (b"{}", JSON | {"Content-Encoding": "gzip"}, 415, "unsupported_encoding"),
    (b"{", JSON, 400, "invalid_json"),
    (b"[]", JSON, 422, "invalid_input"),
]


async def test_every_route_that_reads_json_refuses_what_is_none(person: Asker) -> None:
    assert len(READS_JSON) == 9
    for route in READS_JSON:
        for data, headers, status, code in NO_BODY_OF_OURS:
            answer = await person.ask(route.method, path_of(route), data=data, headers=headers)
            await problem_in(answer, status, code)
            assert (answer.headers.get("Connection") == "close") == (status == 413)


async def test_every_route_with_a_form_lists_every_unknown_field(person: Asker) -> None:
    for route in READS_JSON:
        if route.view.__name__ != "post_replay":
            answer = await person.ask(route.method, path_of(route), json={"nope": 1, "neither": 2})
            assert answer.status_code == 422
            content = await answer.get_json()
            assert {"/nope", "/neither"} <= {fault["pointer"] for fault in content["errors"]}, route


async def test_a_list_refuses_every_parameter_it_does_not_know_and_every_value_it_cannot_read(program: Asker) -> None:
    for path in ("/api/connections", "/api/calls"):
        answer = await program.get(f"{path}?limit=0&cursor=nonsense&nope=1")
        problem = await problem_in(answer, 422, "invalid_query")
        assert [fault["pointer"] for fault in problem.errors] == ["/limit", "/cursor", "/nope"]


SECRET = "what-the-exception-says"


@pytest.fixture
async def broken(tmp_path: Path) -> Any:
    """An app with routes that fail in ways nobody foresaw, and a key and a person to ask."""
    app = create_app(load_settings({"data": str(tmp_path / "data")}, {}))

    async def fail() -> Any:
        raise RuntimeError(SECRET)

    async def leave_out() -> Any:
        return None

    async def refuse() -> Any:
        raise AppError(599, "odd", "An odd status.")

    async def hoard() -> Any:
        raise MemoryError

    async def wait() -> Any:
        raise WaitedTooLong("for its turn")

    async def ask() -> Any:
        raise OperationalError("SELECT 1", {}, sqlite3.OperationalError("disk I/O error"))

    views = {"/api/fails": fail, "/fails": fail, "/api/empty": leave_out, "/api/odd": refuse, "/api/hoards": hoard}
    views |= {"/api/waits": wait, "/api/asks": ask}
    for path, view in views.items():
        app.add_url_rule(path, f"{view.__name__}{path}", view)
    async with app.test_app():
        yield app


@pytest.mark.parametrize("path", ["/api/fails", "/api/empty", "/fails"])
async def test_what_nobody_foresaw_is_500_and_says_nothing_of_itself(
    capfd: pytest.CaptureFixture[str], broken: Quart, path: str
) -> None:
    problem = await problem_in(await Asker(broken).get(path), 500, "internal_error")
    assert SECRET not in str(problem)
    said = "".join(capfd.readouterr())
    assert SECRET not in said
    assert path == "/api/empty" or "unforeseen" in said


@pytest.mark.parametrize(
    ("path", "code"),
    [("/api/hoards", "out_of_memory"), ("/api/waits", "storage_busy"), ("/api/asks", "storage_unavailable")],
)
async def test_what_passes_is_503_and_worth_another_try(broken: Quart, path: str, code: str) -> None:
    answer = await Asker(broken).get(path)
    await problem_in(answer, 503, code)
    assert answer.headers["Retry-After"] == "1"


async def test_a_status_without_a_name_still_has_a_title(broken: Quart) -> None:
    assert (await problem_in(await Asker(broken).get("/api/odd"), 599, "odd")).title == "Error"


async def test_a_browser_that_asked_for_a_page_gets_an_error_page(
    broken: Quart, capfd: pytest.CaptureFixture[str]
) -> None:
    for path, status in (("/absent", 404), ("/fails", 500), ("/history/a/b", 404), ("/docs/absent", 404)):
        answer = await Asker(broken, HTML).get(path)
        text = await answer.get_data(as_text=True)
        assert (answer.status_code, answer.mimetype) == (status, "text/html"), path
        assert f'<p class="empty__mark">{status}</p>' in text
        assert SECRET not in text
        assert "script-src http://localhost/static/" in answer.headers["Content-Security-Policy"]
        assert answer.headers["Cache-Control"] == "no-store"


async def test_an_error_page_repeats_nothing_of_the_request(broken: Quart) -> None:
    answer = await Asker(broken, HTML).get("/%3Cscript%3Ealert(1)%3C/script%3E?%3Cb%3E")
    assert answer.status_code == 404
    assert "alert" not in await answer.get_data(as_text=True)


@pytest.mark.parametrize("path", ["/api/absent", "/healthz/x", "/readyz/x", "/_token_refresh"])
async def test_the_api_answers_with_problem_json_whatever_is_accepted(broken: Quart, path: str) -> None:
    for accept in ("text/html", "image/png", "nonsense", ""):
        answer = await Asker(broken, {"Accept": accept}).get(path)
        assert answer.content_type == "application/problem+json", accept


async def test_a_key_on_a_page_is_told_so_on_a_page(broken: Quart) -> None:
    services: Services = broken.extensions["services"][0]
    key = await accounts.create_key(services, "test", ["read"])
    answer = await Asker(broken, HTML | {"Authorization": f"Bearer {key}"}).get("/connections")
    assert (answer.status_code, answer.mimetype) == (403, "text/html")


async def test_an_answer_to_head_is_that_to_get_without_its_body(nobody: Asker) -> None:
    seen, asked = await nobody.get("/absent"), await nobody.ask("HEAD", "/absent")
    assert (asked.status_code, asked.content_type) == (seen.status_code, seen.content_type)
