"""The pages: shells made on the server, filled by ES modules that call the API."""

import hashlib
import importlib.util
from functools import cache
from pathlib import Path
from typing import Any

from quart import Response, redirect, render_template, send_from_directory

from quart_app.accounts import Who
from quart_app.errors import NotFound
from quart_app.services import Services

STATIC = Path(__file__).parents[1] / "static"
FOR_EVER_SECONDS = 365 * 86400
API_PAGE_FILES = ("swagger-ui.css", "swagger-ui-bundle.js", "favicon-32x32.png")


@cache
def static_prefix() -> str:
    """`/static/<digest of all files>`: changes with any of them, so that each can be cached for ever."""
    hashed = hashlib.sha256()
    for path in sorted(STATIC.rglob("*")):
        if path.is_file():
            hashed.update(str(path.relative_to(STATIC)).encode() + b"\0" + path.read_bytes())
    return f"/static/{hashed.hexdigest()[:12]}"


async def show(page: str, who: Who | None, **values: Any) -> str:
    account = who.name if who else None
    return await render_template(f"{page}.html", page=page, static=static_prefix(), account=account, **values)


async def get_home(who: Who | None) -> Any:
    return redirect("/connections" if who else "/sign-in", 303)


async def get_sign_in_page() -> str:
    return await show("sign_in", None)


async def get_connections_page(services: Services, who: Who) -> str:
    return await show("connections", who, own_url=services.settings.own_url)


async def get_connection_page(services: Services, who: Who, name: str) -> str:
    return await show("connection", who, name=name, own_url=services.settings.own_url)


async def get_send_page(who: Who) -> str:
    return await show("send", who)


async def get_history_page(who: Who) -> str:
    return await show("history", who)


async def get_history_call_page(who: Who, call_id: str) -> str:
    return await show("history", who)


async def get_diff_page(who: Who, call_id: str, other_id: str) -> str:
    return await show("diff", who)


async def get_webhooks_page(who: Who) -> str:
    return await show("webhooks", who)


async def get_docs_page() -> str:
    return await show("docs", None)


async def get_static_file(digest: str, name: str) -> Response:
    """A page of another version gets what there is now, but no cache may keep that under the other's digest."""
    return await sent_file(STATIC, name, for_ever=f"/static/{digest}" == static_prefix())


async def get_docs_file(name: str) -> Response:
    """Swagger UI's files, from its package, so that the API page works without a network."""
    found = importlib.util.find_spec("flask_swagger_ui")
    if name not in API_PAGE_FILES or found is None or not found.submodule_search_locations:
        raise NotFound
    return await sent_file(Path(found.submodule_search_locations[0]) / "dist", name, for_ever=False)


async def sent_file(folder: Path, name: str, *, for_ever: bool) -> Response:
    """With an ETag. `for_ever`: its path says its version, so that no browser need ask again."""
    response = await send_from_directory(folder, name)
    response.headers["Cache-Control"] = f"public, max-age={FOR_EVER_SECONDS}, immutable" if for_ever else "no-cache"
    return response
