"""Rows: what a source hands over, and how the rows of one or more sources become the arrays of a graph."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np


@dataclass
class GraphRows:
    """One source, read. Ids are the source's own; `from_rows` cleans, sorts and checks them.

    Attributes:
        concepts: id -> (preferred name, type).
        triplets: (head id, relation, tail id); duplicates, self-loops and unknown ids are allowed here.
        synonyms: (id, name), the preferred name may be among them.
        definitions: id -> text.
        dropped: rule -> number of rows that the reader already left out.
    """

    concepts: dict[str, tuple[str, str]]
    triplets: Iterable[tuple[str, str, str]]
    synonyms: list[tuple[str, str]] = field(default_factory=list)
    definitions: dict[str, str] = field(default_factory=dict)
    dropped: dict[str, int] = field(default_factory=dict)


@dataclass
class Arrays:
    """A graph's content in its fixed order: concepts by id, relations by name, triplets by (head, relation, tail)."""

    ids: list[str]
    names: list[str]
    types: list[str]
    relations: list[str]
    triplets: np.ndarray
    synonyms: list[tuple[int, str]]
    definitions: dict[int, str]
    dropped: dict[str, int]


def clean(text: str) -> str:
    """`text` on one line, with single blanks and no control characters that a table could not hold."""
    return " ".join(text.split())


def unite(sources: Iterable[GraphRows]) -> GraphRows:
    """Several sources as one, by concept id: the first name, type and definition win, other names become synonyms."""
    parts = list(sources)
    if len(parts) == 1:
        return parts[0]
    one = GraphRows({}, [])
    dropped: Counter[str] = Counter()
    triplets: list[tuple[str, str, str]] = []
    for part in parts:
        for key, (name, kind) in part.concepts.items():
            if key in one.concepts:
                one.synonyms.append((key, name))
            else:
                one.concepts[key] = (name, kind)
        for key, text in part.definitions.items():
            one.definitions.setdefault(key, text)
        one.synonyms.extend(part.synonyms)
        triplets.extend(part.triplets)
        dropped.update(part.dropped)
    one.triplets, one.dropped = triplets, dict(dropped)
    return one


def _unique_triplets(rows: GraphRows, index: dict[str, int], dropped: Counter[str]) -> tuple[list[str], np.ndarray]:
    """(relations, int32 (E, 3) sorted and unique) of the triplets whose two ends are in `index`."""
    kept: list[tuple[int, str, int]] = []
    for head, relation, tail in rows.triplets:
        relation = clean(relation)
        first, last = index.get(clean(head)), index.get(clean(tail))
        if not relation:
            dropped["no_relation"] += 1
        elif first is None or last is None:
            dropped["dangling"] += 1
        elif first == last:
            dropped["self_loops"] += 1
        else:
            kept.append((first, relation, last))
    relations = sorted({relation for _, relation, _ in kept})
    number = {relation: i for i, relation in enumerate(relations)}
    table = np.fromiter((x for h, r, t in kept for x in (h, number[r], t)), dtype=np.int64, count=3 * len(kept)).reshape(-1, 3)
    keys = np.unique((table[:, 0] * max(len(relations), 1) + table[:, 1]) * max(len(index), 1) + table[:, 2])
    if len(keys) < len(kept):
        dropped["duplicates"] += len(kept) - len(keys)
    rest, tails = np.divmod(keys, max(len(index), 1))
    heads, kinds = np.divmod(rest, max(len(relations), 1))
    return relations, np.stack([heads, kinds, tails], axis=1).astype(np.int32)


def arrange(rows: GraphRows) -> Arrays:
    """Put rows into a graph's fixed order and drop (and count) duplicates, self-loops and rows of unknown concepts."""
    dropped: Counter[str] = Counter({rule: count for rule, count in rows.dropped.items() if count})
    concepts: dict[str, tuple[str, str]] = {}
    for key, (name, kind) in rows.concepts.items():
        key = clean(key)
        if not key:
            dropped["no_id"] += 1
            continue
        concepts.setdefault(key, (clean(name) or key, clean(kind)))
    ids = sorted(concepts)
    index = {key: row for row, key in enumerate(ids)}
    relations, triplets = _unique_triplets(rows, index, dropped)

    seen = {(row, concepts[key][0].casefold()) for row, key in enumerate(ids)}
    synonyms: list[tuple[int, str]] = []
    for key, name in rows.synonyms:
        row, name = index.get(clean(key)), clean(name)
        if row is None or not name:
            dropped["dangling_synonyms"] += 1
        elif (row, name.casefold()) not in seen:
            seen.add((row, name.casefold()))
            synonyms.append((row, name))
    synonyms.sort()
    definitions: dict[int, str] = {}
    for key, text in rows.definitions.items():
        row, text = index.get(clean(key)), clean(text)
        if row is None or not text:
            dropped["dangling_definitions"] += 1
        else:
            definitions.setdefault(row, text)
    names, types = [concepts[key][0] for key in ids], [concepts[key][1] for key in ids]
    return Arrays(ids, names, types, relations, triplets, synonyms, dict(sorted(definitions.items())), dict(sorted(dropped.items())))
