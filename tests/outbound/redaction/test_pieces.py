"""Matches are replaced across borders, with as little held back as is safe."""

import re

from hypothesis import given
from hypothesis import strategies as st

from quart_app.outbound.redaction.pieces import Stage, Stream

ANY = re.compile(b"a{1,4}b")


def stage() -> Stage:
    return Stage(ANY, 5, lambda found: b"<%d>" % len(found[0]))


@given(st.lists(st.from_regex(b"[abc]{0,12}", fullmatch=True), max_size=12))
def test_any_pieces_give_what_the_whole_gives(pieces: list[bytes]) -> None:
    stream = Stream([stage(), Stage(re.compile(b"<5>"), 3, lambda _: b"!")])
    clean = b"".join([*map(stream.feed, pieces), stream.end()])
    whole = b"".join(pieces)
    assert clean == ANY.sub(lambda found: b"<%d>" % len(found[0]), whole).replace(b"<5>", b"!")
    assert stream.changed == (b"ab" in whole)


def test_no_more_is_held_back_than_twice_the_longest_match() -> None:
    one, given_so_far = stage(), 0
    for count in range(1, 100):
        given_so_far += len(one.feed(b"c"))
        assert count - given_so_far < 10


def test_a_match_may_look_back_on_what_was_given_already() -> None:
    seen: list[bytes] = []

    def note(found: re.Match[bytes]) -> bytes:
        seen.append(found.string[max(0, found.start() - 3) : found.start()])
        return found[0]

    one = Stage(re.compile(b"="), 1, note)
    for piece in (b"xyz", b"q", b"=", b"rest"):
        one.feed(piece)
    one.end()
    assert seen == [b"yzq"]
    assert not one.changed


def test_the_end_of_cut_content_is_finished_apart() -> None:
    def finish(tail: bytes) -> bytes:
        return tail.replace(b"aa", b"?")

    for cut, expected in ((True, b"<2>c?"), (False, b"<2>caa")):
        one = Stage(ANY, 5, lambda found: b"<%d>" % len(found[0]), finish)
        assert one.feed(b"abc") + one.feed(b"aa") + one.end(cut=cut) == expected
