"""The losses of phase I (MEG, https://arxiv.org/abs/2411.03883, section 3): NT-Xent, back-translation, their mix."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


def nt_xent(x: Tensor, target: Tensor, temperature: float) -> Tensor:
    """NT-Xent, one direction: mean over i of -log( exp(cos(x_i, t_i) / T) / sum_j exp(cos(x_i, t_j) / T) ).

    Rows whose target equals target i are no negatives of row i.

    Args:
        x, target: (B, D); row i of `target` belongs to row i of `x`, the other rows are its negatives.
    """
    cosine = functional.normalize(x.float(), dim=-1) @ functional.normalize(target.float(), dim=-1).T
    _, code = torch.unique(target.detach(), dim=0, return_inverse=True)
    diagonal = torch.arange(len(x), device=x.device)
    same = (code[:, None] == code) & (diagonal[:, None] != diagonal)
    return functional.cross_entropy((cosine / temperature).masked_fill(same, float("-inf")), diagonal)


def back_translation(back: Tensor, x: Tensor) -> Tensor:
    """Mean over rows of 1 - cos(F(G(x)), x); both (..., D). A zero vector has cosine 0."""
    return (1 - functional.cosine_similarity(back.float(), x.float(), dim=-1)).mean()


class Alpha(nn.Module):
    """The learned weight of NT-Xent against back-translation: sigmoid of a free parameter, so it stays inside (0, 1)."""

    def __init__(self, value: float = 0.5) -> None:
        super().__init__()
        self.raw = nn.Parameter(torch.logit(torch.tensor(value)))

    def forward(self) -> Tensor:
        """The weight, a scalar in (0, 1)."""
        return torch.sigmoid(self.raw)
