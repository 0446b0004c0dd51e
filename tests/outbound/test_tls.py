"""TLS with real servers: what is taken, what ends the call before a byte of it, and what a person is told."""

import asyncio
import os
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from quart_app.outbound.client import AttemptFailed, Client
from quart_app.outbound.tls import LazyContext, make_context, piped
from quart_app.outbound.ways import Tls
from tests.outbound.certificates import Pair, issued, self_signed, server_context
from tests.outbound.targets import scheme, target
from tests.outbound.upstreams import exchange, fetch, keep_answering, raw, reset

AUTHORITY = issued("authority.example")
CLIENT = issued("client.example", AUTHORITY)
STRANGER = issued("stranger.example")
BEARER = scheme(scheme="bearer", token="swordfish")


@pytest.fixture
def server(tmp_path: Path) -> Pair:
    made = issued("127.0.0.1", AUTHORITY)
    made.file(tmp_path, "server")
    return made


async def failure(client: Client, url: str, tls: Tls, **policy: Any) -> AttemptFailed:
    with pytest.raises(AttemptFailed) as raised:
        await exchange(client, target(url, BEARER, tls=tls, **policy))
    assert raised.value.reason == "tls_failed"
    return raised.value


@contextmanager
def blocking(context: ssl.SSLContext) -> Iterator[str]:
    """A server on a thread: those of the event loops close on a failed handshake without a word of TLS."""

    def serve() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listening.accept()
                with suppress(OSError), context.wrap_socket(connection, server_side=True) as secured:
                    secured.recv(10)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"https://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join(5)


# --- what is taken -----------------------------------------------------------------------------------------------


async def test_the_given_authority_is_trusted_and_stands_instead_of_the_others(
    engine: Client, tmp_path: Path, server: Pair
) -> None:
    async with raw(keep_answering, tls=server_context(tmp_path / "server.pem")) as upstream:
        assert await fetch(engine, target(upstream.url, tls=Tls(ca=AUTHORITY.certificate))) == (200, b"hi")
        error = await failure(engine, upstream.url, Tls(ca=STRANGER.certificate))
        assert "authority unknown here" in error.detail
        await failure(engine, upstream.url, Tls())
    assert len(upstream.heads) == 1


async def test_without_verification_anything_is_taken_for_this_connection_and_for_no_other(
    engine: Client, tmp_path: Path
) -> None:
    expired = self_signed(tmp_path, "other.example", valid_days=-1)
    async with raw(keep_answering, tls=server_context(expired)) as upstream:
        assert await fetch(engine, target(upstream.url, tls=Tls(verify=False))) == (200, b"hi")
        await failure(engine, upstream.url, Tls())
    assert len(upstream.heads) == 1


async def test_a_client_certificate_is_shown_to_who_wants_one(engine: Client, tmp_path: Path, server: Pair) -> None:
    context = server_context(tmp_path / "server.pem", wants_from=AUTHORITY.certificate)
    tls = Tls(ca=AUTHORITY.certificate, certificate=CLIENT.certificate, key=CLIENT.key)
    async with raw(keep_answering, tls=context) as upstream:
        assert await fetch(engine, target(upstream.url, tls=tls)) == (200, b"hi")


# --- what is not, and what is said -------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize(
    ("shown", "said"), [(None, "wants a client certificate"), (STRANGER, "refused the client certificate")]
)
async def test_an_upstream_that_wants_another_client_certificate_says_so(
    engine: Client, tmp_path: Path, server: Pair, version: ssl.TLSVersion, shown: Pair | None, said: str
) -> None:
    context = server_context(tmp_path / "server.pem", wants_from=AUTHORITY.certificate)
    context.minimum_version = context.maximum_version = version
    own = {"certificate": shown.certificate, "key": shown.key} if shown else {}
    with blocking(context) as url:
        error = await failure(engine, url, Tls(ca=AUTHORITY.certificate, **own))
    assert (said if version == ssl.TLSVersion.TLSv1_3 else "client certificate") in error.detail


