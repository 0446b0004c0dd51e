"""The URL map: every route, who may take it, and what it gives. `register` hangs it on the app.

`/proxy/…` is not in it: it goes through `relay`, in front of Quart, with the rule CALL; `guard` is in front of all.
"""

from functools import cache
from importlib.metadata import version
from typing import Any

from quart import Quart, Response
from werkzeug.exceptions import HTTPException

from quart_app.batches import BatchForm
from quart_app.errors import AppError
from quart_app.forms.calls import CallChange
from quart_app.forms.webhooks import DeliveryForm
from quart_app.settings import Settings
from quart_app.web import errors, hooks, metrics, oauth, operations, pages, shapes
from quart_app.web.access import CALL, MANAGE, METRICS, PAGE, PERSON, PUBLIC, READ, SIGN_IN, SIGNED_IN
from quart_app.web.api import audit_entries, authorizations, calls, connections, health, presets, sign_ins, webhooks
from quart_app.web.bodies import answer
from quart_app.web.events import get_events
from quart_app.web.guard import Guard
from quart_app.web.openapi import Route, document
from quart_app.web.relay import Relay
from quart_app.web.shapes import health as health_shapes
from quart_app.web.shapes import presets as preset_shapes
from quart_app.web.shapes import webhooks as webhook_shapes
from quart_app.web.shapes.authorizations import AuthorizationView
from quart_app.web.tunnel import Tunnels


async def get_openapi() -> Response:
    """This document."""
    return answer(openapi())


@cache
def openapi() -> dict[str, Any]:
    return document(ROUTES, version("switchboard-gateway"))


