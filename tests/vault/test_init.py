"""Secrets at rest: what opens, what does not, and with which key."""

import base64
import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

from quart_app.db import Database, parse_url
from quart_app.errors import DataError, SettingsError
from quart_app.services import Services, open_services, sealed_with
from quart_app.settings import Settings, load_settings
from quart_app.vault import Vault, digest, open_vault
from quart_app.vault.key_file import KeyFile

KEY = bytes(range(32))
OTHER = KEY[::-1]
PLACE = {"table": "tokens", "column": "sealed_access_token", "row": "1"}


@pytest.fixture
def file(tmp_path: Path) -> KeyFile:
    made = KeyFile(tmp_path / "switchboard.key")
    made.make()
    return made


@pytest.mark.parametrize("text", ["", "secret", "ü\u0000\n" * 1000])
def test_what_is_sealed_opens_again_and_is_not_to_be_seen(text: str) -> None:
    sealed = Vault(KEY).seal(text, **PLACE)
    assert Vault(KEY).unseal(sealed, **PLACE) == text
    assert not text or text.encode() not in sealed
    assert sealed[:5] == b"\x01" + Vault(KEY).key_id
    assert len(sealed) == 1 + 4 + 12 + len(text.encode()) + 16


def test_equal_texts_are_sealed_differently() -> None:
    assert len({Vault(KEY).seal("secret", **PLACE) for _ in range(100)}) == 100


@pytest.mark.parametrize("moved", [{"table": "connections"}, {"column": "sealed_refresh_token"}, {"row": "2"}])
def test_a_value_that_was_moved_does_not_open(moved: dict[str, str]) -> None:
    sealed = Vault(KEY).seal("secret", **PLACE)
    with pytest.raises(DataError, match="was changed or moved: it does not open") as caught:
        Vault(KEY).unseal(sealed, **{**PLACE, **moved})
    assert "secret" not in str(caught.value)


def test_no_changed_bit_opens() -> None:
    sealed = Vault(KEY).seal("secret", **PLACE)
    for place in range(len(sealed)):
        changed = bytearray(sealed)
        changed[place] ^= 1
        with pytest.raises(DataError):
            Vault(KEY).unseal(bytes(changed), **PLACE)


@pytest.mark.parametrize("length", [0, 4, 5, 17, 20])
def test_a_value_that_was_cut_does_not_open(length: int) -> None:
    with pytest.raises(DataError):
        Vault(KEY).unseal(Vault(KEY).seal("secret", **PLACE)[:length], **PLACE)


def test_another_key_is_told_apart_from_a_changed_value() -> None:
    sealed = Vault(KEY).seal("secret", **PLACE)
    with pytest.raises(DataError) as caught:
        Vault(OTHER).unseal(sealed, **PLACE)
    assert str(caught.value) == (
        f"tokens.sealed_access_token was sealed with key {Vault(KEY).key_id.hex()}. It is not among those of "
        "SWITCHBOARD_SEALING_KEY: give it there as well, behind the one that seals."
    )


def test_the_first_of_several_keys_seals_and_all_unseal() -> None:
    old, both = Vault(OTHER), Vault(KEY, OTHER)
    assert both.unseal(old.seal("before", **PLACE), **PLACE) == "before"
    assert Vault(KEY).unseal(both.seal("after", **PLACE), **PLACE) == "after"
    assert (both.key_id, both.key_ids) == (Vault(KEY).key_id, [Vault(KEY).key_id, old.key_id])


def test_a_value_does_not_open_under_the_id_of_another_key() -> None:
    sealed = bytearray(Vault(OTHER).seal("secret", **PLACE))
    sealed[1:5] = Vault(KEY).key_id
    with pytest.raises(DataError, match="was changed or moved"):
        Vault(KEY, OTHER).unseal(bytes(sealed), **PLACE)


