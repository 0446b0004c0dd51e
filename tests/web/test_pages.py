"""The pages: what a browser may run and keep, and that everything they name is there."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, get_args

import pytest
from quart import Quart

from quart_app import accounts
from quart_app.errors import REASONS
from quart_app.services import Services
from quart_app.web.pages import STATIC, static_prefix
from quart_app.web.shapes import NextReason, WaitReason
from tests.web.conftest import Asker, problem_in

TEMPLATES = STATIC.parent / "templates"
CALL = "/history/01900000-0000-7000-8000-000000000000"
PAGES = (
    "/connections",
    "/connections/orders",
    "/send",
    "/history",
    "/webhooks",
    CALL,
    f"{CALL}/diffs/{CALL.rpartition('/')[2]}",
)
OPEN_PAGES = ("/sign-in", "/docs", "/oauth/done/orders")
NAMED = re.compile(r'(?:src|href)="([^"#]+)"')
IMPORTED = re.compile(r'(?:from|import)\s*\(?\s*"(\.[^"]+)"')


@pytest.fixture
def database_url() -> str:
    """SQLite only: a page is a shell, filled by the API."""
    return ""


def policy_of(answer: Any) -> dict[str, list[str]]:
    parts = [part.split() for part in answer.headers["Content-Security-Policy"].split(";")]
    return {name: sources for name, *sources in parts}


@pytest.mark.parametrize("template", sorted(TEMPLATES.glob("*.html")), ids=lambda path: path.name)
def test_no_template_has_inline_script_or_style_or_a_link_to_elsewhere(template: Path) -> None:
    text = template.read_text()
    scripts = re.findall(r"<script\b[^>]*>(.*?)</script>", text, re.DOTALL)
    assert not any(script.strip() for script in scripts)
    assert not re.search(r"<style\b|\bstyle=|\son\w+=|javascript:", text, re.IGNORECASE)
    assert not re.search(r'(?:src|href|action)="(?:https?:)?//', text)
    assert "|safe" not in text.replace(" ", "")


@pytest.mark.parametrize("path", [*PAGES, *OPEN_PAGES])
async def test_a_page_runs_only_our_own_files_and_is_kept_by_no_cache(person: Asker, path: str) -> None:
    answer = await person.get(path)
    assert (answer.status_code, answer.mimetype) == (200, "text/html")
    policy = policy_of(answer)
    assert policy["default-src"] == ["'none'"]
    assert policy["base-uri"] == ["'none'"]
    assert policy["frame-ancestors"] == ["'none'"]
    assert policy["connect-src"] == ["'self'"]
    files = ["http://localhost/static/"] if path != "/docs" else ["http://localhost/static/", "http://localhost/docs/"]
    assert policy["script-src"] == files, "the proxy is on the same origin: 'self' would let it bring scripts"
    assert ("'unsafe-inline'" in policy["style-src"]) == (path == "/docs"), "Swagger UI sets styles by script"
    assert "unsafe-eval" not in answer.headers["Content-Security-Policy"]
    assert answer.headers["Cache-Control"] == "no-store"


async def test_our_pages_take_scripts_from_trusted_types_only(person: Asker) -> None:
    for path in (*PAGES, "/sign-in", "/oauth/done/orders"):
        policy = policy_of(await person.get(path))
        assert (policy["require-trusted-types-for"], policy["trusted-types"]) == (["'script'"], ["app"])


@pytest.mark.parametrize("path", [*PAGES, *OPEN_PAGES])
async def test_everything_a_page_names_is_served_here(person: Asker, path: str) -> None:
    """So that it works without a network, `/docs` included."""
    text = await (await person.get(path)).get_data(as_text=True)
    named = set(NAMED.findall(text))
    assert any(name.endswith(".js") for name in named)
    waiting, seen = list(named), set(named)
    while waiting:
        name = waiting.pop()
        answer = await person.get(name)
        assert answer.status_code in (200, 303), name
        if name.endswith(".js") and name.startswith("/static/"):
            source = await answer.get_data(as_text=True)
            folder = name.rpartition("/")[0]
            found = {resolved(folder, module) for module in IMPORTED.findall(source)} - seen
            waiting += found
            seen |= found
    assert not [name for name in seen if not name.startswith("/")]


def resolved(folder: str, module: str) -> str:
    parts = folder.split("/")
    for part in module.split("/"):
        if part == "..":
            parts.pop()
        elif part != ".":
            parts.append(part)
    return "/".join(parts)


@pytest.mark.parametrize(
    ("script", "codes"),
    [("reasons", REASONS), ("waits", get_args(WaitReason)), ("next_reasons", get_args(NextReason))],
)
def test_every_reason_of_the_api_is_explained_to_people(script: str, codes: Iterable[str]) -> None:
    text = (STATIC / "js" / "components" / f"{script}.js").read_text()
    assert [code for code in codes if not re.search(rf"^  {code}: \[?\"?", text, re.MULTILINE)] == []


def test_every_field_that_a_page_leads_to_is_in_the_connections_form() -> None:
    form = (TEMPLATES / "connection_form.html").read_text()
    scripts = [path.read_text() for path in STATIC.rglob("*.js")]
    named = {field for text in scripts for field in re.findall(r'"(/(?:policy|tls|auth|proxy)/\w+|/base_url)"', text)}
    assert len(named) > 10
    assert [field for field in named if f'"{field}"' not in form] == []


async def test_every_script_and_style_of_ours_has_the_type_a_browser_insists_on(nobody: Asker) -> None:
    types = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
    files = [path for path in STATIC.rglob("*") if path.is_file()]
    assert len(files) > 30
    for path in files:
        answer = await nobody.get(f"{static_prefix()}/{path.relative_to(STATIC)}")
        assert (answer.status_code, answer.mimetype) == (200, types[path.suffix]), path
        assert await answer.get_data() == path.read_bytes()


async def test_a_file_under_its_digest_is_kept_for_ever_and_under_another_not_at_all(nobody: Asker) -> None:
    assert re.fullmatch(r"/static/[0-9a-f]{12}", static_prefix())
    ours = await nobody.get(f"{static_prefix()}/js/main.js")
    assert ours.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    other = await nobody.get("/static/0123456789ab/js/main.js")
    assert (other.status_code, other.headers["Cache-Control"]) == (200, "no-cache")
    assert await other.get_data() == await ours.get_data()


async def test_the_files_of_the_api_page_are_asked_for_again_but_not_sent_again(nobody: Asker) -> None:
    first = await nobody.get("/docs/swagger-ui.css")
    assert (first.status_code, first.headers["Cache-Control"]) == (200, "no-cache")
    again = await nobody.get("/docs/swagger-ui.css", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, await again.get_data()) == (304, b"")


@pytest.mark.parametrize(
    "path",
    [
        "/static/0/../templates/base.html",
        "/static/0/..%2ftemplates%2fbase.html",
        "/static/0/%2e%2e/templates/base.html",
        "/static/0//etc/passwd",
        "/static/0/%2fetc/passwd",
        "/static/0/",
        "/static/0/js",
        "/static/0/js/main.js%00",
        "/docs/index.html",
        "/docs/..%2f__init__.py",
        "/docs/swagger-ui-bundle.js.map",
    ],
)
async def test_no_path_leads_out_of_the_files_that_are_meant(nobody: Asker, path: str) -> None:
    await problem_in(await nobody.get(path), 404, "not_found")


async def test_the_api_page_shows_our_own_document(app: Quart, nobody: Asker) -> None:
    script = await (await nobody.get(f"{static_prefix()}/js/docs.js")).get_data(as_text=True)
    assert '"/api/openapi.json"' in script
    assert "validatorUrl: null" in script, "it would ask a server elsewhere"


async def test_a_page_names_the_person_as_text(person: Asker, running: Services) -> None:
    await accounts.create_account(running, '<b onclick="x">')
    cookie, _ = await accounts.sign_in(running, await accounts.create_link(running, '<b onclick="x">'), "x")
    other = Asker(person.app, {"Cookie": f"switchboard-8000={cookie}"})
    text = await (await other.get("/connections")).get_data(as_text=True)
    assert "<b onclick" not in text
    assert "&lt;b onclick=" in text
