"""The canary: secrets planted everywhere, sent through everything, and then looked for in all that is left behind.

An answer that passes through `/proxy` is the upstream's own bytes and does not count, nor does what a command prints
because it was asked for just that: a new key, a new link.
"""

import asyncio
import base64
import gzip
import json
import re
import secrets
import sqlite3
import sys
import zlib
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, suppress
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, quote_plus

import brotli
import pytest
from aiohttp import ClientPayloadError, ClientSession, DummyCookieJar, web
from click.testing import CliRunner
from yarl import URL

from quart_app.cli import main
from quart_app.sandbox import API_KEY_HEADER, Credentials
from tests.sandboxed import serving_sandbox
from tests.served import Served
from tests.upstream import Upstream, raw_upstream
from tests.wire import Wire

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

OWN_PAGE = {"X-Requested-By": "switchboard", "Sec-Fetch-Site": "same-origin"}
SPECIAL = "+/=&%?#~"


def canary(name: str) -> str:
    """A secret of its own, with characters that every encoding writes in its own way."""
    return f"{name.replace(' ', '-')}-{secrets.token_hex(8)}{SPECIAL}{secrets.token_hex(4)}"


@cache
def forms(secret: str) -> set[bytes]:
    """Plain, URL-encoded, JSON-escaped, Base64 in its three alignments, hex."""
    found = {secret, quote(secret), quote(secret, safe=""), quote_plus(secret), json.dumps(secret)[1:-1]}
    found |= {secret.encode().hex(), secret.encode().hex().upper()}
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        for shift in range(3):
            whole = encode(b"\0" * shift + secret.encode()).decode().rstrip("=")
            found.add(whole[2 if shift else 0 : -2][shift:])
    return {form.encode() for form in found}


class Planted:
    """The secrets by name, and what they were found in."""

    def __init__(self) -> None:
        self.secrets: dict[str, str] = {}
        self.hits: list[str] = []
        self.looked_at = 0

    def add(self, name: str, secret: str = "") -> str:
        self.secrets[name] = secret or canary(name)
        return self.secrets[name]

    def look(self, where: str, content: bytes | str) -> None:
        data = content.encode() if isinstance(content, str) else content
        self.looked_at += len(data)
        for name, secret in self.secrets.items():
            self.hits += [f"{name} in {where}: {form[:80]!r}" for form in forms(secret) if form in data]


