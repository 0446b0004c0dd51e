"""The house keeps its rules: floors, imports, sizes, a test for each file. `docs/architecture.md` draws them."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "quart_app"
SOURCES = sorted(
    path for path in PACKAGE.rglob("*.py") if "migrations/versions" not in path.as_posix() and path.name != "env.py"
)

FLOORS: tuple[tuple[str, ...], ...] = (
    ("errors", "instants"),
    ("settings", "files", "clients", "process"),
    ("models", "vault", "broadcast", "outbound", "engines"),
    ("db",),
    ("migrations",),
    ("recorder", "forms", "records", "audit", "rescue"),
    ("vitals",),
    ("services",),
    ("grants",),
    ("connections", "accounts", "history", "webhooks"),
    ("ledger", "standing", "rekeying"),
    ("tokens",),
    ("sending", "replays", "doctor", "authorizations", "removals"),
    ("calls",),
    ("batches",),
    ("jobs",),
    ("intake", "sandbox"),
    ("web",),
    ("__init__",),
    ("serving",),
    ("demo",),
    ("cli",),
    ("__main__",),
)
"""From the ground up; a module imports from its own floor or below, and rooms of one floor are strangers to others."""

NEIGHBOURS = {("records", "recorder"), ("accounts", "services"), ("history", "records")}
QUART = ("web", "sandbox", "__init__", "serving", "demo")
AIOHTTP = ("outbound",)
LONGEST_MODULE = 300
LONGEST_FUNCTION = 40


def room(path: Path) -> str:
    """The room of a source file: its module, or the folder of the package that it is in."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return parts[0]


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports, also inside functions."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            if node.module == "quart_app":
                yield from (f"quart_app.{alias.name}" for alias in node.names)


def floor_of(name: str) -> int:
    return next(number for number, rooms in enumerate(FLOORS) if name in rooms)


def rooms_imported(path: Path) -> set[str]:
    found = {name.split(".")[1] for name in imports(path) if name.startswith("quart_app.")}
    known = {name for rooms in FLOORS for name in rooms}
    return {name if name in known else "__init__" for name in found} - {room(path)}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_imports_go_downwards_only(path: Path) -> None:
    own = room(path)
    for other in rooms_imported(path):
        if (own, other) not in NEIGHBOURS:
            assert floor_of(other) < floor_of(own), f"{own} imports {other}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_libraries_stay_in_their_rooms(path: Path) -> None:
    named = {name.partition(".")[0] for name in imports(path)}
    assert "quart" not in named or room(path) in QUART
    assert "aiohttp" not in named or room(path) in AIOHTTP
    if room(path) != "web":
        text = path.read_text("utf-8")
        assert room(path) == "sandbox" or "current_app" not in text


def test_the_environment_is_read_in_settings_only() -> None:
    readers = [path.name for path in SOURCES if "os.environ" in path.read_text("utf-8")]
    assert readers == ["settings.py"]


def test_no_task_is_made_but_by_who_keeps_it() -> None:
    """STYLE: a loop lives in a TaskGroup, what outlives its request in `services.spawn`; these few keep their own."""
    makers = {
        path.relative_to(PACKAGE).as_posix()
        for path in SOURCES
        if "asyncio.create_task(" in path.read_text("utf-8") and room(path) != "sandbox"
    }
    assert makers == {"clients.py", "services.py", "recorder.py", "web/caller.py", "demo.py"}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_modules_and_functions_are_short(path: Path) -> None:
    text = path.read_text("utf-8")
    assert len(text.splitlines()) <= LONGEST_MODULE
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or 0) - node.lineno + 1
            assert lines <= LONGEST_FUNCTION, f"{node.name} has {lines} lines"


def test_most_functions_are_very_short() -> None:
    lengths = sorted(
        (node.end_lineno or 0) - node.lineno + 1
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    assert lengths[len(lengths) // 2] <= 10
    assert lengths[len(lengths) * 95 // 100] <= 30


def test_every_source_file_has_its_test_file() -> None:
    """A folder's `__init__` is tested where its name says; what only wires is tested by what it wires."""
    wiring = {"__main__.py", "__init__.py", "web/__init__.py", "web/api/__init__.py", "outbound/__init__.py"}
    wiring |= {"sending/__init__.py", "vitals/__init__.py", "outbound/redaction/__init__.py"}
    wiring |= {"sandbox/__main__.py", "outbound/target.py", "web/problems.py", "web/shapes/common.py"}
    missing = []
    for path in SOURCES:
        name = path.relative_to(PACKAGE)
        if name.as_posix() in wiring or room(path) == "cli":
            continue
        stem = "init" if path.stem == "__init__" else path.stem
        if not (ROOT / "tests" / name.parent / f"test_{stem}.py").is_file():
            missing.append(name.as_posix())
    assert missing == []
    assert (ROOT / "tests" / "test_cli.py").is_file()


def test_the_map_names_every_room() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    for path in SOURCES:
        name = path.relative_to(PACKAGE)
        if name.parts[0] in ("sandbox", "cli", "migrations") or "api" in name.parts:
            name = name.parent  # a folder is drawn as one room
        assert name.stem in text, name


def test_wiring_fits_one_screen() -> None:
    for path, name in ((PACKAGE / "__init__.py", "create_app"), (PACKAGE / "web" / "__init__.py", "register")):
        tree = ast.parse(path.read_text("utf-8"))
        function = next(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == name)
        assert (function.end_lineno or 0) - function.lineno < 40


def test_every_room_is_on_one_floor() -> None:
    rooms = [name for floor in FLOORS for name in floor]
    assert len(rooms) == len(set(rooms))
    assert {room(path) for path in SOURCES} <= set(rooms)


def module(path: Path) -> str:
    name = ".".join(("quart_app", *path.relative_to(PACKAGE).with_suffix("").parts))
    return name.removesuffix(".__init__")


def test_there_are_no_import_cycles_within_a_room_either() -> None:
    """Each file counts, and imports inside functions too."""
    modules = {module(path): path for path in PACKAGE.rglob("*.py")}
    left = {
        name: {other for other in imports_of(path) if other in modules and other != name}
        for name, path in modules.items()
    }
    while ready := [name for name, needed in left.items() if not needed & left.keys()]:
        for name in ready:
            del left[name]
    assert sorted(left) == []


def imports_of(path: Path) -> set[str]:
    """The modules of the package that a file imports; `from package import name` is the module where it is one."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            whole = [f"{node.module}.{alias.name}" for alias in node.names]
            inside = [name for name in whole if (PACKAGE.parent / name.replace(".", "/")).with_suffix(".py").is_file()]
            folders = [name for name in whole if (PACKAGE.parent / name.replace(".", "/") / "__init__.py").is_file()]
            found |= {*inside, *folders} or {node.module}
    return found


def test_nothing_names_a_place_of_one_machine() -> None:
    places = re.compile("|".join(f"/{place}/" for place in ("tmp", "root", "home/[a-z]+", "work", "Users/[a-z]+")))
    kinds = ("*.py", "*.md", "*.toml", "*.sql", "*.js", "*.css", "*.html", "Makefile")
    folders = [PACKAGE, ROOT / "tests", ROOT / "docs"]
    files = [path for folder in folders for kind in kinds for path in folder.rglob(kind)]
    files += [path for kind in kinds for path in ROOT.glob(kind)]
    named = {str(path.relative_to(ROOT)) for path in files if places.search(path.read_text("utf-8"))}
    assert named == set()
