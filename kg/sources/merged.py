"""`merged:FOLDER`: tables of one graph that was merged from several ontologies; `merged-cui:` keeps UMLS concepts only.

Files (gzip or plain, first columns): triplets (head_id, head_name, relation, tail_id, tail_name), concepts (id, name,
group), synonyms (id, name, type), definitions (id, definition). Files ending in `_nc`, whose licence is
non-commercial, are not read.
"""

from __future__ import annotations

from pathlib import Path

from ...errors import InputError
from ...files import existing, read_tsv
from ..graph import CUI
from ..rows import GraphRows
from . import SOURCES

NAMES = ("preferred", "exact", "layperson")


def _table(folder: Path, name: str) -> Path:
    for path in (folder / f"{name}.tsv.gz", folder / f"{name}.tsv"):
        if path.is_file():
            return path
    raise InputError(f"no {name}.tsv.gz in {folder}. It needs triplets, concepts, synonyms and definitions as .tsv.gz or .tsv.")


def _read(path: Path, only_cui: bool) -> GraphRows:
    folder = existing(path, "folder of the merged graph")
    rows = GraphRows({}, [])
    dropped = {"without_cui": 0, "unconnected": 0, "loose_synonyms": 0, "more_definitions": 0}
    triplets: list[tuple[str, str, str]] = []
    linked: set[str] = set()
    columns = ["head_id", "head_name", "relation", "tail_id", "tail_name"]
    for _, (head, _, relation, tail, *_) in read_tsv(_table(folder, "triplets"), columns):
        if only_cui and not (CUI.fullmatch(head) and CUI.fullmatch(tail)):
            dropped["without_cui"] += 1
            continue
        triplets.append((head, relation, tail))
        if head != tail:
            linked.update((head, tail))
    for _, (key, name, group, *_) in read_tsv(_table(folder, "concepts"), ["id", "name", "group"]):
        if key in linked:
            rows.concepts[key] = (name, group)
        else:
            dropped["unconnected"] += 1
    for _, (key, name, kind, *_) in read_tsv(_table(folder, "synonyms"), ["id", "name", "type"]):
        if key in rows.concepts:
            if kind in NAMES:
                rows.synonyms.append((key, name))
            else:
                dropped["loose_synonyms"] += 1
    for _, (key, text, *_) in read_tsv(_table(folder, "definitions"), ["id", "definition"]):
        if key in rows.concepts:
            dropped["more_definitions"] += key in rows.definitions
            rows.definitions.setdefault(key, text)
    rows.triplets, rows.dropped = triplets, dropped
    return rows


@SOURCES.register("merged")
def read(path: Path) -> GraphRows:
    """All concepts that occur in a triplet, with exact and lay synonyms and the first definition."""
    return _read(path, only_cui=False)


@SOURCES.register("merged-cui")
def read_cui(path: Path) -> GraphRows:
    """The same, from the triplets that have a UMLS identifier at both ends."""
    return _read(path, only_cui=True)
