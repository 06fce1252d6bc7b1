"""Phase I instructions: what the model learns to say about a concept vector, as rows for a jsonl file.

The wording of `vocabulary` is the published one (Cabello et al. 2024, https://arxiv.org/abs/2411.03883); the marker
stands where the mapped vectors of the row's concepts go, in their order.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from .graph import KnowledgeGraph

MARKER = "{kg_embedding}"
ONE = f"Explain to me this medical concept {MARKER}"
SEVERAL = f"Explain to me these medical concepts {MARKER}"
RELATED = f"Explain to me how these medical concepts are related {MARKER}"
FEWEST, MOST = 2, 10


def vocabulary(kg: KnowledgeGraph) -> Iterator[dict[str, Any]]:
    """One row a concept: {"id", "concept", "instruction", "answer"}; the answer is the preferred name."""
    for key, name in zip(kg.ids, kg.names, strict=True):
        yield {"id": f"vocabulary-{key}", "concept": key, "instruction": ONE, "answer": name}


def extended(kg: KnowledgeGraph, seed: int) -> Iterator[dict[str, Any]]:
    """One row a concept, joined with 1 to 9 others: {"id", "concepts", "instruction", "answer"}, names joined by "; ".

    The number and the other concepts are drawn uniformly with the seed; no concept occurs twice in a row.
    """
    rng = np.random.default_rng([seed, 31])
    most = min(MOST, len(kg))
    if most < FEWEST:
        return
    for row, key in enumerate(kg.ids):
        wanted = int(rng.integers(FEWEST, most + 1))
        chosen = {row: None}
        while len(chosen) < wanted:
            chosen[int(rng.integers(len(kg)))] = None
        names = "; ".join(kg.names[other] for other in chosen)
        yield {"id": f"extended-{key}", "concepts": [kg.ids[other] for other in chosen], "instruction": SEVERAL, "answer": names}


def triplets(kg: KnowledgeGraph) -> Iterator[dict[str, Any]]:
    """One row a triplet: {"id", "concepts": [head, tail], "relation", "instruction", "answer"}, the answer "head relation tail"."""
    for number, (head, kind, tail) in enumerate(kg.triplets.tolist()):
        relation = kg.relations[kind]
        yield {
            "id": f"triplet-{number}",
            "concepts": [kg.ids[head], kg.ids[tail]],
            "relation": relation,
            "instruction": RELATED,
            "answer": f"{kg.names[head]} {relation.replace('_', ' ')} {kg.names[tail]}",
        }
