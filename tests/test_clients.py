"""Client connections: a bound, and who gives way when it is reached."""

import asyncio

from quart_app.clients import Clients


class Caller:
    def __init__(self) -> None:
        self.is_cut = False
        self.is_retired = 0

    def cut(self) -> None:
        self.is_cut = True

    def retire(self) -> None:
        self.is_retired += 1


def test_the_one_that_stood_idle_longest_gives_way_to_a_newcomer() -> None:
    clients = Clients(3)
    first, second, third, newcomer = callers = [Caller() for _ in range(4)]
    for caller in (first, second, third):
        assert clients.opened(caller)
    clients.busy(first)
    clients.busy(second)
    clients.idle(second)
    assert clients.opened(newcomer)
    assert [caller.is_cut for caller in callers] == [False, False, True, False]
    assert (clients.open, clients.idle_count, clients.closed_idle, clients.refused) == (3, 2, 1, 0)
    assert clients.opened(Caller())
    assert second.is_cut


def test_where_all_are_at_work_the_newcomer_is_refused() -> None:
    clients = Clients(2)
    callers = [Caller(), Caller()]
    for caller in callers:
        clients.opened(caller)
        clients.busy(caller)
    assert not clients.opened(Caller())
    assert (clients.open, clients.refused) == (2, 1)
    clients.ended(callers[0])
    assert clients.opened(Caller())


def test_one_that_has_ended_or_gave_way_is_counted_no_more_whatever_it_does() -> None:
    clients = Clients(1)
    first, second = Caller(), Caller()
    clients.opened(first)
    clients.opened(second)
    clients.busy(first)
    clients.idle(first)
    clients.ended(first)
    assert clients.open == 1
    clients.ended(second)
    clients.idle(second)
    assert clients.open == 0


def test_without_a_bound_there_is_no_end() -> None:
    clients = Clients()
    assert all(clients.opened(Caller()) for _ in range(10_000))


async def test_when_the_server_ends_those_that_are_idle_are_retired_and_those_at_work_are_not() -> None:
    clients, ended = Clients(), asyncio.Event()
    idle, working = Caller(), Caller()
    for caller in (idle, working):
        clients.opened(caller)
        clients.watch(60, ended)
    clients.busy(working)
    await asyncio.sleep(0)
    assert not idle.is_retired
    ended.set()
    await asyncio.sleep(0.01)
    assert (idle.is_retired, working.is_retired) == (True, False)
    clients.close()


async def test_who_is_idle_for_too_long_is_retired_once_and_who_was_at_work_meanwhile_is_not() -> None:
    clients, ended = Clients(), asyncio.Event()
    idle, active = Caller(), Caller()
    for caller in (idle, active):
        clients.opened(caller)
    clients.watch(0.8, ended)
    await asyncio.sleep(0.5)
    clients.busy(active)
    clients.idle(active)
    await asyncio.sleep(0.7)
    assert (idle.is_retired, active.is_retired) == (1, 0)
    await asyncio.sleep(1.0)
    assert (idle.is_retired, active.is_retired) == (1, 1)
    clients.close()
