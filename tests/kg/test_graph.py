from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meg import InputError, KnowledgeGraph
from meg.kg.rows import GraphRows


def heart() -> KnowledgeGraph:
    rows = GraphRows(
        {
            "C0027051": ("myocardial infarction", "disease"),
            "D:1": ("aspirin", "drug"),
            "A:1": ("heart", "anatomy"),
            "D:2": ("Aspirin", "brand"),
        },
        [
            ("D:1", "treats", "C0027051"),
            ("D:1", "treats", "C0027051"),
            ("C0027051", "located_in", "A:1"),
            ("A:1", "part_of", "A:1"),
            ("D:1", "treats", "nowhere"),
            ("D:1", "", "A:1"),
        ],
        synonyms=[("C0027051", "heart  attack"), ("C0027051", "Heart attack"), ("C0027051", "Myocardial infarction"), ("x", "y")],
        definitions={"A:1": "A pump.\nOf\tmuscle."},
        dropped={"given": 2, "nothing": 0},
    )
    return KnowledgeGraph.from_rows(rows, sources=["made"])


def test_rows_become_sorted_unique_arrays_and_dropped_rows_are_counted():
    kg = heart()
    assert kg.ids == ["A:1", "C0027051", "D:1", "D:2"]
    assert kg.relations == ["located_in", "treats"]
    assert kg.triplets.dtype == np.int32
    assert kg.triplets.tolist() == [[1, 0, 0], [2, 1, 1]]
    assert kg.synonyms == [(1, "heart attack")]
    assert kg.definitions == {0: "A pump. Of muscle."}
    assert kg.dropped == {"given": 2, "duplicates": 1, "self_loops": 1, "dangling": 1, "dangling_synonyms": 1, "no_relation": 1}
    assert len(kg) == 4 and kg.num_triplets == 2 and "D:1" in kg and "D:9" not in kg


def test_concepts_are_found_by_id_and_by_any_name():
    kg = heart()
    assert kg["C0027051"].cui == "C0027051" and kg["D:1"].cui is None
    assert kg["A:1"].definition == "A pump. Of muscle."
    assert [c.id for c in kg.find("HEART attack")] == ["C0027051"]
    assert [c.id for c in kg.find("aspirin")] == ["D:1", "D:2"]
    assert kg.find("nothing") == []


@pytest.mark.parametrize(
    ("given_id", "meant"), [("heart attack", "C0027051"), ("C00270511", "C0027051"), ("asprin", "D:1"), ("d:2", "D:2")]
)
def test_an_unknown_id_is_one_line_with_what_was_meant(given_id, meant):
    with pytest.raises(InputError, match=f"Did you mean {meant}") as caught:
        heart()[given_id]
    assert "\n" not in str(caught.value)


def test_neighbors_run_in_both_directions_and_filter_by_relation():
    kg = heart()
    assert [(n.relation, n.inverse, n.concept.id) for n in kg.neighbors("C0027051")] == [
        ("located_in", False, "A:1"),
        ("treats", True, "D:1"),
    ]
    assert [n.concept.id for n in kg.neighbors("C0027051", "treats")] == ["D:1"]
    assert kg.neighbors("A:1", "treats") == []
    with pytest.raises(InputError, match="Did you mean 'treats'"):
        kg.neighbors("C0027051", "treat")


def test_stats_name_what_the_contract_names():
    stats = heart().stats()
    assert {k: stats[k] for k in ("concepts", "triplets", "relations", "synonyms", "concepts_with_cui")} == {
        "concepts": 4, "triplets": 2, "relations": 2, "synonyms": 1, "concepts_with_cui": 1,
    }  # fmt: skip
    assert stats["dropped"]["duplicates"] == 1
    assert json.loads(json.dumps(stats)) == stats


def test_networkx_holds_the_part_within_the_hops():
    kg = heart()
    assert set(kg.to_networkx("A:1").nodes) == {"A:1", "C0027051"}
    two = kg.to_networkx(["A:1"], hops=2)
    assert set(two.nodes) == {"A:1", "C0027051", "D:1"}
    assert two.nodes["D:1"] == {"name": "aspirin", "type": "drug"}
    assert two.edges["D:1", "C0027051", "treats"]["relation"] == "treats"
    assert len(kg.to_networkx()) == 4


