"""`python -m faults`: injects the faults, prints a line of JSON for each, and writes docs/faults.md.

Exits 1 where an invariant did not hold. A run of some faults only (`--only 19,21`) prints and writes no page.
"""

import argparse
import asyncio
import random
import signal
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from faults import (
    answers,
    callers,
    clocks,
    crowds,
    endpoints,
    exchanges,
    framing,
    keys,
    locks,
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
from faults.runs import ROOT, about, numbers, raise_open_files, tell
from faults.switchboard import prepare
from faults.torture import rows

PAGE = ROOT / "docs" / "faults.md"
GROUPS = (
    answers,
    callers,
    clocks,
    crowds,
    endpoints,
    exchanges,
    framing,
    keys,
    locks,
    resources,
    rows,
    sizes,
    stops,
    storage,
    storms,
    tokens,
    ways_out,
    work,
)


def main() -> int:
    options = read_options()
    chosen = [FAULTS[id_] for id_ in sorted(FAULTS, key=int) if not options.only or id_ in options.only]
    raise_open_files()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the servers end as well
    told = about(options.seed)
    findings = asyncio.run(inject_all(chosen, told))
    if not options.only:
        PAGE.write_text(page.text(findings, told, datetime.now(UTC).date()), encoding="utf-8")
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


async def inject_all(chosen: list[Fault], told: dict[str, object]) -> list[Finding]:
    """Those that mostly wait at the same time, then all others one after another, so that nothing disturbs them."""
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        template = Path(folder) / "template"
        key = await asyncio.to_thread(prepare, template)

        async def inject_one(one: Fault) -> Finding:
            print(f"  {one.id}: {one.title}", file=sys.stderr, flush=True)
            finding = await inject(one, seed=int(str(told["seed"])), template=template, key=key)
            tell(finding, told)
            return finding

        findings = await asyncio.gather(*(inject_one(one) for one in chosen if one.waits))
        findings += [await inject_one(one) for one in chosen if not one.waits]
    return sorted(findings, key=lambda finding: int(finding.fault.id))


if __name__ == "__main__":
    sys.exit(main())
