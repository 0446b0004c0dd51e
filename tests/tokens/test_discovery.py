"""Where a provider's endpoints are: asked once, kept for an hour, and still known while the provider is down."""

import asyncio
import json
import time
from typing import Any

import pytest
from aiohttp import web
from sqlalchemy import select

from quart_app import connections
from quart_app.forms.connections import ConnectionForm
from quart_app.models import Call
from quart_app.outbound.oauth.endpoints import Endpoints
from quart_app.outbound.oauth.refusals import GrantFailed
from quart_app.outbound.target import Target
from quart_app.records import new_call
from quart_app.services import Services
from quart_app.tokens import discovery
from tests.upstream import Upstream, raw_upstream

pytestmark = pytest.mark.parametrize("database_url", [""])

OPENID = "/tenant/.well-known/openid-configuration"
RFC_8414 = "/.well-known/oauth-authorization-server/tenant"


class Provider:
    """An issuer `…/tenant` on a real server: `documents` by their paths, each an object, bytes, or a status."""

    def __init__(self, upstream: Upstream) -> None:
        self.upstream = upstream
        self.issuer = f"{upstream.url}/tenant"
        self.documents: dict[str, Any] = {OPENID: self.metadata(), "/jwks": {"keys": [{"kid": "1"}]}}
        self.headers: dict[str, str] = {}
        self.gate = asyncio.Event()
        self.gate.set()
        self.asked = asyncio.Event()
        upstream.handler = self.answer

    def metadata(self, **more: Any) -> dict[str, Any]:
        found = {
            "issuer": self.issuer,
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.upstream.url}/jwks",
        }
        return found | {"authorization_endpoint": f"{self.issuer}/authorize"} | more

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.set()
        await self.gate.wait()
        found = self.documents.get(request.path, 404)
        if isinstance(found, int):
            return web.Response(status=found, headers=self.headers)
        return web.Response(
            body=found if isinstance(found, bytes) else json.dumps(found).encode(), headers=self.headers
        )

    @property
    def paths(self) -> list[str]:
        return [seen.path for seen in self.upstream.seen]


@pytest.fixture
def provider(upstream: Upstream) -> Provider:
    return Provider(upstream)


async def connected(services: Services, auth: dict[str, Any], name: str = "items", **more: Any) -> Target:
    whole = {"scheme": "oauth2", "grant": "client_credentials", "client_id": "me"} | auth
    form = {"name": name, "base_url": "http://127.0.0.1:1", "policy": {"allow_private": True}, "auth": whole}
    await connections.create(services, ConnectionForm.model_validate(form | more))
    return await connections.load(services, name)


def later(services: Services, seconds: float) -> None:
    services.clock = lambda: time.time() + seconds


async def failure_of(services: Services, target: Target) -> GrantFailed:
    with pytest.raises(GrantFailed) as raised:
        await discovery.endpoints(services, target)
    return raised.value


async def test_without_an_issuer_nothing_is_asked(services: Services, provider: Provider) -> None:
    target = await connected(services, {"token_url": "https://id.example.com/token"})
    assert await discovery.endpoints(services, target) == Endpoints("https://id.example.com/token")
    assert provider.paths == []


async def test_an_issuer_is_asked_once_and_not_again_within_the_hour(services: Services, provider: Provider) -> None:
    target = await connected(services, {"issuer": provider.issuer})
    first = await discovery.endpoints(services, target)
    services.caches.drop()
    later(services, 3500)
    assert await discovery.endpoints(services, target) == first
    assert first.token_url == f"{provider.issuer}/token"
    assert provider.paths == [OPENID]
    provider.documents[OPENID] = provider.metadata(token_endpoint=f"{provider.issuer}/token2")
    later(services, 3700)
    assert (await discovery.endpoints(services, target)).token_url == f"{provider.issuer}/token2"
    assert provider.paths == [OPENID, OPENID]


async def test_all_who_ask_at_once_share_one_request(services: Services, provider: Provider) -> None:
    target = await connected(services, {"issuer": provider.issuer})
    provider.gate.clear()
    asking = [asyncio.ensure_future(discovery.endpoints(services, target)) for _ in range(50)]
    await provider.asked.wait()
    asking[0].cancel()
    provider.gate.set()
    found = await asyncio.gather(*asking[1:])
    assert len({endpoints.token_url for endpoints in found}) == 1
    assert provider.paths == [OPENID]


