"""A small real HTTP API with an OAuth server of its own: demo, tests and newcomers call it.

    api, items       the API under /v1            oauth_web        the URLs of the OAuth server
    access           who is asking                oauth, grants    its state; protocol: its rules
    echo             uploads of any length        wire             problems, numbers, JSON

All state belongs to the app that `create_sandbox` returns. Nothing else of quart_app is used.
"""

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from quart import Quart, render_template, request
from quart.typing import ResponseReturnValue, ResponseTypes
from werkzeug.exceptions import HTTPException
from werkzeug.routing import PathConverter

from quart_app.sandbox.access import (
    API_KEY_COOKIE,
    API_KEY_HEADER,
    API_KEY_QUERY,
    Access,
    Credentials,
    get_whoami,
)
from quart_app.sandbox.api import Api
from quart_app.sandbox.echo import any_echo, take_uploads
from quart_app.sandbox.items import Items
from quart_app.sandbox.oauth import AuthorizationServer
from quart_app.sandbox.oauth_web import PAGE, OAuthWeb
from quart_app.sandbox.protocol import SCOPES, Client
from quart_app.sandbox.wire import Problem, answer_http_exception, answer_problem

__all__ = [
    "API_KEY_COOKIE", "API_KEY_HEADER", "API_KEY_QUERY", "DEMO", "SCOPES", "AuthorizationServer", "Client",
    "Credentials", "create_sandbox",
]  # fmt: skip

DEMO = Credentials()
"""The ready-made credentials of a sandbox that is given no others. They are public: they guard toys only."""

JSON_BYTES = 1024**2


class Anything(PathConverter):
    """The rest of a path, whatever is in it."""

    regex = r"[\s\S]*"
    part_isolating = False


class Route(NamedTuple):
    """`methods` are separated by spaces; none means every method."""

    rule: str
    methods: str
    view: Callable[..., Awaitable[ResponseReturnValue]]
    says: str


def create_sandbox(
    credentials: Credentials = DEMO,
    *,
    clients: Sequence[Client] = (),
    access_seconds: int = 60,
    token_delay_seconds: float = 0,
    grace_seconds: float = 0,
    public_url: str = "",
    clock: Callable[[], float] = time.time,
) -> Quart:
    """The sandbox as an ASGI app; its AuthorizationServer is at `app.extensions["oauth"]`.

    `clients`: more of them, each with a life of tokens of its own; `access_seconds`: that life elsewhere;
    `token_delay_seconds`: wait of the token endpoint after it rotated, before it answers; `grace_seconds`:
    how long the token spent last gets its successor again (0: it ends its family); `public_url`: the issuer,
    else what a request was addressed to; `clock`: seconds since the epoch.
    """
    server = AuthorizationServer(
        [demo_client(credentials), *clients],
        access_seconds=access_seconds,
        grace_seconds=grace_seconds,
        clock=clock,
    )
    web = OAuthWeb(server, token_delay_seconds=token_delay_seconds, public_url=public_url)
    app = bare_app()
    app.extensions["oauth"] = server
    app.before_request(Access(credentials, server).check)
    add_routes(app, routes(Api(clock), Items(), web))
    return app


def demo_client(credentials: Credentials) -> Client:
    return Client(
        client_id=credentials.client_id,
        client_secret=credentials.client_secret,
        name="Demo client",
        loopback_redirects=True,
        refresh_token=credentials.refresh_token,
    )


def bare_app() -> Quart:
    app = Quart(__name__)
    app.config["MAX_CONTENT_LENGTH"] = JSON_BYTES
    # Quart names the base class; the default provider, which is in use, has it
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.url_map.merge_slashes = False  # echo shows the path as it came, and nothing redirects by Host
    app.url_map.converters["anything"] = Anything
    app.register_error_handler(Problem, answer_problem)
    app.register_error_handler(HTTPException, answer_http_exception)
    app.after_request(no_sniffing)
    take_uploads(app)
    return app


async def no_sniffing(response: ResponseTypes) -> ResponseTypes:
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


def routes(api: Api, items: Items, oauth: OAuthWeb) -> list[Route]:
    """The URL map, and the text of the front page."""
    return [
        Route("/v1/items", "GET", items.get_items, "Items by pages: ?limit=&after="),
        Route("/v1/items", "POST", items.post_item, "Add an item"),
        Route("/v1/items/<int:item_id>", "GET", items.get_item, "One item, with ETag and If-None-Match"),
        Route("/v1/items/<int:item_id>", "PUT", items.put_item, "Replace it, with If-Match"),
        Route("/v1/items/<int:item_id>", "PATCH", items.patch_item, "Change some of it, with If-Match"),
        Route("/v1/items/<int:item_id>", "DELETE", items.delete_item, "Delete it, with If-Match"),
        Route("/v1/slow", "GET POST", api.get_slow, "Answers late: ?seconds="),
        Route("/v1/flaky", "", api.any_flaky, "503 at first, then 200: ?failures=&key="),
        Route("/v1/limited", "", api.any_limited, "429 with Retry-After: ?budget=&window_seconds=&key="),
        Route("/v1/stream", "GET", api.get_stream, "Server-sent events: ?events=&every_seconds="),
        Route("/v1/large", "GET", api.get_large, "As many bytes as you like: ?bytes="),
        Route("/v1/whoami", "GET", get_whoami, "Who you are to this API, and how it knows"),
        Route("/v1/echo", "", any_echo, "Your request, byte for byte"),
        Route("/v1/echo/<anything:rest>", "", any_echo, "The same for any path below"),
        Route("/oauth/authorize", "GET", oauth.get_authorization, "Consent page (code with PKCE)"),
        Route("/oauth/authorize", "POST", oauth.post_authorization, "The decision made there"),
        Route("/oauth/token", "POST", oauth.post_token, "Tokens: client, code and refresh grants"),
        Route("/oauth/revoke", "POST", oauth.post_revocation, "Revoke a token (RFC 7009)"),
        Route("/oauth/stats", "GET", oauth.get_stats, "Token requests, generations, reuse detections"),
        Route("/.well-known/oauth-authorization-server", "GET", oauth.get_metadata, "Metadata (RFC 8414)"),
    ]


def add_routes(app: Quart, table: Sequence[Route]) -> None:
    async def get_index() -> ResponseReturnValue:
        """What there is: a page for browsers, JSON for programs."""
        listed = [{"path": it.rule, "methods": it.methods or "any", "says": it.says} for it in table]
        if request.accept_mimetypes.best_match(["application/json", "text/html"]) == "text/html":
            return await render_template("index.html", routes=listed), 200, PAGE
        return {"name": "Switchboard sandbox", "routes": listed}

    app.add_url_rule("/", "index", get_index, methods=["GET"])
    for number, route in enumerate(table):
        endpoint = f"route{number}"
        if route.methods:
            app.add_url_rule(route.rule, endpoint, route.view, methods=route.methods.split())
        else:  # add_url_rule takes no rule without a list of methods
            app.url_map.add(app.url_rule_class(route.rule, endpoint=endpoint))
            app.view_functions[endpoint] = route.view
