"""`/metrics`: what is in it, in which formats, for whom, and that its page says the same."""

import asyncio
import re
from dataclasses import replace
from typing import Any

import pytest
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text
from quart import Quart

from quart_app.outbound.limits import Limits
from quart_app.services import Services
from quart_app.vitals.meters import DURATION_SECONDS
from quart_app.web.metrics import FAMILIES
from tests import metrics_page
from tests.test_recorder import broken
from tests.upstream import Upstream
from tests.web.conftest import Asker, KeyMaker, problem_in

HERE = {"scope_base": {"client": ("127.0.0.1", 1)}}
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


async def scrape(asker: Asker) -> Samples:
    answer = await asker.get("/metrics")
    assert answer.status_code == 200, await answer.get_data()
    assert answer.headers["Cache-Control"] == "no-store"
    families = parse_text(await answer.get_data(as_text=True))
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


def value(samples: Samples, name: str, **labels: str) -> float:
    return samples[f"switchboard_{name}", frozenset(labels.items())]


async def add(program: Asker, upstream: Upstream, name: str = "orders", **more: Any) -> None:
    form = {"name": name, "base_url": upstream.url, "policy": {"allow_private": True, "attempts": 1}} | more
    assert (await program.post("/api/connections", json=form)).status_code == 201


async def test_calls_are_counted_by_connection_origin_outcome_and_status(program: Asker, upstream: Upstream) -> None:
    await add(program, upstream)
    await add(program, upstream, "gone", base_url="http://127.0.0.1:1")
    for path in ("/a?token=secret", "/b"):
        assert (await program.get(f"/proxy/orders{path}")).status_code == 200
    assert (await program.get("/proxy/gone/x")).status_code == 502
    sent = await program.post("/api/calls", json={"connection": "orders", "method": "POST", "json": {"x": 1}})
    assert sent.status_code == 201
    samples = await scrape(program)
    counted = {"connection": "orders", "outcome": "done", "status": "2xx"}
    assert value(samples, "calls_total", origin="proxy", **counted) == 2
    assert value(samples, "calls_total", origin="api", **counted) == 1
    assert value(samples, "calls_total", connection="gone", origin="proxy", outcome="failed", status="none") == 1
    assert value(samples, "call_failures_total", connection="gone", reason="connect_failed") == 1
    assert value(samples, "attempts_total", connection="orders") == 3
    assert value(samples, "sent_bytes_total", connection="orders") == len('{"x":1}')
    assert value(samples, "received_bytes_total", connection="orders") == 3 * len('{"hello": "world"}')
    assert value(samples, "calls_in_flight", connection="orders") == 0
    assert value(samples, "breaker_state", connection="orders", state="closed") == 1
    assert value(samples, "breaker_state", connection="orders", state="open") == 0
    assert value(samples, "calls_on_record") == 4
    text = str(samples)
    assert "secret" not in text
    assert "http://" not in text


async def test_a_histogram_s_buckets_hold_those_of_the_smaller_ones(program: Asker, upstream: Upstream) -> None:
    await add(program, upstream)
    for _ in range(3):
        await program.get("/proxy/orders/a")
    samples = await scrape(program)
    bounds = [*map(str, DURATION_SECONDS), "+Inf"]
    counts = [value(samples, "call_duration_seconds_bucket", connection="orders", le=bound) for bound in bounds]
    assert counts == sorted(counts)
    assert counts[-1] == value(samples, "call_duration_seconds_count", connection="orders") == 3
    assert 0 < value(samples, "call_duration_seconds_sum", connection="orders") < 30


async def test_gauges_show_what_is_in_flight_and_what_the_breaker_says(
    program: Asker, running: Services, upstream: Upstream
) -> None:
    await add(program, upstream)
    await program.get("/proxy/orders/a")
    [limits] = running.client.limits.values()
    assert isinstance(limits, Limits)
    assert limits.take_now(1)
    waiting = asyncio.ensure_future(limits.take(1))
    await asyncio.sleep(0)
    limits.breaker.opened_at, limits.breaker.opened_count = limits.breaker._clock(), 2
    samples = await scrape(program)
    assert value(samples, "calls_in_flight", connection="orders") == 1
    assert value(samples, "calls_waiting", connection="orders") == 1
    assert value(samples, "breaker_state", connection="orders", state="open") == 1
    assert value(samples, "breaker_opened_total", connection="orders") == 2
    limits.give()
    await waiting