PAGE_QUERY = ("limit", "cursor")
ROUTES = (
    Route("GET", "/", pages.get_home, PUBLIC),
    Route("GET", "/sign-in", pages.get_sign_in_page, PUBLIC),
    Route("GET", "/connections", pages.get_connections_page, PAGE),
    Route("GET", "/connections/<name>", pages.get_connection_page, PAGE),
    Route("GET", "/send", pages.get_send_page, PAGE),
    Route("GET", "/history", pages.get_history_page, PAGE),
    Route("GET", "/history/<call_id>", pages.get_history_call_page, PAGE),
    Route("GET", "/history/<call_id>/diffs/<other_id>", pages.get_diff_page, PAGE),
    Route("GET", "/webhooks", pages.get_webhooks_page, PAGE),
    Route("GET", "/oauth/callback/<name>", oauth.get_callback, PUBLIC),
    Route("GET", "/oauth/done/<name>", oauth.get_done_page, PUBLIC),
    Route("GET", "/docs", pages.get_docs_page, PUBLIC),
    Route("GET", "/docs/<name>", pages.get_docs_file, PUBLIC),
    Route("GET", "/static/<digest>/<path:name>", pages.get_static_file, PUBLIC),
    Route("POST", "/api/sign-ins", sign_ins.post_sign_in, SIGN_IN, shapes.SignInView, 201),
    Route("GET", "/api/sign-ins/current", sign_ins.get_sign_in, SIGNED_IN, shapes.SignInView),
    Route("DELETE", "/api/sign-ins/current", sign_ins.delete_sign_in, PERSON, status=204),
    Route("GET", "/api/connections", connections.get_connections, READ, shapes.ConnectionPage, query=PAGE_QUERY),
    Route("POST", "/api/connections", connections.post_connection, MANAGE, shapes.ConnectionView, 201),
    Route("GET", "/api/connections/<name>", connections.get_connection, READ, shapes.ConnectionView),
    Route("PATCH", "/api/connections/<name>", connections.patch_connection, MANAGE, shapes.ConnectionView),
    Route("DELETE", "/api/connections/<name>", connections.delete_connection, MANAGE, status=204),
    Route("GET", "/api/connections/<name>/limits", connections.get_connection_limits, READ, shapes.LimitsView),
    Route("GET", "/api/connections/<name>/health", health.get_connection_health, READ, health_shapes.HealthView),
    Route("GET", "/api/connections/<name>/token-exchanges", health.get_token_exchanges, READ,
          health_shapes.TokenExchangePage, query=PAGE_QUERY),
    Route("POST", "/api/connections/<name>/checks", connections.post_check, CALL, shapes.CheckView, 201),
    Route("POST", "/api/connections/<name>/authorizations", authorizations.post_authorization, MANAGE,
          AuthorizationView, 201),
    Route("POST", "/api/connections/<name>/token-refreshes", connections.post_token_refresh, MANAGE, shapes.TokenView),
    Route("GET", "/_token_refresh", connections.get_token_refresh, MANAGE, shapes.TokenView, query=("connection",)),
    Route("GET", "/api/health", health.get_health, READ, health_shapes.HealthPage, query=PAGE_QUERY),
    Route("POST", "/api/calls", calls.post_call, CALL, shapes.CallView, 201),
    Route("GET", "/api/calls", calls.get_calls, READ, shapes.CallPage, query=(*calls.FILTERS, *PAGE_QUERY)),
    Route("GET", "/api/calls/<call_id>", calls.get_call, READ, shapes.CallView),
    Route("GET", "/api/calls/<call_id>/diffs/<other_id>", calls.get_diff, READ, shapes.DiffView, query=("ignore",)),
    Route("GET", "/api/calls/<call_id>/request-body", calls.get_request_body, READ, media="application/octet-stream"),
    Route("GET", "/api/calls/<call_id>/response-body", calls.get_response_body, READ, media="application/octet-stream"),
    Route("POST", "/api/calls/<call_id>/replays", calls.post_replay, CALL, shapes.CallView, 201,
          takes=CallChange, takes_nothing=True),
    Route("POST", "/api/batches", calls.post_batch, CALL, shapes.BatchLine, media="application/x-ndjson",
          takes=BatchForm),
    Route("GET", "/api/webhooks", webhooks.get_webhooks, READ, webhook_shapes.WebhookPage, query=PAGE_QUERY),
    Route("POST", "/api/webhooks", webhooks.post_webhook, MANAGE, webhook_shapes.WebhookView, 201),
    Route("GET", "/api/webhooks/<webhook_id>", webhooks.get_webhook, READ, webhook_shapes.WebhookView),
    Route("PATCH", "/api/webhooks/<webhook_id>", webhooks.patch_webhook, MANAGE, webhook_shapes.WebhookView),
    Route("DELETE", "/api/webhooks/<webhook_id>", webhooks.delete_webhook, MANAGE, status=204),
    Route("POST", "/api/webhooks/<webhook_id>/secrets", webhooks.post_webhook_secret, MANAGE,
          webhook_shapes.WebhookSecretView, 201),
    Route("GET", "/api/webhooks/<webhook_id>/deliveries", webhooks.get_deliveries, READ, webhook_shapes.DeliveryPage,
          query=PAGE_QUERY),
    Route("POST", "/api/webhooks/<webhook_id>/deliveries", webhooks.post_delivery, MANAGE, webhook_shapes.DeliveryView,
          201, takes=DeliveryForm, takes_nothing=True),
    Route("GET", "/api/presets", presets.get_presets, READ, preset_shapes.PresetPage, query=presets.PARAMETERS),
    Route("GET", "/api/presets/<preset_id>", presets.get_preset, READ, preset_shapes.PresetView),
    Route("GET", "/api/audit-entries", audit_entries.get_audit_entries, MANAGE, shapes.AuditPage, query=PAGE_QUERY),
    Route("GET", "/api/storage", operations.get_storage, READ, shapes.StorageView),
    Route("GET", "/api/events", get_events, READ, media="text/event-stream"),
    Route("GET", "/api/openapi.json", get_openapi, PUBLIC),
    Route("GET", "/metrics", metrics.get_metrics, METRICS, media="text/plain"),
    Route("GET", "/healthz", operations.get_healthz, PUBLIC, shapes.Health),
    Route("GET", "/readyz", operations.get_readyz, PUBLIC, shapes.Health),
)  # fmt: skip


def register(app: Quart, settings: Settings, services_of: Any) -> None:
    """`services_of` gives the services once the app has opened them."""
    for route in ROUTES:
        view = hooks.bound(route, services_of)
        app.add_url_rule(route.path, route.view.__name__, view, methods=[route.method], merge_slashes=False)
    app.before_request(hooks.answer_options)
    app.after_request(hooks.finish_response)
    app.register_error_handler(AppError, errors.on_app_error)
    app.register_error_handler(HTTPException, errors.on_http_error)
    app.register_error_handler(Exception, errors.on_unforeseen)
    tunnels = Tunnels(app.asgi_app, services_of)
    # replacing the method is how Quart documents a middleware
    app.asgi_app = Guard(Relay(tunnels, services_of), settings)  # type: ignore[method-assign]
