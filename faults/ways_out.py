"""Names that resolve to nothing, to too much or to the wrong place, and TLS that must not be trusted (28, 29)."""

import asyncio
import ssl
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from faults.fakes import Asked, Fake, Peer, answer, fake
from faults.harness import Bench, fault
from faults.load import Ended, call, check_failure
from faults.names import NXDOMAIN, SERVFAIL, NameServer, Says
from faults.switchboard import Switchboard
from tests.outbound.certificates import issued, server_context

# 28

ALLOWED, FORBIDDEN = "127.0.0.2", "127.0.0.1"
MANY = [f"127.0.{number // 250 + 2}.{number % 250 + 1}" for number in range(1000)]
CACHE_SECONDS = 10.5
FLIPS = 12


def says(name: str, asked_before: int) -> Says:
    """What the name server says of each name."""
    kind = name.partition(".")[0].rstrip("0123456789")
    said: dict[str, Says] = {
        "nxdomain": NXDOMAIN,
        "servfail": SERVFAIL,
        "silent": None,
        "good": [ALLOWED],
        "bad": [FORBIDDEN],
        "mixed": [ALLOWED, FORBIDDEN],
        "many": MANY,
        "manyandbad": [*MANY[1:], FORBIDDEN],
        "empty": [],
        "flip": [FORBIDDEN] if asked_before else [ALLOWED],
    }
    return said[kind]


@fault(
    "28",
    "Names: NXDOMAIN, SERVFAIL, no answer, another address the second time, 1,000 addresses, good and bad mixed",
    invariant="502 `dns_failed`, or 403 `egress_denied` as soon as one address is denied; "
    "a denied address is never connected to",
    figure="connects to the denied address",
    unit="connects",
    note=f"{ALLOWED}, allowed by `egress_allow`, stands for a public address, and {FORBIDDEN} for one that is denied. "
    "The server under test asks a name server of ours instead of the system's.",
)
async def names_mislead(bench: Bench) -> None:
    async with (
        fake(hello, host=ALLOWED) as allowed,
        fake(hello, host=FORBIDDEN, port=allowed.port) as forbidden,
        NameServer(says).running() as names,
    ):
        networks = ",".join([f"{ALLOWED}/32:{allowed.port}", *(f"127.0.{n}.0/24:{allowed.port}" for n in range(2, 7))])
        hand = ("--names", str(names.port))
        async with bench.serving(f"--egress-allow={networks}", hand=hand) as switchboard:
            await one_of_each(bench, switchboard, allowed)
            await rebinding(bench, switchboard, allowed)
        bench.figure(forbidden.connections)
        bench.check(forbidden.connections == 0, f"{forbidden.connections} connects to the denied address")
        bench.remark(f"The name server was asked {sum(names.asked.values())} times.")


async def hello(asked: Asked, peer: Peer) -> None:
    """Closes, so that the next call looks the name up and dials anew."""
    await peer.send(answer(b"hi", 200, "Connection: close"))
    peer.writer.close()


async def named(switchboard: Switchboard, name: str, port: int) -> str:
    policy = {"allow_private": False, "attempts": 2, "connect_seconds": 2, "first_byte_seconds": 2}
    return await switchboard.connect(name, f"http://{name}.test:{port}", policy=policy)


async def one_of_each(bench: Bench, switchboard: Switchboard, allowed: Fake) -> None:
    expected = {
        "good": "",
        "nxdomain": "dns_failed",
        "servfail": "dns_failed",
        "empty": "dns_failed",
        "silent": "dns_failed",
        "bad": "egress_denied",
        "mixed": "egress_denied",
        "manyandbad": "egress_denied",
        "many": "connect_failed",  # nobody listens at them; what counts is that it ends
    }
    for kind, code in expected.items():
        name = await named(switchboard, kind, allowed.port)
        ended = await asyncio.gather(*(call(switchboard, f"{name}/") for _ in range(3)))
        bench.ran(len(ended))
        for one in ended:
            if code:
                codes = (code, "connect_timeout") if kind in ("silent", "many") else (code,)
                check_failure(bench, one, kind, *codes, statuses=(403, 502, 504))
            else:
                bench.check(one.status == 200, f"{kind}: {one.status} {one.body[:200]!r}")
            bench.check(one.seconds < 12, f"{kind}: took {one.seconds:.1f} s")


async def rebinding(bench: Bench, switchboard: Switchboard, allowed: Fake) -> None:
    """Names that lead to the allowed address when they are asked for first, and from then on to the denied one."""
    names = [await named(switchboard, f"flip{number}", allowed.port) for number in range(FLIPS)]
    first = await asyncio.gather(*(call(switchboard, f"{name}/") for name in names))
    bench.check(all(one.status == 200 for one in first), f"before the flip: {[one.status for one in first]}")
    await asyncio.sleep(CACHE_SECONDS)
    for _ in range(2):
        second: list[Ended] = await asyncio.gather(*(call(switchboard, f"{name}/") for name in names for _ in range(3)))
        bench.ran(len(second))
        for one in second:
            check_failure(bench, one, "after the flip", "egress_denied", statuses=(403,))


