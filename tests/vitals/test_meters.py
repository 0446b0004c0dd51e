"""What is counted of calls: each once, by connection, whatever became of it and of its record."""

from typing import Any

import pytest
from quart import Quart

from quart_app.recorder import Record
from quart_app.records import BLANK, as_json
from quart_app.services import Services
from quart_app.vitals.meters import DURATION_SECONDS, MOST_CONNECTIONS, OTHERS, Histogram, Meters
from tests.test_recorder import broken, eventually
from tests.upstream import Upstream
from tests.web.conftest import Asker
from tests.web.conftest import key_of as key_of
from tests.web.conftest import program as program


def record(*attempts: dict[str, Any], **more: Any) -> Record:
    call = {"connection": "orders", "origin": "api", "state": "done", "status": 200, "duration_seconds": 0.02}
    plain = {"next_reason": None, "wait_reason": None, "waited_seconds": 0.0}
    return Record(BLANK | call | more, [plain | attempt for attempt in attempts])


def test_a_histogram_counts_a_value_at_its_bound_below_it() -> None:
    histogram = Histogram((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 99.0):
        histogram.add(value)
    assert (histogram.counts, histogram.sum) == ([2, 1, 1], 102.0)


def test_calls_are_counted_by_origin_outcome_and_class_of_status() -> None:
    meters = Meters()
    meters.settled(record({}, request_size=10, response_size=200))
    meters.settled(record({}, status=404, origin="proxy", response_size=3))
    meters.settled(record({}, {}, status=None, state="failed", reason="reset"))
    meters.settled(record(state="sending", status=None))
    series = meters.series["orders"]
    assert series.calls == {("api", "done", 2): 1, ("proxy", "done", 4): 1, ("api", "failed", 0): 1}
    assert series.reasons == {"reset": 1}
    assert (series.attempts, series.bytes_sent, series.bytes_received) == (4, 10, 203)
    assert sum(series.durations.counts) == 3
    assert series.durations.counts[DURATION_SECONDS.index(0.025)] == 3


def test_waits_and_next_steps_are_counted_by_their_reasons() -> None:
    meters = Meters()
    meters.settled(
        record(
            {"next_reason": "retried"}, {"wait_reason": "backoff", "waited_seconds": 0.3}, {"next_reason": "retried"}
        )
    )
    series = meters.series["orders"]
    assert series.next_steps == {"retried": 2}
    assert (series.waits["backoff"].sum, sum(series.waits["backoff"].counts)) == (0.3, 1)


def test_a_websocket_s_bytes_count_as_those_of_bodies() -> None:
    meters = Meters()
    meters.settled(record(websocket=as_json({"bytes_sent": 7, "bytes_received": 9})))
    assert (meters.series["orders"].bytes_sent, meters.series["orders"].bytes_received) == (7, 9)


def test_token_exchanges_are_counted_by_what_came_of_them() -> None:
    meters = Meters()
    for more in ({}, {"status": 400, "detail": "invalid_grant"}, {"state": "failed", "reason": "reset", "detail": "x"}):
        meters.settled(record(origin="token", **more))
    assert meters.series["orders"].refreshes == {"renewed": 1, "refused": 1, "failed": 1}


def test_series_are_bounded_and_those_of_deleted_connections_go() -> None:
    meters = Meters()
    for number in range(MOST_CONNECTIONS + 5):
        meters.settled(record(connection=f"c{number}"))
    assert len(meters.series) == MOST_CONNECTIONS + 1
    assert meters.series[OTHERS].calls == {("api", "done", 2): 5}
    meters.keep({"1": "c1", "2": "c2"})
    assert set(meters.series) == {"c1", "c2", OTHERS}


@pytest.mark.parametrize("fails", [False, True], ids=["on record", "while the database fails"])
async def test_each_call_counts_once_also_while_the_database_fails(
    app: Quart, running: Services, program: Asker, upstream: Upstream, fails: bool
) -> None:
    form = {"name": "orders", "base_url": upstream.url, "policy": {"allow_private": True}}
    assert (await program.post("/api/connections", json=form)).status_code == 201
    assert (await program.get("/proxy/orders/warm")).status_code == 200
    if fails:
        async with broken(running.db):
            for _ in range(3):
                assert (await program.get("/proxy/orders/a")).status_code == 200
            assert running.recorder.lag == 3
        await eventually(lambda: running.recorder.failing is None)
    else:
        for _ in range(3):
            assert (await program.get("/proxy/orders/a")).status_code == 200
    posted = await program.post("/api/calls", json={"connection": "orders", "method": "POST", "path": "/b"})
    assert posted.status_code == 201
    assert running.meters.series["orders"].calls == {("proxy", "done", 2): 4, ("api", "done", 2): 1}
