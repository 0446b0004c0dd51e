"""What the app owns: who may serve a folder, what the processes tell each other, and what a dead one left."""

import asyncio
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from quart_app import accounts, calls, connections, jobs
from quart_app.errors import DataError
from quart_app.forms.connections import ConnectionForm
from quart_app.models import Call, Installation
from quart_app.outbound.target import Target
from quart_app.process import started
from quart_app.recorder import Record
from quart_app.records import BLANK
from quart_app.services import Caches, Services, key_path, open_services
from quart_app.settings import Settings
from quart_app.vault import Vault
from quart_app.vault.keys import keys_in, new_key


def form(name: str = "orders", **more: Any) -> ConnectionForm:
    return ConnectionForm.model_validate({"name": name, "base_url": "https://api.example.com/v1"} | more)


@pytest.mark.parametrize("database_url", [""])
async def test_a_second_server_on_a_folder_is_refused_and_told_who_is_there(services: Services) -> None:
    with pytest.raises(DataError) as caught:
        async with open_services(services.settings, serves=True):
            pass
    folder = services.settings.data
    assert str(caught.value) == (
        f"{folder} is in use: process {os.getpid()} on {socket.gethostname()} serves it already"
    )
    assert stat.S_IMODE((folder / "switchboard.lock").stat().st_mode) == 0o600


@pytest.mark.parametrize("database_url", [""])
async def test_a_command_works_beside_the_server_and_the_lock_ends_with_it(settings: Settings) -> None:
    async with open_services(settings, serves=True) as server, open_services(settings) as command:
        await accounts.create_account(command, "ann")
        assert await accounts.count(server) == 1
    async with open_services(settings, serves=True) as server:
        assert await accounts.count(server) == 1


async def test_on_postgres_many_servers_share_one_database(settings: Settings) -> None:
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(open_services(settings, serves=True))
        if settings.database_url:
            await stack.enter_async_context(open_services(settings, serves=True))
        else:
            with pytest.raises(DataError):
                await stack.enter_async_context(open_services(settings, serves=True))


async def test_an_installation_keeps_its_name_over_starts(settings: Settings) -> None:
    async with open_services(settings) as first:
        name = first.instance_id
    async with open_services(settings) as second:
        assert second.instance_id == name
    assert len(name) == 16


async def test_two_first_starts_at_once_make_one_installation(settings: Settings) -> None:
    async def start() -> str:
        async with open_services(settings) as services:
            return services.instance_id

    assert len(set(await asyncio.gather(start(), start(), start()))) == 1


async def test_what_another_process_changes_drops_the_caches_within_a_look(settings: Settings) -> None:
    async with open_services(settings, serves=True) as ours, open_services(settings) as theirs:
        await connections.create(ours, form())
        before = await connections.load(ours, "orders")
        await ours.watch()
        assert await connections.load(ours, "orders") is before, "a look that finds nothing new drops nothing"
        await connections.update(theirs, "orders", {"base_url": "https://other.example.com"})
        assert await connections.load(ours, "orders") is before
        await ours.watch()
        assert (await connections.load(ours, "orders")).base.origin == "https://other.example.com"


async def test_a_key_that_another_process_revokes_is_refused_after_a_look(settings: Settings) -> None:
    async with open_services(settings, serves=True) as ours, open_services(settings) as theirs:
        key = await accounts.create_key(theirs, "laptop")
        assert (await accounts.who_has_key(ours, key)).name == "laptop"
        (row,) = await accounts.list_keys(theirs)
        await accounts.revoke_key(theirs, row.id)
        await ours.watch()
        with pytest.raises(Exception, match="revoked"):
            await accounts.who_has_key(ours, key)


async def test_a_change_that_drops_nothing_here_still_tells_the_others(settings: Settings) -> None:
    async with open_services(settings, serves=True) as ours, open_services(settings) as theirs:
        await connections.create(ours, form())
        await theirs.watch()
        kept, other = await connections.load(ours, "orders"), await connections.load(theirs, "orders")
        async with ours.change(drop=False):
            pass
        assert await connections.load(ours, "orders") is kept
        await theirs.watch()
        assert await connections.load(theirs, "orders") is not other


async def test_a_change_that_missed_one_of_another_process_drops_all_the_same(settings: Settings) -> None:
    async with open_services(settings, serves=True) as ours, open_services(settings) as theirs:
        await connections.create(ours, form())
        await connections.load(ours, "orders")
        await connections.update(theirs, "orders", {"title": "Other"})
        async with ours.change(drop=False):
            pass
        assert ours.caches.of(Target) == {}


async def test_a_change_that_fails_counts_nothing(services: Services) -> None:
    async def fail() -> None:
        async with services.change():
            raise RuntimeError

    before = services.revision
    with pytest.raises(RuntimeError):
        await fail()
    async with services.db.session() as session:
        assert (await session.get_one(Installation, 1)).revision == before == services.revision


