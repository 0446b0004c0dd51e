"""The forms of a secret, and how long they can get. What is found by them stands in test_redactor.py."""

import base64
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quart_app.outbound.redaction.spellings import (
    SHORTEST,
    WIDEST,
    begun,
    forms_of,
    longest,
    one,
    pattern_of,
    spelled,
    spellings,
)


def test_the_forms_of_a_secret_are_itself_its_json_escape_and_its_base64() -> None:
    forms = forms_of('a"b\\c')
    assert forms['a"b\\c'] == forms['a\\"b\\\\c'] == ".escaped"
    assert forms[base64.b64encode(b'a"b\\c').decode()] == ".base64"
    assert all(len(form) >= SHORTEST for form in forms)
    assert set(forms.values()) == {".escaped", ".base64"}


@pytest.mark.parametrize("character", ["/", "&", "é", "€", "🔑", '"', "\\", "%", " ", "\x00", "\U0010ffff"])
def test_no_spelling_of_a_character_is_longer_than_the_widest(character: str) -> None:
    code = ord(character)
    for zeros in range(8):
        for text in (f"&#{'0' * zeros}{code};", f"&#x{'0' * zeros}{code:x};", f"&#X{'0' * zeros}{code:X};"):
            assert bool(one(character).fullmatch(text.encode())) == (zeros <= 6), text
            assert zeros > 6 or len(text) <= WIDEST
    percent = "".join(f"%{byte:02X}" for byte in character.encode())
    units = character.encode("utf-16-be").hex()
    for escaped in (percent, percent.lower(), "".join(f"\\u{units[i : i + 4]}" for i in range(0, len(units), 4))):
        assert one(character).fullmatch(escaped.encode())
        assert len(escaped) <= WIDEST


def test_a_letter_has_one_spelling() -> None:
    assert spellings("a") == [b"a"]
    assert longest(["abc-d._", "ab"]) == 7
    assert longest(["a/é"]) == 1 + 2 * WIDEST
    assert longest([]) == 0


@given(st.text(min_size=SHORTEST, max_size=12).filter(lambda text: text.isprintable()), st.data())
def test_every_mix_of_spellings_is_found_and_fits(form: str, data: st.DataObject) -> None:
    text = b"".join(data.draw(st.from_regex(b"(?:%b)" % b"|".join(spellings(c)), fullmatch=True)) for c in form)
    assert pattern_of(form).fullmatch(text)
    assert len(text) <= longest([form])
    assert re.search(spelled(form), b"x" + text)


def test_a_form_that_stops_short_is_told_with_its_place() -> None:
    forms = ("swordfish/9", "another")
    assert begun(forms, b"text swordfis") == (5, "swordfish/9")
    assert begun(forms, b"text swordfish%2") == (5, "swordfish/9")
    assert begun(forms, b"text swordfish&#x") == (5, "swordfish/9")
    assert begun(forms, b"swor anoth") == (5, "another")
    for tail in (b"swo", b"swordfish ", b"", b"xyz", b"swor%zz"):
        assert begun(forms, tail) == (-1, "")
    assert begun((), b"swordfish") == (-1, "")


def test_a_form_cut_off_amid_a_character_is_told() -> None:
    assert begun(("swor€fish",), b"swor" + "€".encode()[:2]) == (0, "swor€fish")
