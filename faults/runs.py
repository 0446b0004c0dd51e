"""What every run of a suite says of itself, and what it needs of the system."""

import json
import platform
import resource
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from faults.harness import Finding

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("switchboard-gateway", "aiohttp", "hypercorn", "quart", "uvloop")
OPEN_FILES = 8192


def numbers(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def about(seed: int) -> dict[str, object]:
    """What each line of a report carries besides its figures."""
    return {"seed": seed, "git": git(), "versions": versions()}


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
