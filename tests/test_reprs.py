"""What an object says of itself never holds a secret: a repr gets into logs, tracebacks and error pages unasked.

Secrets are planted wherever they come in, everything is used, and then every object of the package that is still in
memory is asked for its repr and its text; what lives for a moment only is held on to for that.
"""

import base64
import gc
import json
import logging
import secrets
import sys
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web

from quart_app import accounts, calls, connections, tokens, webhooks
from quart_app.forms.calls import CallForm
from quart_app.forms.connections import ConnectionChange, ConnectionForm
from quart_app.forms.webhooks import WebhookChange, WebhookForm
from quart_app.outbound.auth import OAuth2
from quart_app.outbound.client import Outgoing
from quart_app.outbound.oauth.answers import token_answer
from quart_app.outbound.oauth.endpoints import Endpoints
from quart_app.outbound.oauth.requests import redemption, renewal, revocation
from quart_app.outbound.target import Target
from quart_app.outbound.timings import Timings
from quart_app.outbound.urls import join
from quart_app.rescue import Rescue
from quart_app.services import Services, open_services
from quart_app.settings import Settings
from quart_app.tokens.held import known
from quart_app.vitals import logs
from quart_app.web.api.sign_ins import SignInForm
from quart_app.webhooks.secrecy import kept
from tests.outbound.certificates import issued
from tests.upstream import Upstream

PLACES = ("header", "query", "cookie")
TUNNELLED = "tunnelled"
SQLITE = pytest.mark.parametrize("database_url", [""])


class Canaries(dict[str, str]):
    """Secrets by name, made when they are asked for."""

    def __missing__(self, name: str) -> str:
        self[name] = f"canary-{name}-{secrets.token_hex(8)}"
        return self[name]

    def found_in(self, shown: str) -> list[str]:
        forms = {name: (secret, base64.b64encode(secret.encode()).decode()) for name, secret in self.items()}
        return [name for name, spelled in forms.items() if any(form in shown for form in spelled)]


def forms(planted: Canaries, url: str) -> list[dict[str, Any]]:
    """A connection by every scheme, and one over TLS and a proxy of its own."""
    pair, there = issued("client"), {"base_url": url, "policy": {"allow_private": True}}
    planted["key"] = pair.key.splitlines()[1]
    oauth2 = {"scheme": "oauth2", "token_url": f"{url}/token", "client_id": "c", "client_secret": planted["client"]}
    in_place = {place: {"scheme": "api_key", "in": place, "name": "k", "value": planted[place]} for place in PLACES}
    schemes: dict[str, dict[str, Any]] = {
        **in_place,
        "basic": {"scheme": "basic", "username": "u", "password": planted["basic"]},
        "bearer": {"scheme": "bearer", "token": planted["bearer"]},
        "machine": oauth2 | {"grant": "client_credentials"},
        "person": oauth2 | {"grant": "refresh_token", "refresh_token": planted["first"]},
        "signed": oauth2 | {"grant": "jwt_bearer", "private_key": pair.key},
    }
    proxy = {"url": "http://127.0.0.1:3128", "username": "u", "password": planted["proxy"]}
    ways = {"name": TUNNELLED, "tls": {"certificate": pair.certificate, "key": pair.key}, "proxy": proxy}
    return [*({"name": name, "auth": auth} | there for name, auth in schemes.items()), ways | there]


def issuing(planted: Canaries) -> Any:
    async def answer(request: web.Request) -> web.StreamResponse:
        if request.path != "/token":
            return web.json_response({"hello": "world"})
        issued_now = {"access_token": planted["access"], "refresh_token": planted["refresh"], "token_type": "bearer"}
        return web.json_response(issued_now | {"expires_in": 3600})

    return answer


async def used(services: Services, planted: Canaries, upstream: Upstream) -> list[Any]:
    """Everything was used with its secrets; what came up on the way and would be gone."""
    held: list[Any] = []
    for given in forms(planted, upstream.url):
        form = ConnectionForm.model_validate(given, context=services.client.egress)
        change = ConnectionChange.model_validate(
            {name: given[name] for name in ("auth", "tls", "proxy") if name in given}
        )
        held += [form, form.auth, form.tls, form.proxy, change, await connections.create(services, form)]
        target = await connections.load(services, form.name)
        held += [target, target.auth, target.credential, target.credential.redactor, target.way]
        held.append(await tokens.ensure_valid(services, target))
        if form.name != TUNNELLED:
            call = CallForm(connection=form.name, method="GET", path="/")
            held.append(await calls.send(services, call, origin="api", actor="test"))
            held.append(await answered(services, target))
        if isinstance(target.auth, OAuth2):
            held += [await known(services, target), *exchanges(planted, target.auth)]
    held += await accounts_and_webhooks(services, planted, upstream.url)
    return held


