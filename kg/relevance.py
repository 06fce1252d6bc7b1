"""Which linked concepts a question keeps, and which triplets join two sets of concepts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from .graph import KnowledgeGraph

if TYPE_CHECKING:
    from .link import Mention


def rank(mentions: Sequence[Mention], kg: KnowledgeGraph, keep: int) -> list[int]:
    """Rows of the `keep` best-linked concepts: link score, then the longer mention, then the rarer concept; never at random."""
    starts = (kg.csr()[0], kg.csr(inverse=True)[0])
    best: dict[int, tuple[float, int, int]] = {}
    for mention in mentions:
        if mention.candidates:
            first = mention.candidates[0]
            row = kg.index(first.id)
            degree = sum(int(start[row + 1] - start[row]) for start in starts)
            key = (-first.score, mention.start - mention.end, degree)
            best[row] = min(key, best.get(row, key))
    return sorted(best, key=lambda row: (best[row], row))[:keep]


def spans(mentions: Sequence[Mention], kg: KnowledgeGraph, rows: Sequence[int]) -> list[tuple[int, int, int]]:
    """(start, end, row) of the first mention of each of `rows`, in the order of the text."""
    wanted, found = set(rows), []
    for mention in mentions:
        row = kg.index(mention.candidates[0].id) if mention.candidates else -1
        if row in wanted:
            wanted.discard(row)
            found.append((mention.start, mention.end, row))
    return found


def joining(kg: KnowledgeGraph, first: Iterable[int], second: Iterable[int]) -> list[tuple[str, str, str]]:
    """(head name, relation, tail name) of every triplet between a row of `first` and a row of `second`."""
    wanted = set(second)
    found = []
    for row in first:
        for neighbour in kg.neighbors(kg.ids[row]):
            if kg.index(neighbour.concept.id) in wanted:
                ends = (kg.names[row], neighbour.concept.name)
                head, tail = (ends[1], ends[0]) if neighbour.inverse else ends
                found.append((head, neighbour.relation, tail))
    return found
