"""QA tasks, one file each: a function that reads the task's own files and yields questions.

A reader gets the folder of data (`$BASE_DATA_DIR`, or `--data`), a split and the seed; it returns the questions and
the rule that made the split, which the report prints.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...errors import InputError
from ...models.questions import LETTERS
from ...registry import Registry


@dataclass(frozen=True)
class Question:
    """One question with its options; `gold` is the index of the right one, None when the file has no answer."""

    id: str
    text: str
    options: tuple[str, ...]
    gold: int | None
    context: str | None = None
    group: str = "all"
    source: dict[str, Any] = field(default_factory=dict, compare=False)  # concepts that the file itself names


@dataclass(frozen=True)
class Split:
    """The questions of one split and how it came about."""

    questions: list[Question]
    rule: str


Reader = Callable[[Path, str, int], Split]
TASKS: Registry[Reader] = Registry("tasks", "meg.qa.tasks")


def lettered(row: dict[str, Any], where: str, **extra: Any) -> Question:
    """A question from MedQA's fields `question`, `options` {letter: text}, `answer_idx`; errors name the row."""
    options = row.get("options")
    if not isinstance(options, dict) or len(options) < 2:
        raise InputError(f"{where}: the question has no options; `options` must map at least two letters to texts.")
    if len(options) > len(LETTERS):
        raise InputError(f"{where}: {len(options)} options; {len(LETTERS)} is the most that can be asked.")
    if not isinstance(row.get("question"), str) or not row["question"].strip():
        raise InputError(f"{where}: `question` is missing or empty.")
    letters = sorted(options)
    gold = row.get("answer_idx")
    if gold is not None and gold not in options:
        raise InputError(f"{where}: answer_idx {gold!r} is not one of the options {', '.join(letters)}.")
    return Question(
        id=str(row.get("id", where.rsplit(":", 1)[-1])), text=row["question"], options=tuple(str(options[k]) for k in letters),
        gold=letters.index(gold) if gold is not None else None, **extra,
    )  # fmt: skip


def hashed_part(question: Question, seed: int, share: float = 0.25) -> str:
    """ "test" for a seeded `share` of questions, by a hash of the text, so that equal texts stay together; else "train"."""
    digest = hashlib.sha256(f"{seed}\n{question.text}".encode()).digest()
    return "test" if int.from_bytes(digest[:4], "big") / 2**32 < share else "train"
