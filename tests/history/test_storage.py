"""The disk meter, on both databases."""

from dataclasses import replace

from quart_app.history import storage
from quart_app.instants import instant
from quart_app.services import Services
from tests.history.test_init import index, put, record


async def test_it_tells_what_there_is_and_what_stays(services: Services) -> None:
    services.settings = replace(services.settings, keep_days=7, keep_calls=1000, keep_bytes=10**9)
    async with services.db.session() as session:
        empty = await storage.measure(services, session)
    assert (empty["calls"], empty["oldest_at"]) == (0, None)
    await put(services, record(started_at=1_700_000_000.0), *(record() for _ in range(20)))
    await index(services)
    await put(services, record(), record(state="sending"))
    async with services.db.session() as session:
        found = await storage.measure(services, session)
    assert (found["calls"], found["oldest_at"]) == (23, instant(1_700_000_000.0))
    assert (found["keep_days"], found["keep_calls"], found["keep_bytes"]) == (7, 1000, 10**9)
    assert found["database_bytes"] >= empty["database_bytes"] > 10_000
    if services.db.is_sqlite:
        assert found["search"] == {"indexed": 21, "behind": 2}
        assert found["wal_bytes"] > 0
        assert found["free_bytes"] > 0
    else:
        assert (found["search"], found["wal_bytes"], found["free_bytes"]) == (None, None, None)
