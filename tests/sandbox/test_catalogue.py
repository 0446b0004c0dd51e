"""The catalogue is whole: each trick can be made, and the page on the sandbox has it."""

import re
from pathlib import Path

import pytest

from quart_app.sandbox.catalogue import CATALOGUE
from quart_app.sandbox.tricks import made

PAGE = Path(__file__).parents[2] / "docs" / "sandbox.md"


@pytest.mark.parametrize("name", CATALOGUE)
def test_a_trick_can_be_made_and_says_what_it_does(name: str) -> None:
    assert made({"name": name}).name == name
    assert CATALOGUE[name].says


@pytest.mark.parametrize("name", CATALOGUE)
def test_a_trick_is_on_the_page_with_a_line_to_try_it_and_the_same_sentence(name: str) -> None:
    line = rf"^trick {name} +# {re.escape(CATALOGUE[name].says)}$"
    assert re.search(line, PAGE.read_text("utf-8"), re.MULTILINE)
