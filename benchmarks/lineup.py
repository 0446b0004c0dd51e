"""The subjects: what each is, what it is installed from, how it is started and how it is called."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import subprocess
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import load
import venvs
from figures import Load
from process import BenchmarkError, Child, clean_environment, direct, free_port, running, wait_ready

SUBJECTS = venvs.HERE / "subjects"
HYPERCORN_TOML = venvs.ROOT / "hypercorn.toml"
SWITCHBOARD = venvs.REPO_VENV / "bin" / "switchboard"
CONNECTION = "bench"


@dataclass(frozen=True)
class Server:
    """A subject that is up: its process, its folder, and how a caller gets through it to the upstream."""

    child: Child
    port: int
    data: Path
    prefix: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)

    def url(self, path: str) -> str:
        """The address at which the subject relays `path` of the upstream."""
        return f"http://127.0.0.1:{self.port}{self.prefix}{path}"

    def drive(self, path: str, *, callers: int, seconds: int) -> Load:
        """Keep `callers` busy with GETs of `path` of the upstream, through the subject."""
        return load.drive(self.url(path), self.headers, callers=callers, seconds=seconds)


class Subject:
    """One design; its command runs in a venv of its own, with its address and folders in the environment."""

    letter: str
    title: str
    packages: tuple[str, ...]  # the ones whose versions are worth reporting
    takes_batches = True
    count_query: str | None = None  # calls of status 200 on record

    def install(self) -> Path:
        """The folder of the venv, made if need be."""
        raise NotImplementedError

    def command(self, port: int, upstream: str, data: Path) -> list[str | Path]:
        """What starts the server, from within the folder of the subjects."""
        raise NotImplementedError

    @contextlib.contextmanager
    def serving(self, upstream_port: int, data: Path) -> Iterator[Server]:
        """Start the subject on a new folder, and end it with the block."""
        data.mkdir()
        port, upstream = free_port(), f"http://127.0.0.1:{upstream_port}"
        env = {"BENCH_PORT": str(port), "BENCH_UPSTREAM": upstream, "BENCH_DATA": str(data)}
        command = self.command(port, upstream, data)
        with running(command, log=data / "log", env=env, cwd=SUBJECTS) as child:
            server = Server(child, port, data)
            wait_ready(child, server.url("/fast"))
            yield server

    def batch_request(self, server: Server, calls: int, path: str) -> urllib.request.Request:
        """A request for `calls` calls of `path` at once."""
        return urllib.request.Request(server.url(f"/batch?count={calls}&path={path}"), method="POST")

    def good_in_batch(self, answer: bytes) -> int:
        """How many calls of a batch ended well, by its answer."""
        return sum(item["status"] == 200 for item in json.loads(answer))

    def on_record(self, data: Path) -> int | None:
        """The number of good calls in the subject's database; None if it keeps no such thing."""
        if self.count_query is None:
            return None
        with contextlib.closing(sqlite3.connect(_database(data))) as database:
            count: int = database.execute(self.count_query).fetchone()[0]
            return count


class FlaskThreads(Subject):
    """The design that Switchboard replaces."""

    letter, title = "a", "Flask, threads, `requests`"
    packages = ("Flask", "Werkzeug", "requests", "SQLAlchemy")
    count_query = "SELECT count(*) FROM calls WHERE status = 200"

    def install(self) -> Path:
        """The newest releases: the design is measured, not its old versions."""
        return venvs.ensure("flask_threads", ["flask~=3.1", "requests~=2.32", "sqlalchemy~=2.0"])

    def command(self, port: int, upstream: str, data: Path) -> list[str | Path]:
        """Flask's own threaded server."""
        return [self.install() / "bin" / "python", "flask_threads.py"]


class FastapiHttpx(Subject):
    """The design most would write today."""

    letter, title = "b", "FastAPI, httpx, a commit per request"
    packages = ("fastapi", "uvicorn", "uvloop", "httpx", "SQLAlchemy", "aiosqlite")
    count_query = "SELECT count(*) FROM calls WHERE status = 200"

    def install(self) -> Path:
        """uvicorn with its fast event loop and parser."""
        return venvs.ensure(
            "fastapi_httpx",
            [
                "fastapi>=0.115,<1",
                "uvicorn[standard]>=0.34,<1",
                "httpx~=0.28",
                "sqlalchemy[asyncio]~=2.0",
                "aiosqlite~=0.21",
            ],
        )

    def command(self, port: int, upstream: str, data: Path) -> list[str | Path]:
        """One uvicorn worker without an access log."""
        return [
            self.install() / "bin" / "uvicorn",
            "fastapi_httpx:app",
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
            "--loop",
            "uvloop",
            "--http",
            "httptools",
            "--no-access-log",
            "--log-level",
            "warning",
        ]