@pytest.mark.parametrize("other", [404, 400, 302, b"<html>not found</html>", b"[]", b"\xff"])
async def test_metadata_is_found_at_the_other_place_too(services: Services, provider: Provider, other: Any) -> None:
    provider.documents = {OPENID: other, RFC_8414: provider.metadata()}
    provider.headers = {"Location": f"{provider.upstream.url}/elsewhere"}
    target = await connected(services, {"issuer": provider.issuer})
    assert (await discovery.endpoints(services, target)).token_url == f"{provider.issuer}/token"
    assert provider.paths == [OPENID, RFC_8414]


@pytest.mark.parametrize(
    ("padding", "is_read"), [(discovery.DOCUMENT_BYTES - 1000, True), (discovery.DOCUMENT_BYTES, False)]
)
async def test_a_document_that_is_too_long_is_none(
    services: Services, provider: Provider, padding: int, *, is_read: bool
) -> None:
    provider.documents = {OPENID: provider.metadata(padding="x" * padding), RFC_8414: provider.metadata()}
    target = await connected(services, {"issuer": provider.issuer})
    await discovery.endpoints(services, target)
    assert provider.paths == ([OPENID] if is_read else [OPENID, RFC_8414])


async def test_what_a_person_filled_in_goes_before_what_was_discovered(services: Services, provider: Provider) -> None:
    own = "https://own.example.com/token"
    target = await connected(services, {"issuer": provider.issuer, "token_url": own})
    found = await discovery.endpoints(services, target)
    assert (found.token_url, found.authorize_url) == (own, f"{provider.issuer}/authorize")


async def test_an_issuer_without_metadata_is_one_to_look_at(services: Services, provider: Provider) -> None:
    provider.documents = {}
    target = await connected(services, {"issuer": provider.issuer})
    failed = await failure_of(services, target)
    assert (failed.failure, failed.state) == ("wrong_client", "config_error")
    assert provider.paths == [OPENID, RFC_8414]


async def test_metadata_of_another_issuer_is_not_believed(services: Services, provider: Provider) -> None:
    provider.documents = {OPENID: provider.metadata(issuer="https://evil.example"), RFC_8414: provider.metadata()}
    target = await connected(services, {"issuer": provider.issuer})
    failed = await failure_of(services, target)
    assert ("another issuer" in failed.detail, failed.state) == (True, "config_error")
    assert provider.paths == [OPENID]


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_provider_that_is_down_is_asked_again_with_the_next_call(
    services: Services, provider: Provider, status: int
) -> None:
    provider.documents[OPENID] = status
    provider.headers = {"Retry-After": "30"}
    target = await connected(services, {"issuer": provider.issuer})
    failed = await failure_of(services, target)
    assert (failed.failure, failed.state, failed.retry_after) == ("provider_down", None, 30.0)
    provider.documents[OPENID] = provider.metadata()
    assert (await discovery.endpoints(services, target)).issuer == provider.issuer


async def test_what_was_known_is_used_while_the_provider_is_down_and_it_is_not_asked_all_the_time(
    services: Services, provider: Provider
) -> None:
    target = await connected(services, {"issuer": provider.issuer})
    known = await discovery.endpoints(services, target)
    provider.documents[OPENID] = 503
    for moment in (4000, 4030, 4070, 400_000):
        later(services, moment)
        assert await discovery.endpoints(services, target) == known
    assert provider.paths == [OPENID] * 4
    provider.documents[OPENID] = provider.metadata(issuer="https://evil.example")
    later(services, 401_000)
    assert (await failure_of(services, target)).state == "config_error"
    provider.documents[OPENID] = 503
    assert (await failure_of(services, target)).failure == "provider_down"


async def test_a_host_that_cannot_be_reached_is_the_networks_fault(services: Services) -> None:
    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")

    async with raw_upstream(cut) as url:
        target = await connected(services, {"issuer": url})
        assert (await failure_of(services, target)).failure == "provider_down"
    failed = await failure_of(services, target)
    assert (failed.failure, failed.state) == ("network", None)


