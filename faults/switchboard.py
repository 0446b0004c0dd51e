"""The server under test: `switchboard serve` as a process of its own, or the launcher with a hand inside."""

import asyncio
import json
import shutil
import sqlite3
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from tests.served import SWITCHBOARD, Served, free_port

LAUNCHER = (sys.executable, "-m", "faults.launcher")
SCOPES = ("call", "read", "manage")
ALARMING = ("Traceback", '"event":"unforeseen"', '"level":"error"', '"level":"critical"')
STOP_SECONDS = 12.0


def prepare(template: Path) -> str:
    """Makes a data folder that each server starts from, and its key, which has all scopes."""
    made = Served(template, 0, template.with_suffix(".log"))
    return made.cli("key", "create", "faults", *(f"--scope={scope}" for scope in SCOPES))


@dataclass
class Switchboard(Served):
    """A served process, what it answers, and what it holds."""

    controlled: bool = False
    ended_badly: str = ""
    hand: Path | None = None

    @classmethod
    def prepared(
        cls, template: Path, data: Path, key: str, *, prefix: Sequence[str], hand: Sequence[str] | None
    ) -> "Switchboard":
        shutil.copytree(template, data)
        command = (*prefix, *((*LAUNCHER, *hand) if hand is not None else (*SWITCHBOARD, "serve")))
        return cls(data, free_port(), data.with_suffix(".log"), key, command, controlled=hand is not None)

    @asynccontextmanager
    async def up(self, *options: str) -> AsyncIterator["Switchboard"]:
        try:
            await asyncio.to_thread(self.start, *options)
            yield self
        finally:
            await self.end()

    async def end(self) -> None:
        """SIGTERM; notes where it does not end in order."""
        began = time.monotonic()
        code = await asyncio.to_thread(self.stop) if self.process is not None else None
        took = time.monotonic() - began
        if code != 0 or took > STOP_SECONDS:
            self.ended_badly = f"the server ended with code {code} after {took:.1f} s"

    def looked_over(self, kept: Sequence[str] = ()) -> list[str]:
        """What is wrong with what an ended server leaves behind (I2, I3, I4, and surprises in the log)."""
        found = self.surprises(kept)
        with closing(sqlite3.connect(self.data / "switchboard.db")) as database:
            if database.execute("PRAGMA integrity_check").fetchall() != [("ok",)]:
                found.append("the database is not whole")
            left = database.execute("SELECT count(*) FROM calls WHERE state = 'sending'").fetchone()[0]
        return found + ([f"{left} calls were left as sending"] if left else [])

    def surprises(self, kept: Sequence[str] = ()) -> list[str]:
        """What is wrong with how it ended, and with its log."""
        found = [self.ended_badly] if self.ended_badly else []
        log = self.log.read_text(errors="replace")
        for line in log.splitlines():
            if any(mark in line for mark in ALARMING) and not any(event in line for event in kept):
                found.append(f"in the log: {line[:600]}")
        return [*found, "the key is in the log"] if self.key in log else found

    # What it is asked

    async def ask(self, method: str, path: str, body: Any = None, headers: Sequence[tuple[str, str]] = ()) -> Any:
        """Status and body of one request with the key, sent from a thread."""
        return await asyncio.to_thread(self.request, method, path, body, headers)

    async def connect(self, name: str, base_url: str, **more: Any) -> str:
        await asyncio.to_thread(self.add_connection, name, base_url, **more)
        return name

    async def call(self, id_: str | None) -> Any:
        """A call as it is on record, once it has ended."""
        for _ in range(150):
            status, call = await self.ask("GET", f"/api/calls/{id_}")
            if status == 200 and call["state"] != "sending":
                return call
            await asyncio.sleep(0.02)
        raise AssertionError(f"call {id_} is not on record")

    async def calls(self, connection: str, limit: int = 500) -> list[Any]:
        """The newest calls of a connection, newest first."""
        _, page = await self.ask("GET", f"/api/calls?connection={connection}&limit={limit}")
        items: list[Any] = page["items"]
        return items

    async def limits(self, name: str) -> Any:
        return (await self.ask("GET", f"/api/connections/{name}/limits"))[1]

    async def free_within(self, name: str, seconds: float) -> float | None:
        """How long until no call of a connection is in flight or waiting; None where that takes longer."""
        began = time.monotonic()
        while (took := time.monotonic() - began) <= seconds:
            now = await self.limits(name)
            if now["in_flight"] == now["waiting"] == 0:
                return took
            await asyncio.sleep(0.01)
        return None

    # What it holds

    @property
    def seen(self) -> psutil.Process:
        assert self.process is not None
        return psutil.Process(self.process.pid)

    def forget_peak(self) -> int:
        """Starts the high-water mark of memory anew (proc(5)), which only root may; returns where it stands now."""
        with suppress(PermissionError):
            Path(f"/proc/{self.seen.pid}/clear_refs").write_text("5")
        return self.peak_bytes()

    def peak_bytes(self) -> int:
        lines = Path(f"/proc/{self.seen.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))

    # The hand inside

    async def do(self, what: str, **more: Any) -> Any:
        """Tells the launcher to do something; what it answers."""
        assert self.controlled
        reader, writer = await asyncio.open_unix_connection(self.hand or self.data / "hand")
        writer.write(json.dumps({"do": what} | more).encode() + b"\n")
        answer = json.loads(await reader.readline())
        writer.close()
        return answer