def test_a_fingerprint_is_equal_for_equal_secrets_of_one_installation_only() -> None:
    vault, other = Vault(KEY), Vault(OTHER)
    assert vault.fingerprint("a") == Vault(KEY).fingerprint("a") != vault.fingerprint("b")
    assert vault.fingerprint("a") != other.fingerprint("a")
    assert len(vault.fingerprint("a")) == 12
    other.fingerprint_by(vault.fingerprint_key_of(vault.key_id))
    assert vault.fingerprint("a") == other.fingerprint("a")
    with pytest.raises(DataError, match="It is not among those of SWITCHBOARD_SEALING_KEY"):
        vault.fingerprint_key_of(other.key_id)


def test_repr_and_attributes_say_nothing_of_the_key(file: KeyFile) -> None:
    from_file, given = Vault(file=file), Vault(KEY)
    key = base64.b64decode(file.path.read_text())
    for vault, content in ((from_file, key), (given, KEY)):
        shown = repr(vault) + repr(vars(vault)) + repr(vault.file and vars(vault.file))
        derived = vault.fingerprint_key_of(vault.key_id)
        for secret in (content, derived):
            assert secret.hex() not in shown
            assert repr(secret)[2:-1] not in shown
            assert base64.b64encode(secret).decode() not in shown
    assert repr(given) == f"Vault({given.key_id.hex()})"


# With a key file


def test_a_vault_of_a_file_opens_again_what_it_sealed(tmp_path: Path) -> None:
    path = tmp_path / "switchboard.key"
    sealed = open_vault("", path).seal("secret", **PLACE)
    assert open_vault("", path).unseal(sealed, **PLACE) == "secret"
    assert open_vault("", tmp_path / "another").key_id != open_vault("", path).key_id


def test_a_new_key_seals_at_once_and_what_it_sealed_elsewhere_opens(file: KeyFile) -> None:
    running, reading = Vault(file=KeyFile(file.path)), Vault(file=KeyFile(file.path))
    before = running.seal("before", **PLACE)
    file.add()
    after = running.seal("after", **PLACE)
    assert after[1:5] == running.key_id != before[1:5]
    assert reading.unseal(after, **PLACE) == "after", "the file is read again for a key that is not known"
    assert reading.key_id == running.key_id
    file.retire()
    for vault in (running, reading):
        assert vault.seal("later", **PLACE)[1:5] == running.key_id
        assert vault.unseal(before, **PLACE) == "before", "a key that was known is known"


def test_a_change_is_taken_up_also_where_somebody_else_read_the_file_first(file: KeyFile) -> None:
    vault = Vault(file=file)
    before = vault.key_id
    file.add()
    file.read()
    assert vault.seal("secret", **PLACE)[1:5] != before


def test_a_key_that_is_kept_beside_the_file_opens_an_old_backup(file: KeyFile) -> None:
    sealed = Vault(file=file).seal("of old", **PLACE)
    file.add()
    (kept,) = file.retire()
    restored = Vault(file=KeyFile(file.path))
    assert restored.unseal(sealed, **PLACE) == "of old"
    away = kept.rename(kept.with_name("away"))
    restored = Vault(file=KeyFile(file.path))
    with pytest.raises(DataError) as caught:
        restored.unseal(sealed, **PLACE)
    assert str(caught.value) == (
        f"tokens.sealed_access_token was sealed with key {sealed[1:5].hex()}. It is not here: put the file of that key "
        f"back as {kept}."
    )
    away.rename(kept)
    assert restored.unseal(sealed, **PLACE) == "of old", "no restart is needed for it"


def test_a_server_that_slept_through_a_whole_rotation_takes_up_the_new_key(file: KeyFile) -> None:
    asleep = Vault(file=KeyFile(file.path))
    file.add()
    file.retire()
    assert asleep.seal("secret", **PLACE)[1:5] == Vault(file=file).key_id


