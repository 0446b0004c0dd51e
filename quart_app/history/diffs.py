"""Where two values of plain data differ: pure, and bounded in time and in what it says.

Members of objects are compared by name. Items of lists are aligned first, so that one put in is one change and not a
change of all behind it: the n-th of some content on one side is the n-th of it on the other, the longest run of pairs
in order stays (as in a patience diff), and what is left between two of those is compared one by one. That is never
quadratic, whatever the lists hold.
"""

import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

MOST_CHANGES = 1000
MOST_SHOWN = 4096
SECONDS = 5.0
ABSENT: Any = object()

Pointer = tuple[str, ...]


@dataclass
class Diff:
    """`changes` are in the order of the data; `truncated`: there are more, or a value is shown cut."""

    changes: list[dict[str, Any]] = field(default_factory=list)
    truncated: bool = False


def parse_pointer(text: str) -> Pointer:
    """The parts of a JSON Pointer (RFC 6901). Raises ValueError."""
    if text and not text.startswith("/"):
        raise ValueError("must be a JSON Pointer such as /response/body/json/id")
    return tuple(part.replace("~1", "/").replace("~0", "~") for part in text.split("/")[1:])


def write_pointer(parts: Sequence[str]) -> str:
    return "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in parts)


def compare(before: Any, after: Any, ignore: Sequence[Pointer] = (), *, seconds: float = SECONDS) -> Diff:
    """All changes from one to the other, but for what `ignore` points to, where `*` is any one part.

    An item's index is that of the list before, or after for an item put in.
    """
    diff, ends_at = Diff(), time.monotonic() + seconds
    waiting: list[tuple[Pointer, Any, Any, list[Pointer]]] = [((), before, after, list(ignore))]
    while waiting:
        path, old, new, ignored = waiting.pop()
        if () in ignored:
            continue
        if len(diff.changes) >= MOST_CHANGES or time.monotonic() > ends_at:
            diff.truncated = True
            break
        pairs = pairs_of(old, new)
        if pairs is None:
            note(diff, path, old, new)
            continue
        children = [((*path, part), one, other, following(ignored, part)) for part, one, other in pairs]
        waiting.extend(reversed(children))
    return diff


def pairs_of(old: Any, new: Any) -> Iterator[tuple[str, Any, Any]] | None:
    """The parts of two containers that differ or may; None for values that have none to compare."""
    if isinstance(old, dict) and isinstance(new, dict):
        names = [*old, *(name for name in new if name not in old)]
        return ((str(name), old.get(name, ABSENT), new.get(name, ABSENT)) for name in names)
    if isinstance(old, list) and isinstance(new, list):
        return aligned(old, new)
    return None


def following(ignored: list[Pointer], part: str) -> list[Pointer]:
    return [pointer[1:] for pointer in ignored if pointer[0] in ("*", part)]


def note(diff: Diff, path: Pointer, old: Any, new: Any) -> None:
    if old is not ABSENT and new is not ABSENT and content(old) == content(new):
        return
    kind = "added" if old is ABSENT else "removed" if new is ABSENT else "changed"
    change = {"pointer": write_pointer(path), "kind": kind, "before": shown(diff, old), "after": shown(diff, new)}
    diff.changes.append(change)


def content(value: Any) -> bytes:
    """Equal for equal data: 1, 1.0 and true are three values, the order of members is none."""
    return msgspec.json.encode(value, order="sorted")


def shown(diff: Diff, value: Any) -> Any:
    """The value, or the start of its text if it is long; null for one that is absent."""
    if value is ABSENT:
        return None
    text = value if isinstance(value, str) else None
    if text is None and isinstance(value, dict | list):
        text = content(value).decode() if value else ""
    if text is None or len(text) <= MOST_SHOWN:
        return value
    diff.truncated = True
    return text[:MOST_SHOWN] + "…"


def aligned(old: list[Any], new: list[Any]) -> Iterator[tuple[str, Any, Any]]:
    before, after = [content(item) for item in old], [content(item) for item in new]
    at, to = 0, 0
    for one, other in [*anchors(before, after), (len(old), len(new))]:
        yield from between(old[at:one], new[to:other], at, to)
        at, to = one + 1, other + 1


def between(old: list[Any], new: list[Any], at: int, to: int) -> Iterator[tuple[str, Any, Any]]:
    both = min(len(old), len(new))
    for index in range(both):
        yield str(at + index), old[index], new[index]
    for index in range(both, len(old)):
        yield str(at + index), old[index], ABSENT
    for index in range(both, len(new)):
        yield str(to + index), ABSENT, new[index]


def anchors(before: Sequence[bytes], after: Sequence[bytes]) -> list[tuple[int, int]]:
    """Pairs of indexes with equal contents, rising on both sides."""
    start = next((n for n, (one, other) in enumerate(zip(before, after, strict=False)) if one != other), None)
    if start is None:
        start = min(len(before), len(after))
    end = 0
    while end < min(len(before), len(after)) - start and before[-1 - end] == after[-1 - end]:
        end += 1
    places = {key: index for index, key in counted(after, start, len(after) - end)}
    pairs = [(index, places[key]) for index, key in counted(before, start, len(before) - end) if key in places]
    same = [(index, index) for index in range(start)]
    tail = [(len(before) - n, len(after) - n) for n in range(end, 0, -1)]
    return same + rising(pairs) + tail


def counted(contents: Sequence[bytes], start: int, end: int) -> Iterator[tuple[int, tuple[bytes, int]]]:
    """Each index with its content and how often that came before."""
    seen: Counter[bytes] = Counter()
    for index in range(start, end):
        yield index, (contents[index], seen[contents[index]])
        seen[contents[index]] += 1


def rising(pairs: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The longest run of pairs whose second numbers rise (patience sorting)."""
    tops: list[int] = []
    piles: list[int] = []
    behind: list[int] = []
    for number, (_, place) in enumerate(pairs):
        pile = bisect_left(tops, place)
        behind.append(piles[pile - 1] if pile else -1)
        if pile == len(tops):
            tops.append(place)
            piles.append(number)
        else:
            tops[pile], piles[pile] = place, number
    found: list[tuple[int, int]] = []
    last = piles[-1] if piles else -1
    while last >= 0:
        found.append(pairs[last])
        last = behind[last]
    return found[::-1]
