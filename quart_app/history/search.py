"""Full-text search on SQLite: what is searched, how a query is read, and which calls it finds, newest first.

The calls' texts are in FTS5 tables, volumes, of `VOLUME` numbers each. They keep no text of their own (content = ''),
only which words a call has (detail = none, columnsize = 0): a third of the size of one with places, which nothing here
ranks or marks. So a volume cannot find words that stand side by side; a word with signs in it, such as `order-17`, is
looked for by its pieces and then as it is written. Underscores belong to words, so identifiers are one. There is no
prefix index, which would double what is written for each call: a beginning is looked up among the words, and what that
costs grows with the calls that have it, but no further than a volume; the newest volume mostly fills the page.

`detail`, diacritics and all else of TEXT may change only with a schema step that builds the volumes anew: a call is
taken out with the very text it was put in with.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import ColumnElement, Text, and_, column, literal_column, select, table, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from quart_app.engines import SEARCHED_BYTES
from quart_app.models import Call, SearchLeftOut, SearchProgress

VOLUME = 1 << 18
MOST_WORDS = 32
NOT_INDEXED_MOST = 2000
LONG_SECONDS = 3600
LAG_SECONDS = 600
MARK = "\ue000"
"""Begins the words that stand for a filter's value; of the private use area, which counts as letters to FTS5."""

HERE = aliased(Call, name="here")

TOKENIZER = "unicode61 remove_diacritics 0 tokenchars ''_''"
OPTIONS = f"text, content = '', columnsize = 0, detail = none, tokenize = '{TOKENIZER}'"


def textual(side: str) -> str:
    """SQL: a body's first 64 KiB as text, where it is text."""
    kind = f"c.{'request' if side == 'sent' else 'response'}_media_type"
    is_text = f"{kind} LIKE 'text/%' OR {kind} LIKE '%json' OR {kind} LIKE '%xml' OR {kind} LIKE '%urlencoded'"
    kept = f"CASE {side}.encoding WHEN 'identity' THEN substr({side}.content, 1, {SEARCHED_BYTES})"
    return f"CASE WHEN {is_text} THEN CAST({kept} WHEN 'deflate' THEN inflated({side}.content) END AS TEXT) END"


PARTS = ("c.reason", "c.detail", "c.request_headers", "c.response_headers", textual("sent"), textual("got"))
FACETS = (
    f"'{MARK}c' || hex(c.connection) || ' {MARK}o' || c.origin || ' {MARK}m' || hex(c.method) || ' {MARK}x' || c.state"
    f" || coalesce(' {MARK}s' || c.status || ' {MARK}k' || (c.status / 100), '')"
    f" || CASE WHEN c.duration_seconds > {LONG_SECONDS} THEN ' {MARK}l' ELSE '' END"
)
WORDS = "c.method || ' ' || c.url" + "".join(f" || coalesce(' ' || {part}, '')" for part in PARTS)
SOURCE = (
    "calls AS c LEFT JOIN bodies AS sent ON sent.hash = c.request_body "
    "LEFT JOIN bodies AS got ON got.hash = c.response_body"
)
TEXT = f"SELECT c.number, {FACETS} || ' ' || {WORDS} FROM {SOURCE}"
"""SQL: number and text of each call, for putting in and taking out alike; a WHERE on `c` goes behind it."""


AT_OR_BELOW = "FROM calls WHERE number <= {} ORDER BY number DESC LIMIT 1"
ENDED = f"coalesce((SELECT started_at + coalesce(duration_seconds, 0) {AT_OR_BELOW.format('(low + high + 1) / 2')}), 0)"
BEGAN = f"coalesce((SELECT started_at {AT_OR_BELOW.format('(low + high) / 2')}), 0)"
HALVING_UP = f"""
WITH RECURSIVE half (low, high) AS (
    SELECT 0, :newest UNION ALL
    SELECT iif({ENDED} < :instant, (low + high + 1) / 2, low), iif({ENDED} < :instant, high, (low + high + 1) / 2 - 1)
    FROM half WHERE low < high
) SELECT max(low) FROM half
"""
HALVING_DOWN = f"""
WITH RECURSIVE half (low, high) AS (
    SELECT 0, :newest UNION ALL
    SELECT iif({BEGAN} >= :instant, low, (low + high) / 2 + 1), iif({BEGAN} >= :instant, (low + high) / 2, high)
    FROM half WHERE low < high
) SELECT max(low) FROM half
"""
"""SQL: a number found by halving in one visit, where a call for each half would be two dozen."""


