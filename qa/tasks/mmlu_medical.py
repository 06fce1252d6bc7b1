"""MMLU, six medical subjects (Hendrycks et al. 2021, https://arxiv.org/abs/2009.03300), original CSV without header."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

from ...errors import InputError
from ...files import existing, open_text
from . import LETTERS, TASKS, Question, Split, lettered

SUBJECTS = ("anatomy", "clinical_knowledge", "college_biology", "college_medicine", "medical_genetics", "professional_medicine")


@TASKS.register("mmlu_medical")
def read(data: Path, split: str, seed: int) -> Split:
    """`data`: a folder with <subject>_test.csv, or a data root with qa/mmlu/test; there is no train split."""
    if split == "train":
        raise InputError("mmlu_medical is for evaluation only: it has no train split. Train on medqa_usmle or medmcqa.")
    folder = data / "qa/mmlu/test" if (data / "qa/mmlu/test").is_dir() else data
    questions = []
    for subject in SUBJECTS:
        path = existing(folder / f"{subject}_test.csv", "MMLU file", "Put the six medical <subject>_test.csv files there.")
        questions += _questions(path, subject)
    return Split(questions, "published test files of six subjects")


def _questions(path: Path, subject: str) -> list[Question]:
    questions: list[Question] = []
    try:
        with open_text(path) as lines:
            for number, row in enumerate(csv.reader(lines), 1):
                if len(row) != 6:
                    raise InputError(f"{path}:{number}: {len(row)} columns; question, four options and the answer are needed.")
                options = dict(zip(LETTERS, row[1:5], strict=False))
                item = {"id": f"{subject}-{number}", "question": row[0], "options": options, "answer_idx": row[5].strip()}
                questions.append(lettered(item, f"{path}:{number}", group=subject))
    except (UnicodeDecodeError, EOFError, gzip.BadGzipFile, csv.Error) as error:
        raise InputError(f"{path}:{len(questions) + 1}: cannot be read ({error}).") from None
    return questions
