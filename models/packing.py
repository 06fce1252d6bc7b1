"""Prompts of one question packed in one sequence: what they share is computed once.

The prompts of a group share their beginning (the trunk); each goes on in a branch. A branch token sees the trunk and
its own branch, and positions restart after the trunk, so every score equals that of the prompt alone in a sequence.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .prompts import Encoded


def _trunk(group: Sequence[Encoded]) -> int:
    """Length of the common beginning; each prompt keeps at least its last token for itself."""
    limit = min(e.answer_start for e in group) - 1
    first = group[0]
    for i in range(limit):
        token = first.ids[i], first.rows[i]
        if any((e.ids[i], e.rows[i]) != token for e in group):
            return i
    return max(limit, 0)


def pack(groups: Sequence[Sequence[Encoded]], pad_id: int) -> dict[str, Any]:
    """Pack each group of prompts (with or without answers) in one row.

    Returns:
        input_ids (B, T) int64, padded on the right; attention_mask (B, 1, T, T) bool; position_ids (B, T);
        rows (B, T) int64, the concept row of each marker, -1 elsewhere; labels (B, T), -100 except answer tokens;
        last (B, n) int64, where each branch's last prompt token stands, -1 where a group has fewer than n branches;
        branches (B,) int64, number of branches.
    """
    lines: list[dict[str, list[int]]] = []
    for group in groups:
        trunk = _trunk(group)
        first = group[0]
        line = {
            "ids": first.ids[:trunk], "rows": first.rows[:trunk], "labels": [-100] * trunk,
            "positions": list(range(trunk)), "segment": [0] * trunk, "last": [],
        }  # fmt: skip
        for number, e in enumerate(group, 1):
            line["last"].append(len(line["ids"]) + e.answer_start - 1 - trunk)
            line["ids"] += e.ids[trunk:]
            line["rows"] += e.rows[trunk:]
            line["labels"] += [-100] * (e.answer_start - trunk) + e.ids[e.answer_start :]
            line["positions"] += range(trunk, len(e.ids))
            line["segment"] += [number] * (len(e.ids) - trunk)
        lines.append(line)

    def padded(key: str, value: int) -> Tensor:
        width = max((len(line[key]) for line in lines), default=0)
        return torch.tensor([line[key] + [value] * (width - len(line[key])) for line in lines])

    segment = padded("segment", -1)
    of_query, of_key = segment[:, :, None], segment[:, None, :]
    causal = torch.ones(segment.shape[1], segment.shape[1], dtype=torch.bool).tril()
    # A padding position sees the padding before it and itself: a row of a softmax must not be empty.
    seen = causal & ((of_key == of_query) | ((of_key == 0) & (of_query > 0)))
    return {
        "input_ids": padded("ids", pad_id), "attention_mask": seen.unsqueeze(1), "position_ids": padded("positions", 0),
        "rows": padded("rows", -1), "labels": padded("labels", -100), "last": padded("last", -1),
        "branches": torch.tensor([len(group) for group in groups]),
    }  # fmt: skip


def prefix_of(rows: Tensor, matrix: Tensor, tokens_per_concept: int = 1) -> tuple[Tensor, Tensor]:
    """The vectors that the markers of packed rows stand for.

    Args:
        rows: (B, T) as `pack` returns it.
        matrix: (N, D) concept vectors.

    Returns:
        prefix (B, K, D) and prefix_mask (B, K) bool, in the order of the markers; K = 0 when there are none.
    """
    found = [line[line >= 0][::tokens_per_concept] for line in rows]
    index = torch.nn.utils.rnn.pad_sequence(found, batch_first=True, padding_value=-1) if found else rows
    return matrix[index.clamp(min=0).to(matrix.device)], (index >= 0).to(matrix.device)
