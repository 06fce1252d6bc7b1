"""What every KG encoder has to keep, whoever adds it."""

from __future__ import annotations

import pytest
import torch

from meg.errors import InputError
from meg.kg.encoders import ENCODERS
from meg.kg.train import Neighbourhood


def graph(count: int = 30, edges: int = 60) -> torch.Tensor:
    """The adjacency of a random graph whose last concept has no neighbour."""
    generator = torch.Generator().manual_seed(1)
    ends = torch.randint(count - 1, (edges, 2), generator=generator)
    ends = ends[ends[:, 0] != ends[:, 1]]
    return Neighbourhood(torch.stack([ends[:, 0], torch.zeros(len(ends), dtype=torch.long), ends[:, 1]], 1), count).adjacency()


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("name", ENCODERS.names())
def test_contract(name: str, layers: int) -> None:
    torch.manual_seed(0)
    features = torch.randn(30, 7, requires_grad=True)
    encoder = ENCODERS[name](7, 12, layers)
    z = encoder(features, graph())
    assert z.shape == (30, 12) and z.dtype == torch.float32
    assert torch.isfinite(z).all()
    torch.testing.assert_close(z.norm(dim=1), torch.ones(30))
    (z * torch.randn(30, 12)).sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in encoder.parameters())
    assert any(p.grad.abs().sum() > 0 for p in encoder.parameters())
    assert features.grad is not None and features.grad.abs().sum() > 0


@pytest.mark.parametrize("name", ENCODERS.names())
def test_seed_decides_the_weights_and_neighbours_decide_the_rows(name: str) -> None:
    features = torch.randn(30, 7)
    rows = []
    for _ in range(2):
        torch.manual_seed(5)
        rows.append(ENCODERS[name](7, 12, 2).eval()(features, graph()))
    assert torch.equal(*rows)
    torch.manual_seed(5)
    other = ENCODERS[name](7, 12, 2).eval()(features, graph(edges=90))
    assert not torch.allclose(other, rows[0])


def test_graphsage_averages_the_neighbours() -> None:
    encoder = ENCODERS["graphsage"](3, 4, 1)
    layer = encoder.layers[0]
    features = torch.randn(3, 3)
    adjacency = Neighbourhood(torch.tensor([[0, 0, 1], [0, 0, 2]]), 3).adjacency()
    mean = torch.stack([(features[1] + features[2]) / 2, features[0], features[0]])
    expected = layer.lin_l(mean) + layer.lin_r(features)
    torch.testing.assert_close(encoder(features, adjacency), expected / expected.norm(dim=1, keepdim=True))


def test_an_unknown_encoder_is_named_with_the_nearest() -> None:
    with pytest.raises(InputError, match="Did you mean 'graphsage'"):
        ENCODERS["graphsge"]
