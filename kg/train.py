"""Concept embeddings by link prediction: cosine / temperature, cross-entropy against typed shared negatives.

For a query concept h and a true neighbour t, a softmax over t and the shared candidates c of t's type that are
not linked to h:  -log exp(z_h·z_t / T) / (exp(z_h·z_t / T) + sum_c exp(z_h·z_c / T)).  Both directions of every
triplet are queries. Typed negatives and the temperature are what makes a plain GraphSAGE hold the facts.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch_geometric.utils import to_torch_csr_tensor

from ..errors import InputError
from ..progress import bar
from ..stages import versions
from .encoders import ENCODERS
from .graph import KnowledgeGraph
from .store import ConceptEmbeddings
from .text import encode

log = logging.getLogger("meg")


@dataclass(frozen=True)
class EmbedSettings:
    """How concept embeddings are trained; `steps` are optimizer steps, `batch` triplets a step."""

    encoder: str = "graphsage"
    features: str = "minilm"
    dim: int = 128
    layers: int = 2
    steps: int = 150
    batch: int = 8192
    negatives: int = 1024
    temperature: float = 0.1
    lr: float = 1e-2
    holdout: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        ENCODERS[self.encoder]  # an unknown name is refused before any text is encoded
        for name, least in {"dim": 1, "layers": 1, "steps": 1, "batch": 1, "negatives": 2}.items():
            if getattr(self, name) < least:
                raise InputError(f"{name} is {getattr(self, name)}; it must be at least {least}.")
        if not 0 <= self.holdout < 1:
            raise InputError(f"--holdout is {self.holdout}; it must be at least 0 and below 1 (a share of the triplets).")


class Neighbourhood:
    """Undirected neighbour lists as CSR tensors, for the encoder and for masking known neighbours."""

    def __init__(self, triplets: Tensor, count: int) -> None:
        pairs = torch.cat([triplets[:, [0, 2]], triplets[:, [2, 0]]]).unique(dim=0)
        self.sources, self.targets = pairs[:, 0], pairs[:, 1]
        self.count = count
        self.degree = torch.bincount(self.sources, minlength=count)
        self.start = torch.cat([torch.zeros(1, dtype=torch.long), self.degree.cumsum(0)])

    def adjacency(self) -> Tensor:
        """(N, N) sparse CSR, rows are destinations."""
        torch.sparse.check_sparse_tensor_invariants.disable()  # said explicitly, or torch warns
        return to_torch_csr_tensor(torch.stack([self.targets, self.sources]), size=(self.count, self.count))

    def known(self, queries: Tensor, column: Tensor) -> tuple[Tensor, Tensor]:
        """(query position, candidate column) of every neighbour of `queries` (Q,) that is a candidate; `column` (N,) is -1 elsewhere."""
        degree = self.degree[queries]
        row = torch.repeat_interleave(torch.arange(len(queries)), degree)
        offset = torch.arange(len(row)) - torch.repeat_interleave(degree.cumsum(0) - degree, degree)
        found = column[self.targets[torch.repeat_interleave(self.start[queries], degree) + offset]]
        return row[found >= 0], found[found >= 0]


def typed_loss(z: Tensor, edges: Tensor, types: Tensor, candidates: Tensor, near: Neighbourhood, temperature: float) -> Tensor:
    """The loss of the module docstring for queries `edges[:, 0]` and true neighbours `edges[:, 1]`; `candidates` (C,) are rows."""
    query, target = edges[:, 0], edges[:, 1]
    positive = (z[query] * z[target]).sum(-1, keepdim=True)
    negative = z[query] @ z[candidates].T
    blocked = types[target][:, None] != types[candidates][None, :]
    column = torch.full((near.count,), -1, dtype=torch.long)
    column[candidates] = torch.arange(len(candidates))
    row, col = near.known(query, column)
    blocked[row, col] = True
    blocked |= query[:, None] == candidates[None, :]
    scores = torch.cat([positive, negative.masked_fill(blocked, -torch.inf)], 1) / temperature
    return F.cross_entropy(scores, torch.zeros(len(scores), dtype=torch.long))


def split_pairs(triplets: np.ndarray, holdout: float, seed: int) -> dict[str, np.ndarray]:
    """Train/valid/test rows, split by unordered concept pair so that no inverse or parallel triplet leaks."""
    ends = np.sort(triplets[:, [0, 2]].astype(np.int64), axis=1)
    _, pair = np.unique(ends, axis=0, return_inverse=True)
    share = np.random.default_rng(seed).random(pair.max() + 1)[pair]
    return {
        "train": triplets[share >= holdout],
        "valid": triplets[share < holdout / 3],
        "test": triplets[(share >= holdout / 3) & (share < holdout)],
    }


def train_embeddings(
    kg: KnowledgeGraph, settings: EmbedSettings, *, cache: Path | None = None, losses: list[dict[str, Any]] | None = None,
    on_step: Callable[[int, Tensor], None] | None = None,
) -> ConceptEmbeddings:  # fmt: skip
    """Train the encoder on `kg` and return one vector per concept, standardised (zero mean, unit global variance).

    The split (with `holdout`) and the numbers that undo the standardisation (`decoder`: mean (D,), std (1,)) travel
    with the vectors, so that the training score, the cosine of the unit vectors, can be computed again. `losses` gets
    one row a step: {"stage", "step", "loss"}.
    """
    if kg.num_triplets == 0:
        raise InputError("the graph has no triplets; an encoder cannot be trained on it.")
    torch.manual_seed(settings.seed)
    generator = torch.Generator().manual_seed(settings.seed)
    features = torch.from_numpy(encode(kg.names, settings.features, cache=cache))
    split = split_pairs(kg.triplets, settings.holdout, settings.seed)
    if not len(split["train"]):
        raise InputError(f"holdout {settings.holdout} leaves none of {kg.num_triplets} triplets to train on. Hold out a smaller share.")
    triplets = torch.from_numpy(split["train"].astype(np.int64))
    near = Neighbourhood(triplets, len(kg))
    adjacency = near.adjacency()
    types = torch.from_numpy(np.unique(np.asarray(kg.types, dtype=object).astype(str), return_inverse=True)[1])
    popularity = near.degree.clamp(min=0).float() ** 0.75
    encoder = ENCODERS[settings.encoder](features.shape[1], settings.dim, settings.layers)
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=settings.lr)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 1e-3, settings.steps)
    losses = [] if losses is None else losses
    with bar(settings.steps, "graph encoder") as shown:
        for step in range(1, settings.steps + 1):
            chosen = triplets[torch.randperm(len(triplets), generator=generator)[: settings.batch]]
            flip = torch.rand(len(chosen), generator=generator) < 0.5
            edges = torch.where(flip[:, None], chosen[:, [2, 0]], chosen[:, [0, 2]])
            half = min(settings.negatives, 2 * len(kg)) // 2
            uniform = torch.randint(len(kg), (half,), generator=generator)
            popular = torch.multinomial(popularity, half, replacement=True, generator=generator)
            loss = typed_loss(
                encoder(features, adjacency), edges, types, torch.cat([uniform, popular]).unique(), near, settings.temperature
            )
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append({"stage": "embeddings", "step": step, "loss": round(loss.item(), 5)})
            shown.update()
            shown.set_postfix(loss=f"{losses[-1]['loss']:.3f}")
            if on_step is not None:
                on_step(step, encoder(features, adjacency).detach())
    with torch.no_grad():
        z = encoder.eval()(features, adjacency)
    mean, std = z.mean(0), (z - z.mean(0)).std()
    held = {name: rows.astype(np.int32) for name, rows in split.items()} if settings.holdout else None
    meta = {"graph": kg.fingerprint, "encoder": settings.encoder, "settings": asdict(settings), "seed": settings.seed,
            "score": "cosine", "relations": kg.relations, "loss": losses[-1]["loss"], "versions": versions()}  # fmt: skip
    return ConceptEmbeddings(
        ids=list(kg.ids), vectors=((z - mean) / std).numpy(), meta=meta, split=held,
        decoder={"mean": mean.numpy(), "std": std.reshape(1).numpy()},
    )  # fmt: skip
