"""A real Chromium and a demo server for it; in CI a missing Chromium is a failure, elsewhere a reason to skip."""

import os
import re
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.served import SWITCHBOARD, clean_environment, free_port

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@dataclass
class Demo:
    """`switchboard demo` as a process: where it is, its sandbox, the link that signs in, and its data folder."""

    url: str
    sandbox_url: str
    link: str
    data: Path


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    folder = tmp_path_factory.mktemp("demo")
    bind, sandbox_bind = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    log = folder / "log"
    command = [*SWITCHBOARD, "demo", "--data", str(folder / "data"), "--bind", bind, "--sandbox-bind", sandbox_bind]
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, env=clean_environment())
    try:
        yield Demo(f"http://{bind}", f"http://{sandbox_bind}", wait_for_link(process, log), folder / "data")
    finally:
        process.terminate()
        process.wait(30)


def wait_for_link(process: "subprocess.Popen[bytes]", log: Path) -> str:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        found = re.search(r"http://\S+/sign-in#\S+", log.read_text())
        if found and "Running on" in log.read_text().rpartition("sign-in#")[2]:
            return found.group()
        assert process.poll() is None, log.read_text()
        time.sleep(0.1)
    raise AssertionError(log.read_text())


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """The browser; SWITCHBOARD_TEST_CHROMIUM says where another one is."""
    path = os.environ.get("SWITCHBOARD_TEST_CHROMIUM", "/usr/bin/chromium")
    if not Path(path).exists():
        reason = f"no Chromium at {path}; on Debian: apt-get install chromium"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def signed_in(chromium: Any, demo: Demo) -> Any:
    """The storage state of a browser that used the link."""
    context = chromium.new_context()
    page = context.new_page()
    page.goto(demo.link)
    page.wait_for_url("**/connections")
    state = context.storage_state()
    context.close()
    return state


def is_complaint(said: Any) -> bool:
    """Chromium's own note of an answer with an error status is not one."""
    return said.type == "error" and not said.text.startswith("Failed to load resource")


@pytest.fixture
def tabs(chromium: Any, signed_in: Any, demo: Demo) -> Iterator[Any]:
    """A signed-in window; anything a page says on the console or throws fails the test."""
    context = chromium.new_context(storage_state=signed_in, base_url=demo.url, viewport={"width": 1280, "height": 800})
    complaints: list[str] = []
    context.on("weberror", lambda error: complaints.append(str(error.error)))
    context.on("console", lambda said: complaints.append(said.text) if is_complaint(said) else None)
    context.set_default_timeout(15_000)
    yield context
    context.close()
    assert not complaints
