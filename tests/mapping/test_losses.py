from __future__ import annotations

import math

import pytest
import torch

from meg.mapping.losses import Alpha, back_translation, nt_xent


def test_nt_xent_by_hand() -> None:
    x, t, temperature = torch.randn(5, 8), torch.randn(5, 8), 0.5
    expected = 0.0
    for i in range(5):
        weights = [math.exp(torch.cosine_similarity(x[i], t[j], dim=0).item() / temperature) for j in range(5)]
        expected -= math.log(weights[i] / sum(weights)) / 5
    assert nt_xent(x, t, temperature).item() == pytest.approx(expected, rel=1e-5)


def test_nt_xent_equal_targets_are_no_negatives() -> None:
    x, t = torch.randn(4, 8), torch.randn(4, 8)
    t[3] = t[0]
    expected = 0.0
    for i in range(4):
        weights = {j: math.exp(torch.cosine_similarity(x[i], t[j], dim=0).item() / 0.5) for j in range(4)}
        left_out = {0: 3, 3: 0}.get(i)
        expected -= math.log(weights[i] / sum(w for j, w in weights.items() if j != left_out)) / 4
    assert nt_xent(x, t, 0.5).item() == pytest.approx(expected, rel=1e-5)
    assert nt_xent(torch.randn(3, 8), torch.ones(3, 8), 0.5).item() == 0.0
    assert nt_xent(x[:1], t[:1], 0.5).item() == 0.0


def test_nt_xent_gradient_reaches_both() -> None:
    x, t = torch.randn(4, 8, requires_grad=True), torch.randn(4, 8, requires_grad=True)
    nt_xent(x, t, 0.1).backward()
    assert x.grad.abs().sum() > 0 and t.grad.abs().sum() > 0


def test_back_translation() -> None:
    x = torch.randn(6, 8)
    assert back_translation(x * 3, x).item() == pytest.approx(0, abs=1e-6)
    assert back_translation(-x, x).item() == pytest.approx(2, abs=1e-6)
    assert back_translation(torch.zeros(6, 8), x).item() == 1.0


def test_alpha_stays_inside() -> None:
    alpha = Alpha()
    assert alpha().item() == 0.5
    optimizer = torch.optim.SGD(alpha.parameters(), lr=1.0)
    for _ in range(500):  # a loss that pulls the weight down without end
        optimizer.zero_grad()
        (alpha() * 5).backward()
        optimizer.step()
    assert 0 < alpha().item() < 0.01
