"""Questions that `meg kg instructions` generated from a graph: MedQA's fields and the concepts they are about."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ...errors import InputError
from ...files import existing, read_jsonl
from . import TASKS, Split, lettered

RULE = (
    "the concept a test or dev question asks about never occurs in training (questions/split.json); its options may, except in the "
    "group strict; the KG encoder has seen the triplets, so this is reading, not prediction"
)


@TASKS.register("graph")
def read(data: Path, split: str, seed: int) -> Split:
    """`data` is the instructions folder, its `questions` folder, or one jsonl file."""
    path = data
    if data.is_dir():
        path = (data / "questions" if (data / "questions").is_dir() else data) / f"{split}.jsonl"
    existing(path, "graph questions", "Make them with `meg kg instructions --graph DIR --out DIR`.")
    questions = []
    for number, row in read_jsonl(path):
        where = f"{path}:{number}"
        missing = [key for key in ("template", "concept", "option_concepts", "group") if key not in row]
        if missing:
            raise InputError(
                f"{where}: no {', '.join(missing)}; these are not questions of "
                "`meg kg instructions`. Use --task medqa_usmle for MedQA files."
            )
        question = lettered(row, where, group=row["group"])
        if not isinstance(row["option_concepts"], dict) or set(row["option_concepts"]) != set(row["options"]):
            raise InputError(f"{where}: option_concepts must name one concept for each of the options {', '.join(sorted(row['options']))}.")
        source = {
            "template": row["template"],
            "concept": row["concept"],
            "option_concepts": [row["option_concepts"][k] for k in sorted(row["options"])],
        }
        source |= {"relation": row.get("relation"), "triplet": row.get("triplet"), "inverse": row.get("inverse", False)}
        questions.append(replace(question, source=source))
    return Split(questions, RULE)
