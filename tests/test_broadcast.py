"""Events: at most once each, in order, and never waited for."""

import asyncio

from quart_app.broadcast import BACKLOG, Broadcast


async def test_each_listener_gets_each_event_once_in_order() -> None:
    events = Broadcast()
    events.publish("call", "before anyone listens")
    with events.listening() as one, events.listening() as two:
        assert events.count == 2
        for number in range(3):
            events.publish("call", number)
        for listener in (one, two):
            assert [await anext(listener) for _ in range(3)] == [("call", 0), ("call", 1), ("call", 2)]
    assert events.count == 0


async def test_one_that_listens_no_more_is_forgotten_and_the_others_go_on() -> None:
    events = Broadcast()
    with events.listening() as stays:
        with events.listening():
            pass
        events.publish("call", 1)
        assert await anext(stays) == ("call", 1)


async def test_a_listener_that_falls_behind_is_let_go_and_nobody_waits_for_it() -> None:
    events = Broadcast()
    with events.listening() as slow:
        for number in range(BACKLOG + 1):
            events.publish("call", number)
        assert events.count == 0
        events.publish("call", "too late")
        async with asyncio.timeout(1):
            heard = [event async for event in slow]
    assert len(heard) == BACKLOG - 1
    assert ("call", "too late") not in heard


async def test_closing_ends_every_listener_also_one_that_waits() -> None:
    events = Broadcast()
    with events.listening() as waits, events.listening() as reads:
        events.publish("call", 1)
        assert await anext(waits) == ("call", 1)
        waiting = asyncio.create_task(anext(waits, "ended"))
        await asyncio.sleep(0)
        events.close()
        async with asyncio.timeout(1):
            assert await waiting == "ended"
            assert [event async for event in reads] == [("call", 1)]
    assert events.count == 0
