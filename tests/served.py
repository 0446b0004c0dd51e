"""Switchboard as a process of its own, served as users serve it."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

SWITCHBOARD = (sys.executable, "-m", "quart_app")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass
class Served:
    """`port`, `data` and `key` (all scopes) of a running server; `log` is what it wrote, `command` what starts it."""

    data: Path
    port: int
    log: Path
    key: str = ""
    command: Sequence[str] = (*SWITCHBOARD, "serve")
    process: "subprocess.Popen[bytes] | None" = None

    @classmethod
    @contextmanager
    def running(cls, data: Path, *options: str) -> Iterator["Served"]:
        served = cls(data, free_port(), data.with_suffix(".log"))
        served.key = served.cli("key", "create", "test", *(f"--scope={scope}" for scope in ("call", "read", "manage")))
        try:
            served.start(*options)
            yield served
        finally:
            served.stop()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self, *options: str) -> None:
        """Starts the server and waits until it is ready."""
        self.spawn(*options)
        self.wait_until_ready()

    def spawn(self, *options: str) -> None:
        bind = f"127.0.0.1:{self.port}"
        command = [*self.command, "--data", str(self.data), "--bind", bind, *options]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=clean_environment())

    def wait_until_ready(self, seconds: float = 20) -> None:
        assert self.process is not None
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.log.read_text()
            with suppress(OSError):
                if self.request("GET", "/readyz")[0] == 200:
                    return
            time.sleep(0.05)
        raise AssertionError(f"not ready: {self.log.read_text()}")

    def kill(self) -> None:
        """kill -9, and wait until it is gone."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        """SIGTERM, and the exit code; after 30 seconds SIGKILL."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()

    def cli(self, *arguments: str) -> str:
        """Runs a command beside the server, on the same data; its stdout."""
        command = [*SWITCHBOARD, *arguments, "--data", str(self.data)]
        done = subprocess.run(command, capture_output=True, text=True, env=clean_environment(), timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def request(
        self, method: str, path: str, body: Any = None, headers: Sequence[tuple[str, str]] = ()
    ) -> tuple[int, Any]:
        """One request with the key; status and body, which is parsed when it is JSON."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        sent = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"} | dict(headers)
        try:
            connection.request(method, path, None if body is None else json.dumps(body), sent)
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        is_json = "json" in (answer.getheader("Content-Type") or "")
        return answer.status, json.loads(content) if is_json and content else content

    def add_connection(self, name: str, base_url: str, **more: Any) -> None:
        policy = {"allow_private": True} | more.pop("policy", {})
        status, answer = self.request(
            "POST", "/api/connections", {"name": name, "base_url": base_url, "policy": policy} | more
        )
        assert status == 201, answer


def clean_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("SWITCHBOARD_")}