def test_sources_are_united_by_id_and_other_names_become_synonyms():
    one = GraphRows({"a": ("Alpha", "x"), "b": ("Beta", "x")}, [("a", "r", "b")], definitions={"a": "first"})
    two = GraphRows({"a": ("First", "y"), "c": ("Gamma", "x")}, [("a", "r", "b"), ("c", "s", "a")], definitions={"a": "other"})
    kg = KnowledgeGraph.from_rows([one, two])
    assert kg["a"].name == "Alpha" and kg["a"].type == "x" and kg["a"].synonyms == ("First",) and kg["a"].definition == "first"
    assert kg.num_triplets == 2 and kg.dropped == {"duplicates": 1}


def test_save_and_load_give_the_same_graph(tmp_path):
    kg = heart()
    kg.save(tmp_path / "graph")
    again = KnowledgeGraph.load(tmp_path / "graph")
    for name in ("ids", "names", "types", "relations", "synonyms", "definitions", "sources", "dropped", "fingerprint"):
        assert getattr(again, name) == getattr(kg, name)
    assert np.array_equal(again.triplets, kg.triplets)
    assert [p.name for p in tmp_path.iterdir()] == ["graph"]


def test_fingerprint_follows_content_not_order():
    rows = GraphRows({"a": ("a", ""), "b": ("b", "")}, [("a", "r", "b"), ("b", "r", "a")])
    other = GraphRows({"b": ("b", ""), "a": ("a", "")}, [("b", "r", "a"), ("a", "r", "b")])
    fewer = GraphRows({"b": ("b", ""), "a": ("a", "")}, [("b", "r", "a")])
    prints = [KnowledgeGraph.from_rows(r).fingerprint for r in (rows, other, fewer)]
    assert prints[0] == prints[1] != prints[2]


def test_a_folder_of_something_else_is_never_replaced(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("keep")
    with pytest.raises(InputError, match="holds something else"):
        heart().save(tmp_path / "mine")
    assert (tmp_path / "mine" / "letter.txt").read_text() == "keep"


def _cut(folder):
    (folder / "concepts.tsv").write_text((folder / "concepts.tsv").read_text()[:-5])


def _other_triplets(folder):
    np.save(folder / "triplets.npy", np.array([[0, 0, 1]], dtype=np.int32))


def _pickle(folder):
    np.save(folder / "triplets.npy", np.array([{}], dtype=object), allow_pickle=True)


def _far_synonym(folder):
    (folder / "synonyms.tsv").write_text("99\tfar\n")


def _missing(folder):
    (folder / "synonyms.tsv").unlink()


def _bytes(folder):
    (folder / "definitions.tsv").write_bytes(b"0\t\xff\xfe\n")


def _not_json(folder):
    (folder / "graph.json").write_text("{")


def _other_json(folder):
    (folder / "graph.json").write_text("[]")


@pytest.mark.parametrize("harm", [_cut, _other_triplets, _pickle, _far_synonym, _missing, _bytes, _not_json, _other_json])
def test_a_damaged_folder_is_an_input_error(tmp_path, harm):
    heart().save(tmp_path / "graph")
    harm(tmp_path / "graph")
    with pytest.raises(InputError, match="meg kg build"):
        KnowledgeGraph.load(tmp_path / "graph")


def test_a_missing_or_foreign_folder_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="graph folder not found"):
        KnowledgeGraph.load(tmp_path / "none")
    with pytest.raises(InputError, match="not a graph folder"):
        KnowledgeGraph.load(tmp_path)


ends = st.sampled_from("abcdefgh")


@given(st.lists(st.tuples(ends, st.sampled_from("rst"), ends), max_size=40))
def test_csr_in_both_directions_is_the_triplets(triplets):
    kg = KnowledgeGraph.from_rows(GraphRows({key: (key, "") for key in "abcdefgh"}, triplets))
    wanted = {t for t in triplets if t[0] != t[2]}
    name = kg.relations.__getitem__
    assert {(kg.ids[h], name(r), kg.ids[t]) for h, r, t in kg.triplets} == wanted and kg.num_triplets == len(wanted)
    for inverse in (False, True):
        start, others, kinds = kg.csr(inverse)
        assert start.dtype == np.int64 and others.dtype == kinds.dtype == np.int32 and len(start) == len(kg) + 1
        found = set()
        for row in range(len(kg)):
            for k in range(start[row], start[row + 1]):
                own, other = kg.ids[row], kg.ids[others[k]]
                found.add((other, name(kinds[k]), own) if inverse else (own, name(kinds[k]), other))
        assert found == wanted
