"""A new sealing key while the app runs: everything is sealed anew, nothing is lost, whatever stops it.

`faults/keys.py` does the kills on hundreds of values, with a server that answers meanwhile.
"""

import asyncio
import base64
import os
import re
import shutil
import signal
import stat
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, text

from quart_app import audit, connections, rekeying
from quart_app.errors import DataError
from quart_app.files import copy_sqlite, make_private_folder, plain_sqlite
from quart_app.forms.connections import ConnectionForm
from quart_app.models import Authorization, Base, Token, Webhook
from quart_app.rekeying import Rotation, keys_of_copy, sealed_columns, values_by_key
from quart_app.rescue import Rescue
from quart_app.services import Services, open_services
from quart_app.settings import Settings
from quart_app.vault import Vault
from quart_app.vault.key_file import KeyFile
from quart_app.vault.keys import new_key
from tests import rotating
from tests.served import Served
from tests.upstream import Upstream

SCHEMA = Path(__file__).parents[1] / "schema.sql"
SQLITE = pytest.mark.parametrize("database_url", [""])
ID = "[0-9a-f]" * 8
KINDS = ("sealed_access_token", "sealed_refresh_token", "sealed_spare_refresh_token")


async def rotate(services: Services, **more: Any) -> Rotation:
    given: dict[str, Any] = {"actor": "test", "progress": lambda *_: None, "settle_seconds": 0.0} | more
    return await rekeying.rotate(services, **given)


async def fill(services: Services, count: int) -> None:
    """Connections with tokens, sign-ins on their way, webhooks: something in every sealed column."""
    for number in range(count):
        auth = {"scheme": "oauth2", "grant": "refresh_token", "token_url": "https://as.example.com/token"}
        auth |= {"client_id": "c", "client_secret": f"client-secret-{number}", "refresh_token": f"first-{number}"}
        form = {"name": f"c{number}", "base_url": "https://api.example.com", "auth": auth}
        row = await connections.create(services, ConnectionForm.model_validate(form))
        seal = services.vault.seal
        async with services.db.begin() as session:
            token = await session.get_one(Token, row.id)
            for column in KINDS:
                setattr(token, column, seal(f"{column}-{number}", table="tokens", column=column, row=row.id))
            place = {"table": "authorizations", "column": "sealed_verifier", "row": f"state-{number}"}
            session.add(
                Authorization(
                    state_hash=place["row"],
                    browser_hash="b",
                    connection_id=row.id,
                    nonce_hash="n",
                    redirect_uri="http://127.0.0.1/",
                    actor="test",
                    created_at=1.0,
                    expires_at=2.0,
                    sealed_verifier=seal(f"verifier-{number}", **place),
                )
            )
            place = {"table": "webhooks", "column": "sealed_secret", "row": f"webhook-{number}"}
            sealed = seal(f"webhook-secret-{number}", **place)
            session.add(
                Webhook(id=place["row"], url="", events=[], allow_private=False, sealed_secret=sealed, created_at=1.0)
            )


VALUES = 6
"""That `fill` makes for each."""


async def everything(services: Services) -> dict[tuple[str, str, str], tuple[bytes, str]]:
    """The key id and the text of everything sealed, by its place."""
    found = {}
    async with services.db.session() as session:
        for key, column in sealed_columns():
            table = column.table.name
            for row, sealed in await session.execute(select(key, column).where(column.is_not(None))):
                opened = services.vault.unseal(sealed, table=table, column=column.name, row=str(row))
                found[table, column.name, str(row)] = (bytes(sealed[1:5]), opened)
    return found


def texts(found: dict[tuple[str, str, str], tuple[bytes, str]]) -> dict[tuple[str, str, str], str]:
    return {place: opened for place, (_, opened) in found.items()}


@asynccontextmanager
async def with_keys(settings: Settings, *keys: bytes) -> AsyncIterator[Services]:
    """As started with `SWITCHBOARD_SEALING_KEY`."""
    given = ",".join(base64.b64encode(key).decode() for key in keys)
    async with open_services(replace(settings, sealing_key=given)) as services:
        yield services


def test_every_sealed_column_of_the_schema_is_known_with_the_one_key_of_its_row() -> None:
    in_schema = set(re.findall(r"^\s+(sealed_\w+) BLOB", SCHEMA.read_text("utf-8"), re.MULTILINE))
    assert {column.name for _, column in sealed_columns()} == in_schema
    places = [(column.table.name, column.name) for _, column in sealed_columns()]
    assert len(places) == len(set(places)), "a row has one name"
    assert len(Base.metadata.tables) > len({table for table, _ in places})


