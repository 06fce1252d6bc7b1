"""Each control takes the knowledge out in exactly the stated way."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from meg.errors import InputError
from meg.qa.controls import DROP, KEEP, SWAPS, chosen, swapped

VECTORS = torch.randn(40, 6, generator=torch.Generator().manual_seed(1)) * 3 + 1
GROUPS = torch.tensor([0] * 20 + [1] * 17 + [2, 2] + [3])  # the last concept is the only one of its type


def origins(changed: torch.Tensor) -> list[int]:
    """Where each row comes from."""
    return [int((row == VECTORS).all(1).nonzero().item()) for row in changed]


@pytest.mark.parametrize("seed", range(10))
def test_shuffled_moves_every_vector_within_its_type(seed: int) -> None:
    prefix, changed = swapped("shuffled", VECTORS, GROUPS, seed)
    source = origins(changed)
    assert prefix == KEEP and changed.shape == VECTORS.shape
    assert all(row != origin for row, origin in enumerate(source))
    assert torch.equal(GROUPS[source][:-1], GROUPS[:-1]) and sorted(source[:-1]) == list(range(39))


def test_shuffled_at_its_edges() -> None:
    alone = swapped("shuffled", VECTORS[:5], torch.arange(5), 0)[1]
    assert all(row != origin for row, origin in enumerate(origins(alone)))
    assert torch.equal(swapped("shuffled", VECTORS[:1], torch.zeros(1), 0)[1], VECTORS[:1])
    pair = swapped("shuffled", VECTORS[:2], torch.zeros(2), 0)[1]
    assert torch.equal(pair, VECTORS[[1, 0]])


def test_zero_noise_and_none() -> None:
    assert swapped("zero", VECTORS, GROUPS, 0)[0] == KEEP and not swapped("zero", VECTORS, GROUPS, 0)[1].any()
    prefix, noise = swapped("noise", VECTORS, GROUPS, 0)
    assert prefix == KEEP and noise.shape == VECTORS.shape and not (noise == VECTORS).any()
    big = torch.randn(4000, 8) * 3 + 1
    noise = swapped("noise", big, torch.zeros(4000), 0)[1]
    assert noise.mean().item() == pytest.approx(big.mean().item(), abs=0.1) and noise.std().item() == pytest.approx(
        big.std().item(), rel=0.02
    )
    prefix, same = swapped("none", VECTORS, GROUPS, 0)
    assert prefix == DROP and torch.equal(same, VECTORS)


@pytest.mark.parametrize("name", SWAPS)
def test_the_seed_decides_and_the_vectors_stay_as_they_were(name: str) -> None:
    before = VECTORS.clone()
    state = torch.random.get_rng_state()
    one, two, other = (swapped(name, VECTORS, GROUPS, seed)[1] for seed in (3, 3, 4))
    assert torch.equal(one, two) and torch.equal(VECTORS, before) and torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(one, other) == (name in ("none", "zero"))


def test_the_controls_are_known_without_torch() -> None:
    script = "import sys, meg.qa.controls; print('torch' in sys.modules, 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout.split() == ["False", "False"]


def test_lists_of_controls() -> None:
    assert chosen("all") == list(SWAPS) == ["none", "zero", "noise", "shuffled"]
    assert chosen("") == [] and chosen("zero,none") == ["zero", "none"]
    with pytest.raises(InputError, match=r"unknown control 'shufled'\. Did you mean 'shuffled'"):
        chosen("zero,shufled")
