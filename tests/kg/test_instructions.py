from __future__ import annotations

from meg import KnowledgeGraph
from meg.kg.instructions import MARKER, extended, triplets, vocabulary
from meg.kg.rows import GraphRows


def graph(n: int) -> KnowledgeGraph:
    concepts = {f"c{i:02d}": (f"name {i}", "t") for i in range(n)}
    return KnowledgeGraph.from_rows(GraphRows(concepts, [("c00", "may_treat", "c01")] if n > 1 else []))


def test_vocabulary_has_the_published_wording_once_a_concept():
    rows = list(vocabulary(graph(3)))
    assert rows[1] == {
        "id": "vocabulary-c01",
        "concept": "c01",
        "instruction": "Explain to me this medical concept {kg_embedding}",
        "answer": "name 1",
    }
    assert len(rows) == 3


def test_extended_joins_two_to_ten_different_concepts_and_follows_the_seed():
    kg = graph(40)
    rows = list(extended(kg, seed=1))
    assert rows == list(extended(kg, seed=1)) != list(extended(kg, seed=2))
    assert [row["concepts"][0] for row in rows] == kg.ids
    sizes = {len(row["concepts"]) for row in rows}
    assert min(sizes) >= 2 and max(sizes) <= 10 and len(sizes) > 3
    for row in rows:
        assert len(set(row["concepts"])) == len(row["concepts"]) and row["instruction"].count(MARKER) == 1
        assert row["answer"] == "; ".join(kg[key].name for key in row["concepts"])
    assert all(len(row["concepts"]) == 2 for row in extended(graph(2), 0)) and list(extended(graph(1), 0)) == []


def test_triplets_are_told_in_words():
    (row,) = triplets(graph(2))
    assert row["concepts"] == ["c00", "c01"] and row["relation"] == "may_treat" and row["answer"] == "name 0 may treat name 1"