async def test_everything_is_sealed_with_the_new_key_and_opens_to_what_it_was(services: Services) -> None:
    await fill(services, 25)
    before, old = await everything(services), services.vault.key_id
    told: list[tuple[int, int]] = []
    rotation = await rotate(services, progress=lambda moved, total: told.append((moved, total)))
    after = await everything(services)
    assert texts(after) == texts(before)
    assert {column.name for _, column in sealed_columns()} == {column for _, column, _ in after}
    assert {key_id for key_id, _ in after.values()} == {rotation.key_id} != {old}
    assert rotation == Rotation(services.vault.key_id, 25 * VALUES + 2, [], rotation.kept)
    assert told[-1] == (25 * VALUES + 2, 25 * VALUES + 2)
    assert told == sorted(told)
    assert max(b - a for (a, _), (b, _) in zip([(0, 0), *told], told, strict=False)) <= rekeying.STEP_ROWS


async def test_the_old_key_leaves_the_file_and_is_kept_beside_it(services: Services) -> None:
    file, old = services.vault.file, services.vault.key_id
    assert file is not None
    rotation = await rotate(services)
    (kept,) = rotation.kept
    assert kept == file.path.with_name(f"switchboard.key.{old.hex()}")
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert [key.id for key in KeyFile(file.path).read()] == [rotation.key_id]
    assert (await rotate(services)).kept != [kept], "the next one is another"


async def test_both_keys_are_readable_meanwhile(services: Services) -> None:
    seen = []

    def look(label: str) -> None:
        if label == "step_committed":
            seen.append([key.id for key in KeyFile(services.vault.file.path).read()])  # type: ignore[union-attr]  # set

    old, services.reached = services.vault.key_id, look
    rotation = await rotate(services)
    assert seen
    assert all(ids == [rotation.key_id, old] for ids in seen)


async def test_the_audit_tells_of_it_by_key_ids_only(services: Services) -> None:
    rotation = await rotate(services)
    async with services.db.session() as session:
        finished, started = await audit.page(session, limit=2)
        assert (await audit.verify(session))[0] is None
    assert (started.action, started.subject) == ("key_rotation_started", rotation.key_id.hex())
    assert (started.actor, started.detail) == ("test", "2 values are sealed with other keys")
    assert (finished.action, finished.detail) == ("key_rotation_finished", "2 values were sealed anew")


async def test_fingerprints_stay_what_they_are(settings: Settings) -> None:
    async with open_services(settings) as services:
        before = services.vault.fingerprint("secret")
        await rotate(services)
        assert services.vault.fingerprint("secret") == before
    async with open_services(settings) as services:
        assert services.vault.fingerprint("secret") == before


async def test_a_server_that_runs_meanwhile_reads_and_seals_all_the_time(settings: Settings) -> None:
    async with open_services(settings, serves=True) as server, open_services(settings) as command:
        await fill(server, 10)
        before, stop = texts(await everything(server)), asyncio.Event()
        seen: list[dict[tuple[str, str, str], str]] = []

        async def serve() -> None:
            while not stop.is_set():
                seen.append(texts(await everything(server)))
                await connections.update(server, "c0", {"title": f"{len(seen)}"})
                await asyncio.sleep(0)

        serving = asyncio.create_task(serve())
        for _ in range(3):
            rotation = await rotate(command, settle_seconds=0.2)
            assert rotation.unopened == []
        stop.set()
        await serving
        assert len(seen) > 3
        assert all(found == before for found in seen)
        assert await values_by_key(server) == {rotation.key_id: len(before)}


@SQLITE
async def test_what_is_stored_between_reading_and_writing_is_never_written_over(services: Services) -> None:
    await fill(services, 1)
    assert services.db.path is not None
    path = services.db.path
    stored: list[bytes] = []

    def store(label: str) -> None:
        """As another process would, at the worst moment: it has the old key in hand still."""
        if label != "step_read" or stored:
            return
        with plain_sqlite(path) as other:
            row = other.execute("SELECT connection_id FROM tokens").fetchone()[0]
            place = {"table": "tokens", "column": "sealed_access_token", "row": row}
            stored.append(old.seal("rotated meanwhile", **place))
            other.execute("UPDATE tokens SET sealed_access_token = ?", stored)
            other.execute("UPDATE connections SET sealed_secrets = ?", [secrets_of(row)])
            other.commit()

    def secrets_of(row: str) -> bytes:
        return old.seal("{}", table="connections", column="sealed_secrets", row=row)

    assert services.vault.file is not None
    old = Vault(file=KeyFile(services.vault.file.path))
    old.file = None
    services.reached = store
    rotation = await rotate(services)
    found = {(table, column): opened for (table, column, _), opened in texts(await everything(services)).items()}
    assert found["tokens", "sealed_access_token"] == "rotated meanwhile"
    assert found["connections", "sealed_secrets"] == "{}"
    assert await values_by_key(services) == {rotation.key_id: VALUES + 2}


