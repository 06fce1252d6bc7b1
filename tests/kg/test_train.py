"""The loss, the masking and the split against slow references; a short training that learns and repeats itself."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from meg.errors import InputError
from meg.kg.graph import KnowledgeGraph
from meg.kg.rows import GraphRows
from meg.kg.train import EmbedSettings, Neighbourhood, split_pairs, train_embeddings, typed_loss

GRAPHS = st.integers(2, 9).flatmap(
    lambda n: st.tuples(
        st.just(n), st.lists(st.tuples(st.integers(0, n - 1), st.integers(0, 2), st.integers(0, n - 1)), min_size=1, max_size=25)
    )
)


def linked(triplets: list[tuple[int, int, int]], a: int, b: int) -> bool:
    return any({h, t} == {a, b} for h, _, t in triplets)


@settings(max_examples=60, deadline=None)
@given(GRAPHS, st.data())
def test_known_is_every_neighbour_that_is_a_candidate(graph, data) -> None:
    count, triplets = graph
    near = Neighbourhood(torch.tensor(triplets), count)
    queries = data.draw(st.lists(st.integers(0, count - 1), min_size=1, max_size=6))
    candidates = data.draw(st.lists(st.integers(0, count - 1), unique=True, max_size=count))
    column = torch.full((count,), -1, dtype=torch.long)
    column[candidates] = torch.arange(len(candidates))
    row, col = near.known(torch.tensor(queries), column)
    expected = {(i, j) for i, q in enumerate(queries) for j, c in enumerate(candidates) if linked(triplets, q, c)}
    assert sorted(zip(row.tolist(), col.tolist(), strict=True)) == sorted(expected)


@settings(max_examples=40, deadline=None)
@given(GRAPHS, st.data())
def test_typed_loss_is_the_formula(graph, data) -> None:
    count, triplets = graph
    types = data.draw(st.lists(st.integers(0, 2), min_size=count, max_size=count))
    candidates = data.draw(st.lists(st.integers(0, count - 1), unique=True, min_size=1, max_size=count))
    z = torch.nn.functional.normalize(torch.randn(count, 5, generator=torch.Generator().manual_seed(count)), dim=1)
    edges = [(h, t) if i % 2 else (t, h) for i, (h, _, t) in enumerate(triplets)]
    total = 0.0
    for query, target in edges:
        positive = math.exp(float(z[query] @ z[target]) / 0.3)
        negatives = [
            math.exp(float(z[query] @ z[c]) / 0.3)
            for c in candidates
            if types[c] == types[target] and c != query and not linked(triplets, query, c)
        ]
        total -= math.log(positive / (positive + sum(negatives)))
    near = Neighbourhood(torch.tensor(triplets), count)
    loss = typed_loss(z, torch.tensor(edges), torch.tensor(types), torch.tensor(candidates), near, 0.3)
    assert loss.item() == pytest.approx(total / len(edges), rel=1e-4, abs=1e-5)


def test_adjacency_holds_both_directions_once() -> None:
    near = Neighbourhood(torch.tensor([[0, 0, 1], [1, 1, 0], [0, 2, 2]]), 4)
    assert near.adjacency().to_dense().tolist() == [[0, 1, 1, 0], [1, 0, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]
    assert near.degree.tolist() == [2, 1, 1, 0]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_split_leaks_no_pair(seed: int) -> None:
    rng = np.random.default_rng(seed)
    triplets = np.unique(rng.integers(0, 25, (400, 3)) % [25, 3, 25], axis=0).astype(np.int32)
    parts = split_pairs(triplets, 0.4, seed)
    together = np.concatenate(list(parts.values()))
    assert sorted(map(tuple, together.tolist())) == sorted(map(tuple, triplets.tolist()))
    pairs = {name: {tuple(sorted((int(h), int(t)))) for h, _, t in rows} for name, rows in parts.items()}
    assert not pairs["train"] & pairs["test"] and not pairs["train"] & pairs["valid"] and not pairs["valid"] & pairs["test"]
    assert len(parts["valid"]) < len(parts["test"]) < len(parts["train"])
    again = split_pairs(triplets, 0.4, seed)
    assert all(np.array_equal(parts[name], again[name]) for name in parts)
    assert len(split_pairs(triplets, 0.0, seed)["train"]) == len(triplets)


@pytest.fixture(scope="module")
def kg() -> KnowledgeGraph:
    """Drugs treat diseases in four blocks, so that there is something to learn."""
    concepts = {f"m{i}": (f"medicine {i}", "drug") for i in range(24)} | {f"d{i}": (f"disease {i}", "disease") for i in range(24)}
    links = [(f"m{i}", "treats", f"d{j}") for i in range(24) for j in range(24) if i % 4 == j % 4 and (i + j) % 3]
    return KnowledgeGraph.from_rows(GraphRows(concepts, links))


def quick(**changes) -> EmbedSettings:
    return EmbedSettings(**{"features": "hashing", "dim": 16, "steps": 12, **changes})


def test_training_learns_repeats_and_tells_where_it_comes_from(kg: KnowledgeGraph) -> None:
    shapes, rows = [], []
    one = train_embeddings(kg, quick(), losses=rows, on_step=lambda step, z: shapes.append((step, tuple(z.shape))))
    losses = [row["loss"] for row in rows]
    assert len(losses) == 12 and losses[-1] < losses[0]
    assert shapes == [(step, (48, 16)) for step in range(1, 13)]
    assert one.ids == kg.ids and one.vectors.shape == (48, 16) and one.split is None
    assert one.meta["graph"] == kg.fingerprint and one.meta["settings"]["features"] == "hashing"
    assert np.allclose(one.vectors.mean(0), 0, atol=1e-5) and one.vectors.std() == pytest.approx(1, abs=0.01)
    restored = one.vectors * one.decoder["std"] + one.decoder["mean"]
    assert np.allclose(np.linalg.norm(restored, axis=1), 1, atol=1e-5)
    assert np.array_equal(one.vectors, train_embeddings(kg, quick()).vectors)
    assert not np.array_equal(one.vectors, train_embeddings(kg, quick(seed=1)).vectors)


def test_held_out_triplets_travel_with_the_vectors(kg: KnowledgeGraph, tmp_path) -> None:
    emb = train_embeddings(kg, quick(steps=2, holdout=0.3))
    assert sum(len(rows) for rows in emb.split.values()) == kg.num_triplets and len(emb.split["test"])
    emb.save(tmp_path / "e.h5")
    again = type(emb).load(tmp_path / "e.h5")
    assert all(np.array_equal(emb.split[name], again.split[name]) for name in emb.split)


@pytest.mark.parametrize(
    "wrong", [{"dim": 0}, {"steps": 0}, {"layers": -1}, {"batch": 0}, {"negatives": 0}, {"holdout": 1.0}, {"holdout": -0.1}]
)
def test_settings_that_cannot_work_are_refused(wrong) -> None:
    with pytest.raises(InputError, match=f"{next(iter(wrong))} is "):
        EmbedSettings(**wrong)


def test_a_graph_without_triplets_to_train_on_is_refused(kg: KnowledgeGraph) -> None:
    empty = KnowledgeGraph.from_rows(GraphRows({"a": ("a", "t"), "b": ("b", "t")}, []))
    with pytest.raises(InputError, match="no triplets"):
        train_embeddings(empty, quick())
    pair = KnowledgeGraph.from_rows(GraphRows({"a": ("a", "t"), "b": ("b", "t")}, [("a", "r", "b")]))
    with pytest.raises(InputError, match="holdout"):
        train_embeddings(pair, quick(holdout=0.999))
    with pytest.raises(InputError, match=r"'nonsense'\. Choose from: graphsage"):
        quick(encoder="nonsense")