class Blabber:
    """An upstream that tells everything it hears, in every spelling, with a token endpoint that does so as well."""

    def __init__(self, upstream: Upstream, planted: Planted) -> None:
        self.planted = planted
        self.issued = 0
        upstream.handler = self.answer

    async def answer(self, request: web.Request) -> web.Response:
        body = (await request.read()).decode("latin-1")
        heard = "\n".join([request.raw_path, *(f"{name}: {value}" for name, value in request.headers.items()), body])
        if request.path == "/token":
            return self.token(parse_qs(body), heard)
        said = {
            "heard": heard,
            "headers": list(request.headers.items()),
            "quoted": quote(heard, safe=""),
            "base64": [base64.b64encode(b"x" * shift + heard.encode()).decode() for shift in range(3)],
        }
        status = int(request.query.get("status", "200"))
        blab = quote(request.headers.get("Authorization", "") + request.headers.get("X-Api-Key", ""), safe=":/+ &=")
        if coding := request.query.get("coding"):
            return self.coded(said, coding)
        headers = {"X-Echo": blab, "Location": f"/x?next={quote(heard, safe='')}", "WWW-Authenticate": f'X e="{blab}"'}
        return web.json_response(said, status=status, headers=headers)

    def coded(self, said: dict[str, Any], coding: str) -> web.Response:
        """The same in a coding, twice: at the beginning, and across the place where a record is cut."""
        text = json.dumps(said).encode()
        text += b"x" * (262_144 - len(text) * 3 // 2) + text
        content = {"gzip": gzip.compress, "br": brotli.compress, "zstd": zstd.compress}[coding](text)
        return web.Response(body=content, headers={"Content-Encoding": coding, "Content-Type": "application/json"})

    def token(self, form: dict[str, list[str]], heard: str) -> web.Response:
        self.issued += 1
        if "bad" in form.get("client_id", [""])[0]:
            return web.json_response({"error": "invalid_grant", "error_description": heard}, status=400)
        answer = {"access_token": self.planted.add(f"access token {self.issued}", f"at-{secrets.token_hex(12)}")}
        answer["refresh_token"] = self.planted.add(f"refresh token {self.issued}", f"rt-{secrets.token_hex(12)}")
        new = " ".join(answer.values())
        headers = {"X-New": new, "Location": f"/?new={quote(new)}#{quote(new)}"}
        return web.json_response(answer | {"token_type": "Bearer", "expires_in": 3600, "scope": new}, headers=headers)


def connections(planted: Planted, url: str) -> dict[str, dict[str, Any]]:
    """A connection for each way to sign in."""
    oauth = {"scheme": "oauth2", "token_url": f"{url}/token", "client_auth": "post"}
    key = {"scheme": "api_key", "name": "X-Api-Key"}
    keys = {
        f"key-{place}": key | {"in": place, "value": planted.add(f"api key {place}")} for place in ("header", "query")
    }
    cookie = planted.add("api key cookie", f"cookie-{secrets.token_hex(12)}")
    secret = {"client_secret": planted.add("client secret")}
    return keys | {
        "key-cookie": {"scheme": "api_key", "in": "cookie", "name": "session", "value": cookie},
        "basic": {"scheme": "basic", "username": "me", "password": planted.add("password")},
        "bearer": {"scheme": "bearer", "token": planted.add("bearer")},
        "client": oauth | secret | {"grant": "client_credentials", "client_id": "good"},
        "rotating": oauth
        | {"grant": "refresh_token", "client_id": "good-2", "client_secret": planted.add("client secret 2")}
        | {"refresh_token": planted.add("first refresh token")},
        "refused": oauth
        | {"grant": "refresh_token", "client_id": "bad", "client_secret": planted.add("client secret 3")}
        | {"refresh_token": planted.add("refused refresh token")},
    }


class Ways:
    """Every way to send a call and to look at one, as a program, a page and the command line."""

    def __init__(self, served: Served, planted: Planted, session: ClientSession) -> None:
        self.served = served
        self.planted = planted
        self.session = session
        self.key = {"Authorization": f"Bearer {served.key}"}
        self.page: dict[str, str] = {}

    async def ask(self, method: str, path: str, body: Any = None, *, page: bool = False, counts: bool = True) -> bytes:
        """One request; its answer, head and all, is looked at if it `counts`."""
        headers = self.page if page else self.key
        async with self.session.request(method, self.served.url + path, json=body, headers=headers) as answer:
            content = await answer.read()
        assert answer.status < 500 or answer.status == 502, content
        if counts:
            self.planted.look(f"{method} {path}", content)
            self.planted.look(f"head of {method} {path}", str(answer.raw_headers))
        return content

    async def sign_in(self) -> None:
        printed = await asyncio.to_thread(self.served.cli, "account", "create", "ann")
        token = self.planted.add("sign-in token", printed.rpartition("#")[2].strip())
        url = f"{self.served.url}/api/sign-ins"
        async with self.session.post(url, json={"token": token}, headers=OWN_PAGE) as answer:
            assert answer.status == 201
            cookie = answer.headers["Set-Cookie"].partition(";")[0]
        self.planted.add("sign-in cookie", cookie.partition("=")[2])
        self.page = OWN_PAGE | {"Cookie": cookie}

    async def proxy(self, name: str) -> None:
        """With a program's own credentials beside the key, which are not for the upstream."""
        headers = {
            "X-Switchboard-Key": self.served.key,
            "Authorization": f"Bearer {self.planted.secrets['own-authorization']}",
            "Cookie": f"theirs={self.planted.secrets['own-cookie']}",
        }
        query = f"api_key={quote(self.planted.secrets['own-api-key'], safe='')}&page=2"
        for method, body in (("GET", None), ("POST", b"{}"), ("PUT", b"x" * 100_000)):
            url = f"{self.served.url}/proxy/{name}/items?{query}"
            async with self.session.request(method, URL(url, encoded=True), data=body, headers=headers) as answer:
                with suppress(ClientPayloadError):  # from the one that breaks off
                    content = await answer.read()
                if answer.headers["X-Switchboard-Source"] == "gateway":
                    self.planted.look(f"{method} /proxy/{name}", content)

    async def call(self, name: str) -> str:
        """By the API and from the page, one by one and many at once, and again; the id of the first."""
        own = self.planted.secrets["own-header"]
        form = {"connection": name, "method": "POST", "path": "/items?status=401", "headers": {"X-Auth-Token": own}}
        for page in (False, True):
            await self.ask("POST", "/api/calls", form | {"json": {"hoge": "val"}}, page=page)
        await self.ask("POST", "/api/batches", {"calls": [form, {"connection": name}, {"connection": "x"}]})
        for coding in ("gzip", "br", "zstd"):
            await self.ask("POST", "/api/calls", form | {"path": f"/items?coding={coding}"})
        await self.ask("POST", f"/api/connections/{name}/checks")
        listed = json.loads(await self.ask("GET", f"/api/calls?connection={name}&origin=api"))
        found: str = listed["items"][-1]["id"]
        await self.ask("POST", f"/api/calls/{found}/replays")
        await self.ask("POST", f"/api/calls/{found}/replays", {"path": "/other"}, page=True)
        return found

    async def webhook(self, url: str) -> None:
        """One whose URL holds a key, told by what the app says of itself; its secrets are shown where they are made."""
        key = quote(self.planted.add("webhook key"), safe="")
        form = {"url": f"{url}/hooks/{key}?key={key}", "allow_private": True}
        made = json.loads(await self.ask("POST", "/api/webhooks", form, counts=False))
        path = f"/api/webhooks/{made['id']}"
        renewed = json.loads(await self.ask("POST", f"{path}/secrets", counts=False))
        for number, secret in enumerate((made["secret"]["value"], renewed["value"])):
            self.planted.add(f"webhook secret {number}", secret.removeprefix("whsec_"))
        await self.ask("PATCH", path, {"url": f"{form['url']}#", "events": [key]})
        tested = json.loads(await self.ask("POST", f"{path}/deliveries"))
        while tested["state"] == "pending":
            listed = json.loads(await self.ask("GET", f"{path}/deliveries"))
            tested = next(item for item in listed["items"] if item["id"] == tested["id"])
        for place in ("/api/webhooks", path, "/api/audit-entries"):
            await self.ask("GET", place)

    async def look_at_everything(self) -> int:
        """Every answer of the API and every page; how many calls there are."""
        for path in ("/api/connections", "/api/openapi.json", "/readyz", "/healthz"):
            await self.ask("GET", path)
        for path in ("/", "/connections", "/send", "/history", "/webhooks", "/docs", "/api/sign-ins/current"):
            await self.ask("GET", path, page=True)
        ids: list[str] = []
        cursor: str | None = ""
        while cursor is not None:
            page = json.loads(await self.ask("GET", f"/api/calls?limit=50&cursor={cursor}"))
            ids += [call["id"] for call in page["items"]]
            cursor = page["next"]
        for one in ids:
            await self.ask("GET", f"/api/calls/{one}")
        for one in ids[::5]:  # all of them are looked at in the database as well
            await self.ask("GET", f"/api/calls/{one}/request-body")
            await self.ask("GET", f"/api/calls/{one}/response-body")
        await self.ask("GET", f"/history/{ids[0]}", page=True)
        return len(ids)

    async def events(self) -> AsyncIterator[bytes]:
        async with self.session.get(f"{self.served.url}/api/events", headers=self.key) as answer:
            async for piece in answer.content.iter_any():
                yield piece


def files(data: Path) -> Iterator[tuple[str, bytes]]:
    """Every file of a folder, and of every database in it the bodies in clear."""
    for path in sorted(path for path in data.rglob("*") if path.is_file()):
        yield path.name, path.read_bytes()
        if path.suffix == ".db":
            with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
                for encoding, content in database.execute("SELECT encoding, content FROM bodies"):
                    yield f"a body in {path.name}", zlib.decompress(content) if encoding == "deflate" else content
                yield f"dump of {path.name}", b"\n".join(cells(database))


def cells(database: sqlite3.Connection) -> Iterator[bytes]:
    """The value of every cell; the tables of the search's index are among them, it cannot be read itself."""
    tables = "SELECT name FROM sqlite_schema WHERE type = 'table' AND sql NOT GLOB 'CREATE VIRTUAL TABLE*'"
    for (table,) in database.execute(tables).fetchall():
        for row in database.execute(f'SELECT * FROM "{table}"'):
            yield from (cell if isinstance(cell, bytes) else str(cell).encode() for cell in row)


@pytest.fixture
def planted() -> Planted:
    made = Planted()
    for name in ("own-authorization", "own-cookie", "own-api-key", "own-header"):
        made.add(name)
    return made


async def test_no_planted_secret_is_left_anywhere(
    served: Served, upstream: Upstream, planted: Planted, tmp_path: Path
) -> None:
    blabber = Blabber(upstream, planted)
    planted.add("key secret", served.key.split("_")[2])
    forms_given = connections(planted, upstream.url)
    async with (
        serving_sandbox(credentials=Credentials(api_key=planted.add("sandbox api key"))) as sandbox,
        raw_upstream(break_off) as broken,
        ClientSession(cookie_jar=DummyCookieJar()) as session,
    ):
        ways = Ways(served, planted, session)
        await ways.sign_in()
        heard: list[bytes] = []
        listening = asyncio.create_task(listen(ways, heard))
        key = {"scheme": "api_key", "in": "header", "name": API_KEY_HEADER}
        sandbox_key = key | {"value": planted.secrets["sandbox api key"]}
        query_key = forms_given["key-query"]
        for name, url, auth in (
            *((name, upstream.url, auth) for name, auth in forms_given.items()),
            ("sandbox", f"{sandbox.url}/v1/echo", sandbox_key),
            ("broken", broken, query_key),
            ("nobody", "http://127.0.0.1:1", query_key),
        ):
            form = {"name": name, "base_url": url, "auth": auth, "policy": {"allow_private": True}}
            await ways.ask("POST", "/api/connections", form)
            await ways.proxy(name)
            await ways.call(name)
        await ways.webhook(upstream.url)
        for name in ("client", "rotating", "refused"):
            await ways.ask("POST", f"/api/connections/{name}/token-refreshes")
            await ways.ask("GET", f"/_token_refresh?connection={name}", page=True)
        assert await ways.look_at_everything() > 100
        listening.cancel()
        planted.look("events", b"".join(heard))
        assert b"event: call" in b"".join(heard)
        await asyncio.to_thread(look_at_command_line, served, planted, tmp_path)
    for name, content in files(served.data):
        planted.look(name, content)
    await asyncio.to_thread(served.stop)
    for name, content in (*files(served.data), *files(tmp_path / "backup"), ("log", served.log.read_bytes())):
        planted.look(name, content)
    assert len(planted.secrets) >= 20
    assert blabber.issued >= 5
    assert planted.looked_at > 1024**2
    told = " ".join(f"{seen.path} {seen.headers} {seen.body!r}" for seen in upstream.seen)
    for name in ("bearer", "api key header", "api key cookie", "access token 1", "own-header"):
        assert planted.secrets[name] in told, f"{name} was never sent"
    for name in ("own-api-key", "webhook key"):
        assert quote(planted.secrets[name], safe="") in told
    assert sorted(set(planted.hits)) == []


async def break_off(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Says back what it heard, as the start of an answer that never ends."""
    heard = await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 100000\r\n\r\n" + heard)


async def listen(ways: Ways, heard: list[bytes]) -> None:
    async for piece in ways.events():
        heard.append(piece)


def look_at_command_line(served: Served, planted: Planted, tmp_path: Path) -> None:
    (tmp_path / "backup").mkdir(0o700)
    for arguments in (
        ("connection", "list"),
        ("connection", "show", "rotating"),
        ("connection", "check", "refused"),
        ("key", "list"),
        ("webhook", "list"),
        ("call", "basic", "GET", "/items"),
        ("backup", str(tmp_path / "backup" / "copy.db")),
    ):
        done = CliRunner().invoke(main, [*arguments, "--data", str(served.data)])
        assert done.exit_code == (1 if "refused" in arguments else 0), done.stderr
        planted.look(" ".join(arguments[:2]), done.output)


def test_the_search_finds_a_secret_in_every_form() -> None:
    planted = Planted()
    secret = planted.add("secret")
    left = [secret, quote(secret, safe=""), secret.encode().hex(), json.dumps({"x": secret})]
    left += [base64.b64encode(b"x" * shift + secret.encode() + b"yz").decode() for shift in range(3)]
    for text in left:
        planted.hits.clear()
        planted.look("somewhere", f"before {text} after")
        assert planted.hits, text
    planted.hits.clear()
    planted.look("elsewhere", re.sub(r"\d", "x", secret))
    assert planted.hits == []


async def test_a_wrong_key_is_not_said_back(served: Served) -> None:
    key = f"{served.key[:-9]}x{served.key[-8:]}"
    async with Wire.to(served.port, key) as wire:
        for path in ("/proxy/x/", "/api/calls"):
            answered = await wire.ask("GET", path)
            assert answered.status == 401
            assert key.encode() not in answered.body
    assert key not in served.log.read_text()