# 29

STALL_SECONDS = 1.0


@asynccontextmanager
async def stalling() -> AsyncIterator[Fake]:
    """Takes connections and never says anything of TLS."""

    async def silent(peer: Peer) -> bool:
        await peer.until_left()
        return False

    async with fake(answer(b"hi")) as made:
        made.at_accept = silent
        made.url = made.url.replace("http", "https")
        yield made


@fault(
    "29",
    "TLS: expired, not yet good, wrong host, self-signed, unknown authority, TLS 1.1, handshake that stalls, "
    "certificate changed in between",
    invariant="502 `tls_failed` with the reason in words, and dates where it is about time; never tried again; "
    "no byte of the request, so no credential, reaches the upstream",
    figure="bytes of requests that the upstream saw",
    unit="bytes",
    note="Python's TLS looks at no revocation lists: a certificate that is exchanged for one nobody vouches for stands "
    "for a revoked one.",
)
async def tls_is_not_to_be_trusted(bench: Bench) -> None:
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        async with bench.serving() as switchboard:
            await distrusted(bench, switchboard, Path(folder))
            await changed_in_between(bench, switchboard, Path(folder))
            async with stalling() as upstream:
                name = await over_tls(switchboard, "stalls", upstream.url, {})
                await untrusted(bench, switchboard, upstream, name, "handshake", "connect_timeout")


async def distrusted(bench: Bench, switchboard: Switchboard, folder: Path) -> None:
    authority, stranger = issued("authority.test"), issued("stranger.test")
    good, old = issued(FORBIDDEN, authority), issued(FORBIDDEN, authority, valid_days=-1)
    other, unknown = issued("other.test", authority), issued(FORBIDDEN, stranger)
    own = issued(FORBIDDEN)
    for kind, shown, words in (
        ("expired", old, "has expired"),
        ("wrong-host", other, "another host"),
        ("unknown", unknown, "unknown here"),
        ("self-signed", own, "signed by itself"),
        ("old-tls", good, "TLS handshake"),
    ):
        context = server_context(shown.file(folder, kind))
        if kind == "old-tls":
            only_old(context)
        async with fake(answer(b"hi"), tls=context) as upstream:
            name = await over_tls(switchboard, kind, upstream.url, {"ca": authority.certificate})
            details = await untrusted(bench, switchboard, upstream, name, kind)
            bench.check(all(words in detail for detail in details), f"{kind}: {details[0]}")
            if kind == "expired":
                bench.check("20" in details[0] and "UTC" in details[0], f"no dates: {details[0]}")


def only_old(context: ssl.SSLContext) -> None:
    """TLS 1.1 and no other, which OpenSSL 3 takes at its lowest level only."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1_1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("DEFAULT:@SECLEVEL=0")


async def over_tls(switchboard: Switchboard, name: str, url: str, tls: dict[str, Any]) -> str:
    auth = {"scheme": "bearer", "token": "a-credential-nobody-else-may-see"}
    policy = {"attempts": 3, "connect_seconds": STALL_SECONDS}
    return await switchboard.connect(name, url, auth=auth, tls=tls, policy=policy)


async def untrusted(
    bench: Bench, switchboard: Switchboard, upstream: Fake, name: str, kind: str, *more: str
) -> list[str]:
    """Calls that must fail; what is said of each."""
    before = upstream.taken_bytes
    connections = upstream.connections
    ended = await asyncio.gather(*(call(switchboard, f"{name}/{number}") for number in range(4)))
    details = []
    for one in ended:
        bench.ran()
        check_failure(bench, one, kind, "tls_failed", *more)
        record = await switchboard.call(one.id)
        details.append(record["detail"] or "")
        bench.check(len(record["attempts"]) == 1, f"{kind}: was tried {len(record['attempts'])} times")
    bench.figure((bench.finding.figure or 0) + upstream.taken_bytes - before)
    bench.check(upstream.taken_bytes == before, f"{kind}: the upstream saw {upstream.taken_bytes - before} bytes")
    bench.check(upstream.connections - connections <= len(ended), f"{kind}: was dialled more often than asked")
    return details


async def changed_in_between(bench: Bench, switchboard: Switchboard, folder: Path) -> None:
    """A server that was trusted shows another certificate at the next connection."""
    authority = issued("authority2.test")
    context = server_context(issued(FORBIDDEN, authority).file(folder, "trusted"))
    async with fake(hello, tls=context) as upstream:
        name = await over_tls(switchboard, "changed", upstream.url, {"ca": authority.certificate})
        first = await asyncio.gather(*(call(switchboard, f"{name}/") for _ in range(3)))
        bench.check(all(one.status == 200 for one in first), f"trusted: {[one.status for one in first]}")
        context.load_cert_chain(issued(FORBIDDEN, issued("stranger2.test")).file(folder, "changed"))
        await untrusted(bench, switchboard, upstream, name, "changed")
