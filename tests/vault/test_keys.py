"""Sealing keys in base64: how several are given, what is none, and what a key says of itself."""

import base64

import pytest

from quart_app.errors import SettingsError
from quart_app.vault.keys import Key, keys_in, new_key

KEY, OTHER = bytes(range(32)), bytes(range(32, 64))
TEXT, OTHER_TEXT = (base64.b64encode(key).decode() for key in (KEY, OTHER))


@pytest.mark.parametrize("between", ["\n", ",", " ", ", ", "\r\n", "\n\n"])
def test_several_keys_stand_on_lines_or_between_commas_or_spaces(between: str) -> None:
    assert keys_in(f"{TEXT}{between}{OTHER_TEXT}\n", "it") == [KEY, OTHER]


@pytest.mark.parametrize("text", ["", " \n", "short", base64.b64encode(KEY[:31]).decode(), "!" * 44, "\udcff" * 44])
def test_what_is_no_key_is_said_without_it(text: str) -> None:
    with pytest.raises(SettingsError) as caught:
        keys_in(text, "the file")
    assert str(caught.value) == "the file is not the base64 of 32 bytes"


def test_one_bad_key_among_good_ones_is_refused() -> None:
    with pytest.raises(SettingsError, match="the file is not the base64 of 32 bytes"):
        keys_in(f"{TEXT}\n{OTHER_TEXT[:-2]}", "the file")


def test_new_keys_are_keys_and_never_the_same() -> None:
    texts = {new_key() for _ in range(100)}
    assert len(texts) == 100
    assert {len(key) for key in keys_in("\n".join(texts), "it")} == {32}


def test_a_key_shows_its_id_and_nothing_else() -> None:
    key = Key(KEY)
    assert repr(key) == f"Key({key.id.hex()})"
    assert (key.id, len(key.id)) == (Key(KEY).id, 4)
    assert key.id != Key(OTHER).id
    assert not hasattr(key, "__dict__")
    assert KEY not in [getattr(key, name) for name in Key.__slots__]
