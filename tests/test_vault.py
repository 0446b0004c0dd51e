"""Secrets at rest: what opens, what does not, and whose key it is."""

import base64
import os
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from quart_app.errors import DataError, SettingsError
from quart_app.services import Services, open_services
from quart_app.settings import Settings, load_settings
from quart_app.vault import Vault, digest, open_vault

KEY = bytes(range(32))
PLACE = {"table": "tokens", "column": "sealed_access_token", "row": "1"}


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
    with pytest.raises(DataError, match=r"the key does not fit the database: tokens\.sealed_access_token"):
        Vault(KEY[::-1]).unseal(Vault(KEY).seal("secret", **PLACE), **PLACE)


def test_a_fingerprint_is_equal_for_equal_secrets_of_one_installation_only() -> None:
    vault, other = Vault(KEY), Vault(KEY[::-1])
    assert vault.fingerprint("a") == Vault(KEY).fingerprint("a") != vault.fingerprint("b")
    assert vault.fingerprint("a") != other.fingerprint("a")
    assert len(vault.fingerprint("a")) == 12


def test_repr_and_attributes_say_nothing_of_the_key() -> None:
    vault = Vault(KEY)
    shown = repr(vault) + repr(vars(vault))
    assert KEY.hex() not in shown
    assert repr(KEY)[2:-1] not in shown
    assert base64.b64encode(KEY).decode() not in shown


def test_the_key_file_is_made_for_its_owner_only_and_found_again(tmp_path: Path) -> None:
    path = tmp_path / "switchboard.key"
    sealed = open_vault("", path).seal("secret", **PLACE)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(base64.b64decode(path.read_text())) == 32
    assert open_vault("", path).unseal(sealed, **PLACE) == "secret"
    assert [found.name for found in tmp_path.iterdir()] == ["switchboard.key"]


def test_two_key_files_hold_different_keys(tmp_path: Path) -> None:
    assert open_vault("", tmp_path / "a").key_id != open_vault("", tmp_path / "b").key_id


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_key_file_that_others_can_reach_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "switchboard.key"
    open_vault("", path)
    path.chmod(mode)
    with pytest.raises(DataError, match=f"others can read the key file: chmod 600 {path}"):
        open_vault("", path)


@pytest.mark.parametrize("content", [b"", b"short", base64.b64encode(KEY[:31]), b"\xff" * 44, b"!" * 44])
def test_a_key_file_that_holds_no_key_is_refused_and_kept(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "switchboard.key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(SettingsError, match=f"{path} is not the base64 of 32 bytes"):
        open_vault("", path)
    assert path.read_bytes() == content


def test_a_key_file_that_is_a_folder_or_has_no_place_is_said(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir(mode=0o700)
    with pytest.raises(DataError, match="cannot read the key file"):
        open_vault("", folder)
    with pytest.raises(DataError, match="cannot make the key file"):
        open_vault("", tmp_path / "nowhere" / "key")


def test_a_key_from_the_environment_is_used_and_no_file_made(tmp_path: Path) -> None:
    path = tmp_path / "switchboard.key"
    vault = open_vault(base64.b64encode(KEY).decode() + "\n", path)
    assert vault.key_id == Vault(KEY).key_id
    assert not path.exists()
    with pytest.raises(SettingsError, match="SWITCHBOARD_SEALING_KEY is not the base64 of 32 bytes") as caught:
        open_vault("c2VjcmV0", path)
    assert "c2VjcmV0" not in str(caught.value)


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
    assert str(caught.value).startswith("This is not the key that the database was sealed with (")
    assert "Put the right key file back, or give it as SWITCHBOARD_SEALING_KEY; nothing" in str(caught.value)
    path.write_bytes(right)
    await opens(settings)


async def test_a_lost_key_file_is_not_replaced_by_a_new_one(settings: Settings) -> None:
    await opens(settings)
    path = settings.data / "switchboard.key"
    path.rename(path.with_suffix(".kept"))
    with pytest.raises(DataError, match=r"cannot read the key file .*: No such file.* Put the right key file back"):
        await opens(settings)
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
