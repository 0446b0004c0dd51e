"""docs/benchmarks.md is written by several runs: each replaces its own section and keeps the others'."""

from __future__ import annotations

import re

import venvs

PAGE = venvs.ROOT / "docs" / "benchmarks.md"
NAMES = ("side by side", "other runs", "trouble", "history")
"""The sections in the order in which the page has them."""


def write(name: str, text: str) -> None:
    """Put a section into the page, in its place."""
    before = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    sections = dict(re.findall(r"<!-- begin ([\w ]+) -->\n(.*?)\n<!-- end \1 -->", before, re.DOTALL))
    sections[name] = text.strip()
    parts = [f"<!-- begin {one} -->\n{sections[one]}\n<!-- end {one} -->" for one in NAMES if one in sections]
    PAGE.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
