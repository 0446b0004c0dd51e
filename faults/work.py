"""Work in flight whose ground moves: a batch that is left, a connection that is changed or deleted (41, 42)."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from faults import tokens
from faults.fakes import Asked, Peer, answer, fake
from faults.harness import Bench, fault
from faults.load import Ended, call, eventually
from faults.switchboard import Switchboard
from tests.wire import Answered, Broken, Wire

# 41

ITEMS = 100
KINDS = ("ok", "error", "slow", "reset", "garbage", "stuck", "unknown", "invalid")
TAKEN = 30


async def of_all_kinds(asked: Asked, peer: Peer) -> None:
    kind = asked.path.rpartition("/")[2]
    if kind == "slow":
        await asyncio.sleep(0.4)
    if kind == "stuck":
        await peer.until_left()
    elif kind == "reset":
        peer.reset()
    elif kind == "garbage":
        await peer.send(b"nonsense\r\n\r\n")
        peer.writer.close()
    else:
        await peer.send(answer(b"{}", 500 if kind == "error" else 200, "Content-Type: application/json"))


@fault(
    "41",
    f"A batch of {ITEMS} calls with mixed outcomes, taken whole, and left in the middle",
    invariant="one line for each item, each with its own outcome; after the caller has left nothing more is sent, "
    "no task is left, upstreams are let go, and what had begun is on record as ended",
    figure="tasks of a batch that outlived it",
    unit="tasks",
)
async def batch_is_left(bench: Bench) -> None:
    async with fake(of_all_kinds) as upstream, bench.serving(hand=()) as switchboard:
        for kind in KINDS[:6]:
            policy = {"attempts": 1, "first_byte_seconds": 1.5, "concurrency": ITEMS}
            await switchboard.connect(kind, upstream.url, policy=policy)
        kinds = [bench.random.choice(KINDS) for _ in range(ITEMS)]
        await taken_whole(bench, switchboard, kinds)
        orphans = 0
        for _ in range(4):
            tasks = await switchboard.do("tasks")
            seen = len(upstream.seen)
            await left_in_the_middle(switchboard, kinds, bench.random.randrange(1, TAKEN))
            gone = await eventually(lambda: not upstream.busy, 2)
            bench.ran(ITEMS)
            bench.check(gone is not None and gone <= 1, f"upstreams were let go after {gone} s")
            at_end = len(upstream.seen)
            await asyncio.sleep(0.5)
            bench.check(len(upstream.seen) == at_end, f"{len(upstream.seen) - at_end} calls were sent after that")
            orphans = max(orphans, await left_over(switchboard, tasks))
            bench.check(at_end - seen <= ITEMS, "more was sent than the batch has")
        bench.figure(orphans)
        bench.check(orphans == 0, f"{orphans} tasks are left")
        await all_on_record(bench, switchboard, len(upstream.seen))


def items(kinds: list[str]) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = []
    for index, kind in enumerate(kinds):
        item = {"connection": kind if kind != "invalid" else "ok", "path": f"/{index}/{kind}"}
        made.append(item | {"method": "NO METHOD"} if kind == "invalid" else item)
    return made


async def begin(wire: Wire, kinds: list[str], concurrency: int) -> Answered:
    body = json.dumps({"calls": items(kinds), "concurrency": concurrency}).encode()
    said = ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    await wire.send(wire.head("POST", "/api/batches", said) + body)
    return await wire.answer_head()


async def taken_whole(bench: Bench, switchboard: Switchboard, kinds: list[str]) -> None:
    async with Wire.to(switchboard.port, switchboard.key) as wire:
        answered = await begin(wire, kinds, 25)
        while piece := await wire.piece(answered):
            answered.body += piece
    lines = [json.loads(line) for line in answered.body.splitlines()]
    bench.ran(ITEMS)
    bench.check(sorted(line["index"] for line in lines) == list(range(ITEMS)), f"{len(lines)} lines")
    expected = {
        "ok": "done 200",
        "slow": "done 200",
        "error": "done 500",
        "reset": "failed reset",
        "garbage": "failed protocol_error",
        "stuck": "failed first_byte_timeout",
        "unknown": "unknown_connection",
        "invalid": "invalid_input",
    }
    wrong = Counter((kinds[line["index"]], said_of(line)) for line in lines)
    for (kind, said), count in wrong.items():
        good = said == expected[kind] or said == "failed circuit_open"
        bench.check(good, f"{kind}: {said} ({count} times)")


def said_of(line: dict[str, Any]) -> str:
    if "error" in line:
        return str(line["error"]["code"])
    return f"{line['call']['state']} {line['call']['status'] or line['call']['reason']}"


async def left_in_the_middle(switchboard: Switchboard, kinds: list[str], taken: int) -> None:
    async with Wire.to(switchboard.port, switchboard.key) as wire:
        answered = await begin(wire, kinds, 25)
        with suppress(Broken):
            while answered.body.count(b"\n") < taken and (piece := await wire.piece(answered)):
                answered.body += piece


async def left_over(switchboard: Switchboard, before: dict[str, int]) -> int:
    """Tasks that were not there before, once what ends by itself has had a second."""
    more: Counter[str] = Counter()
    for _ in range(20):
        more = Counter(await switchboard.do("tasks")) - Counter(before)
        ours = {
            name: count for name, count in more.items() if not name.startswith(("TCPServer", "Hand", "start_server"))
        }
        more = Counter(ours)
        if not more:
            return 0
        await asyncio.sleep(0.1)
    return sum(more.values())


async def all_on_record(bench: Bench, switchboard: Switchboard, sent: int) -> None:
    """I3, but for what the recorder still has in hand."""
    await asyncio.sleep(0.5)
    records = [one for kind in KINDS[:6] for one in await switchboard.calls(kind)]
    states = Counter(one["state"] for one in records)
    bench.check(not states["sending"], f"states on record: {dict(states)}")
    dialled = sum(len(one["attempts"]) for one in records)
    bench.check(dialled >= sent, f"{sent} requests were seen, {dialled} attempts are on record")


# 42

EDITS = 25


@fault(
    "42",
    "A connection is edited and deleted while calls and a token refresh run",
    invariant="each call goes by one consistent state of the connection; a deletion during a refresh is a clear "
    "error for who waits, and nothing breaks",
    figure="calls that mixed two states of a connection",
    unit="calls",
)
async def connection_changes(bench: Bench) -> None:
    async with bench.serving() as switchboard:
        await edited(bench, switchboard)
        await deleted_during_a_refresh(bench, switchboard)


def tagged(tag: str, mixed: list[str]) -> Callable[[Asked, Peer], Any]:
    """An upstream that knows by which header and credential it may be called."""

    async def reply(asked: Asked, peer: Peer) -> None:
        await asyncio.sleep(0.01)
        came = (asked.headers.get("x-state"), asked.headers.get("authorization"))
        if came != (tag, f"Bearer {tag}-token"):
            mixed.append(f"{tag} was called with {came}")
        await peer.send(answer(tag.encode()))

    return reply


async def edited(bench: Bench, switchboard: Switchboard) -> None:
    mixed: list[str] = []
    async with fake(tagged("one", mixed)) as one, fake(tagged("two", mixed)) as two:
        states = [state("one", one.url), state("two", two.url)]
        await switchboard.connect("api", **states[0])
        ended: list[Ended] = []
        calling = [asyncio.create_task(keep_calling(switchboard, ended)) for _ in range(6)]
        for number in range(EDITS):
            status, said = await switchboard.ask("PATCH", "/api/connections/api", states[1 - number % 2])
            bench.check(status == 200, f"an edit: {status} {said}")
            await asyncio.sleep(bench.random.random() * 0.05)
        for task in calling:
            task.cancel()
        await asyncio.wait(calling)
        used = (len(one.seen), len(two.seen))
    bench.ran(len(ended))
    bench.figure(len(mixed))
    for said in mixed:
        bench.check(False, said)
    wrong = Counter(f"{call.status} {call.code}" for call in ended if call.status != 200)
    bench.check(not wrong, f"calls failed: {dict(wrong)}")
    bench.check(min(used) > 10, f"the two states were used {used} times")


def state(tag: str, url: str) -> dict[str, Any]:
    return {"base_url": url, "headers": {"X-State": tag}, "auth": {"scheme": "bearer", "token": f"{tag}-token"}}


async def keep_calling(switchboard: Switchboard, ended: list[Ended]) -> None:
    while True:
        ended.append(await call(switchboard, "api/"))


async def deleted_during_a_refresh(bench: Bench, switchboard: Switchboard) -> None:
    """The token endpoint takes its time, and meanwhile the connection goes, or gets other auth."""
    asked = asyncio.Event()

    async def slowly() -> None:
        asked.set()
        await asyncio.sleep(0.4)

    reply = tokens.issuing(tokens.greet_the_signed_in, before=slowly)
    async with fake(reply) as upstream:
        for turn in range(6):
            asked.clear()
            await switchboard.connect("tokens", upstream.url, auth=tokens.auth_of(upstream))
            waiting = [asyncio.create_task(call(switchboard, "tokens/")) for _ in range(4)]
            await asked.wait()
            if turn % 2:
                change = {"auth": {"scheme": "bearer", "token": "token of another kind"}}
                status, _ = await switchboard.ask("PATCH", "/api/connections/tokens", change)
                bench.check(status == 200, f"other auth: {status}")
            else:
                status, _ = await switchboard.ask("DELETE", "/api/connections/tokens")
                bench.check(status == 204, f"deleted: {status}")
            for ended in await asyncio.gather(*waiting):
                bench.ran()
                clear = ended.status == 200 or (
                    ended.ours and ended.code in ("token_unavailable", "unknown_connection")
                )
                bench.check(clear, f"who waited was told {ended.status} {ended.code}")
            after = await call(switchboard, "tokens/")
            good = after.status == 200 if turn % 2 else after.code == "unknown_connection"
            bench.check(good, f"afterwards: {after.status} {after.code}")
            if turn % 2:
                await switchboard.ask("DELETE", "/api/connections/tokens")
