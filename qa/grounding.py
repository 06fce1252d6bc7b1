"""Questions with their concepts: what the prompt builder needs, made from a task's question and the graph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import InputError
from ..kg.graph import KnowledgeGraph
from ..kg.link import EntityLinker
from ..kg.relevance import rank, spans
from ..models.prompts import User
from ..models.questions import Mention, QuestionPart, mentioned
from .tasks import Question


@dataclass(frozen=True)
class Example:
    """A question ready for the prompt builder; concepts are rows of the graph."""

    id: str
    question: tuple[QuestionPart, ...]
    options: tuple[str, ...]
    gold: int | None
    group: str
    context: str | None
    concepts: tuple[int, ...]  # listed after the question
    option_concepts: tuple[tuple[int, ...], ...]
    text: str
    relation: str | None = None  # of a question generated from a graph, with ~ before it when the head is asked for

    @property
    def mentioned(self) -> tuple[int, ...]:
        """Rows of the concepts that stand inside the question's text."""
        return tuple(part.row for part in self.question if isinstance(part, Mention))


def ground(
    questions: Sequence[Question], kg: KnowledgeGraph, *, max_concepts: int, max_option_concepts: int, placement: str = "inline"
) -> list[Example]:
    """Examples of `questions`: concepts named by the file are taken as they are, the others are linked.

    With `placement` "inline" a concept stands after its mention in the question; those of a context, and all with
    "list", stand after the question.
    """
    linker: EntityLinker | None = None
    examples = []
    for q in questions:
        if "template" in q.source:
            examples.append(_from_graph(q, kg))
            continue
        linker = linker or EntityLinker(kg)
        in_question = linker(q.text)
        everywhere = in_question if q.context is None else [*in_question, *linker(q.context)]
        rows = rank(everywhere, kg, max_concepts)
        inside = spans(in_question, kg, rows) if placement == "inline" else []
        listed = tuple(row for row in rows if row not in {row for _, _, row in inside})
        options = tuple(tuple(rank(linker(text), kg, max_option_concepts)) for text in q.options)
        examples.append(Example(q.id, tuple(mentioned(q.text, inside)), q.options, q.gold, q.group, q.context, listed, options, q.text))
    return examples


def _from_graph(q: Question, kg: KnowledgeGraph) -> Example:
    named = [q.source["concept"], *q.source["option_concepts"]]
    missing = [c for c in named if c not in kg]
    if missing:
        raise InputError(f"question {q.id}: concept {missing[0]!r} is not in this graph. Use the graph that the questions were made from.")
    row, *options = (kg.index(c) for c in named)
    before, _, after = q.source["template"].partition("{}")
    relation = ("~" if q.source["inverse"] else "") + str(q.source["relation"])
    question = (User(before), Mention(kg.names[row], row), User(after))
    return Example(q.id, question, q.options, q.gold, q.group, q.context, (), tuple((o,) for o in options), q.text, relation)


def oracle(examples: Sequence[Example], unit: np.ndarray) -> list[np.ndarray]:
    """The encoder's own scores of the options: cosine between the asked concept and each option's concept."""
    return [np.array([float(unit[e.mentioned[0]] @ unit[o[0]]) for o in e.option_concepts]) for e in examples]
