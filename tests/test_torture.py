"""`make torture` in small: a handful of kills, and that what it looks at shows what is wrong."""

import secrets
from datetime import date
from pathlib import Path
from random import Random

import pytest

from faults import steps
from faults.harness import Bench, Fault, Finding, inject
from faults.steps import Step
from faults.switchboard import prepare
from faults.torture import __main__ as runner
from faults.torture import aftermath, kills, page, takeovers
from faults.torture.aftermath import Kept
from faults.torture.crowd import Rush
from faults.torture.freezes import Thaw
from faults.torture.kills import Tally, window_of
from faults.torture.page import Results
from faults.torture.takeovers import Takeover
from faults.torture.victims import Victim
from quart_app.sandbox import DEMO
from quart_app.sandbox.clients import Client
from quart_app.sandbox.grants import Family
from quart_app.services import open_services
from quart_app.settings import Settings
from tests.postgres import PostgresServer
from tests.sandboxed import connected, serving_sandbox
from tests.tokens.kept import Killed, kill_at, send

ABOUT = {"seed": 1, "git": "abc", "versions": {"python": "3.11"}}
SQLITE = pytest.mark.parametrize("database_url", [""])
EXACT = 1
"""A seed whose first kill comes at the step itself."""


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A data folder to start from, and its key."""
    folder = tmp_path_factory.mktemp("torture") / "template"
    return folder, prepare(folder)


def bench_on(tmp_path: Path, template: tuple[Path, str]) -> Bench:
    fault = Fault("0", "", "", "", "", runner.nothing)
    return Bench(Finding(fault), 1, tmp_path, *template)


async def test_kills_between_slot_and_database_lose_nothing(tmp_path: Path, template: tuple[Path, str]) -> None:
    bench = bench_on(tmp_path, template)
    tally = await kills.torture(bench, Random(EXACT), "after_rescue", 0, 2)
    assert bench.finding.violations == []
    assert tally.kills >= 2
    assert tally.cut["rescued"] >= 1
    assert tally.lost_needlessly == 0
    assert len(tally.rescue_ms) >= tally.kills
    assert len(tally.ready_seconds) >= 2


async def test_a_kill_that_must_lose_a_token_is_seen_to_lose_it(tmp_path: Path, template: tuple[Path, str]) -> None:
    """Between the answer and its slot, at a provider without grace: who does not see this one sees nothing."""
    bench = bench_on(tmp_path, template)
    tally = await kills.torture(bench, Random(EXACT), "after_answer", 0, 1)
    assert bench.finding.violations == []
    assert tally.lost["answered"] >= 1
    assert tally.lost_needlessly == 0


async def test_another_process_takes_over_what_a_killed_one_had_in_its_slot(
    tmp_path: Path, postgres_server: PostgresServer
) -> None:
    bench = bench_on(tmp_path, (tmp_path, ""))
    taken = await takeovers.take_over(bench, postgres_server, "after_rescue", 0, rounds=1)
    assert bench.finding.violations == []
    assert (taken.rounds, taken.lost) == (1, 0)


def test_a_loss_where_none_may_be_is_needless() -> None:
    tally = Tally("after_send", 0)
    tally.lost.update({"answering": 3, "answered": 2, "sent": 1})
    assert tally.lost_needlessly == 1
    tally.grace_seconds = 5
    tally.lost["late"] = 1
    assert tally.lost_needlessly == 6


def victim(*, requests: int, asked: int = 0) -> Victim:
    family = Family(family_id="1", client=Client(client_id="x"), subject="x", scope="", grant="x", started_at=0.0)
    family.requests[0] = requests
    return Victim("c0", family, asked=asked)


@pytest.mark.parametrize(
    ("seen", "requests", "window"),
    [
        (["after_claim"], 7, "claimed"),
        (["after_claim", "after_send"], 7, "sent"),
        (["after_claim", "after_send"], 8, "answering"),
        (["after_claim", "after_send", "after_answer"], 8, "answered"),
        (["after_claim", "after_send", "after_answer", "after_rescue"], 8, "rescued"),
        (["after_claim", "after_send", "after_answer", "after_rescue", "after_commit"], 8, "committed"),
        ([], 7, None),
    ],
)
def test_the_window_is_that_of_the_last_step(seen: list[str], requests: int, window: str | None) -> None:
    own = [Step(number, label, "c0") for number, label in enumerate(seen)]
    assert window_of(victim(requests=requests, asked=7), own) == window


def test_an_exchange_that_was_over_when_another_was_cut_off_is_none() -> None:
    seen = [Step(1, "after_commit", "c0"), Step(2, "after_claim", "c1")]
    assert window_of(victim(requests=1), seen) is None


async def test_steps_are_read_up_to_where_their_process_ended(tmp_path: Path) -> None:
    path = tmp_path / "steps"
    assert steps.read(path) == []
    noted = steps.Steps(path)
    noted("after_answer")
    noted("after_rescue")
    path.write_text(path.read_text() + "123 after_co")
    found = steps.read(path)
    assert [step.label for step in found] == ["after_answer", "after_rescue"]
    (gap,) = steps.gaps_ms(found, "after_answer", "after_rescue")
    assert 0 < gap < 1000


def test_a_gap_is_one_of_the_same_exchange() -> None:
    seen = [
        Step(0, "after_answer", "c0"),
        Step(1_000_000, "after_answer", "c1"),
        Step(3_000_000, "after_rescue", "c1"),
        Step(4_000_000, "after_claim", "c0"),
        Step(5_000_000, "after_rescue", "c0"),
    ]
    assert steps.gaps_ms(seen, "after_answer", "after_rescue") == [2.0]


@SQLITE
async def test_what_is_wrong_with_what_is_left_is_told(settings: Settings) -> None:
    async with serving_sandbox() as sandbox:
        async with open_services(settings, serves=True) as services:
            await connected(services, sandbox.form("refresh_token"))
            await send(services)
        kept = Kept("items", 1, sandbox.server.families[0].refresh_token)
        assert await aftermath.looked_over(settings.data, [kept]) == []
        async with open_services(settings, serves=True) as services:
            kill_at(services, "after_claim")
            services.clock = lambda: 1e12
            with pytest.raises(Killed):
                await send(services)
    found = " / ".join(await aftermath.looked_over(settings.data, [Kept("items", 2, "another")]))
    assert "is still claimed / connection" in found
    assert "generation 1, the provider's is 2" in found
    assert "the refresh token that is stored is not the provider's" in found


async def test_a_token_in_clear_is_found_wherever_it_stands(tmp_path: Path) -> None:
    async with serving_sandbox() as sandbox:
        server = sandbox.server
        server.store.rotate(server.families[0], "x")
        files = {
            "token": b'\x00{"refresh_token":"' + server.families[0].refresh_token.encode() + b'"}',
            "inside": b"x" * 9 + server.families[0].refresh_token.encode() + b"yy",
            "secret": b"..." + DEMO.client_secret.encode(),
            "nothing": secrets.token_urlsafe(32).encode(),
        }
        for name, content in files.items():
            (tmp_path / name).write_bytes(content)
        found = aftermath.in_clear(server, sorted(aftermath.files_of(tmp_path)))
    assert found == [f"a secret is in clear in {name}" for name in ("inside", "secret", "token")]


async def test_the_page_says_what_was_lost_and_what_did_not_hold(tmp_path: Path) -> None:
    async def injection(bench: Bench) -> None:
        bench.check(False, "c0 is signed out\nafter it was cut off")

    broken = await inject(Fault("kill x", "", "", "", "", injection), seed=1, template=tmp_path, key="")
    tally = Tally("after_send", 5, kills=70, rescue_ms=[1.0, 3.0], ready_seconds=[1.5])
    tally.cut.update({"sent": 40, "answering": 30})
    tally.lost.update({"answering": 2})
    family = {"generation": 60, "revoked": None, "refused": 3, "requests": {"0": 1, "1": 1}}
    rush = Rush(calls=1000, seconds=60.0, waits=[0.1], stats={"families": [family]})
    results = Results(
        [broken], [tally], [Takeover("after_answer", 0, 3, 3)], [Thaw("after_send", 0, 47.0, 0, False)], rush
    )
    text = page.text(results, ABOUT, date(2026, 11, 1))
    assert "70 exchanges cut off, 2 tokens lost" in text
    assert "| `after_send` | 5 s | 70 | 0 | 70 | 2 | 2 | 1 | 3 |" in text
    assert "60 generations at **1.000 token requests each**" in " ".join(text.split())
    assert "3 (cannot be helped)" in text
    assert "- **kill x** c0 is signed out after it was cut off" in text
    assert str(tmp_path) not in text


def test_an_unknown_part_is_a_mistake_of_the_command_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["torture", "--only", "kills,poison"])
    with pytest.raises(SystemExit):
        runner.read_options()
    assert "there is no part poison" in capsys.readouterr().err
