"""The sealing key: killed while it is rotated (3), wrong, lost or damaged (15)."""

import asyncio
import base64
import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path

from faults.fakes import Asked, Fake, Peer, answer, fake
from faults.harness import Bench, fault
from faults.load import call
from faults.switchboard import Switchboard
from faults.tokens import AT, auth_of
from quart_app.errors import SettingsError
from tests import rotating
from tests.served import SWITCHBOARD, clean_environment

# 3

CONNECTIONS = 240
CALLERS = 2
PAUSE_SECONDS = 0.01
KILLS = [("key_added", 1), *[("resealed", count) for count in (10, 20, 30) * 7], ("all_resealed", 1)]
"""At every tenth row: in the middle of a step, at its end before the commit, in the middle of the next one."""
TOKEN_SECONDS = 2
ID = "[0-9a-f]" * 8

Sealed = dict[tuple[str, str, str], str]


@fault(
    "3",
    "kill -9 during the rotation of the sealing key, at every tenth row",
    invariant="at any moment every value opens with one of the two keys in the key file; run again, it comes to its "
    "end with one new key; a server beside it answers all calls with the right secrets and tokens",
    figure="values that did not open, over all kills",
    unit="values",
)
async def killed_while_the_key_is_rotated(bench: Bench) -> None:
    async with fake(knowing) as upstream, bench.serving() as switchboard:
        names = await connect(switchboard, upstream)
        before = await opened(bench, switchboard, "before")
        async with calling(bench, switchboard, upstream, names):
            for number, (label, count) in enumerate(KILLS):
                code = await asyncio.to_thread(rotating.run, switchboard.data, label, count)
                bench.ran()
                bench.check(code == -signal.SIGKILL, f"{label} {count} was not reached: {code}")
                now = await opened(bench, switchboard, f"kill{number}")
                bench.check(kept_of(now) == kept_of(before), f"after {label} {count} other secrets are there")
            said = await asyncio.to_thread(switchboard.cli, "rotate-key")
        bench.figure(sum(said.startswith("did not open") for said in bench.finding.violations))
        await ended_with_one_key(bench, switchboard, names, said)


async def knowing(asked: Asked, peer: Peer) -> None:
    """Each path has its own secret; the one of `token` is whatever the token endpoint gave."""
    if asked.path == AT:
        token = f'{{"access_token":"token-{asked.number}","token_type":"bearer","expires_in":{TOKEN_SECONDS}}}'
        await peer.send(answer(token.encode(), 200, "Content-Type: application/json"))
        return
    right = asked.path[1:] if asked.path != "/oauth" else "token-"
    good = asked.headers.get("authorization", "").startswith(f"Bearer {right}")
    await peer.send(answer(b"hi", 200 if good else 401))


async def connect(switchboard: Switchboard, upstream: Fake) -> list[str]:
    """Connections with a secret each, and one whose token expires all the time."""
    names = [f"secret-{number}" for number in range(CONNECTIONS)]
    for name in names:
        await switchboard.connect(name, upstream.url, auth={"scheme": "bearer", "token": name})
    await switchboard.connect("oauth", upstream.url, auth=auth_of(upstream))
    return [*names, "oauth"]


@asynccontextmanager
async def calling(bench: Bench, switchboard: Switchboard, upstream: Fake, names: list[str]) -> AsyncIterator[None]:
    """Callers who take any connection, and change one now and then: so the server reads and seals all the time."""
    stop, ended, dials = asyncio.Event(), 0, upstream.count(AT)

    async def keep_calling() -> None:
        nonlocal ended
        while not stop.is_set():
            for name in (*bench.random.sample(names, 40), "oauth"):
                one = await call(switchboard, f"{name}/{name}")
                ended += 1
                bench.check(one.status == 200, f"a call through {name} ended with {one.status} {one.code}")
                await asyncio.sleep(PAUSE_SECONDS)
            name = bench.random.choice(names[:-1])
            status, _ = await switchboard.ask("PATCH", f"/api/connections/{name}", {"title": f"{ended}"})
            bench.check(status == 200, f"a change of {name} ended with {status}")

    callers = [asyncio.create_task(keep_calling(), name="caller") for _ in range(CALLERS)]
    try:
        yield
    finally:
        stop.set()
        await asyncio.gather(*callers)
    bench.remark(f"{ended:,} calls meanwhile, {upstream.count(AT) - dials} tokens got.")


async def opened(bench: Bench, switchboard: Switchboard, name: str) -> Sealed:
    """All that is sealed, from a copy of the database and of the key file."""
    try:
        return await asyncio.to_thread(rotating.texts_of_copy, switchboard.data, bench.folder / name)
    except SettingsError as error:
        bench.check(False, f"did not open: {error}")
        return {}


def kept_of(sealed: Sealed) -> Sealed:
    """What stays as it is meanwhile: the secrets, not the tokens."""
    return {place: text for place, text in sealed.items() if place[0] != "tokens"}


