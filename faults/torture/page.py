"""The page docs/torture.md: what came of a run in, text out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

from faults.harness import Finding, percentile, rounded
from faults.page import conditions_of, number, wrapped
from faults.torture.crowd import CALLERS, CONCURRENCY, PROCESSES, Rush
from faults.torture.freezes import FREEZE_SECONDS, Thaw
from faults.torture.kills import GRACES, MAY_LOSE, VICTIMS, Tally
from faults.torture.takeovers import Takeover

LONGEST = 400

INTRODUCTION = """\
The promise is that a refresh token is never spent twice and never lost, whatever crashes, hangs or races. This page
is the proof: the process that keeps the tokens is killed and stopped in the middle of its exchanges, and then each
token is looked at. It is written by that run: `make torture`.
"""
CONDITIONS = """\
Run on {date} on {cores} cores, with Python {python} on {system}; commit {git}, seed {seed}. `make torture
SEED={seed}` draws the same chances again; the moments themselves are the machine's. `KILLS=150` makes it short,
`ONLY=kills,crowd` runs some of it and writes no page. {versions}.
"""
KILLS = """\
A server on SQLite keeps {victims} connections to a provider in a process of its own, which spends a refresh token
with each use and ends the whole family of tokens where a spent one comes back later than its grace. All connections
are refreshed again and again. At one step of one exchange the server kills itself (`kill -9`), in half of the cases
at that very step and in the others a random moment after it, so that the other connections' exchanges are cut off
wherever they are. Now and then a second kill hits the restart. Then it is started again and called until each
connection has answered, and has been refreshed once more, or says that a person must sign in. The provider answers 10
ms after it has spent a token, so that kills hit that moment too.
"""
WINDOW = """\
The window is the time from the answer's arrival to the end of the sync of its slot. On a server that does nothing
else it is {quiet_p50} ms (p50) and **{quiet_p99} ms (p99)** over {quiet:,} refreshes. Between the kills, with all
connections refreshed at once beside another such server, it is {p50} ms and {p99} ms over {number:,}. From a kill to
a server that is ready again it took {ready_p50} s (p50) and {ready_p99} s (p99).
"""
WINDOWS = """\
Where each of the exchanges was that a kill cut off, by the steps it wrote down and by what the provider saw; and how
many tokens were lost there. Without any grace there are two windows in which no client can help it: the provider has
spent the token and its answer is on the way (`answering`), or the answer is in memory and not yet on disk
(`answered`). All else must lose nothing.
"""
WINDOW_NAMES = {
    "claimed": "claimed, not yet noted as sent",
    "sent": "noted as sent, not yet with the provider",
    "answering": "with the provider, its answer not here",
    "answered": "the answer in memory, not yet in its slot",
    "rescued": "in its slot, not yet in the database",
    "committed": "in the database, its slot not yet empty",
    "late": "with the provider, and the restart took longer than the grace",
}
TAKEOVERS = """\
Two servers of one PostgreSQL and one data folder, both asked for the token of the same connection; one kills itself
at a step of the exchange. The other sees that it is gone, takes what it had in its slot, or else the claim, and goes
on. The time is from the kill to a call and a refresh that worked. `after_answer` without any grace is lost by its
nature: the token was in the memory of the process that was killed.
"""
FREEZES = """\
The same two servers; the one stops itself (SIGSTOP) at the step for {seconds:.0f} s, which is longer than its lease,
and then goes on as if nothing had been. The other, which is asked all the time, takes over when the lease is over, or
at once what is in the database. Double requests are those that the provider had beyond the first of a generation.
"""
CROWD = """\
{processes} servers of one PostgreSQL, {callers} callers at each, for a minute; access tokens live for one second, and
the provider ends the family where a refresh token comes twice. Each process has at most {concurrency} calls of the
connection in flight, so that a call does not wait at the API with a token that is growing old.
"""


@dataclass
class Results:
    """What came of each part, where it ran."""

    findings: list[Finding] = field(default_factory=list)
    tallies: list[Tally] = field(default_factory=list)
    takeovers: list[Takeover] = field(default_factory=list)
    thaws: list[Thaw] = field(default_factory=list)
    rush: Rush | None = None
    quiet_ms: list[float] = field(default_factory=list)

    @property
    def rescue_ms(self) -> list[float]:
        return [ms for tally in self.tallies for ms in tally.rescue_ms]

    @property
    def ready_seconds(self) -> list[float]:
        return [seconds for tally in self.tallies for seconds in tally.ready_seconds]


def text(results: Results, about: Mapping[str, object], day: date) -> str:
    """The whole page, as Markdown."""
    parts = ["# Torture", wrapped(INTRODUCTION), wrapped(conditions_of(CONDITIONS, about, day))]
    parts += [summary(results), *kills(results), *takeovers(results.takeovers), *freezes(results.thaws)]
    parts += crowd(results.rush) if results.rush else []
    parts += broken(results.findings)
    return "\n\n".join(parts) + "\n"


def summary(results: Results) -> str:
    total = sum(tally.kills for tally in results.tallies)
    with_grace = [tally for tally in results.tallies if tally.grace_seconds]
    cut, lost = (sum(getattr(tally, name).total() for tally in with_grace) for name in ("cut", "lost"))
    needless = sum(tally.lost_needlessly for tally in results.tallies)
    violations = sum(finding.count for finding in results.findings)
    said = (
        f"{total:,} kills. With a grace of 5 s and more: {cut:,} exchanges cut off, {lost} tokens lost. Without any: "
    )
    return wrapped(f"**{said}{needless} lost that need not have been. Violations of anything below: {violations}.**")


def kills(results: Results) -> list[str]:
    rows = [
        (
            f"`{tally.label}`",
            f"{tally.grace_seconds} s",
            f"{tally.kills:,}",
            f"{tally.refreshes:,}",
            f"{tally.cut.total():,}",
            f"{tally.lost.total():,}",
            str(tally.lost_needlessly),
            figure(tally.rescue_ms, 50),
            figure(tally.rescue_ms, 99),
        )
        for tally in results.tallies
    ]
    titles = ("step", "grace", "kills", "refreshes", "cut off", "lost", "needlessly", "window p50, ms", "p99, ms")
    ready, window, quiet = results.ready_seconds, results.rescue_ms, results.quiet_ms
    return [
        "## Kills",
        wrapped(KILLS.format(victims=VICTIMS)),
        table(titles, rows),
        wrapped(
            WINDOW.format(
                quiet=len(quiet),
                quiet_p50=figure(quiet, 50),
                quiet_p99=figure(quiet, 99),
                number=len(window),
                p50=figure(window, 50),
                p99=figure(window, 99),
                ready_p50=figure(ready, 50),
                ready_p99=figure(ready, 99),
            )
        ),
        "### Where they were cut off",
        wrapped(WINDOWS),
        windows(results.tallies),
    ]


def windows(tallies: Sequence[Tally]) -> str:
    rows = []
    for window, says in WINDOW_NAMES.items():
        cells = [f"`{window}`", says]
        for grace in GRACES:
            own = [tally for tally in tallies if tally.grace_seconds == grace]
            cells += [f"{sum(tally.cut[window] for tally in own):,}", f"{sum(tally.lost[window] for tally in own):,}"]
        rows.append((*cells, may_be_lost(window)))
    titles = [f"{what}, {grace} s" for grace in GRACES for what in ("cut off", "lost")]
    return table(("window", "the exchange is", *titles, "may be lost"), rows)


def may_be_lost(window: str) -> str:
    if window == "late":
        return "on a machine this slow"
    return "without grace" if window in MAY_LOSE else "never"


def takeovers(taken: Sequence[Takeover]) -> list[str]:
    rows = [
        (
            f"`{one.label}`",
            f"{one.grace_seconds} s",
            str(one.rounds),
            f"{one.lost}{' (cannot be helped)' if one.lost and one.may_lose else ''}",
            figure(one.seconds, 50),
            figure(one.seconds, 100),
        )
        for one in taken
    ]
    titles = ("step", "grace", "kills", "lost", "token again, p50 s", "at most, s")
    return ["## Takeovers", wrapped(TAKEOVERS), table(titles, rows)] if taken else []


def freezes(thaws: Sequence[Thaw]) -> list[str]:
    rows = [
        (
            f"`{thaw.label}`",
            f"{thaw.grace_seconds} s",
            ("yes (cannot be helped)" if thaw.may_lose else "yes") if thaw.lost else "no",
            "–" if thaw.takeover_seconds is None else f"{thaw.takeover_seconds:.1f}",
            str(thaw.double_dials),
        )
        for thaw in thaws
    ]
    titles = ("step", "grace", "lost", "token again, s", "double requests")
    return ["## Freezes", wrapped(FREEZES.format(seconds=FREEZE_SECONDS)), table(titles, rows)] if thaws else []


def crowd(rush: Rush) -> list[str]:
    refused = rush.family["refused"]
    said = (
        f"{rush.calls:,} calls ({rush.calls / rush.seconds:,.0f}/s), {rush.said.total()} of them with anything but the "
        f"answer they wanted; {rush.family['generation']} generations at **{rush.requests_per_generation:.3f} token "
        f"requests each**, at most {max(rush.family['requests'].values())}; the family "
        f"{'was revoked' if rush.family['revoked'] else 'lives'}. A call took {figure(rush.waits, 50)} s (p50) and "
        f"{figure(rush.waits, 99)} s (p99). The API refused {refused} access tokens that expired on their way; those "
        "calls were made again with a new one, and their callers saw nothing of it."
    )
    text = CROWD.format(processes=PROCESSES, callers=CALLERS, concurrency=CONCURRENCY)
    return ["## A crowd", wrapped(text), wrapped(said)]


def broken(findings: Sequence[Finding]) -> list[str]:
    """What did not hold, in the words of the run, each on a line; nothing where all held."""
    said = [
        f"- **{finding.fault.id}** {' '.join(what.split())[:LONGEST]}"
        for finding in findings
        for what in finding.violations
    ]
    return ["## What did not hold", "\n".join(said)] if said else []


def figure(samples: Sequence[float], share: int) -> str:
    return number(rounded(percentile(samples, share)))


def table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(line)} |" for line in (titles, ("--",) * len(titles), *rows))