class Stopped(Exception):
    pass


async def test_what_was_stopped_goes_on_with_the_same_key(services: Services) -> None:
    await fill(services, 10)
    before, left = texts(await everything(services)), [30]

    def stop(label: str) -> None:
        left[0] -= label == "resealed"
        if not left[0]:
            raise Stopped

    services.reached = stop
    with pytest.raises(Stopped):
        await rotate(services)
    half = await values_by_key(services)
    assert len(half) == 2
    new = services.vault.key_id
    services.reached = lambda _: None
    rotation = await rotate(services)
    assert rotation.key_id == new
    assert 0 < rotation.moved < len(before)
    assert texts(await everything(services)) == before
    assert await values_by_key(services) == {new: len(before)}


async def test_two_at_once_do_not_make_two_keys(settings: Settings) -> None:
    async with open_services(settings) as one, open_services(settings) as other:
        await fill(one, 3)
        outcomes = await asyncio.gather(rotate(one), rotate(other), return_exceptions=True)
        (refused,) = [outcome for outcome in outcomes if isinstance(outcome, DataError)]
        assert str(refused) == f"the keys of {settings.data / 'switchboard.key'} are being rotated already"
        (rotation,) = [outcome for outcome in outcomes if isinstance(outcome, Rotation)]
        assert await values_by_key(one) == {rotation.key_id: 3 * VALUES + 2}


async def test_a_value_that_does_not_open_is_named_and_left_and_the_rest_is_done(services: Services) -> None:
    await fill(services, 2)
    lost = Vault(os.urandom(32))
    async with services.db.begin() as session:
        row = await session.get_one(Webhook, "webhook-0")
        moved = row.sealed_secret
        (await session.get_one(Webhook, "webhook-1")).sealed_secret = moved
        row.sealed_secret = lost.seal("x", table="webhooks", column="sealed_secret", row="webhook-0")
    rotation = await rotate(services)
    assert services.vault.file is not None
    assert rotation.unopened == [
        f"webhooks.sealed_secret was sealed with key {lost.key_id.hex()}. It is not here: put the file of that key "
        f"back as {services.vault.file.old_path(lost.key_id)}.",
        "webhooks.sealed_secret of webhook-1 was changed or moved: it does not open.",
    ]
    assert rotation.moved == 2 * VALUES
    async with services.db.session() as session:
        assert (await session.get_one(Webhook, "webhook-1")).sealed_secret == moved