def volume(number: int) -> str:
    """The table that a call's text is in."""
    return f"call_search_{number // VOLUME}"


@dataclass(frozen=True)
class Wanted:
    """What a page wants of its calls.

    In the volumes all of `terms`, in FTS5's form, must occur, and all of `literals` as they are written; of a call
    that is not there yet all of `words`. `conditions` hold for each; `since` and `until` (seconds) are among them.
    """

    terms: tuple[str, ...] = ()
    literals: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    conditions: Sequence[ColumnElement[bool]] = ()
    since: float | None = None
    until: float | None = None

    def with_words(self, query: str) -> "Wanted":
        """And the words that a person typed. Raises ValueError for too many of them.

        Nothing in it is syntax. A word of letters, digits and underscores is a term; one with other signs is a
        literal, and its pieces are terms. What the query ends with may be the beginning of a word, if it has two
        characters.
        """
        query = unicodedata.normalize("NFC", query)
        words = query.split()
        pieces = [piece for word in words for piece in split(word)]
        if len(words) > MOST_WORDS or len(pieces) > 2 * MOST_WORDS:
            raise ValueError(f"must be at most {MOST_WORDS} words")
        terms = [f'"{piece}"' for piece in pieces]
        literals = [word for word in words if split(word) != [word] and (word.isascii() or not split(word))]
        if pieces and query.endswith(pieces[-1]):
            if len(pieces[-1]) > 1:
                terms[-1] += " *"
            elif len(pieces) > 1 and words[-1] in literals:
                terms.pop()  # the one character that a literal has got to so far
        return replace(self, terms=(*self.terms, *terms), literals=tuple(literals), words=tuple(words))


def split(word: str) -> list[str]:
    """The pieces of a word as FTS5 divides it, but for those of underscores alone."""
    kept = (char if char == "_" or unicodedata.category(char)[0] in "LN" else " " for char in word)
    return [piece for piece in "".join(kept).split() if piece.strip("_")]


def facet(name: str, value: str) -> str:
    """The term that stands for a filter's value; what it finds is checked against the calls all the same."""
    if name == "status":
        return f'"{MARK}k{value[0]}"' if value[1:].lower() == "xx" else f'"{MARK}s{value}"'
    if name == "connection":
        return f'"{MARK}c{value.encode().hex()}"'
    if name == "method":
        return f'"{MARK}m{value.upper().encode().hex()}"'
    return f'"{MARK}{"o" if name == "origin" else "x"}{value}"'


async def find_numbers(session: AsyncSession, wanted: Wanted, *, limit: int, before: int | None) -> list[int]:
    """Numbers of the calls wanted, the highest first, below `before`; at most `limit`."""
    progress = await session.get(SearchProgress, 1)
    indexed_to = progress.indexed_to if progress else 0
    newest = await session.scalar(select(Call.number).order_by(Call.number.desc()).limit(1)) or 0
    high = newest + 1 if before is None else min(newest + 1, before)
    low = await lowest(session, wanted.since, newest) if wanted.since is not None else 0
    found = await not_indexed(session, wanted, max(low, indexed_to + 1), high, limit)
    found += await left_out(session, wanted, low, high, limit)
    if not wanted.terms:
        found += await directly(session, wanted, HERE.number.between(low, min(high - 1, indexed_to)), limit)
        return sorted(set(found), reverse=True)[:limit]
    quick = high
    if wanted.until is not None:
        quick = min(high, await highest(session, wanted.until, newest))
        found += await in_volumes(session, wanted, (f'"{MARK}l"',), low=quick, high=high, limit=limit)
    found += await in_volumes(session, wanted, (), low=low, high=quick, limit=limit)
    return sorted(set(found), reverse=True)[:limit]


