"""The protocol as a state machine that Hypothesis explores: crash, delay, repeat and reorder its steps at will.

Two processes share one database. What each step does is the real code on a real SQLite file and in real rescue slots;
the provider is the sandbox's server. Only the order of the steps, the network and the end of processes are the
machine's. It assumes of the network what time-outs and leases are for: a request is delivered or lost before its
claim can be taken over from a process that lives, and before a token of the next generation is asked for.
"""

import asyncio
import atexit
import os
import shutil
import sqlite3
import tempfile
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from sqlalchemy import update

from quart_app import connections, ledger, rescue
from quart_app.ledger import ClaimLost, Exchange
from quart_app.models import Token
from quart_app.outbound.client import AttemptFailed
from quart_app.outbound.oauth.answers import GrantFailed, token_answer
from quart_app.rescue import Rescue
from quart_app.sandbox import DEMO, AuthorizationServer, Client
from quart_app.sandbox.clients import Rules
from quart_app.sandbox.protocol import OAuthError
from quart_app.services import Services, open_services
from quart_app.settings import load_settings
from quart_app.tokens.held import load
from quart_app.tokens.renewing import fail, said
from quart_app.tokens.settling import settle_slots
from quart_app.tokens.storing import Arrival, commit, keep_safe, rescued
from quart_app.tokens.verdicts import DialFailed, Step, judge
from tests.sandboxed import connected

FOREVER = 1e9
EXAMPLES = int(os.environ.get("SWITCHBOARD_TEST_EXAMPLES", "100"))
FORM = {
    "name": "items",
    "base_url": "https://api.example.com/v1",
    "auth": {
        "scheme": "oauth2", "grant": "refresh_token", "token_url": "https://login.example.com/token",
        "client_id": DEMO.client_id, "client_secret": DEMO.client_secret, "refresh_token": DEMO.refresh_token,
    },
}  # fmt: skip


@dataclass
class Request:
    """A token request on its way: not delivered yet, or with its answer on the way back."""

    exchange: Exchange
    token: str
    answer: dict[str, Any] | OAuthError | None = None


@dataclass
class Node:
    """A process: what it has in hand of the one exchange that it may have under way."""

    services: Services
    exchange: Exchange | None = None
    request: Request | None = None
    arrival: Arrival | None = None
    slot: int | None = None
    tries: int = 0

    def forget(self) -> None:
        self.exchange = self.request = self.arrival = self.slot = None
        self.tries = 0


