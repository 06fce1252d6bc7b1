from __future__ import annotations

import pytest
import torch

from meg.errors import InputError
from meg.mapping import MAPPINGS, build

D_KG, D_LM = 16, 24


@pytest.mark.parametrize("tokens", [1, 3])
@pytest.mark.parametrize("name", MAPPINGS.names())
class TestContract:
    """What every registered network keeps."""

    def test_shapes(self, name: str, tokens: int) -> None:
        network = build(name, D_KG, D_LM, tokens)
        for shape in [(5, D_KG), (2, 5, D_KG), (2, 0, D_KG), (0, 1, D_KG)]:
            assert network(torch.randn(shape)).shape == (*shape[:-2], shape[-2] * tokens, D_LM)
        assert network(torch.randn(D_KG)).shape == (tokens, D_LM)
        for lead in [(), (5,), (2, 5)]:
            assert network.back(torch.randn(*lead, D_LM)).shape == (*lead, D_KG)

    def test_scale_of_the_language_model(self, name: str, tokens: int) -> None:
        for scale in (0.02, 1.0):
            out = build(name, D_KG, D_LM, tokens, scale=scale)(torch.randn(1000, 1, D_KG))
            assert out.std().item() == pytest.approx(scale, rel=0.15)

    def test_float32_whatever_comes_in(self, name: str, tokens: int) -> None:
        network = build(name, D_KG, D_LM, tokens)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            out = network(torch.randn(4, D_KG, dtype=torch.bfloat16))
            assert out.dtype == torch.float32
            assert network.back(out).dtype == torch.float32

    def test_every_weight_learns(self, name: str, tokens: int) -> None:
        network = build(name, D_KG, D_LM, tokens)
        optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
        for _ in range(2):  # a zero-initialised last layer lets the gradient through from the second step on
            optimizer.zero_grad()
            out = network(torch.randn(6, 4, D_KG))
            target = torch.randn(D_LM)
            ((out * target).sum() + (network.back(out) ** 2).sum()).backward()
            optimizer.step()
        silent = [key for key, p in network.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
        assert not silent

    def test_tokens_of_a_concept_stay_together(self, name: str, tokens: int) -> None:
        network = build(name, D_KG, D_LM, tokens).eval()
        x = torch.randn(5, 1, D_KG)
        alone = network(x)
        assert alone.shape == (5, tokens, D_LM)
        assert torch.allclose(network(x[2]), alone[2], atol=1e-6)

    def test_state_round_trip(self, name: str, tokens: int) -> None:
        one, two = build(name, D_KG, D_LM, tokens), build(name, D_KG, D_LM, tokens)
        two.load_state_dict(one.state_dict())
        x = torch.randn(3, D_KG)
        assert torch.equal(one(x), two(x))


def test_published_names_and_sizes() -> None:
    network = build("mlp", 256, 4096)
    assert {"G.0.0.weight", "G.0.8.bias", "F.0.0.weight", "F.0.8.weight"} <= set(network.state_dict())
    assert sum(p.numel() for p in network.parameters()) == 1_217_792  # the published figure counts alpha too
    network = build("transformer", 256, 4096)
    assert {"G.0.weight", "G.1.layers.3.linear2.weight", "G.2.bias", "F.2.bias"} <= set(network.state_dict())
    assert sum(p.numel() for p in network.parameters()) == 2_178_560


def test_mlp_is_linear_and_relu() -> None:
    network = build("mlp", 3, 5, hidden=4, layers=2)
    g = network.G[0]
    x = torch.randn(7, 3)
    by_hand = (torch.relu(torch.relu(x @ g[0].weight.T + g[0].bias) @ g[2].weight.T + g[2].bias)) @ g[4].weight.T + g[4].bias
    assert torch.allclose(network(x), by_hand, atol=1e-6)


def test_skip_starts_linear() -> None:
    network = build("mlp_skip", D_KG, D_LM, scale=0.5)
    x = torch.randn(7, D_KG)
    assert torch.allclose(network(x), network.norm(network.skip(x)))
    assert torch.allclose(network.back(network(x)), network.F_skip(network(x)))


def test_transformer_reads_concepts_together_only_within_a_row() -> None:
    network = build("transformer", D_KG, D_LM).eval()
    x = torch.randn(2, 4, D_KG)
    changed = x.clone()
    changed[0, 3] += 1
    before, after = network(x), network(changed)
    assert not torch.allclose(before[0, 0], after[0, 0])
    assert torch.allclose(before[1], after[1], atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "settings", "words"),
    [
        (("mpl", 4, 4), {}, "Did you mean 'mlp'"),
        (("mlp", 4, 4), {"hiden": 3}, "Did you mean 'hidden'"),
        (("linear", 0, 4), {}, "d_kg = 0"),
        (("linear", 4, 4, 0), {}, "tokens = 0"),
    ],
)
def test_wrong_input(arguments: tuple, settings: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        build(*arguments, **settings)