async def lowest(session: AsyncSession, since: float, newest: int) -> int:
    """A number below which no call began at `since` or later.

    Calls are counted as their records arrive, which is when most have ended: what ended before has lower numbers.
    """
    bound = {"newest": newest, "instant": since - LAG_SECONDS}
    return await session.scalar(text(HALVING_UP), bound) or 0


async def highest(session: AsyncSession, until: float, newest: int) -> int:
    """A number from which on every call that began before `until` lasted for more than LONG_SECONDS."""
    bound = {"newest": newest + 1, "instant": until + LONG_SECONDS + LAG_SECONDS}
    return await session.scalar(text(HALVING_DOWN), bound) or 0


async def not_indexed(session: AsyncSession, wanted: Wanted, low: int, high: int, limit: int) -> list[int]:
    """The newest, which the volumes do not have yet; when they lag far behind, words are looked for in a part only."""
    if wanted.words:
        low = max(low, high - NOT_INDEXED_MOST)
    return await directly(session, wanted, HERE.number.between(low, high - 1), limit)


async def left_out(session: AsyncSession, wanted: Wanted, low: int, high: int, limit: int) -> list[int]:
    numbers = select(SearchLeftOut.number).where(SearchLeftOut.number.between(low, high - 1))
    return await directly(session, wanted, HERE.number.in_(numbers), limit)


async def directly(session: AsyncSession, wanted: Wanted, where: Any, limit: int) -> list[int]:
    """Without the volumes; a word is found inside others too, for the second or two until they have it."""
    query = select(HERE.number).where(where, holds(wanted, HERE.number), *contain(wanted.words, "here.number"))
    return list(await session.scalars(query.order_by(HERE.number.desc()).limit(limit)))


def holds(wanted: Wanted, number: Any) -> Any:
    """The call of this number meets the conditions: looked at one by one, never through an index of one of them."""
    return select(1).where(Call.number == number, *wanted.conditions).exists()


async def in_volumes(
    session: AsyncSession, wanted: Wanted, more: Sequence[str], *, low: int, high: int, limit: int
) -> list[int]:
    """From the newest volume down, until there are enough."""
    found: list[int] = []
    terms = (*more, *wanted.terms)
    for name in await volumes(session, low, high):
        if len(found) >= limit:
            break
        searched = table(name, column("rowid"), column(name))
        if terms[-1].endswith("*") and not await any_has(session, searched, terms[:-1]):
            continue
        query = select(searched.c.rowid).where(
            searched.c[name].op("MATCH")(" AND ".join(terms)),
            and_(searched.c.rowid >= low, searched.c.rowid < high),
            holds(wanted, searched.c.rowid),
            *contain(wanted.literals, f"{name}.rowid"),
        )
        found += await session.scalars(query.order_by(searched.c.rowid.desc()).limit(limit - len(found)))
    return found


async def any_has(session: AsyncSession, searched: Any, terms: Sequence[str]) -> bool:
    """Whether a volume has all these words somewhere: FTS5 would gather a beginning's calls before it saw that not."""
    if not terms:
        return True
    query = select(searched.c.rowid).where(searched.c[searched.name].op("MATCH")(" AND ".join(terms)))
    return await session.scalar(query.limit(1)) is not None


async def volumes(session: AsyncSession, low: int, high: int) -> list[str]:
    """The tables there are for these numbers, the newest first."""
    query = text("SELECT name FROM sqlite_schema WHERE name GLOB 'call_search_*' AND sql GLOB 'CREATE VIRTUAL TABLE*'")
    known = {int(re.sub(r"\D", "", name)) for name in await session.scalars(query)}
    wanted = (one for one in known if low // VOLUME <= one < high / VOLUME)
    return [f"call_search_{one}" for one in sorted(wanted, reverse=True)]


def contain(literals: Sequence[str], number: str) -> list[Any]:
    """The text of the call of this number holds each literal, in any case (of ASCII)."""
    found = literal_column(f"(SELECT {WORDS} FROM {SOURCE} WHERE c.number = {number})", Text)
    return [found.icontains(one, autoescape=True) for one in literals]
