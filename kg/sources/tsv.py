"""`tsv:FILE`: one triplet a line, head TAB relation TAB tail, plain or gzip; a concept's id is its name."""

from __future__ import annotations

from pathlib import Path

from ...files import read_tsv
from ..rows import GraphRows
from . import SOURCES


@SOURCES.register("tsv")
def read(path: Path) -> GraphRows:
    """Read a triplet file; a first line `head relation tail` is a header. A row of fewer fields is an InputError with its line."""
    rows = GraphRows({}, [])
    triplets = []
    for number, (head, relation, tail, *_) in read_tsv(path, required=3):
        if number == 1 and [head, relation, tail] == ["head", "relation", "tail"]:
            continue
        rows.concepts.setdefault(head, (head, "concept"))
        rows.concepts.setdefault(tail, (tail, "concept"))
        triplets.append((head, relation, tail))
    rows.triplets = triplets
    return rows
