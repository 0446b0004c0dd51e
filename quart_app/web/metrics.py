"""`GET /metrics`: figures of this process for Prometheus, in its text format or OpenMetrics, as it asks.

Nothing is prepared before it is asked for. Labels name connections, never a URL.
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from quart import Response, request
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from quart_app.history import storage
from quart_app.models import Connection
from quart_app.outbound.limits import Limits
from quart_app.services import Services
from quart_app.vitals import logs
from quart_app.vitals.meters import MOST_CONNECTIONS, Histogram, Series
from quart_app.webhooks import deliveries

READ_SECONDS = 5.0
BREAKER_STATES = ("closed", "open", "half_open")
KINDS: dict[str, Any] = {
    "counter": CounterMetricFamily,
    "gauge": GaugeMetricFamily,
    "histogram": HistogramMetricFamily,
}
Labels = tuple[str, ...]
ONE: Labels = ("connection",)


@dataclass(frozen=True)
class Family:
    """A name of Prometheus, what it is, and the labels that its series have."""

    name: str
    kind: str
    help: str
    labels: Labels = ()


FAMILIES = (
    Family("switchboard_calls_total", "counter", "Calls that ended.", (*ONE, "origin", "outcome", "status")),
    Family("switchboard_call_failures_total", "counter", "Calls that failed, by reason.", (*ONE, "reason")),
    Family("switchboard_call_duration_seconds", "histogram", "Duration of calls, waits included.", ONE),
    Family("switchboard_attempts_total", "counter", "Attempts of the calls that ended.", ONE),
    Family("switchboard_next_steps_total", "counter",
           "Attempts that were followed by another or that none followed though they failed, by why.",
           (*ONE, "next_reason")),
    Family("switchboard_wait_seconds", "histogram", "Waits before an attempt, by what for.", (*ONE, "wait_reason")),
    Family("switchboard_token_refreshes_total", "counter", "Token exchanges.", (*ONE, "outcome")),
    Family("switchboard_sent_bytes_total", "counter", "Bytes of bodies sent to the API.", ONE),
    Family("switchboard_received_bytes_total", "counter", "Bytes of bodies received from the API.", ONE),
    Family("switchboard_calls_in_flight", "gauge", "Calls that hold one of the connection's places.", ONE),
    Family("switchboard_calls_waiting", "gauge", "Calls that wait for a place or for the rate.", ONE),
    Family("switchboard_breaker_state", "gauge", "1 for the state that the breaker is in.", (*ONE, "state")),
    Family("switchboard_breaker_opened_total", "counter", "How often the breaker opened.", ONE),
    Family("switchboard_recorder_waiting", "gauge", "Records that wait to be written."),
    Family("switchboard_recorder_failing", "gauge", "1 while the database takes no records."),
    Family("switchboard_recorder_dropped_total", "counter", "Records that were lost."),
    Family("switchboard_deliveries_waiting", "gauge", "Deliveries to webhooks that are not through yet."),
    Family("switchboard_calls_on_record", "gauge", "Calls in the history."),
    Family("switchboard_database_bytes", "gauge", "Bytes of the database in use."),
    Family("switchboard_wal_bytes", "gauge", "Bytes of SQLite's write-ahead log."),
    Family("switchboard_disk_free_bytes", "gauge", "Bytes that the disk of SQLite's file has left."),
    Family("switchboard_client_connections", "gauge", "Client connections.", ("state",)),
    Family("switchboard_client_connections_limit", "gauge", "Most client connections at once."),
    Family("switchboard_client_connections_refused_total", "counter", "Client connections closed at once."),
    Family("switchboard_client_connections_gave_way_total", "counter", "Idle ones closed for newcomers."),
    Family("switchboard_event_streams", "gauge", "Open streams of /api/events."),
    Family("switchboard_tasks", "gauge", "Tasks of the event loop."),
    Family("switchboard_loop_lag_seconds", "gauge", "How late the event loop was at its last tick."),
    Family("switchboard_loop_blocks_total", "counter", "How often the event loop stood still for over a second."),
    Family("switchboard_loop_blocked_seconds_total", "counter", "For how long it did so, in all."),
    Family("switchboard_log_lines_suppressed_total", "counter", "Lines of log held back because there were too many."),
    Family("switchboard_build_info", "gauge", "1 for the version that runs.", ("version",)),
)  # fmt: skip


async def get_metrics(services: Services, session: AsyncSession) -> Response:
    """Figures of this process for Prometheus."""
    figures = await read(services, session)
    collector = Collector(services, figures, tasks=len(asyncio.all_tasks()))
    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    text = await asyncio.to_thread(encode, registry(collector))  # beside the loop: it may be thousands of lines
    return Response(text, content_type=content_type, headers={"Cache-Control": "no-store"})


async def read(services: Services, session: AsyncSession) -> dict[str, Any]:
    """What only the database knows: its sizes, and which connections there are; no sizes while it fails."""
    try:
        async with asyncio.timeout(READ_SECONDS):
            rows = await session.execute(select(Connection.id, Connection.name).limit(MOST_CONNECTIONS))
            services.meters.keep({row.id: row.name for row in rows})
            waiting = await deliveries.count_waiting(session)
            return await storage.measure(services, session) | {"deliveries_waiting": waiting}
    except (SQLAlchemyError, OSError):
        return {}


def registry(collector: "Collector") -> CollectorRegistry:
    made = CollectorRegistry()
    made.register(collector)
    ProcessCollector(registry=made)
    PlatformCollector(registry=made)
    return made


class Collector:
    """The families as they are now; `figures` are those of `storage.measure`. Read in a thread beside the loop."""

    def __init__(self, services: Services, figures: dict[str, Any], *, tasks: int) -> None:
        self.services = services
        self.figures = figures
        self.tasks = tasks
        self._made: dict[str, Any] = {}

    def collect(self) -> Iterable[Metric]:
        self._made = {family.name: KINDS[family.kind](family.name, family.help, labels=family.labels)
                      for family in FAMILIES}  # fmt: skip
        for name, series in list(self.services.meters.series.items()):
            self._add_series(name, series)
        for id_, limits in list(self.services.client.limits.items()):
            if id_ in self.services.meters.names:
                self._add_limits(self.services.meters.names[id_], limits)
        self._add_records()
        self._add_clients()
        self._add_loop()
        return self._made.values()

    def _add(self, name: str, value: float, *labels: str) -> None:
        self._made[f"switchboard_{name}"].add_metric(labels, value)

    def _add_each(self, name: str, counts: dict[str, int], *labels: str) -> None:
        for last, count in list(counts.items()):
            self._add(name, count, *labels, last)

    def _add_series(self, name: str, series: Series) -> None:
        for (origin, outcome, status), count in list(series.calls.items()):
            self._add("calls_total", count, name, origin, outcome, f"{status}xx" if status else "none")
        self._add_each("call_failures_total", series.reasons, name)
        self._add_histogram("call_duration_seconds", series.durations, name)
        self._add("attempts_total", series.attempts, name)
        self._add_each("next_steps_total", series.next_steps, name)
        for reason, histogram in list(series.waits.items()):
            self._add_histogram("wait_seconds", histogram, name, reason)
        self._add_each("token_refreshes_total", series.refreshes, name)
        self._add("sent_bytes_total", series.bytes_sent, name)
        self._add("received_bytes_total", series.bytes_received, name)

    def _add_histogram(self, name: str, histogram: Histogram, *labels: str) -> None:
        self._made[f"switchboard_{name}"].add_metric(labels, buckets(histogram), histogram.sum)

    def _add_limits(self, name: str, limits: Limits) -> None:
        self._add("calls_in_flight", limits.taken, name)
        self._add("calls_waiting", limits.waiting, name)
        state = limits.breaker.state
        for one in BREAKER_STATES:
            self._add("breaker_state", one == state, name, one)
        self._add("breaker_opened_total", limits.breaker.opened_count, name)

    def _add_records(self) -> None:
        recorder = self.services.recorder
        self._add("recorder_waiting", recorder.lag)
        self._add("recorder_failing", bool(recorder.failing))
        self._add("recorder_dropped_total", recorder.dropped)
        names = {"deliveries_waiting": "deliveries_waiting"}
        names |= {"calls": "calls_on_record", "database_bytes": "database_bytes"}
        names |= {"wal_bytes": "wal_bytes", "free_bytes": "disk_free_bytes"}
        for figure, name in names.items():
            if self.figures.get(figure) is not None:
                self._add(name, self.figures[figure])

    def _add_clients(self) -> None:
        clients = self.services.clients
        self._add("client_connections", clients.open - clients.idle_count, "busy")
        self._add("client_connections", clients.idle_count, "idle")
        self._add("client_connections_limit", clients.most)
        self._add("client_connections_refused_total", clients.refused)
        self._add("client_connections_gave_way_total", clients.closed_idle)
        self._add("event_streams", self.services.events.count)

    def _add_loop(self) -> None:
        watchdog = self.services.watchdog
        self._add("tasks", self.tasks)
        self._add("loop_lag_seconds", watchdog.lag_seconds)
        self._add("loop_blocks_total", watchdog.blocks)
        self._add("loop_blocked_seconds_total", watchdog.blocked_seconds)
        self._add("log_lines_suppressed_total", logs.THROTTLE.suppressed)
        self._add("build_info", 1, version("switchboard-gateway"))


def buckets(histogram: Histogram) -> Sequence[tuple[str, float]]:
    """Prometheus' buckets hold all up to their bound, those of the smaller ones included."""
    made, total = [], 0
    for bound, count in zip((*map(str, histogram.bounds), "+Inf"), list(histogram.counts), strict=True):
        total += count
        made.append((bound, float(total)))
    return made