def test_what_was_read_before_the_caches_were_dropped_is_not_kept() -> None:
    caches = Caches()
    epoch = caches.epoch
    caches.drop()
    assert caches.keep(int, "one", 1, epoch) == 1
    assert caches.of(int) == {}
    caches.keep(int, "one", 1, caches.epoch)
    caches.keep(str, "one", "1", caches.epoch)
    assert (caches.of(int), caches.of(str)) == ({"one": 1}, {"one": "1"})


async def test_a_task_of_its_own_outlives_its_starter_and_is_waited_for_at_the_end(settings: Settings) -> None:
    ended = []

    async def work() -> None:
        await asyncio.sleep(0.05)
        ended.append(True)

    async def fail() -> None:
        raise RuntimeError

    async with open_services(settings) as services:
        services.spawn(fail(), "fails without a word")
        starter = asyncio.create_task(asyncio.sleep(10), name="starter")
        task = services.spawn(work(), "work")
        starter.cancel()
        assert not task.done()
    assert ended == [True]
    assert services.tasks == set()


def call(owner: str) -> Record:
    row: dict[str, Any] = {"id": f"call of {owner}", "owner": owner, "state": "sending", "started_at": 1.0}
    texts = {"connection_id": "1", "connection": "orders", "origin": "api", "actor": "test", "method": "POST"}
    return Record(BLANK | row | texts | {"url": "http://x/", "request_headers": "[]"})


async def states(services: Services, *owners: str) -> list[str]:
    async with services.db.session() as session:
        return [(await session.get_one(Call, f"call of {owner}")).state for owner in owners]


@pytest.fixture
def other() -> Iterator["subprocess.Popen[bytes]"]:
    """Another process, which runs until it is killed."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


async def test_calls_of_a_dead_process_become_interrupted_and_those_of_a_live_one_stay(
    services: Services, other: "subprocess.Popen[bytes]"
) -> None:
    alive = f"{socket.gethostname()}:{other.pid}:{started(other.pid)}"
    reused = f"{socket.gethostname()}:{other.pid}:1"
    elsewhere = f"not-{socket.gethostname()}:{other.pid}:1"
    owners = (alive, reused, elsewhere, services.process)
    for owner in owners:
        assert await services.recorder.write(call(owner))
    await jobs.settle(services)
    there = "interrupted" if services.db.is_sqlite else "sending"  # no other host can have an SQLite file
    assert await states(services, *owners) == ["sending", "interrupted", there, "sending"]
    other.kill()
    other.wait()
    await jobs.settle(services)
    assert await states(services, *owners) == ["interrupted", "interrupted", there, "sending"]


async def test_only_calls_that_are_still_sending_are_settled(services: Services) -> None:
    done = call("gone")
    done.call["state"] = "done"
    await services.recorder.write(done)
    assert await calls.settle_interrupted(services, ["gone"]) == 0
    assert await states(services, "gone") == ["done"]


async def kept_fingerprint_key(services: Services) -> bytes | None:
    async with services.db.session() as session:
        return (await session.get_one(Installation, 1)).sealed_fingerprint_key


async def test_fingerprints_have_a_random_key_of_their_own(settings: Settings) -> None:
    async with open_services(settings) as services:
        before = services.vault.fingerprint("secret")
        assert before != Vault(*keys_in(key_path(settings).read_text(), "it")).fingerprint("secret")
        assert await kept_fingerprint_key(services)
    async with open_services(settings) as services:
        assert services.vault.fingerprint("secret") == before


async def test_fingerprints_of_an_upgraded_database_stay_what_they_were(settings: Settings) -> None:
    """They came of the sealing key itself, and marks in the history are held against them."""
    async with open_services(settings) as services:
        before = Vault(*keys_in(key_path(settings).read_text(), "it")).fingerprint("secret")
        async with services.db.begin() as session:
            (await session.get_one(Installation, 1)).sealed_fingerprint_key = None
    for _ in range(2):
        async with open_services(settings) as services:
            assert services.vault.fingerprint("secret") == before
            assert await kept_fingerprint_key(services)


async def test_a_database_that_does_not_open_is_not_written_to(settings: Settings) -> None:
    async with open_services(settings) as services:
        async with services.db.begin() as session:
            (await session.get_one(Installation, 1)).sealed_fingerprint_key = None
        right = key_path(settings).read_text()
        key_path(settings).write_text(new_key())
        with pytest.raises(
            DataError, match=r"^The database does not open with this key\. .* Nothing in it was changed\.$"
        ):
            async with open_services(settings):
                pass
        assert await kept_fingerprint_key(services) is None
    key_path(settings).write_text(right)
    async with open_services(settings):
        pass
