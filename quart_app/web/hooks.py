"""Around every view: who asks, whether they may, what the view needs, and the headers each answer carries."""

import inspect
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

from quart import Response, current_app, g, redirect, request

from quart_app.errors import Refused
from quart_app.forms import validate
from quart_app.services import Services
from quart_app.web.access import admit, check_loop, identify
from quart_app.web.bodies import read_json
from quart_app.web.openapi import Route

PAGE_POLICY = (
    "default-src 'none'; script-src {origin}/static/; style-src {origin}/static/; img-src 'self' data:; "
    "connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
    "object-src 'none'; require-trusted-types-for 'script'; trusted-types app"
)
DOCS_POLICY = (
    "default-src 'none'; script-src {origin}/static/ {origin}/docs/; style-src 'unsafe-inline' {origin}/docs/ "
    "{origin}/static/; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
API_POLICY = "default-src 'none'; frame-ancestors 'none'"
ALWAYS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


def bound(route: Route, services_of: Callable[[], Services]) -> Callable[..., Awaitable[Any]]:
    """The view as Quart calls it: admitted by the route's rule, given what its parameters name.

    `services`, `session` (for reads, closed when the view returns), `who`, and `form` from the request's body.
    """
    wanted = frozenset(inspect.signature(route.view).parameters)
    form = route.form

    async def view(**given: Any) -> Any:
        services = services_of()
        headers = {name.lower(): value for name, value in request.headers.items()}
        if "via" in headers:
            check_loop(services.instance_id, [value.encode("latin-1") for value in request.headers.getlist("Via")])
        if route.rule.public and not route.rule.acts and "who" not in wanted:
            who = None
        else:
            who = await identify(services, headers)
        try:
            admit(route.rule, who, headers, services.settings, peer=(request.scope.get("client") or [""])[0])
        except Refused as error:
            if route.rule.page and error.status == 401:
                return redirect("/sign-in", 303)
            raise
        g.who = who
        if form is not None:
            given["form"] = validate(form, await read_json(request), services.client.egress)
        async with AsyncExitStack() as stack:
            if "session" in wanted:
                given["session"] = await stack.enter_async_context(services.db.session())
            offered = {"services": services, "who": who}
            given |= {name: value for name, value in offered.items() if name in wanted}
            return await route.view(**given)

    view.__name__ = route.view.__name__
    return view


async def answer_options() -> Response | None:
    """OPTIONS tells the methods and nothing to other origins: there is no CORS here."""
    if request.method != "OPTIONS" or request.url_rule is None:
        return None
    adapter = current_app.create_url_adapter(request)
    return Response("", 204, {"Allow": ", ".join(sorted(adapter.allowed_methods() if adapter else ()))})


async def finish_response(response: Response) -> Response:
    """Headers that every answer carries; pages also say which scripts may run."""
    for name, value in ALWAYS.items():
        response.headers.setdefault(name, value)
    if response.status_code == 204:  # without what describes a body (RFC 9110 §8.6)
        response.headers.pop("Content-Type", None)
        response.headers.pop("Content-Length", None)
    is_page = response.mimetype == "text/html"
    policy = (DOCS_POLICY if request.path == "/docs" else PAGE_POLICY) if is_page else API_POLICY
    if "Content-Security-Policy" not in response.headers:
        origin = current_app.config["PUBLIC_URL"] or f"{request.scheme}://{request.host}"
        response.headers["Content-Security-Policy"] = policy.format(origin=origin)
    if is_page or request.path.startswith("/api/"):
        response.headers.setdefault("Cache-Control", "no-store")
    return response
