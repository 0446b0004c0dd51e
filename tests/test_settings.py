"""Settings: their order of rank, and every fault at once."""

import os
from pathlib import Path
from typing import Any

import pytest

from quart_app.errors import SettingsError
from quart_app.settings import FILE_NAME, PREFIX, load_settings, table
from tests import settings_page


def write(folder: Path, lines: str) -> None:
    (folder / FILE_NAME).write_text(lines, "utf-8")


@pytest.mark.parametrize(
    ("option", "variable", "line", "expected"),
    [
        ("1.1.1.1:1", "2.2.2.2:2", "3.3.3.3:3", "1.1.1.1:1"),
        (None, "2.2.2.2:2", "3.3.3.3:3", "2.2.2.2:2"),
        (None, None, "3.3.3.3:3", "3.3.3.3:3"),
        (None, None, None, "127.0.0.1:8000"),
    ],
)
def test_option_outranks_environment_outranks_file_outranks_default(
    tmp_path: Path, option: str | None, variable: str | None, line: str | None, expected: str
) -> None:
    write(tmp_path, f'bind = "{line}"' if line else "")
    environ = {"SWITCHBOARD_BIND": variable} if variable else {}
    assert load_settings({"data": str(tmp_path), "bind": option}, environ).bind == expected


def test_the_file_is_found_in_the_folder_that_the_environment_names(tmp_path: Path) -> None:
    write(tmp_path, "link_minutes = 3")
    assert load_settings({}, {"SWITCHBOARD_DATA": str(tmp_path)}).link_minutes == 3


def test_the_data_folder_is_absolute_and_knows_the_home(tmp_path: Path) -> None:
    assert load_settings({"data": "~/somewhere"}, {}).data == Path.home() / "somewhere"
    assert load_settings({"data": "beside"}, {}).data == Path.cwd() / "beside"
    assert load_settings({"data": str(tmp_path)}, {}).sqlite_path == tmp_path / "switchboard.db"


def test_the_data_folder_follows_the_xdg_specification(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert load_settings({}, {}).data == tmp_path / "switchboard"
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert load_settings({}, {}).data == tmp_path / "home" / ".local" / "share" / "switchboard"


@pytest.mark.parametrize(
    ("line", "name", "expected"),
    [
        ('hosts = ["A.example", "b.example"]', "hosts", ("a.example", "b.example")),
        ('hosts = "a.example, b.example,"', "hosts", ("a.example", "b.example")),
        ("behind_proxy = true", "behind_proxy", True),
        ('behind_proxy = "off"', "behind_proxy", False),
        ("body_bytes = 1_000", "body_bytes", 1000),
        ('log_level = "DEBUG"', "log_level", "debug"),
    ],
)
def test_the_file_takes_the_types_of_toml(tmp_path: Path, line: str, name: str, expected: Any) -> None:
    write(tmp_path, line)
    assert getattr(load_settings({"data": str(tmp_path)}, {}), name) == expected


def test_all_faults_are_said_at_once(tmp_path: Path) -> None:
    write(tmp_path, 'colour = "red"\nheader_count = "many"\ndata = "elsewhere"')
    environ = {"SWITCHBOARD_LOG_LEVEL": "loud", "SWITCHBOARD_BEHIND_PROXY": "perhaps"}
    with pytest.raises(SettingsError) as caught:
        load_settings({"data": str(tmp_path), "link_minutes": "0", "body_bytes": "-1", "url_bytes": "1e3"}, environ)
    assert set(str(caught.value).split("; ")) == {
        "switchboard.toml: colour is not a setting",
        "switchboard.toml: data is where this file is, so it cannot be given in it",
        "behind_proxy: must be true or false",
        "link_minutes: must be a whole number from 1 up",
        "body_bytes: must be a whole number from 1 up",
        "url_bytes: must be a whole number from 1 up",
        "header_count: must be a whole number from 1 up",
        "log_level: must be debug, info, warning or error",
    }


@pytest.mark.parametrize("content", [b"bind = ", b"bind = \xff"])
def test_a_file_that_is_not_toml_is_a_fault_beside_the_others(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE_NAME).write_bytes(content)
    with pytest.raises(SettingsError, match=r"switchboard\.toml: .*; log_level: must be"):
        load_settings({"data": str(tmp_path), "log_level": "loud"}, {})


def test_variables_that_are_no_settings_are_left_alone(tmp_path: Path) -> None:
    environ = {"SWITCHBOARD_KEY": "sb_a_programs_key", "SWITCHBOARD_TEST_CHROMIUM": "x", "BIND": "9.9.9.9:9"}
    assert load_settings({"data": str(tmp_path)}, environ) == load_settings({"data": str(tmp_path)}, {})


def test_the_environment_is_read_when_none_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("SWITCHBOARD_DATA", str(tmp_path))
    monkeypatch.setenv("SWITCHBOARD_SIGN_IN_HOURS", "5")
    assert load_settings() == load_settings({"data": str(tmp_path), "sign_in_hours": "5"}, {})


def test_every_setting_has_a_help_and_a_default_that_its_own_parser_takes() -> None:
    for item in table():
        assert item.metadata["help"].endswith("."), item.name
        if item.type is int or item.type is str:
            assert item.metadata["parse"](str(item.default)) == item.default, item.name


def test_repr_says_no_secret(tmp_path: Path) -> None:
    given = {"data": str(tmp_path), "sealing_key": "c2VjcmV0", "database_url": "postgresql://u:hunter2@h/name"}
    shown = repr(load_settings(given, {}))
    assert not [word for word in ("c2VjcmV0", "hunter2") if word in shown]


def test_the_page_of_settings_is_made_from_the_table() -> None:
    assert settings_page.kept() == settings_page.rows(), "run python -m tests.settings_page"
