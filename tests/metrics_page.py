"""The table of `docs/metrics.md`, made from the families: `python -m tests.metrics_page` writes it there."""

from pathlib import Path

from quart_app.web.metrics import FAMILIES

PAGE = Path(__file__).parents[1] / "docs" / "metrics.md"
START, END = "<!-- made by python -m tests.metrics_page -->\n", "<!-- end -->\n"


def rows() -> str:
    head = "| name | is a | labels | is |\n|---|---|---|---|\n"
    return head + "".join(
        f"| `{family.name}` | {family.kind} | {', '.join(f'`{label}`' for label in family.labels)} | {family.help} |\n"
        for family in FAMILIES
    )


def kept() -> str:
    """The table as the page has it."""
    return PAGE.read_text("utf-8").partition(START)[2].partition(END)[0]


def write() -> None:
    before, _, rest = PAGE.read_text("utf-8").partition(START)
    PAGE.write_text(before + START + rows() + END + rest.partition(END)[2], "utf-8")


if __name__ == "__main__":
    write()