FAULTS = [
    (issued("127.0.0.1", AUTHORITY, valid_days=-1), "has expired: it is for the time from 20"),
    (issued("other.example", AUTHORITY), "is for another host than 127.0.0.1"),
    (issued("10.0.0.1", AUTHORITY), "is for another host than 127.0.0.1"),
    (issued("127.0.0.1"), "is signed by itself; if that is meant, give it as the connection's tls.ca"),
    (issued("127.0.0.1", STRANGER), "is by an authority unknown here"),
]


@pytest.mark.parametrize(("shown", "said"), FAULTS, ids=[said[:20] for _, said in FAULTS])
async def test_a_certificate_that_does_not_hold_is_told_and_gets_no_credential(
    engine: Client, tmp_path: Path, shown: Pair, said: str
) -> None:
    async with raw(keep_answering, tls=server_context(shown.file(tmp_path, "shown"))) as upstream:
        error = await failure(engine, upstream.url, Tls(ca=AUTHORITY.certificate))
        await asyncio.sleep(0.02)
    assert said in error.detail
    assert upstream.heads == []
    assert "switchboard test" not in error.detail, "nothing of what the upstream wrote into its certificate"


async def test_an_upstream_of_old_tls_only_is_told(engine: Client, tmp_path: Path, server: Pair) -> None:
    context = server_context(tmp_path / "server.pem")
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1 is deprecated"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    with blocking(context) as url:
        error = await failure(engine, url, Tls(ca=AUTHORITY.certificate))
    assert "older than 1.2" in error.detail


async def test_an_upstream_that_breaks_off_the_handshake_is_told(engine: Client) -> None:
    async def break_off(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        reset(writer)

    listening = await asyncio.start_server(break_off, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    error = await failure(engine, f"https://127.0.0.1:{port}", Tls())
    listening.close()
    assert "broke off the TLS handshake" in error.detail


async def test_an_upstream_without_tls_is_told(engine: Client) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    listening = await asyncio.start_server(answer, "127.0.0.1", 0)
    error = await failure(engine, f"https://127.0.0.1:{listening.sockets[0].getsockname()[1]}", Tls())
    listening.close()
    assert error.detail == "The upstream does not speak TLS on this port."


# --- keys and contexts -------------------------------------------------------------------------------------------


def test_a_key_is_never_on_a_disk_and_no_descriptor_stays_open() -> None:
    before = sorted(os.listdir("/dev/fd"))
    with piped(CLIENT.key) as path:
        assert path.startswith("/dev/fd/")
        opened = os.open(path, os.O_RDONLY)
        assert os.read(opened, 60_000).decode() == CLIENT.key
        os.close(opened)
    make_context(certificate=CLIENT.certificate, key=CLIENT.key)
    with pytest.raises(OSError):  # noqa: PT011 - of OpenSSL or of the pipe, whichever comes first
        make_context(certificate=CLIENT.certificate, key=STRANGER.key)
    assert sorted(os.listdir("/dev/fd")) == before


async def test_a_context_is_made_once_and_only_when_it_is_needed(engine: Client) -> None:
    made: list[ssl.SSLContext] = []

    def make() -> ssl.SSLContext:
        made.append(make_context(verify=False))
        return made[-1]

    lazy = LazyContext(make)
    assert made == []
    contexts = await asyncio.gather(*(lazy.get() for _ in range(10)))
    assert made == [contexts[0]]
    assert set(map(id, contexts)) == {id(made[0])}


async def test_the_total_time_that_ends_in_a_handshake_keeps_its_own_reason(engine: Client) -> None:
    async with raw(keep_answering) as upstream:
        with pytest.raises(AttemptFailed) as raised:
            await exchange(engine, target(upstream.url.replace("http:", "https:")), total_seconds=0.1)
    assert raised.value.reason == "total_timeout"
