"""Every setting, once: its name, default, help and parser.

The fields of `Settings` are the table. The command line's options (`--data`; none for a key), the environment
(`SWITCHBOARD_DATA`) and `switchboard.toml` in the data folder are all read from it, in that order of rank.
"""

import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from pathlib import Path
from typing import Any

from quart_app.errors import SettingsError

PREFIX = "SWITCHBOARD_"
FILE_NAME = "switchboard.toml"


UNSET = Path()


def setting(default: Any, help_: str, parse: Callable[[str], Any], *, secret: bool = False, option: bool = True) -> Any:
    """`secret` keeps it out of a repr. Without `option` it is none of the command line, which all users can list."""
    return field(default=default, repr=not secret, metadata={"help": help_, "parse": parse, "option": option})


def data_folder(text: str) -> Path:
    return Path(text).expanduser().absolute()


def positive(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 18 or int(text) < 1:
        raise ValueError("must be a whole number from 1 up")
    return int(text)


def none_or_more(text: str) -> int:
    return 0 if text == "0" else positive(text)


def names(text: str) -> tuple[str, ...]:
    return tuple(name.strip().lower() for name in text.split(",") if name.strip())


def switch(text: str) -> bool:
    if text.lower() in ("1", "true", "yes", "on"):
        return True
    if text.lower() in ("0", "false", "no", "off"):
        return False
    raise ValueError("must be true or false")


def log_level(text: str) -> str:
    if text.lower() not in ("debug", "info", "warning", "error"):
        raise ValueError("must be debug, info, warning or error")
    return text.lower()


def default_data() -> Path:
    """`$XDG_DATA_HOME/switchboard`, by default `~/.local/share/switchboard` (XDG Base Directory 0.8)."""
    home = os.environ.get("XDG_DATA_HOME", "")
    return (Path(home) if home else Path.home() / ".local" / "share") / "switchboard"


@dataclass(frozen=True, kw_only=True)
class Settings:
    bind: str = setting("127.0.0.1:8000", "Address and port to listen on.", str)
    data: Path = setting(UNSET, "Folder that holds the database, the key and the lock.", data_folder)
    database_url: str = setting("", "SQLAlchemy URL; empty means switchboard.db in the data folder.", str, secret=True)
    sealing_key: str = setting(
        "", "Sealing keys by commas, the first one seals; empty means the key file.", str, secret=True, option=False
    )
    key_file: str = setting("", "File of the sealing keys; empty means switchboard.key in the data folder.", str)
    public_url: str = setting("", "URL people reach this server by; empty means http:// and the bind.", str)
    hosts: tuple[str, ...] = setting((), "Further Host names to answer to, separated by commas.", names)
    behind_proxy: bool = setting(False, "Allow a bind that others can reach: a TLS proxy is in front.", switch)
    link_minutes: int = setting(15, "Minutes a sign-in link is good for.", positive)
    sign_in_hours: int = setting(336, "Hours after which a browser must sign in again.", positive)
    body_bytes: int = setting(10 * 1024**2, "Largest JSON body taken, in bytes.", positive)
    upload_bytes: int = setting(1024**3, "Largest body streamed through /proxy, in bytes.", positive)
    answer_bytes: int = setting(20 * 1024**2, "Largest answer collected by a buffered call, in bytes.", positive)
    header_bytes: int = setting(32 * 1024, "Largest sum of request headers, in bytes.", positive)
    header_count: int = setting(100, "Most request headers.", positive)
    url_bytes: int = setting(8 * 1024, "Longest request target, in bytes.", positive)
    write_stall_seconds: int = setting(30, "Seconds a caller may stop reading before it is let go.", positive)
    in_flight: int = setting(2000, "Most calls in flight at once, over all connections.", positive)
    in_flight_per_key: int = setting(1000, "Most calls in flight at once for one key or person.", positive)
    client_connections: int = setting(
        0, "Most client connections at once; 0 is a quarter of the files that may be open, up to 4096.", none_or_more
    )
    queue_calls: int = setting(512, "Calls that may wait for one connection's limits; more are refused.", positive)
    queue_seconds: int = setting(10, "Seconds a call may wait for its connection's limits.", positive)
    egress_allow: tuple[str, ...] = setting(
        (), "Denied addresses to allow, by commas: 10.0.0.5/32:8443, [fd00::]/8, host:svc.internal:8443.", names
    )
    recorder_entries: int = setting(2000, "Records that may wait to be written before callers wait.", positive)
    keep_days: int = setting(90, "Days that calls stay on record; 0 is for ever.", none_or_more)
    keep_calls: int = setting(0, "Most calls that stay on record; 0 is any number.", none_or_more)
    keep_bytes: int = setting(
        10 * 1024**3, "Bytes of the database beyond which the oldest calls go; 0 is any number.", none_or_more
    )
    log_level: str = setting("info", "debug, info, warning or error.", log_level)

    def __post_init__(self) -> None:
        if self.data == UNSET:
            object.__setattr__(self, "data", default_data())

    @property
    def sqlite_path(self) -> Path:
        return self.data / "switchboard.db"

    @property
    def own_url(self) -> str:
        """Where people, and browsers that providers send back, reach this server; without a slash at its end."""
        return self.public_url.rstrip("/") or f"http://{self.bind}"


def table() -> list[Field[Any]]:
    """The settings in order; `metadata` holds `help` and `parse`, `default` what holds without either."""
    return [item for item in fields(Settings) if item.default is not MISSING]


def load_settings(
    options: Mapping[str, str | None] | None = None, environ: Mapping[str, str] | None = None
) -> Settings:
    """Settings from options, then environment, then `switchboard.toml`, then defaults.

    Raises SettingsError that names every unknown name and every value that cannot be read, all at once.
    """
    environ = os.environ if environ is None else environ
    given = {name: value for name, value in (options or {}).items() if value is not None}
    known = {item.name for item in table()}
    for variable, value in environ.items():
        name = variable.removeprefix(PREFIX).lower()
        if variable.startswith(PREFIX) and name in known:
            given.setdefault(name, value)
    faults: list[str] = []
    folder = data_folder(given["data"]) if given.get("data") else default_data()
    for name, value in read_file(folder / FILE_NAME, faults).items():
        if name not in known:
            faults.append(f"{FILE_NAME}: {name} is not a setting")
        if name == "data":
            faults.append(f"{FILE_NAME}: data is where this file is, so it cannot be given in it")
        given.setdefault(name, value)
    values = parse_all(given, faults)
    if faults:
        raise SettingsError("; ".join(faults))
    return Settings(**values)


def read_file(path: Path, faults: list[str]) -> dict[str, str]:
    if not path.is_file():
        return {}
    try:
        lines = tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        faults.append(f"{FILE_NAME}: {error}")
        return {}
    return {name: ",".join(map(str, value)) if isinstance(value, list) else str(value) for name, value in lines.items()}


def parse_all(given: Mapping[str, str], faults: list[str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for item in table():
        if item.name not in given:
            continue
        try:
            values[item.name] = item.metadata["parse"](given[item.name])
        except ValueError as error:
            faults.append(f"{item.name}: {error}")
    return values