async def ended_with_one_key(bench: Bench, switchboard: Switchboard, names: list[str], said: str) -> None:
    """The old key is not needed any more, also by a server that starts anew."""
    listed = (await asyncio.to_thread(switchboard.cli, "rotate-key", "--show")).splitlines()[1:]
    bench.check(len(listed) == 1, f"values are left under other keys: {listed}")
    old = list(switchboard.data.glob(f"switchboard.key.{ID}"))
    bench.check(len(old) == 1 and str(old[0]) in said, f"the old keys are {old}, told was: {said}")
    for path in old:
        path.unlink()
    await asyncio.to_thread(switchboard.stop)
    await asyncio.to_thread(switchboard.start)
    statuses = [(await call(switchboard, f"{name}/{name}")).status for name in names]
    bench.check(set(statuses) == {200}, f"after a new start: {sorted(set(statuses))}")


# 15

REST = "--bind=127.0.0.1:0"
Spoil = Callable[[Path], dict[str, str]]


def without(path: Path) -> dict[str, str]:
    path.unlink()
    return {}


def for_all(path: Path) -> dict[str, str]:
    path.chmod(0o644)
    return {}


def half(path: Path) -> dict[str, str]:
    path.write_text(path.read_text()[:20])
    return {}


def another(path: Path) -> dict[str, str]:
    path.write_text(base64.b64encode(os.urandom(32)).decode())
    return {}


def given_another(path: Path) -> dict[str, str]:
    return {"SWITCHBOARD_SEALING_KEY": base64.b64encode(os.urandom(32)).decode()}


def flipped(path: Path) -> dict[str, str]:
    """One bit of what proves the key, in the database."""
    with closing(sqlite3.connect(path.with_name("switchboard.db"))) as database:
        (sealed,) = database.execute("SELECT sealed_canary FROM installation").fetchone()
        database.execute("UPDATE installation SET sealed_canary = ?", [sealed[:-1] + bytes([sealed[-1] ^ 1])])
        database.commit()
    return {}


SPOILT: dict[str, tuple[Spoil, str]] = {
    "the key file is gone": (without, "There is no key file {path}, and the database was sealed with key {id}"),
    "others can read it": (for_all, "others can read the key file: chmod 600 {path}"),
    "half of it is there": (half, "{path} is not the base64 of 32 bytes"),
    "it is another installation's": (
        another,
        "was sealed with key {id}. It is not here: put the file of that key back",
    ),
    "the environment has another": (given_another, "was sealed with key {id}. It is not among those"),
    "a sealed value was changed": (flipped, "was changed or moved: it does not open"),
}


@fault(
    "15",
    "The sealing key is gone, damaged, open to all, another one; a sealed value was changed",
    invariant="the server does not start, exits with 1 and says which key it needs and what to do, without a "
    "traceback; nothing is changed or made anew; with the right key it starts and works",
    figure="seconds until it said so",
    unit="s",
    note="The key's part of the row. Damaged pages of the database are not injected here.",
)
async def the_key_is_not_right(bench: Bench) -> None:
    async with fake(knowing) as upstream, bench.serving() as switchboard:
        await switchboard.connect("secret", upstream.url, auth={"scheme": "bearer", "token": "secret"})
        listed = await asyncio.to_thread(switchboard.cli, "rotate-key", "--show")
        key_id = listed.splitlines()[1].split()[0]
        await asyncio.to_thread(switchboard.stop)
        for kind, (spoil, wanted) in SPOILT.items():
            await refused(bench, switchboard.data, kind, spoil, wanted.replace("{id}", key_id))
        await asyncio.to_thread(switchboard.start)
        ended = await call(switchboard, "secret/secret")
        bench.check(ended.status == 200, f"with the right key the call ends with {ended.status}")


async def refused(bench: Bench, data: Path, kind: str, spoil: Spoil, wanted: str) -> None:
    """One start that must fail; then everything is put back."""
    path, database = data / "switchboard.key", data / "switchboard.db"
    key, content = path.read_text(), database.read_bytes()
    environment = spoil(path)
    made, names = database.read_bytes(), sorted(data.iterdir())
    began = time.monotonic()
    done = await asyncio.to_thread(start, data, environment)
    bench.ran()
    bench.sample(time.monotonic() - began)
    bench.check(done.returncode == 1, f"{kind}: the exit code is {done.returncode}")
    bench.check(wanted.replace("{path}", str(path)) in done.stderr, f"{kind}: {done.stderr}")
    bench.check("Traceback" not in done.stdout + done.stderr, f"{kind}: a traceback is shown")
    bench.check(key.strip() not in done.stdout + done.stderr, f"{kind}: the key is shown")
    bench.check(database.read_bytes() == made, f"{kind}: the database was changed")
    bench.check(sorted(data.iterdir()) == names, f"{kind}: there are other files than before")
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_text(key)
    database.write_bytes(content)


def start(data: Path, environment: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    command = [*SWITCHBOARD, "serve", "--data", str(data), REST]
    given = clean_environment() | environment
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=given, check=False)
