"""The wording of prompts, the same in training, evaluation and `MEGModel.answer`.

Three ways to score a multiple-choice question: `yes_no` asks about every candidate by itself (what a small LM can
read), `letter` and `option` list the options and expect the letter, or the letter with the option's text (the format
of the published MEG).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from .prompts import Concepts, User

LETTERS = "ABCDEFGHIJ"


@dataclass(frozen=True)
class Mention:
    """A concept inside a question: its name and its row; rendered with the name, or as the prefix alone."""

    name: str
    row: int


QuestionPart: TypeAlias = str | User | Mention
Part: TypeAlias = str | User | Concepts


def _concepts(rows: Sequence[int]) -> list[Part]:
    return [Concepts(tuple(rows))] if rows else []


def _question(question: Sequence[QuestionPart], context: str | None, concepts: Sequence[int], names: bool) -> list[Part]:
    parts: list[Part] = []
    if context:
        parts += ["Context: ", User(context), "\n"]
    parts.append("Question: ")
    for part in question:
        if isinstance(part, Mention):
            parts += [User(part.name)] if names else []
            parts += [" "] if names and part.row >= 0 else []
            parts += _concepts([part.row] if part.row >= 0 else [])
        else:
            parts.append(part)
    if concepts:
        parts += ["\nConcepts: ", *_concepts(concepts)]
    return parts


def mentioned(text: str, spans: Sequence[tuple[int, int, int]]) -> list[QuestionPart]:
    """A user's text with a `Mention` for each (start, end, row) of `spans`, which must not overlap."""
    parts: list[QuestionPart] = []
    at = 0
    for start, end, row in sorted(spans):
        parts += [User(text[at:start]), Mention(text[start:end], row)]
        at = end
    return [*parts, User(text[at:])]


def question_prompts(
    question: Sequence[QuestionPart], options: Sequence[str], *, scoring: str, context: str | None = None,
    concepts: Sequence[int] = (), option_concepts: Sequence[Sequence[int]] | None = None, names: bool = True,
) -> list[list[Part]]:  # fmt: skip
    """The user message of each prompt: one an option for `yes_no`, one alone for `letter` and `option`.

    Args:
        question: template text (`str`), the user's text (`User`) and concepts inside it (`Mention`).
        concepts: rows of the question's concepts, listed after it.
        option_concepts: rows of each option's concepts.
        names: False leaves the names of concepts and options out, so that the prefix alone tells them.
    """
    grounded = option_concepts if option_concepts is not None else [()] * len(options)
    head = _question(question, context, concepts, names)
    shown: list[list[Part]] = [
        ([User(text)] if names else []) + ([" "] if names and rows else []) + _concepts(rows)
        for text, rows in zip(options, grounded, strict=True)
    ]  # fmt: skip
    if scoring == "yes_no":
        return [[*head, "\nIs this right? ", *option] for option in shown]
    listed: list[Part] = []
    for letter, option in zip(LETTERS, shown, strict=False):
        listed += [f"\n{letter}) ", *option]
    return [[*head, *listed, "\nAnswer with the letter of one option." if scoring == "letter" else "\nAnswer with one option."]]


def answers(options: Sequence[str], *, scoring: str) -> list[str]:
    """The answer text that stands for each option; for `yes_no` the two answers of one candidate."""
    if scoring == "yes_no":
        return ["yes", "no"]
    return [letter if scoring == "letter" else f"{letter}) {text}" for letter, text in zip(LETTERS, options, strict=False)]