async def test_a_form_that_has_enough_is_enough_where_the_issuer_says_nothing(
    services: Services, provider: Provider
) -> None:
    given = {"issuer": provider.issuer, "token_url": "https://own.example.com/token"}
    machine = await connected(services, given)
    person = await connected(services, given | {"grant": "authorization_code"}, name="person")
    whole = await connected(
        services, given | {"grant": "authorization_code", "authorize_url": "https://own.example.com/a"}, name="whole"
    )
    provider.documents[OPENID] = 503
    for _ in range(3):
        assert (await discovery.endpoints(services, machine)).issuer == provider.issuer
        assert (await discovery.endpoints(services, whole)).authorize_url == "https://own.example.com/a"
    assert provider.paths == [OPENID]
    assert (await failure_of(services, person)).failure == "provider_down"
    provider.documents = {}
    later(services, 61)
    assert (await discovery.endpoints(services, machine)).token_url == "https://own.example.com/token"


async def test_another_way_out_asks_for_itself(services: Services, provider: Provider) -> None:
    shared = await connected(services, {"issuer": provider.issuer})
    own = await connected(services, {"issuer": provider.issuer}, name="own", tls={"verify": False})
    await discovery.endpoints(services, shared)
    await discovery.endpoints(services, own)
    assert provider.paths == [OPENID, OPENID]


async def test_an_address_that_may_not_be_reached_is_not(services: Services, provider: Provider) -> None:
    target = await connected(services, {"issuer": provider.issuer}, policy={}, base_url="https://api.example.com")
    failed = await failure_of(services, target)
    assert (failed.failure, failed.state) == ("network", None)
    assert "loopback" in failed.detail
    assert provider.paths == []


async def test_discovery_is_on_record_without_anything_of_the_connections_auth(
    services: Services, provider: Provider
) -> None:
    provider.documents = {OPENID: 404, RFC_8414: provider.metadata()}
    target = await connected(services, {"issuer": provider.issuer, "client_secret": "swordfish"})
    await discovery.endpoints(services, target)
    last = new_call(
        target, id_="last", origin="api", actor="test", owner="test", method="GET", url="https://x.example", headers=[]
    )
    await services.recorder.put(last)
    async with services.db.session() as session:
        rows = list(await session.scalars(select(Call).where(Call.origin == "token").order_by(Call.id)))
    assert [(row.method, row.status, row.state) for row in rows] == [("GET", 404, "done"), ("GET", 200, "done")]
    assert [row.url for row in rows] == [f"{provider.upstream.url}{path}" for path in (OPENID, RFC_8414)]
    for seen in provider.upstream.seen:
        assert (seen.header("accept"), seen.header("authorization"), seen.body) == ("application/json", None, b"")


async def test_keys_are_kept_and_asked_for_anew_at_most_once_a_minute(services: Services, provider: Provider) -> None:
    target = await connected(services, {"issuer": provider.issuer})
    endpoints = await discovery.endpoints(services, target)
    assert await discovery.jwks(services, target, endpoints) == {"keys": [{"kid": "1"}]}
    provider.documents["/jwks"] = {"keys": [{"kid": "2"}]}
    for moment, kid in ((30, "1"), (61, "2"), (90, "2")):
        later(services, moment)
        found = await discovery.jwks(services, target, endpoints, fresh=True)
        assert found["keys"] == [{"kid": kid}]
    assert provider.paths.count("/jwks") == 2
    later(services, 300)
    assert (await discovery.jwks(services, target, endpoints))["keys"] == [{"kid": "2"}]
    assert provider.paths.count("/jwks") == 2


@pytest.mark.parametrize("document", [404, b"<html>", {}, {"keys": {}}, {"keys": "x"}])
async def test_keys_that_are_none_are_odd(services: Services, provider: Provider, document: Any) -> None:
    provider.documents["/jwks"] = document
    target = await connected(services, {"issuer": provider.issuer})
    endpoints = await discovery.endpoints(services, target)
    with pytest.raises(GrantFailed, match="keys cannot be read") as raised:
        await discovery.jwks(services, target, endpoints)
    assert (raised.value.failure, raised.value.state) == ("odd_answer", None)


async def test_a_provider_without_keys_is_told_so(services: Services) -> None:
    target = await connected(services, {"token_url": "https://id.example.com/token"})
    with pytest.raises(GrantFailed, match="where its keys are"):
        await discovery.jwks(services, target, await discovery.endpoints(services, target))
