"""The page docs/faults.md: findings in, text out."""

import os
import platform
import textwrap
from collections.abc import Mapping, Sequence
from datetime import date

from faults.harness import Finding

WIDTH = 118

INTRODUCTION = """\
What may go wrong around Switchboard, injected into it, and whether what must hold then did hold. Each fault is injected
on loopback: into a server that runs as a process of its own as `switchboard serve` runs it, by upstreams and callers on
bare sockets. This page is written by that run: `make faults`.
"""
CONDITIONS = """\
Run on {date} on {cores} cores, which the server shares with all that injures it, with Python {python} on {system};
commit {git}, seed {seed}. `make faults SEED={seed}` replays it, `make faults ONLY=19,21` runs some of it and writes no
page. {versions}.
"""
COMMON = """\
Besides its own invariant each fault must leave this behind: a server that ends in order, a database that is whole
(`integrity_check`), no call left as `sending`, nothing unforeseen in the log, and no key in it. What breaks that is a
violation too. A figure without a sample of its own is a count.
"""


def text(findings: Sequence[Finding], about: Mapping[str, object], day: date) -> str:
    """The whole page, as Markdown."""
    held = sum(not finding.count for finding in findings)
    parts = [
        "# Faults",
        wrapped(INTRODUCTION),
        wrapped(conditions_of(CONDITIONS, about, day)),
        f"**{held} of {len(findings)} hold.**",
        table(findings),
        wrapped(COMMON),
        "## What must hold, and what the figure is",
        "\n".join(explained(finding) for finding in findings),
        *broken(findings),
    ]
    return "\n\n".join(parts) + "\n"


def conditions_of(form: str, about: Mapping[str, object], day: date) -> str:
    """A paragraph on when, where and on what a run was made."""
    versions = about["versions"]
    assert isinstance(versions, Mapping)
    named = ", ".join(f"{name} {number}" for name, number in versions.items() if name != "python")
    return form.format(
        date=day.isoformat(),
        cores=os.cpu_count(),
        python=platform.python_version(),
        system=platform.system(),
        git=about["git"],
        seed=about["seed"],
        versions=named[:1].upper() + named[1:],
    )


def table(findings: Sequence[Finding]) -> str:
    titles = ("", "fault", "runs", "violations", "figure", "p50", "p99", "holds")
    rows = [row(finding) for finding in findings]
    lines = [titles, ("--",) * len(titles), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def row(finding: Finding) -> tuple[str, ...]:
    line = finding.line()
    return (
        finding.fault.id,
        finding.fault.title,
        f"{finding.runs:,}",
        str(finding.count),
        f"{number(line['figure'])} {finding.fault.unit}",
        number(line["p50"]),
        number(line["p99"]),
        "**no**" if finding.count else "yes",
    )


def number(value: float | None) -> str:
    return "–" if value is None else f"{value:,.10g}"


def explained(finding: Finding) -> str:
    of = finding.fault
    said = [f"**{of.id}** {of.invariant}.", f"*Figure:* {of.figure}."]
    if finding.samples and finding.figure is None:
        said.append(f"It is the 99th percentile of {len(finding.samples):,}.")
    said += [of.note] if of.note else []
    said += finding.remarks
    return textwrap.fill(" ".join(said), WIDTH, initial_indent="- ", subsequent_indent="  ", break_on_hyphens=False)


def broken(findings: Sequence[Finding]) -> list[str]:
    """What did not hold, in the words of the run; nothing where all held."""
    said = [f"- **{finding.fault.id}** {what}" for finding in findings for what in finding.violations]
    return ["## What did not hold", "\n".join(said)] if said else []


def wrapped(paragraph: str) -> str:
    return textwrap.fill(paragraph, WIDTH, break_on_hyphens=False, break_long_words=False)
