"""Where a provider sends browsers back to (RFC 6749 §4.1.2), and where they go on from.

No sign-in cookie comes along, since a provider's redirect is another site's and that cookie is SameSite=Strict: who
comes back is known by the state, and by a cookie that was made for this one sign-in and is Lax. Nor would it come
after a redirect from here, so that leads to a page of ours which goes on by itself.
"""

import re
from typing import Any

from quart import Response, redirect, request

from quart_app import authorizations
from quart_app.authorizations import LIFE_SECONDS
from quart_app.errors import AppError, NotFound
from quart_app.forms.connections import NAME_PATTERN
from quart_app.outbound.oauth.authorization import read_callback
from quart_app.services import Services
from quart_app.settings import Settings
from quart_app.vault import digest
from quart_app.web.access import cookie_name
from quart_app.web.errors import wants_page
from quart_app.web.pages import show

KEPT_BY_NOBODY = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}


async def get_callback(services: Services, name: str) -> Any:
    """Finishes the sign-in that this browser began, and takes code and state out of its address."""
    check_name(name)
    try:
        callback = read_callback(request.query_string)
        if request.method == "HEAD":
            raise AppError(405, "method_not_allowed", "A sign-in is finished by GET.", headers=[("Allow", "GET")])
        cookie = flow_cookie(services.settings, name, callback.state)[0]
        await authorizations.finish(services, name, callback, request.cookies.get(cookie, ""))
    except AppError as error:
        if not wants_page():
            raise
        return await failure_page(name, error)
    response = redirect(f"/oauth/done/{name}", 303)
    response.headers.update(KEPT_BY_NOBODY)
    forget(response, services.settings, name, callback.state)
    return response


async def get_done_page(name: str) -> str:
    """Goes on to the connection: from here it is our own page that leads there, so the sign-in cookie comes along."""
    check_name(name)
    return await show("authorization", None, name=name, error=None)


def check_name(name: str) -> None:
    if not re.fullmatch(NAME_PATTERN, name):
        raise NotFound


async def failure_page(name: str, error: AppError) -> Response:
    """What happened and what to do; the provider's own words as text."""
    said = error.errors[0]["detail"] if error.errors else ""
    text = await show("authorization", None, name=name, error=error, said=said)
    response = Response(text, error.status, content_type="text/html; charset=utf-8")
    response.headers.update(KEPT_BY_NOBODY)
    for field, value in error.headers:
        response.headers[field] = value
    return response


def flow_cookie(settings: Settings, name: str, state: str) -> tuple[str, str]:
    """Name and path of a sign-in's cookie: one for each, so that two that one browser has begun both stay good.

    The sign-in's own rules hold for it, but that it is Lax; where it cannot have `__Host-`, it goes to one path only.
    """
    own = cookie_name(settings)
    path = "/" if own.startswith("__Host-") else f"/oauth/callback/{name}"
    return f"{own}-flow-{digest(state)[:12]}", path


def set_flow_cookie(response: Response, settings: Settings, name: str, state: str, browser: str) -> None:
    put(response, settings, name, state, browser, int(LIFE_SECONDS))


def forget(response: Any, settings: Settings, name: str, state: str) -> None:
    put(response, settings, name, state, "", 0)


def put(response: Any, settings: Settings, name: str, state: str, value: str, seconds: int) -> None:
    cookie, path = flow_cookie(settings, name, state)
    secure = cookie.startswith("__Host-")
    response.set_cookie(cookie, value, max_age=seconds, httponly=True, samesite="Lax", path=path, secure=secure)
