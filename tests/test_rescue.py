"""Rescue slots: room that is there beforehand, found again by whoever comes after, and by nobody before."""

import os
import resource
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from quart_app import rescue
from quart_app.rescue import SLOT_BYTES, Rescue

ID = "0192a000-0000-7000-8000-000000000001"
OTHER = "0192a000-0000-7000-8000-000000000002"


def left(folder: Path) -> list[tuple[str, bytes]]:
    """What is in files that nobody holds."""
    found = []
    for path in rescue.files(folder):
        with rescue.held(path) as file:
            found += [] if file is None else rescue.contents(file)
    return found


def let_go(slots: Rescue) -> None:
    """As the end of its process does it: the file stays, nobody holds it."""
    slots.close()


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Any write beyond it fails with EFBIG."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def slots(tmp_path: Path) -> Iterator[Rescue]:
    made = Rescue(tmp_path / "rescue", slots=2)
    yield made
    made.close()


def test_what_was_put_is_found_once_its_process_is_gone_and_not_before(slots: Rescue) -> None:
    slots.put(ID, b"sealed")
    folder = slots.path.parent
    assert left(folder) == []
    let_go(slots)
    assert left(folder) == [(ID, b"sealed")]


def test_all_of_the_file_is_on_disk_before_anything_is_put(slots: Rescue) -> None:
    slots.prepare()
    found = slots.path.stat()
    assert found.st_size == 2 * SLOT_BYTES
    assert found.st_blocks * 512 >= 2 * SLOT_BYTES
    assert stat.S_IMODE(found.st_mode) == 0o600
    assert stat.S_IMODE(slots.path.parent.stat().st_mode) == 0o700
    with files_of_at_most(1), pytest.raises(OSError, match="No space left"):
        Rescue(slots.path.parent, slots=1).prepare()
    assert rescue.files(slots.path.parent) == [slots.path], "what could not be made whole is not left there"


def test_a_cleared_slot_is_empty_and_taken_again(slots: Rescue) -> None:
    first = slots.put(ID, b"one")
    slots.put(OTHER, b"two")
    slots.clear(first)
    assert slots.put(ID, b"three") == first
    slots.clear(first)
    let_go(slots)
    assert left(slots.path.parent) == [(OTHER, b"two")]


def test_a_file_without_a_token_goes_with_its_process(slots: Rescue) -> None:
    slots.clear(slots.put(ID, b"one"))
    let_go(slots)
    assert rescue.files(slots.path.parent) == []


def test_there_is_no_room_for_more_than_the_slots_or_for_what_is_longer(slots: Rescue) -> None:
    slots.prepare()
    with pytest.raises(OSError, match="no rescue slot"):
        slots.put(ID, bytes(SLOT_BYTES))
    for id_ in (ID, OTHER):
        slots.put(id_, b"x")
    with pytest.raises(OSError, match="no rescue slot"):
        slots.put(ID, b"y")


def test_a_slot_that_is_no_slot_is_passed_over(slots: Rescue) -> None:
    slots.put(ID, b"one")
    let_go(slots)
    with slots.path.open("r+b") as file:
        file.seek(SLOT_BYTES)
        file.write(os.urandom(100))
        file.truncate(SLOT_BYTES + 20)
    assert left(slots.path.parent) == [(ID, b"one")]


def test_two_that_look_at_once_do_not_both_get_it(slots: Rescue) -> None:
    slots.put(ID, b"one")
    let_go(slots)
    with rescue.held(slots.path) as first, rescue.held(slots.path) as second:
        assert (first is None, second is None) == (False, True)


def test_a_file_that_was_taken_away_meanwhile_is_nobodys(slots: Rescue) -> None:
    with rescue.held(slots.path) as file:
        assert file is None


def test_the_keys_that_slots_need_are_known_while_their_process_runs(slots: Rescue) -> None:
    slots.put(ID, b"\x01abcdrest")
    slots.put(OTHER, b"\x01wxyzrest")
    assert rescue.key_ids(slots.path.parent) == {b"abcd", b"wxyz"}


def test_the_token_of_an_exchange_is_found_while_its_process_runs_and_afterwards(slots: Rescue) -> None:
    slots.put(OTHER, b"theirs")
    slot = slots.put(ID, b"sealed")
    folder = slots.path.parent
    assert rescue.find(folder, ID) == b"sealed"
    slots.clear(slot)
    assert rescue.find(folder, ID) is None
    let_go(slots)
    assert rescue.find(folder, OTHER) == b"theirs"
