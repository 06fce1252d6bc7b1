"""`kge:FOLDER`: a link-prediction benchmark, `train`, `valid` and `test` as .txt or .txt.gz, united.

Entities of these sets are written as words joined by "_"; the name is the same with blanks (ids with a "/" are kept).
"""

from __future__ import annotations

from pathlib import Path

from ...errors import InputError
from ...files import existing
from ..rows import GraphRows, unite
from . import SOURCES
from .tsv import read as read_triplets


@SOURCES.register("kge")
def read(path: Path) -> GraphRows:
    """Read the parts that are there; `train` must be."""
    folder = existing(path, "benchmark folder")
    parts = []
    for part in ("train", "valid", "test"):
        files = [folder / f"{part}.txt{end}" for end in ("", ".gz") if (folder / f"{part}.txt{end}").is_file()]
        if files:
            parts.append(read_triplets(files[0]))
        elif part == "train":
            inner = sorted(f.parent.name for f in folder.glob("*/train.txt*"))
            hint = f" Did you mean one of its folders: {', '.join(inner)}?" if inner else ""
            raise InputError(f"no train.txt or train.txt.gz in {folder}.{hint} The folder needs train, valid and test.")
    rows = unite(parts)
    rows.synonyms = []
    rows.concepts = {key: (key if "/" in key else key.replace("_", " "), kind) for key, (_, kind) in rows.concepts.items()}
    return rows