async def answered(services: Services, target: Target) -> Any:
    """The library's own response, which knows the URL as it was sent."""
    outgoing, credential = Outgoing("GET", join(target.base, "/", "")), await tokens.ensure_valid(services, target)
    answer = await services.client.exchange(target, outgoing, credential, Timings(), total_seconds=5)
    answer.close()
    return answer.response


def exchanges(planted: Canaries, auth: OAuth2) -> list[Any]:
    at = Endpoints(f"{auth.token_url}", revocation_url=auth.token_url)
    code, verifier = planted["code"], planted["verifier"]
    issued_now = {"access_token": planted["access"], "refresh_token": planted["refresh"], "token_type": "bearer"}
    return [
        renewal(auth, at, planted["refresh"], now=1.0),
        redemption(auth, at, code=code, verifier=verifier, redirect_uri="http://127.0.0.1/", now=1.0),
        revocation(auth, at, planted["refresh"], hint="refresh_token", now=1.0),
        token_answer(200, json.dumps(issued_now | {"id_token": planted["id token"]}).encode()),
    ]


async def accounts_and_webhooks(services: Services, planted: Canaries, url: str) -> list[Any]:
    planted["program's key"] = await accounts.create_key(services, "laptop")
    planted["link"] = await accounts.create_link(services)
    where = f"{url}/hooks/{planted['webhook']}"
    form = WebhookForm.model_validate({"url": where, "allow_private": True})
    row, planted["webhook secret"] = await webhooks.create(services, form)
    rescue = Rescue(services.rescue.path.parent, slots=1)
    rescue.put("e" * 36, services.vault.seal(planted["rescued"], table="rescue", column="token", row="e" * 36))
    held: list[Any] = [form, WebhookChange(url=where), row, kept(services, row), rescue]
    held += [SignInForm(token=planted["link"]), await accounts.who_has_key(services, planted["program's key"])]
    return held


def shown_by_all(also: list[Any]) -> dict[str, str]:
    """What each object of the package that is in memory says of itself, by its class."""
    gc.collect()
    found: dict[str, list[str]] = {}
    ours = [item for item in gc.get_objects() if f"{type(item).__module__}".startswith("quart_app")]
    for item in [*ours, *also]:
        found.setdefault(type(item).__qualname__, []).extend((repr(item), str(item)))
    return {kind: "\n".join(shown) for kind, shown in found.items()}


@SQLITE
async def test_no_object_shows_a_secret_of_those_it_holds(settings: Settings, upstream: Upstream) -> None:
    planted = Canaries()
    key = planted["sealing key"] = base64.b64encode(secrets.token_bytes(32)).decode()
    upstream.handler = issuing(planted)
    async with open_services(replace(settings, sealing_key=key)) as services:
        held = await used(services, planted, upstream)
        database = replace(settings, database_url=f"postgresql://u:{planted['database']}@127.0.0.1/x")
        shown = shown_by_all([*held, services, services.settings, database, services.vault, services.caches])
    assert {kind: found for kind, text in shown.items() if (found := planted.found_in(text))} == {}
    assert shown.keys() >= {"Services", "Settings", "Vault", "Key", "Target", "Credential", "Held", "OAuth2", "Tls"}
    assert len(planted) > 20


@SQLITE
async def test_what_is_looked_for_would_be_found(settings: Settings) -> None:
    planted = Canaries()
    shown = shown_by_all([{"anything": planted["it"]}, [base64.b64encode(planted["encoded"].encode()).decode()]])
    assert planted.found_in(shown["dict"]) == ["it"]
    assert planted.found_in(shown["list"]) == ["encoded"]


def test_a_traceback_in_the_log_shows_no_values() -> None:
    planted = Canaries()

    def fail(secret: str) -> None:
        raise RuntimeError

    try:
        fail(planted["local"])
    except RuntimeError:
        record = logging.LogRecord("quart_app", logging.ERROR, __file__, 1, "failed", None, sys.exc_info())
    written = logs.LineHandler().line(record).decode()
    assert "in fail" in written
    assert planted.found_in(written) == []