async def test_a_token_in_a_rescue_slot_keeps_the_old_key_in_the_file(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rekeying, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(rekeying, "RESCUE_SECONDS", 0.1)
    async with open_services(settings) as services:
        rescue = Rescue(services.rescue.path.parent, slots=1)
        slot = rescue.put("e" * 36, services.vault.seal("token", table="rescue", column="token", row="e" * 36))
        with pytest.raises(DataError, match="A token that is not in the database yet is sealed with the old key"):
            await rotate(services)
        assert services.vault.file is not None
        assert len(services.vault.file.read()) == 2
        monkeypatch.setattr(rekeying, "RESCUE_SECONDS", 10)
        going_on = asyncio.create_task(rotate(services))
        await asyncio.sleep(0.2)
        assert not going_on.done()
        rescue.clear(slot)
        assert len((await going_on).kept) == 1
        rescue.close()


async def test_the_first_key_of_the_environment_takes_over_and_no_file_is_made(settings: Settings) -> None:
    old, new = os.urandom(32), os.urandom(32)
    async with with_keys(settings, old) as services:
        await fill(services, 2)
        before = texts(await everything(services))
        with pytest.raises(DataError) as caught:
            await rotate(services)
        assert str(caught.value).startswith(f"Everything is sealed with key {services.vault.key_id.hex()} already")
        assert "openssl rand -base64 32" in str(caught.value)
    async with with_keys(settings, new, old) as services:
        rotation = await rotate(services)
        assert rotation == Rotation(Vault(new).key_id, len(before), [], [])
    async with with_keys(settings, new) as services:
        assert texts(await everything(services)) == before
    assert list(settings.data.glob("*.key*")) == []


async def test_a_key_file_that_cannot_be_written_is_left_to_whoever_mounts_it(services: Services) -> None:
    await fill(services, 1)
    file, old = services.vault.file, services.vault.key_id
    assert file is not None
    (mounted := file.path.with_name("switchboard.key.new")).mkdir()
    with pytest.raises(DataError, match=f"cannot write beside the key file {file.path}"):
        await rotate(services)
    file.path.write_text(f"{new_key()}\n{file.path.read_text()}")
    with pytest.raises(DataError) as caught:
        await rotate(services)
    assert str(caught.value).startswith(f"Everything is sealed with key {services.vault.key_id.hex()} now, but cannot")
    assert "Take the other keys out of the file by hand" in str(caught.value)
    assert await values_by_key(services) == {services.vault.key_id: VALUES + 2}
    assert services.vault.key_id != old
    assert mounted.is_dir()


async def test_two_hosts_with_a_copy_of_the_file_each_are_rotated_by_hand_without_a_restart(
    settings: Settings, tmp_path: Path
) -> None:
    """As docs/keys.md says: the second line everywhere, the first line everywhere, then the command on one of them."""
    here, there = tmp_path / "here.key", tmp_path / "there.key"
    url = settings.database_url or f"sqlite:///{settings.sqlite_path}"
    hosts = [
        replace(settings, data=path.with_suffix(""), key_file=str(path), database_url=url) for path in (here, there)
    ]
    make_private_folder(settings.data)
    KeyFile(here).make()
    shutil.copy(here, there)
    async with open_services(hosts[0]) as one, open_services(hosts[1]) as two:
        await fill(one, 3)
        before, old, new = texts(await everything(one)), here.read_text().strip(), new_key()
        for lines in (f"{old}\n{new}\n", f"{new}\n{old}\n"):
            for path, services in ((here, one), (there, two)):
                path.write_text(lines)
                await connections.update(services, "c0", {"title": path.name})
                assert texts(await everything(one)) == texts(await everything(two)) == before
        rotation = await rotate(one)
        there.write_text(new)
        assert texts(await everything(two)) == before
        await connections.update(two, "c1", {"title": "at last"})
        assert await values_by_key(one) == {rotation.key_id: 3 * VALUES + 2}
    async with open_services(hosts[1]) as two:
        assert texts(await everything(two)) == before


async def test_writers_that_may_have_the_old_key_in_hand_are_waited_for(services: Services) -> None:
    reached: dict[str, float] = {}

    def stamp(label: str) -> None:
        reached.setdefault(label, time.monotonic())

    services.reached = stamp
    await rotate(services, settle_seconds=0.3)
    assert reached["all_resealed"] - reached["key_added"] > 0.25


@SQLITE
async def test_what_such_a_writer_stores_at_last_is_found(services: Services) -> None:
    await fill(services, 1)
    assert services.db.path is not None
    path, place = services.db.path, {"table": "webhooks", "column": "sealed_secret", "row": "webhook-0"}
    in_hand, left = services.vault.seal("from before", **place), [1]

    def store(label: str) -> None:
        """After its own step has gone by."""
        with plain_sqlite(path) as other:
            (sealed,) = other.execute("SELECT sealed_secret FROM webhooks").fetchone()
            if label == "step_committed" and left and sealed[1:5] != in_hand[1:5]:
                left.clear()
                other.execute("UPDATE webhooks SET sealed_secret = ?", [in_hand])
                other.commit()

    services.reached = store
    rotation = await rotate(services)
    assert left == []
    found = await everything(services)
    assert found["webhooks", "sealed_secret", "webhook-0"] == (rotation.key_id, "from before")


NO = "CREATE TRIGGER no BEFORE UPDATE ON installation BEGIN SELECT raise(ABORT, 'no'); END"


@SQLITE
async def test_a_database_that_stays_busy_is_told_with_what_to_do(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rekeying, "TRIES", 1)
    async with services.db.begin() as session:
        await session.execute(
            text("CREATE TRIGGER no BEFORE UPDATE ON installation BEGIN SELECT raise(ABORT, 'no'); END")
        )
    with pytest.raises(DataError, match=r"The database takes nothing: .* run it again to go on\."):
        await rotate(services)
    async with services.db.begin() as session:
        await session.execute(text("DROP TRIGGER no"))
    assert (await rotate(services)).moved == 2


@SQLITE
async def test_a_copy_tells_which_keys_it_needs(services: Services, tmp_path: Path) -> None:
    await fill(services, 1)
    old = services.vault.key_id.hex()
    assert services.db.path is not None
    copy_sqlite(services.db.path, tmp_path / "before")
    left = [4]

    def stop(label: str) -> None:
        left[0] -= label == "step_committed"
        if not left[0]:
            raise Stopped

    services.reached = stop
    with pytest.raises(Stopped):
        await rotate(services)
    copy_sqlite(services.db.path, tmp_path / "between")
    services.reached = lambda _: None
    new = (await rotate(services)).key_id.hex()
    copy_sqlite(services.db.path, tmp_path / "after")
    assert keys_of_copy(tmp_path / "before") == [old]
    assert keys_of_copy(tmp_path / "between") == sorted([old, new])
    assert keys_of_copy(tmp_path / "after") == [new]


@SQLITE
async def test_an_old_backup_opens_with_the_key_that_is_kept_and_is_rotated_as_well(
    settings: Settings, tmp_path: Path
) -> None:
    async with open_services(settings) as services:
        await fill(services, 2)
        before = texts(await everything(services))
        copy_sqlite(settings.sqlite_path, tmp_path / "backup")
        (kept,) = (await rotate(services)).kept
    for path in settings.data.glob("switchboard.db*"):
        path.unlink()
    (tmp_path / "backup").rename(settings.sqlite_path)
    async with open_services(settings) as services:
        assert texts(await everything(services)) == before
        fingerprint = services.vault.fingerprint("secret")
        await rotate(services)
    kept.unlink()
    async with open_services(settings) as services:
        assert texts(await everything(services)) == before
        assert services.vault.fingerprint("secret") == fingerprint


@SQLITE
async def test_killed_at_every_tenth_row_it_loses_nothing_and_comes_to_its_end(
    settings: Settings, tmp_path: Path
) -> None:
    """A process of its own each time, and SIGKILL: also after the new key and before the old one leaves."""
    async with open_services(settings) as services:
        await fill(services, 12)
        before, old = texts(await everything(services)), services.vault.key_id
    kills = [("key_added", 1), *[("resealed", count) for count in (10, 20, 10, 20, 10)], ("all_resealed", 1)]
    for number, (label, count) in enumerate(kills):
        code = await asyncio.to_thread(rotating.run, settings.data, label, count)
        assert code == -signal.SIGKILL, f"{label} {count} was not reached"
        assert rotating.texts_of_copy(settings.data, tmp_path / str(number)) == before
    assert await asyncio.to_thread(rotating.run, settings.data, "", 0) == 0
    assert rotating.texts_of_copy(settings.data, tmp_path / "end") == before
    async with open_services(settings) as services:
        assert await values_by_key(services) == {services.vault.key_id: len(before)}
        assert services.vault.key_id != old
        assert [path.name for path in sorted(settings.data.glob(f"switchboard.key.{ID}"))] == [
            f"switchboard.key.{old.hex()}"
        ], "one new key in all"


async def test_a_served_process_answers_with_its_secrets_throughout(served: Served, upstream: Upstream) -> None:
    names = [f"c{number}" for number in range(12)]
    for name in names:
        auth = {"scheme": "bearer", "token": f"token-of-{name}"}
        await asyncio.to_thread(served.add_connection, name, upstream.url, auth=auth)
    statuses: list[int] = []

    async def call(rounds: int) -> None:
        """Each change empties the server's caches, so that secrets are read and sealed all the time."""
        for number in range(rounds):
            for name in names:
                statuses.append((await asyncio.to_thread(served.request, "GET", f"/proxy/{name}/{name}"))[0])
            change = {"title": f"round {number}"}
            path = f"/api/connections/{names[number % len(names)]}"
            statuses.append((await asyncio.to_thread(served.request, "PATCH", path, change))[0])

    calling = asyncio.create_task(call(1000))
    said = await asyncio.to_thread(served.cli, "rotate-key")
    during = len(statuses)
    calling.cancel()
    await asyncio.gather(calling, return_exceptions=True)
    assert during > 2 * len(names)
    old = Path(said.rpartition("need ")[2].partition(": keep")[0])
    old.unlink()
    await asyncio.to_thread(served.kill)
    await asyncio.to_thread(served.start)
    await call(1)
    assert set(statuses) == {200}
    assert all(seen.header("Authorization") == f"Bearer token-of-{seen.path[1:]}" for seen in upstream.seen)
    assert "key_file" not in served.log.read_text()
