"""`python -m faults`: injects the faults, prints a line of JSON for each, and writes docs/faults.md.

Exits 1 where an invariant did not hold. A run of some faults only (`--only 19,21`) prints and writes no page.
"""

import argparse
import asyncio
import json
import platform
import random
import resource
import signal
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from faults import (
    answers,
    callers,
    clocks,
    crowds,
    framing,
    keys,
    page,
    resources,
    sizes,
    stops,
    storage,
    storms,
    tokens,
    ways_out,
    work,
)
from faults.harness import FAULTS, Fault, Finding, inject
from faults.switchboard import prepare

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "faults.md"
GROUPS = (
    answers,
    callers,
    clocks,
    crowds,
    framing,
    keys,
    resources,
    sizes,
    stops,
    storage,
    storms,
    tokens,
    ways_out,
    work,
)
PACKAGES = ("switchboard-gateway", "aiohttp", "hypercorn", "quart", "uvloop")
OPEN_FILES = 8192


def main() -> int:
    options = read_options()
    chosen = [FAULTS[id_] for id_ in sorted(FAULTS, key=int) if not options.only or id_ in options.only]
    raise_open_files()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the servers end as well
    about = {"seed": options.seed, "git": git(), "versions": versions()}
    findings = asyncio.run(inject_all(chosen, about))
    if not options.only:
        PAGE.write_text(page.text(findings, about, datetime.now(UTC).date()), encoding="utf-8")
        print(f"written to {PAGE.relative_to(ROOT)}", file=sys.stderr)
    return 1 if any(finding.count for finding in findings) else 0


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="faults", description="Inject faults and check what must hold.")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6), help="to replay a run")
    parser.add_argument("--only", type=numbers, default=(), metavar="19,21", help="only these; writes no page")
    options = parser.parse_args()
    unknown = sorted(set(options.only) - set(FAULTS))
    if unknown:
        parser.error(f"there is no fault {', '.join(unknown)}; there are {', '.join(sorted(FAULTS, key=int))}")
    return options


def numbers(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


async def inject_all(chosen: list[Fault], about: dict[str, object]) -> list[Finding]:
    findings = []
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        template = Path(folder) / "template"
        key = await asyncio.to_thread(prepare, template)
        for one in chosen:
            print(f"  {one.id}: {one.title}", file=sys.stderr, flush=True)
            finding = await inject(one, seed=int(str(about["seed"])), template=template, key=key)
            tell(finding, about)
            findings.append(finding)
    return findings


def tell(finding: Finding, about: dict[str, object]) -> None:
    """The line of the report, and on stderr what did not hold."""
    print(json.dumps(finding.line() | about), flush=True)
    for said in (*finding.violations, *finding.remarks):
        print(f"  {finding.fault.id}: {said}", file=sys.stderr, flush=True)
    print(f"  {finding.fault.id}: took {finding.seconds:.1f} s", file=sys.stderr, flush=True)


def versions() -> dict[str, str]:
    return {"python": platform.python_version()} | {name: version(name) for name in PACKAGES}


def git() -> str:
    """The commit, with a plus where the tree has changes on top of it; `unknown` outside a repository."""
    try:
        commit, changes = (
            subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
            for words in (("rev-parse", "--short", "HEAD"), ("status", "--porcelain"))
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{commit}+" if changes else commit


def raise_open_files() -> None:
    """Thousands of callers are as many open files, here and in the server."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


if __name__ == "__main__":
    sys.exit(main())
