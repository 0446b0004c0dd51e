"""The suite of faults (`make faults`) in small: one fault is injected, and what breaks is told."""

import asyncio
import json
import subprocess
from datetime import date
from pathlib import Path

import pytest

from faults import __main__ as runner
from faults import disks, page
from faults.harness import FAULTS, Bench, Fault, inject, percentile, rounded
from faults.names import NXDOMAIN, Says, addresses_in, question, reply
from faults.switchboard import prepare

ROWS = {str(number) for number in (2, 3, 6, 7, 9, 10, 12, 15, *range(17, 44))}
ABOUT = {"seed": 1, "git": "abc", "versions": {"python": "3.11"}}


def test_every_row_of_the_list_is_there() -> None:
    assert set(FAULTS) == ROWS


async def test_a_fault_is_injected_into_a_served_process_and_holds(tmp_path: Path) -> None:
    key = await asyncio.to_thread(prepare, tmp_path / "template")
    finding = await inject(FAULTS["38"], seed=1, template=tmp_path / "template", key=key)
    assert finding.violations == []
    assert (finding.count, finding.runs > 20) == (0, True)
    line = json.loads(json.dumps(finding.line() | ABOUT))
    assert set(line) == {"id", "fault", "runs", "violations", "figure", "unit", "p50", "p99", "seed", "git", "versions"}
    text = page.text([finding], ABOUT, date(2026, 11, 1))
    assert "**1 of 1 hold.**" in text
    assert str(tmp_path) not in text


async def test_what_does_not_hold_is_counted_told_and_on_the_page(tmp_path: Path) -> None:
    async def injection(bench: Bench) -> None:
        bench.ran(2)
        bench.sample(1.0, 2.0, 30.0)
        bench.check(bench.random.random() < 0, "this did not hold")
        raise OSError("and this broke")

    broken = Fault("0", "Broken", "nothing breaks", "seconds", "s", injection)
    finding = await inject(broken, seed=1, template=tmp_path, key="")
    assert (finding.count, finding.line()["figure"], finding.line()["p50"]) == (2, 30.0, 2.0)
    text = page.text([finding], ABOUT, date(2026, 11, 1))
    assert "**0 of 1 hold.**" in text
    assert "- **0** this did not hold" in text
    assert "and this broke" in text


async def test_a_seed_gives_the_same_chance_again(tmp_path: Path) -> None:
    drawn: list[float] = []

    async def injection(bench: Bench) -> None:
        drawn.append(bench.random.random())

    for seed in (1, 1, 2):
        await inject(Fault("0", "", "", "", "", injection), seed=seed, template=tmp_path, key="")
    assert drawn[0] == drawn[1] != drawn[2]


async def test_a_small_disk_is_full_to_its_last_byte_and_what_is_on_it_comes_back(tmp_path: Path) -> None:
    (tmp_path / "before").write_text("from before")
    try:
        async with disks.mounted(tmp_path) as (prefix, seen):
            inside = [*prefix, "cat", str(tmp_path / "before")]
            assert (await asyncio.to_thread(subprocess.check_output, inside)) == b"from before"
            disks.fill(seen)
            with pytest.raises(OSError, match="No space left"):
                (seen / "after").write_text("x")
            disks.free(seen)
            (seen / "after").write_text("from the disk")
            assert not (tmp_path / "after").exists()
    except disks.NotMounted as error:
        pytest.skip(str(error))
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "before": "from before",
        "after": "from the disk",
    }


@pytest.mark.parametrize(("share", "found"), [(50, 2.0), (99, 4.0), (25, 1.0)])
def test_a_percentile_is_the_smallest_sample_that_so_many_do_not_exceed(share: int, found: float) -> None:
    assert percentile([4.0, 1.0, 3.0, 2.0], share) == found
    assert percentile([], share) is None


def test_figures_have_three_digits() -> None:
    assert [rounded(value) for value in (None, 0, 1234.5, 12.345, 0.012345)] == [None, 0, 1234.0, 12.3, 0.0123]


def test_names_are_asked_for_and_answered_as_rfc_1035_says() -> None:
    query = question("api.example.test", 7)
    assert addresses_in(reply(query, ["127.0.0.1", "127.0.0.2"])) == ["127.0.0.1", "127.0.0.2"]
    silent: tuple[Says, ...] = (NXDOMAIN, [])
    for says in silent:
        assert says is not None
        with pytest.raises(OSError, match="the name server says"):
            addresses_in(reply(query, says))


def test_an_unknown_fault_is_a_mistake_of_the_command_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["faults", "--only", "19,99"])
    with pytest.raises(SystemExit) as ended:
        runner.read_options()
    assert ended.value.code == 2
    assert "there is no fault 99" in capsys.readouterr().err
