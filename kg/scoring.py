"""The encoder's own score of a concept pair, and link prediction with it (filtered, realistic ranks)."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import InputError
from .graph import KnowledgeGraph
from .store import ConceptEmbeddings


def unit_vectors(embeddings: ConceptEmbeddings) -> np.ndarray:
    """(N, D) vectors of length 1 whose dot product is the training score."""
    vectors = embeddings.vectors
    if embeddings.decoder is not None:
        vectors = vectors * embeddings.decoder["std"] + embeddings.decoder["mean"]
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def _summary(ranks: np.ndarray) -> dict[str, float]:
    return {"mrr": float((1 / ranks).mean()), **{f"hits@{k}": float((ranks <= k).mean()) for k in (1, 3, 10)}, "n": len(ranks)}


def link_prediction(kg: KnowledgeGraph, embeddings: ConceptEmbeddings, part: str = "test", chunk: int = 256) -> dict[str, Any]:
    """MRR and Hits@k of the held-out triplets, both sides, filtered by every known neighbour.

    A rank is the mean over ties ("realistic"). "mrr" and "per_relation" rank all concepts; what is under "typed" ranks
    only those of the answer's type.

    Raises:
        InputError: the embeddings belong to another graph, or were trained without a held-out part.
    """
    embeddings.check_graph(kg)
    if embeddings.split is None or len(embeddings.split[part]) == 0:
        raise InputError(f"these embeddings hold no {part} triplets. Train them with `meg kg embed --holdout 0.1`.")
    z = unit_vectors(embeddings)
    types = np.unique(np.asarray(kg.types, dtype=str), return_inverse=True)[1]
    (out_start, out_ends, _), (in_start, in_ends, _) = kg.csr(), kg.csr(inverse=True)
    test = embeddings.split[part]
    queries = np.concatenate([test[:, [0, 2, 1]], test[:, [2, 0, 1]]])
    ranks, typed = np.empty(len(queries)), np.empty(len(queries))
    for begin in range(0, len(queries), chunk):
        block = queries[begin : begin + chunk]
        scores = z[block[:, 0]] @ z.T
        for i, (query, answer, _) in enumerate(block):
            row, own = scores[i], scores[i, answer]
            row[out_ends[out_start[query] : out_start[query + 1]]] = -np.inf
            row[in_ends[in_start[query] : in_start[query + 1]]] = -np.inf
            row[query] = -np.inf
            better, equal = row > own, row == own
            ranks[begin + i] = better.sum() + equal.sum() / 2 + 1
            same = types == types[answer]
            typed[begin + i] = (better & same).sum() + (equal & same).sum() / 2 + 1
    members = {name: queries[:, 2] == number for number, name in enumerate(kg.relations)}

    def figures(of: np.ndarray) -> dict[str, Any]:
        return {**_summary(of), "per_relation": {name: _summary(of[own]) for name, own in members.items() if own.any()}}

    return {**figures(ranks), "typed": figures(typed), "part": part}
