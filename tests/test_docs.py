"""The documents are true: every command and setting is in them, and their links lead somewhere."""

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from quart_app.cli import main
from quart_app.settings import table
from quart_app.web import ROUTES

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / name for name in ("README.md", "SECURITY.md", "CHANGELOG.md")] + sorted((ROOT / "docs").glob("*.md"))
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
WRITTEN = "docs/benchmarks.md"
"""Made by `make bench`; a checkout may be without it."""


def text() -> str:
    return "\n".join(page.read_text("utf-8") for page in PAGES)


def commands(group: click.Group, *before: str) -> Iterator[tuple[str, ...]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, *before, name)
        else:
            yield (*before, name)


@pytest.mark.parametrize("command", list(commands(main)), ids=" ".join)
def test_every_command_is_in_the_documents(command: tuple[str, ...]) -> None:
    assert re.search(rf"switchboard {' '.join(command)}\b", text()), f"switchboard {' '.join(command)}"


@pytest.mark.parametrize("command", [(), *commands(main)], ids=" ".join)
def test_every_command_and_every_option_of_it_says_what_it_does(command: tuple[str, ...]) -> None:
    found: click.Command = main
    for name in command:
        assert isinstance(found, click.Group)
        found = found.commands[name]
    assert found.help
    for option in found.params:
        assert isinstance(option, click.Argument) or getattr(option, "help", None), option


@pytest.mark.parametrize("name", [item.name for item in table()])
def test_every_setting_is_in_its_page(name: str) -> None:
    page = (ROOT / "docs" / "settings.md").read_text("utf-8")
    assert re.search(rf"^\| (`--{name.replace('_', '-')}`|none) \| `SWITCHBOARD_{name.upper()}` \|", page, re.MULTILINE)


def test_every_variable_that_is_named_is_a_setting_or_a_program_s_own_key() -> None:
    named = {name.lower() for name in re.findall(r"\bSWITCHBOARD_([A-Z][A-Z_]*[A-Z])\b", text())}
    assert named - {item.name for item in table()} <= {"key", "test_chromium"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_the_documents_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(page.read_text("utf-8")):
        path, _, heading = target.partition("#")
        if "://" in target or (page.parent / path).resolve() == ROOT / WRITTEN:
            continue
        found = page.parent / path if path else page
        assert found.exists(), f"{page.name} links to {target}"
        if heading:
            assert heading in headings(found), f"{page.name} links to {target}"


def headings(page: Path) -> set[str]:
    """The anchors of a page's headings, made as the usual renderers make them."""
    titles = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_files_that_the_documents_name_are_there() -> None:
    named = set(re.findall(r"`((?:quart_app|tests|docs|benchmarks)/[\w./-]+\.\w+)`", text())) - {WRITTEN}
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


def test_routes_that_the_documents_name_are_there() -> None:
    """Those of examples, with what stands for a name in them left open."""
    patterns = [re.compile(re.sub(r"<[^>]+>", "[^/]+", route.path) + "$") for route in ROUTES]
    own = re.sub(r"\]\(https://[^)]+\)", "]", text())
    named = {path.rstrip("/.") for path in re.findall(r"(/api/[\w/{}<>.-]+|/healthz|/readyz|/_token_refresh)", own)}
    unknown = [path for path in sorted(named) if not any(pattern.match(path) for pattern in patterns)]
    assert unknown == []


def test_targets_that_the_documents_name_are_in_the_makefile() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    named = set(re.findall(r"(?:`|^)make ([a-z-]+)", text(), re.MULTILINE))
    assert "test" in named
    assert named <= targets