class Mitmdump(Subject):
    """The proxy people use to see what their programs say."""

    letter, title = "c", "mitmdump, reverse mode, flows to a file"
    packages = ("mitmproxy",)
    takes_batches = False

    def install(self) -> Path:
        """The newest mitmproxy that this Python can run."""
        return venvs.ensure("mitmdump", ["mitmproxy>=11"])

    def command(self, port: int, upstream: str, data: Path) -> list[str | Path]:
        """Quiet, and with its certificates in the scratch folder."""
        return [
            self.install() / "bin" / "mitmdump",
            "--mode",
            f"reverse:{upstream}",
            "--listen-host",
            "127.0.0.1",
            "--listen-port",
            str(port),
            "-w",
            data / "flows",
            "-q",
            "--set",
            f"confdir={data}",
        ]


class BareRelay(Subject):
    """The ceiling: Switchboard's server and client, and nothing between them."""

    letter, title = "d", "bare relay on Hypercorn, no record"
    packages = ("Hypercorn", "h11", "uvloop", "aiohttp")

    def install(self) -> Path:
        """Exactly the versions Switchboard runs on."""
        return venvs.ensure("bare_relay", venvs.same_as_ours(self.packages))

    def command(self, port: int, upstream: str, data: Path) -> list[str | Path]:
        """Hypercorn with the configuration Switchboard is served with."""
        return [
            self.install() / "bin" / "hypercorn",
            "-c",
            HYPERCORN_TOML,
            "--bind",
            f"127.0.0.1:{port}",
            "bare_relay:app",
        ]


class Switchboard(Subject):
    """This project, as its users start it."""

    letter, title = "e", "**Switchboard**"
    packages = ("Quart", "Hypercorn", "h11", "uvloop", "aiohttp", "SQLAlchemy", "aiosqlite")
    count_query = "SELECT count(*) FROM calls WHERE connection = 'bench' AND state = 'done' AND status = 200"

    def install(self) -> Path:
        """The repository's own venv; `make bench` sees to it."""
        if not SWITCHBOARD.exists():
            raise BenchmarkError("Switchboard is not installed in .venv: run `make bench`.")
        return venvs.REPO_VENV

    def command(self, port: int, upstream: str, data: Path) -> list[str | Path]:
        """The command of the README, with its data in the scratch folder."""
        return [SWITCHBOARD, "serve", "--bind", f"127.0.0.1:{port}", "--data", data]

    @contextlib.contextmanager
    def serving(self, upstream_port: int, data: Path) -> Iterator[Server]:
        """Start it, which makes its folder; make a key by the CLI and a connection by the API."""
        port, log = free_port(), data.with_suffix(".log")
        with running(self.command(port, "", data), log=log) as child:
            wait_ready(child, f"http://127.0.0.1:{port}/readyz")
            headers = {"Authorization": f"Bearer {_new_key(data)}"}
            server = Server(child, port, data, f"/proxy/{CONNECTION}", headers)
            _connect(server, upstream_port)
            yield server

    def batch_request(self, server: Server, calls: int, path: str) -> urllib.request.Request:
        """`POST /api/batches` with every call at once."""
        call = {"connection": CONNECTION, "method": "GET", "path": path}
        return _post(server, "/api/batches", {"calls": [call] * calls, "concurrency": calls})

    def good_in_batch(self, answer: bytes) -> int:
        """How many lines hold a call that was answered with 200."""
        lines = [json.loads(line) for line in answer.splitlines()]
        return sum(line.get("call", {}).get("status") == 200 for line in lines)


def _new_key(data: Path) -> str:
    """A key that may call and manage; the CLI prints it once, on its last line."""
    command = [SWITCHBOARD, "key", "create", "bench", "--data", data]
    scopes = ["--scope", "manage", "--scope", "call", "--scope", "read"]
    made = subprocess.run([*command, *scopes], capture_output=True, text=True, env=clean_environment())
    if made.returncode:
        raise BenchmarkError(f"`switchboard key create` failed: {made.stderr.strip()}")
    return made.stdout.split()[-1]


def _connect(server: Server, upstream_port: int) -> None:
    """Make the connection to the upstream, which is on loopback and must not be held back."""
    policy = {"allow_private": True, "concurrency": 2000}
    body = {
        "name": CONNECTION,
        "base_url": f"http://127.0.0.1:{upstream_port}",
        "auth": {"scheme": "none"},
        "policy": policy,
    }
    with direct.open(_post(server, "/api/connections", body), timeout=30):
        pass


def _post(server: Server, path: str, body: object) -> urllib.request.Request:
    """A POST of JSON to Switchboard's own API."""
    return urllib.request.Request(
        f"http://127.0.0.1:{server.port}{path}",
        json.dumps(body).encode(),
        {**server.headers, "Content-Type": "application/json"},
        method="POST",
    )


def _database(data: Path) -> Path:
    """The SQLite file in a folder, whatever it is called."""
    for file in sorted(data.iterdir()):
        if file.is_file() and file.read_bytes()[:16] == b"SQLite format 3\0":
            return file
    raise BenchmarkError(f"There is no SQLite file among {sorted(file.name for file in data.iterdir())}.")


LINEUP: tuple[Subject, ...] = (FlaskThreads(), FastapiHttpx(), Mitmdump(), BareRelay(), Switchboard())
