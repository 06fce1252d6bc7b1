"""Link prediction against a reference that walks every rank by hand."""

from __future__ import annotations

import numpy as np
import pytest

from meg.errors import InputError
from meg.kg.graph import KnowledgeGraph
from meg.kg.rows import GraphRows
from meg.kg.scoring import link_prediction, unit_vectors
from meg.kg.store import ConceptEmbeddings


@pytest.fixture(scope="module")
def kg() -> KnowledgeGraph:
    rng = np.random.default_rng(3)
    concepts = {f"c{i:02}": (f"name {i}", "ab"[i % 2]) for i in range(20)}
    ids = list(concepts)
    return KnowledgeGraph.from_rows(GraphRows(concepts, [(ids[a], f"r{r}", ids[b]) for a, r, b in rng.integers(0, [20, 3, 20], (60, 3))]))


def embeddings(kg: KnowledgeGraph, seed: int = 0, ties: bool = False) -> ConceptEmbeddings:
    rng = np.random.default_rng(seed)
    vectors = np.eye(3)[rng.integers(0, 3, len(kg))] if ties else rng.standard_normal((len(kg), 6))
    split = {"train": kg.triplets[10:], "valid": kg.triplets[:0], "test": kg.triplets[:10]}
    return ConceptEmbeddings(list(kg.ids), vectors, {"graph": kg.fingerprint}, split)


def slow(kg: KnowledgeGraph, emb: ConceptEmbeddings, typed: bool) -> list[float]:
    z = emb.vectors / np.linalg.norm(emb.vectors, axis=1, keepdims=True)
    table = z @ z.T
    pairs = {frozenset((int(h), int(t))) for h, _, t in kg.triplets}
    test = emb.split["test"].tolist()
    ranks = []
    for query, answer in [(h, t) for h, _, t in test] + [(t, h) for h, _, t in test]:
        better = equal = 0
        for c in range(len(kg)):
            if c in (query, answer) or frozenset((query, c)) in pairs or (typed and kg.types[c] != kg.types[answer]):
                continue
            better += table[query, c] > table[query, answer]
            equal += table[query, c] == table[query, answer]
        ranks.append(1 + better + equal / 2)
    return ranks


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("chunk", [3, 256])
def test_equals_the_slow_reference(kg: KnowledgeGraph, ties: bool, chunk: int) -> None:
    emb = embeddings(kg, ties=ties)
    found = link_prediction(kg, emb, chunk=chunk)
    for result, typed in ((found, False), (found["typed"], True)):
        ranks = np.array(slow(kg, emb, typed))
        assert result["n"] == len(ranks) == 20
        assert result["mrr"] == pytest.approx((1 / ranks).mean(), rel=1e-9)
        for k in (1, 3, 10):
            assert result[f"hits@{k}"] == pytest.approx((ranks <= k).mean(), abs=1e-9)
        per = result["per_relation"]
        assert sum(row["n"] for row in per.values()) == 20 and set(per) <= set(kg.relations)
        assert sum(row["mrr"] * row["n"] for row in per.values()) / 20 == pytest.approx(result["mrr"])
    assert found["part"] == "test"


def test_a_constant_encoder_is_no_better_than_chance(kg: KnowledgeGraph) -> None:
    emb = embeddings(kg)
    emb = ConceptEmbeddings(emb.ids, np.ones((len(kg), 3)), emb.meta, emb.split)
    assert link_prediction(kg, emb)["hits@1"] == 0


def test_refuses_other_graphs_and_parts_that_are_not_there(kg: KnowledgeGraph) -> None:
    with pytest.raises(InputError, match="no valid triplets"):
        link_prediction(kg, embeddings(kg), part="valid")
    whole = ConceptEmbeddings(list(kg.ids), embeddings(kg).vectors, {"graph": kg.fingerprint})
    with pytest.raises(InputError, match="--holdout"):
        link_prediction(kg, whole)
    other = KnowledgeGraph.from_rows(GraphRows({"x": ("x", "a"), "y": ("y", "a")}, [("x", "r", "y")]))
    with pytest.raises(InputError, match="another graph"):
        link_prediction(other, embeddings(kg))


def test_unit_vectors_undo_the_standardisation(kg: KnowledgeGraph) -> None:
    z = np.random.default_rng(0).standard_normal((len(kg), 4))
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    mean, std = z.mean(0), (z - z.mean(0)).std()
    emb = ConceptEmbeddings(list(kg.ids), (z - mean) / std, {}, None, {"mean": mean, "std": np.array([std])})
    assert np.allclose(unit_vectors(emb), z, atol=1e-6)
    zero = ConceptEmbeddings(list(kg.ids), np.zeros((len(kg), 4)))
    assert np.isfinite(unit_vectors(zero)).all()
