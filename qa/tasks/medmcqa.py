"""MedMCQA (Pal et al. 2022, https://arxiv.org/abs/2203.14371): JSON lines with opa..opd and a one-based `cop`."""

from __future__ import annotations

from pathlib import Path

from ...errors import InputError
from ...files import existing, read_jsonl
from . import LETTERS, TASKS, Split, lettered

_FIELDS = ("opa", "opb", "opc", "opd")


@TASKS.register("medmcqa")
def read(data: Path, split: str, seed: int) -> Split:
    """`data`: a JSON-lines file, a folder with {train,dev}.json, or a data root with qa/medmcqa; the test split is dev."""
    folder = data / "qa/medmcqa" if (data / "qa/medmcqa").is_dir() else data
    path = data if data.is_file() else folder / ("train.json" if split == "train" else "dev.json")
    existing(path, "MedMCQA file", "Put train.json and dev.json of MedMCQA there.")
    questions = []
    for number, row in read_jsonl(path):
        where = f"{path}:{number}"
        if not all(isinstance(row.get(key), str) for key in _FIELDS):
            raise InputError(f"{where}: the question has no options; {', '.join(_FIELDS)} are needed.")
        gold = row.get("cop")
        if gold is not None and gold not in (1, 2, 3, 4):
            raise InputError(f"{where}: cop is {gold!r}; 1 to 4 is needed.")
        options = {LETTERS[i]: row[key] for i, key in enumerate(_FIELDS)}
        questions.append(
            lettered(
                {
                    "id": row.get("id", number),
                    "question": row.get("question"),
                    "options": options,
                    "answer_idx": LETTERS[gold - 1] if gold else None,
                },
                where,
            )
        )
    return Split(questions, "published dev file as test set" if split != "train" else "train file")
