"""Where a prompt's concepts go when its markers and its concepts do not match one to one."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from ..errors import InputError


def place(ids: Sequence[int], marker: int, concepts: int, tokens_per_concept: int = 1) -> tuple[list[int], bool]:
    """Where the tokens of `concepts` concepts go in a row of ids.

    As many markers as concept tokens: in place. As many as concepts: each is one concept. One: it stands for all.
    None: right after the first token. Without concepts markers are dropped.

    Returns:
        For each token of the new row its index in `ids`, or ~c (negative) for a token of concept c; and whether there
        was a marker to go by (True without concepts).

    Raises:
        InputError: another number of markers.
    """
    found = sum(i == marker for i in ids)
    every = [~c for c in range(concepts) for _ in range(tokens_per_concept)]
    if not found and concepts:
        return [*range(min(1, len(ids))), *every, *range(1, len(ids))], False
    if concepts == 0 or found == 1:
        groups = [every] * found
    elif found == len(every):
        groups = [[c] for c in every]
    elif found == concepts:
        groups = [every[i : i + tokens_per_concept] for i in range(0, len(every), tokens_per_concept)]
    else:
        raise InputError(f"a prompt has {found} markers for {concepts} concepts: 0, 1 or {concepts} markers are needed.")
    order = iter(groups)
    return [s for i, token in enumerate(ids) for s in (next(order) if token == marker else [i])], True


def rebuild(
    input_ids: Tensor, attention_mask: Tensor | None, labels: Tensor | None, concepts: Sequence[int], *,
    marker: int, width: int, pad: int, left: bool,
) -> tuple[Tensor, Tensor, Tensor | None, bool]:  # fmt: skip
    """Rows written anew with one marker for each concept token (`place`), without a label on them.

    Args:
        input_ids, attention_mask, labels: (B, T).
        concepts: real concepts of each row.
        width: tokens a concept becomes.
        left: pad on the left; otherwise rows are padded on the side they were padded on.

    Returns:
        input_ids, attention_mask, labels (B, T'), and whether every row had a marker to go by.
    """
    mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask.to(input_ids.device)
    left = left or not bool(mask[:, 0].all())
    new_ids: list[Tensor] = []
    new_labels: list[Tensor] = []
    told = True
    for row, keep in enumerate(mask.bool()):
        ids = input_ids[row][keep]
        source, marked = place(ids.tolist(), marker, concepts[row], width)
        told &= marked
        index = torch.tensor(source, dtype=torch.long, device=ids.device)
        at, concept = index.clamp(min=0), index < 0
        new_ids.append(ids[at].masked_fill(concept, marker) if len(ids) else torch.full_like(index, marker))
        if labels is not None:
            new_labels.append(labels[row].to(ids.device)[keep][at].masked_fill(concept, -100))
    longest = max(map(len, new_ids))
    if longest == 0:
        raise InputError("the prompt is empty: give at least one token or one concept.")

    def padded(rows: list[Tensor], value: int) -> Tensor:
        gaps = [(longest - len(row), 0) if left else (0, longest - len(row)) for row in rows]
        return torch.stack([functional.pad(row, gap, value=value) for row, gap in zip(rows, gaps, strict=True)])

    seen = padded([torch.ones_like(ids) for ids in new_ids], 0)
    return padded(new_ids, pad), seen, padded(new_labels, -100) if labels is not None else None, told
