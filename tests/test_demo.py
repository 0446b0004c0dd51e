"""`switchboard demo`: one command, and a newcomer is in, with three connections that work."""

import json
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from tests.served import SWITCHBOARD, clean_environment, free_port

OWN_PAGE = {"X-Requested-By": "switchboard", "Sec-Fetch-Site": "same-origin"}
NAMES = ("items", "items-rotating", "items-key")


class Demo:
    """A running demo; `log` is what it printed."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.port, self.sandbox_port = free_port(), free_port()
        self.log = data.with_suffix(".log")
        self.process: subprocess.Popen[bytes] | None = None

    @contextmanager
    def running(self) -> Iterator["Demo"]:
        binds = ["--bind", f"127.0.0.1:{self.port}", "--sandbox-bind", f"127.0.0.1:{self.sandbox_port}"]
        command = [*SWITCHBOARD, "demo", "--data", str(self.data), *binds]
        with self.log.open("wb") as file:
            self.process = subprocess.Popen(command, stdout=file, stderr=file, env=clean_environment())
        try:
            self.printed(rf"Running on http://127.0.0.1:{self.port}\b")
            yield self
        finally:
            self.process.terminate()
            assert self.process.wait(30) == 0
        assert "Traceback" not in self.log.read_text()

    def printed(self, pattern: str) -> str:
        """What matches in the output, once it does."""
        assert self.process is not None
        for _ in range(400):
            if found := re.search(pattern, self.log.read_text()):
                return found[0]
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.05)
        raise AssertionError(self.log.read_text())

    def ask(self, method: str, path: str, headers: dict[str, str], body: Any = None) -> tuple[int, Any, dict[str, str]]:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=10)
        content = None if body is None else json.dumps(body)
        try:
            connection.request(method, path, content, headers | ({"Content-Type": "application/json"} if body else {}))
            answer = connection.getresponse()
            return (
                answer.status,
                json.loads(answer.read()),
                {name.lower(): value for name, value in answer.getheaders()},
            )
        finally:
            connection.close()

    def sign_in(self) -> dict[str, str]:
        """Uses the printed link; the headers of the page that is signed in."""
        link = self.printed(rf"http://127\.0\.0\.1:{self.port}/sign-in#\S+")
        status, _, headers = self.ask("POST", "/api/sign-ins", OWN_PAGE, {"token": link.partition("#")[2]})
        assert status == 201
        return OWN_PAGE | {"Cookie": headers["set-cookie"].partition(";")[0]}


@pytest.fixture
def demo(tmp_path: Path) -> Demo:
    return Demo(tmp_path / "demo")


def test_the_link_signs_in_and_three_connections_work_also_when_started_again(demo: Demo) -> None:
    with demo.running():
        page = demo.sign_in()
        check_connections(demo, page)
    with demo.running():  # the sandbox has forgotten its tokens, and the account is there already
        check_connections(demo, demo.sign_in())


def check_connections(demo: Demo, page: dict[str, str]) -> None:
    status, listed, _ = demo.ask("GET", "/api/connections", page)
    assert status == 200
    assert {(item["name"], item["state"]) for item in listed["items"]} == {(name, "ready") for name in NAMES}
    for name in NAMES:
        status, call, _ = demo.ask("POST", "/api/calls", page, {"connection": name, "path": "/items"})
        assert (status, call["state"], call["status"]) == (201, "done", 200), call
        assert call["response"]["body"]["json"]["items"]
        status, checked, _ = demo.ask("POST", f"/api/connections/{name}/checks", page)
        assert (status, checked["ok"]) == (201, True)
    status, history, _ = demo.ask("GET", "/api/calls?origin=console", page)
    assert {call["connection"] for call in history["items"]} == set(NAMES)


def test_the_printed_key_works_as_printed(demo: Demo) -> None:
    with demo.running():
        key = demo.printed(r"export SWITCHBOARD_KEY=\S+").partition("=")[2]
        url = demo.printed(r"curl \S+ .* http://\S+").rpartition(" ")[2]
        path = url.removeprefix(f"http://127.0.0.1:{demo.port}")
        status, answer, headers = demo.ask("GET", path, {"Authorization": f"Bearer {key}"})
        assert (status, bool(answer["items"]), headers["x-switchboard-source"]) == (200, True, "upstream")
        taken = [*SWITCHBOARD, "demo", "--data", f"{demo.data}-2", "--sandbox-bind", f"127.0.0.1:{demo.port}"]
        done = subprocess.run(taken, capture_output=True, text=True, timeout=30, env=clean_environment(), check=False)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith(f"Error: The sandbox cannot listen on 127.0.0.1:{demo.port}")
        assert "Traceback" not in done.stderr
