"""Evaluation: option scores under the true prefix and every control, with n, Wilson intervals and predictions.

The interval is Wilson's (1927) for a binomial share. A question without an answer counts as wrong.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.stats import binomtest
from torch import Tensor

from ..models.answering import option_scores
from ..models.meg import MEGModel
from ..models.packing import pack, prefix_of
from ..models.questions import answers
from ..progress import bar
from .controls import DROP, DROP_QUESTION, KEEP, swapped
from .data import prompts
from .encoding import PromptEncoder
from .grounding import Example


def interval(correct: int, n: int) -> list[float]:
    """Wilson's 95 % interval of a share."""
    low, high = binomtest(correct, n).proportion_ci(0.95, method="wilson")
    return [round(float(low), 4), round(float(high), 4)]


@torch.no_grad()
def score(
    model: MEGModel,
    examples: Sequence[Example],
    vectors: Tensor,
    *,
    names: bool,
    prefix: str = KEEP,
    size: int = 64,
    max_length: int | None = None,
) -> list[np.ndarray]:
    """One score an option for every example: log-odds of yes, or the log-likelihood of the answer text."""
    model.eval()
    scoring = model.config.scoring
    encoder = PromptEncoder(model.tokenizer, model.config.tokens_per_concept, max_length)
    order = sorted(range(len(examples)), key=lambda i: len(examples[i].text) + sum(map(len, examples[i].options)))
    result: list[np.ndarray] = [np.empty(0)] * len(examples)
    for start in range(0, len(order), size):
        chosen = [examples[i] for i in order[start : start + size]]
        groups = []
        for e in chosen:
            parts = prompts(e, scoring, names, prefix)
            if scoring == "yes_no":
                groups.append([encoder(p) for p in parts])
            else:
                groups.append([encoder(parts[0], text) for text in answers(e.options, scoring=scoring)])
        batch = pack(groups, model.tokenizer.pad_token_id)
        values = option_scores(model, batch, *prefix_of(batch["rows"], vectors, model.config.tokens_per_concept))
        for i, e, row in zip(order[start : start + size], chosen, values, strict=True):
            result[i] = row[: len(e.options)].float().cpu().numpy()
    return result


@dataclass(frozen=True)
class Condition:
    """One row of the table: a model, its concept vectors and what is done to the prefix."""

    name: str
    model: MEGModel
    vectors: Tensor
    prefix: str = KEEP


def conditions(model: MEGModel, vectors: Tensor, groups: Tensor, controls: Sequence[str], seed: int) -> list[Condition]:
    """The rows of one checkpoint: the true prefix and the swaps; of one trained without the knowledge, only itself."""
    if model.config.control is not None:
        return [Condition(f"trained:{model.config.control}", model, vectors, DROP)]
    rows = [Condition("true", model, vectors)]
    for name in controls:
        prefix, changed = swapped(name, vectors, groups, seed)
        rows.append(Condition(f"swap:{name}", model, changed, prefix))
    return rows


def softmax(values: np.ndarray) -> np.ndarray:
    """Probabilities over the options from their scores."""
    weights = np.exp(values - values.max())
    return weights / weights.sum()


def rows_of(
    condition: str, names: bool, examples: Sequence[Example], scores: Sequence[np.ndarray], task: str
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Accuracy rows a group, and prediction rows. A score that is not finite leaves the question unanswered (pred null)."""
    groups: dict[str, list[tuple[int | None, int | None]]] = {}
    guess: dict[str, list[float]] = {}
    predictions = []
    for e, s in zip(examples, scores, strict=True):
        answered = len(s) > 0 and bool(np.isfinite(s).all())
        pred = int(s.argmax()) if answered else None
        groups.setdefault(e.group, []).append((e.gold, pred))
        guess.setdefault(e.group, []).append(1 / len(e.options))
        probabilities = [round(float(p), 5) for p in softmax(s)] if answered else None
        predictions.append({
            "id": e.id, "task": task, "gold": e.gold, "pred": pred, "probabilities": probabilities,
            "concepts": [*e.mentioned, *e.concepts], "condition": condition, "names": names, "group": e.group,
        })  # fmt: skip
    table = []
    for group, pairs in groups.items():
        graded = [(g, p) for g, p in pairs if g is not None]
        correct = sum(g == p for g, p in graded)
        row = {"task": task, "condition": condition, "group": group, "names": names, "n": len(pairs), "accuracy": None, "ci95": None}
        row["chance"] = round(float(np.mean(guess[group])), 4)
        row["unanswered"] = sum(p is None for _, p in pairs)
        if graded:
            row |= {
                "n": len(graded),
                "accuracy": round(correct / len(graded), 4),
                "ci95": interval(correct, len(graded)),
                "correct": correct,
            }
        table.append(row)
    return table, predictions


def evaluate_conditions(
    rows: Sequence[Condition], examples: Sequence[Example], names: Sequence[str], task: str, batch: int, max_length: int | None = None
) -> Iterator[tuple[Condition, bool, list[np.ndarray], list[dict[str, Any]], list[dict[str, Any]]]]:
    """For every condition and way to show names: (condition, names, scores, accuracy rows, prediction rows)."""
    with bar(len(rows) * len(names), f"evaluate {task}") as shown:
        for condition in rows:
            for kind in names:
                prefix = DROP_QUESTION if kind == "out" and condition.model.config.control is not None else condition.prefix
                scores = score(
                    condition.model, examples, condition.vectors, names=kind == "in", prefix=prefix, size=batch, max_length=max_length
                )
                table, predictions = rows_of(condition.name, kind == "in", examples, scores, task)
                shown.update()
                yield condition, kind == "in", scores, table, predictions
