"""What the OAuth server remembers."""

from dataclasses import dataclass

from quart_app.sandbox.grants import keep


@dataclass
class Entry:
    expires_at: float


def test_what_has_expired_is_dropped_when_something_is_kept() -> None:
    table: dict[str, Entry] = {}
    for expires_at in (1.0, 2.0, 3.0):
        keep(table, Entry(expires_at), 0)
    keep(table, Entry(9), 2)
    assert [entry.expires_at for entry in table.values()] == [3, 9]


def test_names_cannot_be_guessed_and_do_not_repeat() -> None:
    table: dict[str, Entry] = {}
    names = {keep(table, Entry(1), 0) for _ in range(1000)}
    assert len(names) == 1000
    assert all(len(name) == 43 for name in names)