BAD = {
    "gone": lambda path: path.unlink(),
    "no key": lambda path: path.write_text("half a k"),
    "for all to read": lambda path: path.chmod(0o644),
    "another installation's": lambda path: path.write_text(base64.b64encode(KEY).decode()),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_file_that_is_not_good_changes_nothing_for_who_runs(
    file: KeyFile, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    vault = Vault(file=KeyFile(file.path))
    key_id, right = vault.key_id, file.path.read_text()
    before = vault.seal("before", **PLACE)
    BAD[kind](file.path)
    os.utime(file.path, ns=(0, 0)) if file.path.exists() else None
    for _ in range(3):
        assert vault.seal("after", **PLACE)[1:5] == key_id
        assert vault.unseal(before, **PLACE) == "before"
    said = capsys.readouterr()
    assert (said.out + said.err).count("key_file") == (kind != "gone"), "once, and not at every look"
    assert right not in said.out + said.err
    file.path.unlink(missing_ok=True)
    file.path.touch(mode=0o600)
    file.path.write_text(right)
    file.add()
    assert vault.seal("later", **PLACE)[1:5] != key_id, "the right one counts again"


# Opening


def test_keys_from_the_environment_are_used_and_no_file_made(tmp_path: Path) -> None:
    path = tmp_path / "switchboard.key"
    texts = [base64.b64encode(key).decode() for key in (KEY, OTHER)]
    vault = open_vault(texts[0] + "\n", path)
    assert vault.key_ids == [Vault(KEY).key_id]
    assert open_vault(", ".join(texts), path).key_ids == Vault(KEY, OTHER).key_ids
    assert not path.exists()
    with pytest.raises(SettingsError, match="SWITCHBOARD_SEALING_KEY gives is not the base64 of 32 bytes") as caught:
        open_vault(f"{texts[0]},c2VjcmV0", path)
    assert "c2VjcmV0" not in str(caught.value)


@asynccontextmanager
async def open_db(settings: Settings) -> AsyncIterator[Database]:
    url, _ = parse_url(settings.database_url, settings.sqlite_path)
    db = Database(url, serves=False)
    yield db
    await db.close()


async def opens(settings: Settings) -> None:
    async with open_services(settings):
        pass


@pytest.mark.parametrize("by_environment", [False, True])
async def test_a_wrong_key_stops_the_start_with_a_sentence_that_says_what_to_do(
    settings: Settings, by_environment: bool
) -> None:
    await opens(settings)
    path = settings.data / "switchboard.key"
    right = path.read_bytes()
    wrong = base64.b64encode(os.urandom(32))
    changed = {"sealing_key": wrong.decode()} if by_environment else {}
    if not by_environment:
        path.write_bytes(wrong)
    given = {"data": str(settings.data), "database_url": settings.database_url, **changed}
    with pytest.raises(DataError) as caught:
        await opens(load_settings(given, {}))
    async with open_db(settings) as db:
        needed = await sealed_with(db)
    assert needed is not None
    said = str(caught.value)
    assert said.startswith(
        f"The database does not open with this key. installation.sealed_canary was sealed with key {needed.hex()}. "
    )
    wanted = "It is not among those of SWITCHBOARD_SEALING_KEY" if by_environment else f"as {path}.{needed.hex()}."
    assert wanted in said
    assert said.endswith(" Nothing in it was changed.")
    assert wrong.decode() not in said
    path.write_bytes(right)
    await opens(settings)


async def test_a_lost_key_file_is_not_replaced_by_a_new_one(settings: Settings) -> None:
    async with open_services(settings) as services:
        needed = services.vault.key_id.hex()
    path = settings.data / "switchboard.key"
    path.rename(path.with_suffix(".kept"))
    with pytest.raises(DataError) as caught:
        await opens(settings)
    assert str(caught.value) == (
        f"There is no key file {path}, and the database was sealed with key {needed}. Put the file of that key back "
        "there, or give it as SWITCHBOARD_SEALING_KEY; without it what was sealed stays sealed."
    )
    assert not path.exists()
    path.with_suffix(".kept").rename(path)
    await opens(settings)


async def test_the_database_holds_the_canary_sealed(services: Services) -> None:
    if not services.db.path:
        return
    with closing(sqlite3.connect(services.db.path)) as connection:
        (sealed,) = connection.execute("SELECT sealed_canary FROM installation").fetchone()
    assert b"canary" not in sealed
    assert services.vault.unseal(sealed, table="installation", column="sealed_canary", row="1") == "canary"


def test_a_digest_is_sha256_in_hex() -> None:
    assert digest("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
