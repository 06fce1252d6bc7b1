"""`sample:`: the small graph that comes with the package, or (`sample:FOLDER`) any folder of the same two tables."""

from __future__ import annotations

from pathlib import Path

from ...files import existing, read_tsv
from ..rows import GraphRows
from . import SOURCES

PACKAGED = Path(__file__).parent.parent / "sample"


@SOURCES.register("sample")
def read(path: Path) -> GraphRows:
    """Read `concepts.tsv` (id, name, type, synonyms joined by "|") and `triplets.tsv` (head, relation, tail: ids)."""
    folder = PACKAGED if path == Path() else existing(path, "sample folder")
    rows = GraphRows({}, [])
    for _, (key, name, kind, *rest) in read_tsv(folder / "concepts.tsv", ["id", "name", "type", "synonyms"], required=3):
        rows.concepts[key] = (name, kind)
        rows.synonyms.extend((key, synonym) for synonym in (rest[0].split("|") if rest else []) if synonym.strip())
    links = read_tsv(folder / "triplets.tsv", ["head", "relation", "tail"])
    rows.triplets = [(head, relation, tail) for _, (head, relation, tail, *_) in links]
    return rows
