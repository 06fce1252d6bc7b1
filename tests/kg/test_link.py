from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meg import EntityLinker, KnowledgeGraph
from meg.kg.link import singular
from meg.kg.rows import GraphRows

CONCEPTS = {
    "d1": ("type 2 diabetes mellitus", "disease"), "d2": ("diabetes mellitus", "disease"),
    "d3": ("myocardial infarction", "disease"),
    "d4": ("Parkinson disease", "disease"), "d5": ("acquired immunodeficiency syndrome", "disease"), "p1": ("biopsy", "procedure"),

    "a1": ("eye", "anatomy"), "c1": ("cold", "disease"),
    "c2": ("cold", "state"), "c3": ("common cold", "disease"), "u": ("history", "other"),
    "m": ("beta-Alanine", "chemical"), "k": ("Kidney Stones", "disease"),
}  # fmt: skip
SYNONYMS = [("d3", "heart attack"), ("d3", "MI"), ("d5", "AIDS"), ("c3", "cold"), ("d2", "diabetes")]
LINKER = EntityLinker(KnowledgeGraph.from_rows(GraphRows(CONCEPTS, [("c2", "r", "d1"), ("c2", "r", "d2")], synonyms=SYNONYMS)))


def found(text):
    return [(m.text, m.candidates[0].id, m.candidates[0].how) for m in LINKER(text)]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("He has Type 2  diabetes mellitus.", [("Type 2  diabetes mellitus", "d1", "preferred")]),
        ("a HEART ATTACK, then diabetes", [("HEART ATTACK", "d3", "synonym"), ("diabetes", "d2", "synonym")]),
        ("two heart attacks and biopsies", [("heart attacks", "d3", "plural"), ("biopsies", "p1", "plural")]),
        ("a kidney stone", [("kidney stone", "k", "plural")]),
        ("Parkinson's disease", [("Parkinson's disease", "d4", "preferred")]),
        ("beta alanine and beta-alanine", [("beta alanine", "m", "preferred"), ("beta-alanine", "m", "preferred")]),
        ("MI or mi, MIs", [("MI", "d3", "synonym"), ("MIs", "d3", "plural")]),
        ("AIDS; he aids them", [("AIDS", "d5", "synonym")]),
        ("the history of an eye", []),
        ("prediabetes mellitusx", []),
        ("", []),
    ],
)
def test_mentions(text, wanted):
    assert found(text) == wanted


def test_concepts_of_one_name_are_all_candidates_preferred_and_well_linked_first():
    (mention,) = LINKER("a cold")
    assert [(c.id, c.how, c.score) for c in mention.candidates] == [
        ("c2", "preferred", 1.0),
        ("c1", "preferred", 1.0),
        ("c3", "synonym", 0.95),
    ]
    assert mention.candidates[2].name == "common cold"


@given(
    st.lists(st.sampled_from(["cold", "common", "heart", "attack", "type", "2", "diabetes", "mellitus", ",", "MI", "é", "İ", "ß's"])).map(
        " ".join
    )
)
def test_spans_are_the_text_in_order_and_never_overlap(text):
    mentions = LINKER(text)
    assert all(text[m.start : m.end] == m.text and m.candidates for m in mentions)
    assert all(one.end <= two.start for one, two in pairwise(mentions))


@pytest.mark.parametrize(
    ("word", "one"),
    [("biopsies", "biopsy"), ("abscesses", "abscess"), ("virus", "virus"), ("sepsis", "sepsis"), ("ties", "tie"), ("gas", "gas")],
)
def test_singular(word, one):
    assert singular(word) == one


def test_relevant_are_first_mentions_best_first():
    text = "heart attacks, a biopsy, then a heart attack"
    assert [(m.text, m.start, m.candidates[0].id) for m in LINKER.relevant(text, 5)] == [("biopsy", 17, "p1"), ("heart attacks", 0, "d3")]
    assert [m.candidates[0].id for m in LINKER.relevant(text, 1)] == ["p1"] and LINKER.relevant("", 3) == []


def test_save_and_load(tmp_path):
    LINKER.save(tmp_path / "linker")
    again = EntityLinker.load(tmp_path / "linker")
    assert again("heart attacks and MI") == LINKER("heart attacks and MI") and again.kg.fingerprint == LINKER.kg.fingerprint


def test_plural_of_ache():
    assert [singular(word) for word in ("headaches", "aches", "churches", "biopsies")] == ["headache", "ache", "church", "biopsy"]