async def test_a_deleted_connection_s_series_go(program: Asker, running: Services, upstream: Upstream) -> None:
    await add(program, upstream)
    await program.get("/proxy/orders/a")
    assert any(("connection", "orders") in labels for _, labels in await scrape(program))
    assert (await program.ask("DELETE", "/api/connections/orders")).status_code == 204
    assert not any(("connection", "orders") in labels for _, labels in await scrape(program))


async def test_sizes_are_there_and_what_a_database_does_not_tell_is_left_out(program: Asker, running: Services) -> None:
    samples = await scrape(program)
    assert value(samples, "database_bytes") > 0
    told = {name for name, _ in samples}
    assert ("switchboard_wal_bytes" in told) == ("switchboard_disk_free_bytes" in told) == running.db.is_sqlite
    assert value(samples, "recorder_failing") == 0
    assert value(samples, "loop_lag_seconds") >= 0
    assert value(samples, "client_connections", state="busy") == 0


async def test_while_the_database_fails_the_rest_is_told(program: Asker, running: Services, upstream: Upstream) -> None:
    await add(program, upstream)
    await program.get("/proxy/orders/a")
    await scrape(program)
    async with broken(running.db):
        await program.get("/proxy/orders/a")
        samples = await scrape(program)
    assert value(samples, "recorder_failing") == 1
    assert value(samples, "recorder_waiting") == 1
    assert value(samples, "calls_in_flight", connection="orders") == 0
    counted = {"connection": "orders", "origin": "proxy", "outcome": "done", "status": "2xx"}
    assert value(samples, "calls_total", **counted) == 2


async def test_openmetrics_is_given_to_who_asks_for_it(program: Asker, upstream: Upstream) -> None:
    await add(program, upstream)
    await program.get("/proxy/orders/a")
    answer = await program.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert answer.content_type.startswith("application/openmetrics-text; version=1.0.0")
    parse: Any = openmetrics.text_string_to_metric_families
    families = {family.name: family for family in parse(await answer.get_data(as_text=True))}
    assert families["switchboard_calls"].type == "counter"
    plain = await program.get("/metrics")
    assert plain.content_type.startswith("text/plain; version=0.0.4")


async def test_the_page_and_what_is_given_are_the_same(program: Asker) -> None:
    assert metrics_page.kept() == metrics_page.rows()
    families = {
        family.name: family for family in parse_text(await (await program.get("/metrics")).get_data(as_text=True))
    }
    for family in FAMILIES:
        given = families[family.name.removesuffix("_total")]
        assert (given.type, given.documentation) == (family.kind, family.help)
    own = {name for name in families if not name.startswith(("process_", "python_"))}
    assert own == {family.name.removesuffix("_total") for family in FAMILIES}


def test_names_follow_the_conventions() -> None:
    """https://prometheus.io/docs/practices/naming/"""
    for family in FAMILIES:
        assert re.fullmatch(r"switchboard_[a-z_]+", family.name)
        assert family.name.endswith("_total") == (family.kind == "counter")
        assert family.kind != "histogram" or family.name.endswith("_seconds")


async def test_programs_on_this_machine_need_no_key(nobody: Asker) -> None:
    assert (await nobody.get("/metrics", **HERE)).status_code == 200
    assert (await nobody.get("/metrics", scope_base={"client": ("::1", 1)})).status_code == 200


@pytest.mark.parametrize("header", ["Forwarded", "X-Forwarded-For", "X-Real-IP", "Via"])
async def test_what_came_through_a_proxy_needs_one(nobody: Asker, header: str) -> None:
    await problem_in(await nobody.get("/metrics", headers={header: "for=1.2.3.4"}, **HERE), 401, "sign_in_required")


@pytest.mark.parametrize("peer", ["192.0.2.7", "2001:db8::1", ""])
async def test_others_need_one_whatever_they_say_of_themselves(nobody: Asker, peer: str) -> None:
    for headers in ({}, {"Remote-Addr": "127.0.0.1"}):
        answer = await nobody.get("/metrics", headers=headers, scope_base={"client": (peer, 1)})
        await problem_in(answer, 401, "sign_in_required")


@pytest.mark.parametrize(
    "known", [{"behind_proxy": True}, {"public_url": "https://x.example"}, {"hosts": ("x.example",)}]
)
async def test_where_others_can_reach_the_server_all_need_one(
    app: Quart, running: Services, nobody: Asker, key_of: KeyMaker, known: dict[str, Any]
) -> None:
    running.settings = replace(running.settings, **known)
    await problem_in(await nobody.get("/metrics", **HERE), 401, "sign_in_required")
    assert (await (await key_of("read")).get("/metrics")).status_code == 200
    await problem_in(await (await key_of("call")).get("/metrics"), 403, "insufficient_scope")
