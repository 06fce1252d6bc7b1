"""Controls: the same system with the knowledge taken out in one stated way.

`swap:*` changes the prefix of a trained checkpoint at evaluation; `trained:*` are checkpoints trained anew without it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ..errors import unknown

if TYPE_CHECKING:
    import torch
    from torch import Tensor

KEEP, DROP, DROP_QUESTION = "keep", "drop", "drop_question"  # what a control does with the prefix


def _zero(vectors: Tensor, groups: Tensor, generator: torch.Generator) -> Tensor:
    return vectors * 0


def _noise(vectors: Tensor, groups: Tensor, generator: torch.Generator) -> Tensor:
    import torch

    noise = torch.randn(vectors.shape, generator=generator)
    return noise * vectors.std() + vectors.mean()


def _shuffled(vectors: Tensor, groups: Tensor, generator: torch.Generator) -> Tensor:
    """Every concept gets the vector of another concept of its type (of any, where it is the only one)."""
    import torch

    order = torch.arange(len(vectors))
    for value in groups.unique():
        rows = torch.nonzero(groups == value).flatten()
        turned = rows[torch.randperm(len(rows), generator=generator)]
        order[turned] = turned.roll(1)
    alone = torch.nonzero(order == torch.arange(len(order))).flatten()
    order[alone] = (alone + torch.randint(1, max(len(vectors), 2), (len(alone),), generator=generator)) % len(vectors)
    return vectors[order]


SWAPS: dict[str, tuple[str, Callable[[Tensor, Tensor, torch.Generator], Tensor] | None]] = {
    "none": (DROP, None),  # prefix treatment, change of the vectors
    "zero": (KEEP, _zero),
    "noise": (KEEP, _noise),
    "shuffled": (KEEP, _shuffled),
}


def chosen(names: str) -> list[str]:
    """The swap controls of a comma-separated list, `all` for every one, empty for none of them."""
    if names == "all":
        return list(SWAPS)
    picked = [name for name in names.split(",") if name]
    for name in picked:
        if name not in SWAPS:
            raise unknown("control", name, [*SWAPS, "all"])
    return picked


def swapped(name: str, vectors: Tensor, groups: Tensor, seed: int) -> tuple[str, Tensor]:
    """(prefix treatment, concept vectors) under the control `name`; `groups` (N,) numbers the concepts' types."""
    import torch

    prefix, change = SWAPS[name]
    return prefix, vectors if change is None else change(vectors, groups, torch.Generator().manual_seed(seed))
