"""From examples to batches: prompts encoded once, packed, and given the concept vectors they name.

One item of the training set is one whole batch, so that questions with and without names, which differ in length,
never share one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from torch import Tensor
from torch.utils.data import Dataset

from ..models.meg import MEGModel
from ..models.packing import pack, prefix_of
from ..models.prompts import Concepts, Encoded, User
from ..models.questions import Mention, answers, question_prompts
from .controls import DROP_QUESTION, KEEP
from .encoding import PromptEncoder
from .grounding import Example

INPUTS = ("input_ids", "attention_mask", "position_ids", "labels", "prefix", "prefix_mask")


def _without(example: Example, prefix: str) -> Example:
    """The example with all its concepts, or those of the question, taken out."""
    if prefix == KEEP:
        return example
    question = tuple(Mention(p.name, -1) if isinstance(p, Mention) else p for p in example.question)
    options = example.option_concepts if prefix == DROP_QUESTION else tuple(() for _ in example.options)
    return replace(example, question=question, concepts=(), option_concepts=options)


def prompts(example: Example, scoring: str, names: bool, prefix: str = KEEP) -> list[list[str | User | Concepts]]:
    """The prompt parts of an example under a prefix treatment."""
    e = _without(example, prefix)
    return question_prompts(
        e.question, e.options, scoring=scoring, context=e.context, concepts=e.concepts, option_concepts=e.option_concepts, names=names
    )


def training_group(example: Example, encoder: PromptEncoder, *, scoring: str, names: bool, prefix: str) -> list[Encoded]:
    """Encoded prompts with the right answer: one a candidate for yes/no scoring, else one."""
    parts = prompts(example, scoring, names, prefix)
    texts = answers(example.options, scoring=scoring)
    if scoring == "yes_no":
        return [encoder(p, texts[0] if i == example.gold else texts[1]) for i, p in enumerate(parts)]
    return [encoder(parts[0], texts[example.gold or 0])]


def collate(groups: list[list[Encoded]], model: MEGModel, vectors: Tensor) -> dict[str, Tensor]:
    """One training batch of packed groups."""
    batch = pack(groups, model.tokenizer.pad_token_id)
    batch["prefix"], batch["prefix_mask"] = prefix_of(batch["rows"], vectors, model.config.tokens_per_concept)
    return {key: batch[key] for key in INPUTS}


class Batches(Dataset):
    """Batches by number: `plan` holds (variant, indices) pairs, and `groups(variant, index)` encodes one question."""

    def __init__(
        self, groups: Callable[[int, int], list[Encoded]], plan: Sequence[tuple[int, np.ndarray]], model: MEGModel, vectors: Tensor
    ) -> None:
        self.groups, self.plan, self.model, self.vectors = groups, plan, model, vectors

    def __len__(self) -> int:
        return len(self.plan)

    def __getitem__(self, number: int) -> dict[str, Any]:
        variant, indices = self.plan[number]
        return collate([self.groups(variant, int(i)) for i in indices], self.model, self.vectors)


def plan_batches(sizes: Sequence[int], batch: int, steps: int, seed: int) -> list[tuple[int, np.ndarray]]:
    """`steps` batches that take the variants in turn and go through each one's examples in seeded random order, again and again."""
    rng = np.random.default_rng([seed, 5])
    queues: list[list[int]] = [[] for _ in sizes]
    plan = []
    for step in range(steps):
        variant = step % len(sizes)
        while len(queues[variant]) < min(batch, sizes[variant]):
            queues[variant] += rng.permutation(sizes[variant]).tolist()
        plan.append((variant, np.array(queues[variant][:batch])))
        del queues[variant][:batch]
    return plan
