"""A small real HTTP API with an OAuth server of its own: demo, tests and newcomers call it.

    api, items       the API under /v1            oauth_web        the URLs of the OAuth server
    access           who is asking                oauth            its token endpoint, over these:
    echo             uploads of any length          authorization    requests that wait, and codes
    wire             problems, numbers, JSON        families, grants tokens that rotate and die
    command          it as a program                clients          who may ask, and the rules of their tokens
                                                    assertions, keys what clients sign, what it signs
    tricks, catalogue   what it does wrong on purpose; stage plays that on the wire
    protocol, discovery the rules of OAuth; what the server says of itself

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
from quart_app.sandbox.clients import Client, Rules
from quart_app.sandbox.echo import any_echo, take_uploads
from quart_app.sandbox.items import Items
from quart_app.sandbox.keys import public_key_of
from quart_app.sandbox.oauth import AuthorizationServer
from quart_app.sandbox.oauth_web import PAGE, OAuthWeb
from quart_app.sandbox.protocol import SCOPES
from quart_app.sandbox.stage import Stage, show_transports
from quart_app.sandbox.wire import Problem, answer_http_exception, answer_problem

__all__ = [
    "API_KEY_COOKIE", "API_KEY_HEADER", "API_KEY_QUERY", "DEMO", "SCOPES", "AuthorizationServer", "Client",
    "Credentials", "Rules", "create_sandbox",
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
    refresh_seconds: float | None = None,
    family_seconds: float | None = None,
    grace_seconds: float = 0,
    fresh_successor: bool = False,
    rotates: bool = True,
    token_delay_seconds: float = 0,
    auto_approve: bool = False,
    public_url: str = "",
    clock: Callable[[], float] = time.time,
) -> Quart:
    """The sandbox as an ASGI app; its AuthorizationServer is at `app.extensions["oauth"]`.

    `clients`: more of them, each with Rules of its own where it has any; from `access_seconds` to `rotates`: the
    Rules of all others; `token_delay_seconds`: wait of the token endpoint after it rotated, before it answers;
    `auto_approve`: nobody is asked for consent; `public_url`: the issuer, else what a request was addressed to;
    `clock`: seconds since the epoch.
    """
    rules = Rules(
        access_seconds=access_seconds,
        refresh_seconds=refresh_seconds,
        family_seconds=family_seconds,
        grace_seconds=grace_seconds,
        fresh_successor=fresh_successor,
        rotates=rotates,
    )
    known, stage = [demo_client(credentials), *clients], Stage(clock)
    server = AuthorizationServer(known, rules, auto_approve=auto_approve, clock=clock)
    web = OAuthWeb(server, stage, token_delay_seconds=token_delay_seconds, public_url=public_url)
    access = Access(credentials, server)
    app = bare_app()
    app.extensions["oauth"] = server
    app.before_request(access.check)
    app.after_request(stage.date)
    add_routes(app, routes(access, Api(clock), Items(), web))
    return app


def demo_client(credentials: Credentials) -> Client:
    return Client(
        client_id=credentials.client_id,
        client_secret=credentials.client_secret,
        public_key=public_key_of(credentials.private_key),
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
    show_transports(app)
    return app


async def no_sniffing(response: ResponseTypes) -> ResponseTypes:
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


def routes(access: Access, api: Api, items: Items, oauth: OAuthWeb) -> list[Route]:
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
        Route("/oauth/token", "POST", oauth.post_token, "Tokens: client, code, refresh and JWT grants"),
        Route("/oauth/revoke", "POST", oauth.post_revocation, "Revoke a token (RFC 7009)"),
        Route("/oauth/stats", "GET", oauth.get_stats, "Token requests, generations, reuse detections"),
        Route("/oauth/families/<anything:family_id>", "DELETE", oauth.delete_family, "Sign one out, as providers do"),
        Route("/oauth/tricks", "GET", oauth.get_tricks, "What it does wrong on purpose, and all it could"),
        Route("/oauth/tricks", "PUT", oauth.put_tricks, 'Have it do wrong: {"tricks": ["lost_answer"]}'),
        Route("/oauth/tricks", "DELETE", oauth.delete_tricks, "Have it behave again"),
        Route("/oauth/demo-key", "GET", access.get_demo_key, "The demo client's private key, to sign assertions"),
        Route("/oauth/jwks", "GET", oauth.get_jwks, "The keys of ID tokens"),
        Route("/.well-known/oauth-authorization-server", "GET", oauth.get_metadata, "Metadata (RFC 8414)"),
        Route("/.well-known/openid-configuration", "GET", oauth.get_metadata, "The same for OpenID Connect"),
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
