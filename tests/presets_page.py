"""The table of `docs/presets.md`, made from the presets: `python -m tests.presets_page` writes it there."""

from pathlib import Path

from quart_app.forms import presets

PAGE = Path(__file__).parents[1] / "docs" / "presets.md"
START, END = "<!-- made by python -m tests.presets_page -->\n", "<!-- end -->\n"


def rows() -> str:
    """One row for each preset, by title."""
    head = "| API | preset | signs in by |\n|---|---|---|\n"
    return head + "".join(
        f"| [{preset.title}]({preset.docs_url}) | `{preset.id}` | {presets.way(preset)} |\n"
        for preset in presets.catalogue().values()
    )


def kept() -> str:
    """The table as the page has it."""
    return PAGE.read_text("utf-8").partition(START)[2].partition(END)[0]


def write() -> None:
    before, _, rest = PAGE.read_text("utf-8").partition(START)
    PAGE.write_text(before + START + rows() + END + rest.partition(END)[2], "utf-8")


if __name__ == "__main__":
    write()