class Protocol(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = Path(tempfile.mkdtemp(prefix="model-"))
        self.stack = AsyncExitStack()
        self.ended: set[str] = set()
        self.strays: list[Request] = []
        self.born = 0
        self.generation = 0
        self.may_be_lost = False

    @initialize(grace=st.sampled_from([0.0, FOREVER]), fresh=st.booleans())
    def begin(self, grace: float, fresh: bool) -> None:
        rules = Rules(access_seconds=3600, grace_seconds=grace, fresh_successor=fresh)
        client = Client(client_id=DEMO.client_id, client_secret=DEMO.client_secret, refresh_token=DEMO.refresh_token)
        self.grace = grace > 0
        self.server = AuthorizationServer([client], rules, clock=time.time)
        shutil.copytree(template(), self.folder, dirs_exist_ok=True)
        made = load_settings({"data": str(self.folder)}, {})
        self.nodes = [Node(self.run(self.stack.enter_async_context(open_services(made)))) for _ in range(2)]
        for node in self.nodes:
            self.bear(node)
        self.target = self.run(connections.load(self.nodes[0].services, "items"))
        self.look = sqlite3.connect(self.folder / "switchboard.db", isolation_level=None)
        self.look.row_factory = sqlite3.Row

    def run(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    def bear(self, node: Node) -> None:
        """A process of its own, on a host that nobody can look into."""
        self.born += 1
        node.services.process = f"host{self.born}:1:1"
        node.services.caches.drop()

    @property
    def family(self) -> Any:
        return self.server.families[0]

    def row(self) -> sqlite3.Row:
        """The token, the connection's state, and whose the claim is."""
        query = (
            "SELECT tokens.*, connections.state, owner FROM tokens "
            "JOIN connections ON connections.id = tokens.connection_id "
            "LEFT JOIN token_exchanges ON token_exchanges.id = claim"
        )
        found: sqlite3.Row = self.look.execute(query).fetchone()
        return found

    def may_claim(self) -> bool:
        row = self.row()
        return row["claim"] is None or row["lease_until"] < time.time() or row["owner"] in self.ended

    @rule(data=st.data())
    def step(self, data: st.DataObject) -> None:
        """One of the steps that are possible now."""
        action, *given = data.draw(st.sampled_from(self.possible()))
        getattr(self, action)(*given)

    def possible(self) -> list[tuple[Any, ...]]:
        """What goes on stands here three times for each thing that goes wrong, so that there is much to go wrong."""
        goes_on: list[tuple[Any, ...]] = []
        goes_wrong: list[tuple[Any, ...]] = []
        for number, node in enumerate(self.nodes):
            if node.exchange is None:
                goes_on += [("claim", number)] if self.may_claim() else []
                continue
            goes_wrong += [("crash", number), ("freeze", number)]
            if node.arrival is not None:
                goes_on.append(("store", number))
            elif node.request is None:
                goes_on.append(("send", number))
            elif node.request.answer is None:
                goes_wrong = [*goes_wrong[:-1], ("lose", number)]  # frozen it would time out: that is lost
            else:
                goes_on.append(("answer", number))
                goes_wrong.append(("lose", number))
        for request in self.requests():
            if request.answer is None:
                goes_on.append(("deliver", request))
            elif self.grace and request.exchange.generation == self.generation:
                goes_wrong.append(("repeat", request))
        if self.ended:
            goes_on.append(("settle", 0))
        return goes_on * 3 + goes_wrong

    def claim(self, number: int) -> None:
        node = self.nodes[number]
        found = self.run(ledger.standing(node.services, self.target.id))
        if found.owner in self.ended:
            self.run(settle_slots(node.services))
            found = self.run(ledger.standing(node.services, self.target.id))
        late = [one for one in self.requests() if one.answer is None and one.exchange.generation < found.generation]
        if not late:
            claiming = ledger.claim(node.services, self.target, found, grant_type="refresh_token", cause="expired")
            node.exchange = self.run(claiming)

    def requests(self) -> list[Request]:
        return [node.request for node in self.nodes if node.request is not None] + self.strays

    def send(self, number: int) -> None:
        node = self.nodes[number]
        assert node.exchange is not None
        node.services.caches.drop()
        held = self.run(load(node.services, self.target))
        noted = self.run(ledger.sent(node.services, self.target, node.exchange))
        if noted is None:
            node.forget()  # the claim was lost: nothing leaves
            return
        node.exchange = noted
        node.request = Request(noted, held.refresh_token)

    def deliver(self, request: Request) -> None:
        """A request that is on its way reaches the provider."""
        request.answer = self.asked(request.token)

    def repeat(self, request: Request) -> None:
        """Something on the way sends a request twice; the second answer reaches nobody."""
        self.asked(request.token)

    def asked(self, token: str) -> dict[str, Any] | OAuthError:
        form = {"grant_type": "refresh_token", "refresh_token": token}
        client = {"client_id": DEMO.client_id, "client_secret": DEMO.client_secret}
        try:
            return self.server.token(list((form | client).items()), None)
        except OAuthError as error:
            return error

    def answer(self, number: int) -> None:
        """The answer is here, and in its slot before anything else can happen."""
        node = self.nodes[number]
        assert node.request is not None
        assert node.exchange is not None
        given, node.request = node.request.answer, None
        if isinstance(given, OAuthError):
            failed = DialFailed(GrantFailed("No.", failure="signed_out", code=given.code, state="needs_sign_in"), 400)
            self.refused(node, failed)
            return
        issued = token_answer(200, msgspec.json.encode(given))
        node.arrival = Arrival(self.target.id, node.exchange, issued, time.time())
        node.slot = keep_safe(node.services, node.arrival)

    def refused(self, node: Node, failed: DialFailed) -> None:
        assert node.exchange is not None
        try:
            self.run(fail(node.services, self.target, node.exchange, failed, Step("failed")))
        except DialFailed:
            assert self.may_be_lost, "the provider refused a token that nothing had happened to"
        node.forget()

    def lose(self, number: int) -> None:
        """Request or answer is lost on the way: sent again under the same claim, as the protocol has it."""
        node = self.nodes[number]
        assert node.request is not None
        assert node.exchange is not None
        self.may_be_lost = self.may_be_lost or (node.request.answer is not None and not self.grace)
        failed = DialFailed(AttemptFailed("reset", "Lost."))
        step = judge(failed, spends=True, tries=node.tries, fresh=True, has_spare=False)
        node.request, node.tries = None, node.tries + 1
        try:
            if step.next == "again":
                again = ledger.again(node.services, self.target, node.exchange, "in_doubt", said(failed, step))
                node.exchange = self.run(again)
                return
            self.run(fail(node.services, self.target, node.exchange, failed, step))
        except (ClaimLost, DialFailed):
            pass
        node.forget()

    def store(self, number: int) -> None:
        node = self.nodes[number]
        assert node.arrival is not None
        self.run(commit(node.services, node.arrival))
        if node.slot is not None:
            node.services.rescue.clear(node.slot)
        node.forget()

    def crash(self, number: int) -> None:
        """kill -9: what was in memory is gone; what it sent may still arrive."""
        node = self.nodes[number]
        if node.request is not None:
            self.strays.append(node.request)
            self.may_be_lost = self.may_be_lost or not self.grace
        self.ended.add(node.services.process)
        node.services.rescue.close()
        node.services.rescue = Rescue(self.folder / "rescue", slots=2)
        node.forget()
        self.bear(node)

    def freeze(self, number: int) -> None:
        """It stands still until its lease is over: what it had not sent times out, an answer waits for it."""
        node = self.nodes[number]
        had_sent = node.request is not None or node.arrival is not None
        self.may_be_lost = self.may_be_lost or (had_sent and not self.grace)

        async def lapse() -> None:
            async with node.services.db.begin() as session:
                assert node.exchange is not None
                over = update(Token).where(Token.claim == node.exchange.id).values(lease_until=1.0)
                await session.execute(over)

        self.run(lapse())

    def settle(self, number: int) -> None:
        self.run(settle_slots(self.nodes[number].services))

    @invariant()
    def generations_only_grow(self) -> None:
        if hasattr(self, "target"):
            generation = self.row()["generation"]
            assert generation >= self.generation
            self.generation = generation

    @invariant()
    def the_family_lives_unless_an_answer_was_lost_without_grace(self) -> None:
        if hasattr(self, "target") and not self.may_be_lost:
            assert self.family.revoked is None
            assert self.row()["state"] == "ready"

    @invariant()
    def the_newest_token_is_somewhere(self) -> None:
        """In the database, aside, in a slot, in hand or on its way; or the one before it, while that is in grace."""
        if not hasattr(self, "target") or self.may_be_lost:
            return
        found = set(self.kept())
        newest = self.server.store.refresh_tokens
        good = {
            value for value, token in newest.items() if self.grace or token.spent_at is None
            if token.generation >= self.family.generation - int(self.grace)
        }  # fmt: skip
        assert found & good, "no token that the provider would take is left"

    def kept(self) -> list[str]:
        held = self.run(load_anew(self.nodes[0].services, self.target))
        found = [held.refresh_token, held.spare_refresh_token]
        found += [node.arrival.issued.refresh_token for node in self.nodes if node.arrival is not None]
        for request in self.requests():
            if isinstance(request.answer, dict):
                found.append(request.answer["refresh_token"])
        for path in rescue.files(self.folder / "rescue"):
            with path.open("rb") as file:
                for id_, sealed in rescue.contents(file.fileno()):
                    found.append(rescued(self.nodes[0].services, id_, sealed).issued.refresh_token)
        return [token for token in found if token]

    def teardown(self) -> None:
        """Whatever happened: after a restart it is refreshed once more, unless it was lost for good and says so."""
        try:
            if hasattr(self, "target"):
                self.recover()
                self.look.close()
        finally:
            self.run(self.stack.aclose())
            self.loop.close()
            shutil.rmtree(self.folder, ignore_errors=True)

    def recover(self) -> None:
        for request in self.requests():
            if request.answer is None:
                self.deliver(request)
        for number in (0, 1):
            self.crash(number)
        self.run(settle_slots(self.nodes[0].services))
        before = self.row()["generation"]
        self.claim(0)
        assert self.nodes[0].exchange is not None, "nobody can claim it any more"
        self.send(0)
        for request in self.requests():
            if request.answer is None:
                self.deliver(request)
        self.answer(0)
        if self.nodes[0].arrival is not None:
            self.store(0)
        if self.row()["generation"] == before:
            assert self.may_be_lost
            assert self.row()["state"] == "needs_sign_in"


@cache
def template() -> Path:
    """A data folder with the connection in it, made once."""
    folder = Path(tempfile.mkdtemp(prefix="model-template-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)

    async def make() -> None:
        async with open_services(load_settings({"data": str(folder)}, {})) as services:
            await connected(services, FORM)

    asyncio.run(make())
    return folder


async def load_anew(services: Services, target: Any) -> Any:
    services.caches.drop()
    return await load(services, target)


Protocol.TestCase.settings = settings(
    max_examples=EXAMPLES, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
TestProtocol = pytest.mark.timeout(600)(Protocol.TestCase)
