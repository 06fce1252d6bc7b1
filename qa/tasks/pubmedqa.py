"""PubMedQA, expert-labelled part (Jin et al. 2019, https://aclanthology.org/D19-1259): yes, no or maybe from an abstract."""

from __future__ import annotations

from pathlib import Path

from ...errors import InputError
from ...files import existing, read_json
from . import TASKS, Question, Split

ANSWERS = ("yes", "no", "maybe")


def _questions(path: Path) -> list[Question]:
    rows = read_json(path)
    if not isinstance(rows, dict):
        raise InputError(f"{path}: one JSON object {{PMID: record}} is needed.")
    questions = []
    for key, row in rows.items():
        if not isinstance(row, dict) or "QUESTION" not in row or not isinstance(row.get("CONTEXTS"), list):
            raise InputError(f"{path}: record {key}: QUESTION and CONTEXTS are needed.")
        gold = row.get("final_decision")
        if gold is not None and gold not in ANSWERS:
            raise InputError(f"{path}: record {key}: final_decision is {gold!r}; {', '.join(ANSWERS)} are allowed.")
        questions.append(
            Question(str(key), row["QUESTION"], ANSWERS, ANSWERS.index(gold) if gold else None, context=" ".join(row["CONTEXTS"]))
        )
    return questions


@TASKS.register("pubmedqa")
def read(data: Path, split: str, seed: int) -> Split:
    """`data`: a JSON file, a folder with the pqal_*.json files, or a data root with qa/pubmedqa."""
    if data.is_file():
        return Split(_questions(data), f"the file {data.name} as it is")
    folder = data / "qa/pubmedqa" if (data / "qa/pubmedqa").is_dir() else data
    train = existing(folder / "pqal_train_dev.json", "PubMedQA file", "Put pqal_train_dev.json of PubMedQA there.")
    official = next((folder / name for name in ("pqal_test.json", "test_set.json") if (folder / name).is_file()), None)
    if official is not None:
        return Split(_questions(official if split == "test" else train), "official split")
    held = set(map(str, read_json(existing(folder / "pqal_cv_folds.json", "PubMedQA folds"))[0]))
    questions = [q for q in _questions(train) if (q.id in held) == (split != "train")]
    return Split(questions, "answers of the official test set are absent: fold 0 of the official 10-fold development split is the test set")
