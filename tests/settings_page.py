"""The table of `docs/settings.md`, made from the settings: `python -m tests.settings_page` writes it there."""

from dataclasses import Field
from pathlib import Path
from typing import Any

from quart_app.settings import PREFIX, UNSET, table

PAGE = Path(__file__).parents[1] / "docs" / "settings.md"
START, END = "<!-- made by python -m tests.settings_page -->\n", "<!-- end -->\n"


def rows() -> str:
    """One row for each setting, in the order of the table."""
    head = "| option | environment | default | is |\n|---|---|---|---|\n"
    return head + "".join(
        f"| {option(item)} | `{PREFIX}{item.name.upper()}` | {shown(item.default)} | {item.metadata['help']} |\n"
        for item in table()
    )


def option(item: Field[Any]) -> str:
    """A key has none: a command line shows in the list of processes."""
    return f"`--{item.name.replace('_', '-')}`" if item.metadata["option"] else "none"


def shown(default: Any) -> str:
    if default == UNSET:
        return "`$XDG_DATA_HOME/switchboard`, else `~/.local/share/switchboard`"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    return f"`{default}`" if default not in ("", ()) else "none"


def kept() -> str:
    """The table as the page has it."""
    return PAGE.read_text("utf-8").partition(START)[2].partition(END)[0]


def write() -> None:
    before, _, rest = PAGE.read_text("utf-8").partition(START)
    PAGE.write_text(before + START + rows() + END + rest.partition(END)[2], "utf-8")


if __name__ == "__main__":
    write()
