"""A graph as a folder: `concepts.tsv`, `synonyms.tsv`, `definitions.tsv`, `triplets.npy` and `graph.json`.

Text tables have no header and no quoting; a row's number is the concept's number everywhere. `graph.json` holds
the relations, the counts and the fingerprint, which loading computes again.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..files import existing, whole
from .rows import Arrays

FORMAT = "meg-graph-1"
NEXT = "Build it with `meg kg build SOURCE --out FOLDER`."


def fingerprint(ids: list[str], relations: list[str], triplets: np.ndarray) -> str:
    """SHA-256 over ids, relation names and triplets: equal for equal content, wherever it was built."""
    digest = hashlib.sha256(json.dumps([ids, relations]).encode())
    digest.update(np.ascontiguousarray(triplets, dtype="<i4").tobytes())
    return digest.hexdigest()


def _write_table(path: Path, rows: Any) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as out:
        out.writelines("\t".join(row) + "\n" for row in rows)


def _read_table(path: Path, columns: int) -> list[list[str]]:
    rows = [line.split("\t") for line in path.read_bytes().decode("utf-8").split("\n")[:-1]]
    for number, row in enumerate(rows, 1):
        if len(row) != columns:
            raise InputError(f"{path}:{number}: {len(row)} fields, {columns} are needed. {NEXT}")
    return rows


def replaceable(folder: Path | str, marker: str) -> None:
    """InputError if `folder` holds something that is not ours (no file `marker` in it): it is not to be overwritten."""
    folder = Path(folder)
    ours = folder.is_dir() and ((folder / marker).is_file() or not any(folder.iterdir()))
    if folder.exists() and not ours:
        raise InputError(f"{folder} is there and holds something else (no {marker} in it). Name a new folder.")


def write_graph(folder: Path | str, content: Arrays, sources: list[str]) -> None:
    """Write the folder whole or not at all; InputError if something else is there."""
    replaceable(folder, "graph.json")
    with whole(folder) as partial:
        partial.mkdir()
        _write_table(partial / "concepts.tsv", zip(content.ids, content.names, content.types, strict=True))
        _write_table(partial / "synonyms.tsv", ((str(row), name) for row, name in content.synonyms))
        _write_table(partial / "definitions.tsv", ((str(row), text) for row, text in content.definitions.items()))
        np.save(partial / "triplets.npy", content.triplets)
        head = {
            "format": FORMAT,
            "concepts": len(content.ids),
            "triplets": len(content.triplets),
            "synonyms": len(content.synonyms),
            "definitions": len(content.definitions),
            "sources": sources,
            "dropped": content.dropped,
            "relations": content.relations,
            "fingerprint": fingerprint(content.ids, content.relations, content.triplets),
        }
        (partial / "graph.json").write_text(json.dumps(head, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read_graph(folder: Path | str) -> tuple[Arrays, list[str], str]:
    """(content, sources, fingerprint) of a folder that `write_graph` wrote.

    Raises:
        InputError: no such folder, not a graph folder, or its files do not belong together.
    """
    folder = existing(folder, "graph folder", NEXT)
    if not (folder / "graph.json").is_file():
        raise InputError(f"{folder} is not a graph folder (no graph.json in it). {NEXT}")
    try:
        head = json.loads((folder / "graph.json").read_text(encoding="utf-8"))
        if not isinstance(head, dict) or head.get("format") != FORMAT:
            raise InputError(f"{folder}/graph.json is not of the format {FORMAT}. {NEXT}")
        concepts = _read_table(folder / "concepts.tsv", 3)
        content = Arrays(
            ids=[row[0] for row in concepts],
            names=[row[1] for row in concepts],
            types=[row[2] for row in concepts],
            relations=list(head["relations"]),
            triplets=np.load(folder / "triplets.npy", allow_pickle=False),
            synonyms=[(int(row), name) for row, name in _read_table(folder / "synonyms.tsv", 2)],
            definitions={int(row): text for row, text in _read_table(folder / "definitions.tsv", 2)},
            dropped=dict(head["dropped"]),
        )
        found = fingerprint(content.ids, content.relations, content.triplets)
        counts = (len(content.ids), len(content.triplets), len(content.synonyms), len(content.definitions))
        if found != head["fingerprint"] or counts != tuple(head[k] for k in ("concepts", "triplets", "synonyms", "definitions")):
            raise InputError(f"the graph in {folder} is damaged: its files do not belong together. {NEXT}")
        rows = [row for row, _ in content.synonyms] + list(content.definitions)
        if rows and not 0 <= min(rows) <= max(rows) < len(content.ids):
            raise InputError(f"the graph in {folder} is damaged: a synonym or definition of no concept. {NEXT}")
        return content, list(head["sources"]), found
    except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"the graph in {folder} is damaged ({type(error).__name__}: {error}). {NEXT}") from None
