"""An engine of its own for each test."""

from collections.abc import AsyncIterator

import pytest

from quart_app.outbound.client import Client


@pytest.fixture
async def engine() -> AsyncIterator[Client]:
    made = Client()
    yield made
    await made.close()
