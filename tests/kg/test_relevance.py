from __future__ import annotations

import pytest

from meg.kg.graph import KnowledgeGraph
from meg.kg.link import Candidate, EntityLinker, Mention
from meg.kg.relevance import joining, rank, spans
from meg.kg.rows import GraphRows


@pytest.fixture(scope="module")
def kg() -> KnowledgeGraph:
    concepts = {"a": ("aspirin", "drug"), "b": ("headache", "finding"), "c": ("fever", "finding"), "d": ("warfarin", "drug")}
    links = [("a", "treats", "b"), ("a", "treats", "c"), ("a", "interacts", "d"), ("d", "interacts", "a"), ("b", "with", "c")]
    return KnowledgeGraph.from_rows(GraphRows(concepts, links, synonyms=[("a", "acetylsalicylic acid")]))


def mention(start: int, end: int, *candidates: tuple[str, float]) -> Mention:
    return Mention(start, end, "x" * (end - start), tuple(Candidate(key, key, score, "preferred") for key, score in candidates))


def test_score_then_length_then_rarity_then_row(kg: KnowledgeGraph) -> None:
    assert rank([mention(0, 20, ("a", 0.95)), mention(30, 34, ("b", 1.0))], kg, 9) == [1, 0]
    assert rank([mention(0, 4, ("a", 1.0)), mention(5, 12, ("d", 1.0))], kg, 9) == [3, 0]
    assert rank([mention(0, 4, ("a", 1.0)), mention(5, 9, ("c", 1.0))], kg, 9) == [2, 0]  # fever has fewer triplets
    assert rank([mention(5, 9, ("c", 1.0)), mention(0, 4, ("b", 1.0))], kg, 9) == [1, 2]


def test_each_concept_once_with_its_best_mention_and_no_more_than_asked(kg: KnowledgeGraph) -> None:
    mentions = [mention(0, 4, ("a", 0.9)), mention(5, 9, ("b", 0.95)), mention(10, 14, ("a", 1.0), ("d", 1.0)), mention(20, 24)]
    assert rank(mentions, kg, 9) == [0, 1]
    assert rank(mentions, kg, 1) == [0] and rank(mentions, kg, 0) == [] and rank([], kg, 5) == []


def test_rank_on_linked_text_does_not_depend_on_the_order_of_mentions(kg: KnowledgeGraph) -> None:
    mentions = EntityLinker(kg)("Acetylsalicylic acid against headache and fever, not warfarin")
    assert rank(mentions, kg, 10) == rank(mentions[::-1], kg, 10) and sorted(rank(mentions, kg, 10)) == [0, 1, 2, 3]


def test_spans_are_the_first_mentions_of_the_rows_in_the_order_of_the_text(kg: KnowledgeGraph) -> None:
    mentions = [mention(0, 4, ("b", 0.9)), mention(5, 9, ("a", 1.0), ("d", 1.0)), mention(10, 14, ("b", 1.0)), mention(15, 19)]
    assert spans(mentions, kg, [0, 1]) == [(0, 4, 1), (5, 9, 0)] == spans(mentions, kg, [1, 0, 2])
    assert spans(mentions, kg, [3]) == [] == spans([], kg, [0]) == spans(mentions, kg, [])


def test_joining_lists_triplets_in_their_own_direction(kg: KnowledgeGraph) -> None:
    assert joining(kg, [0], [1]) == [("aspirin", "treats", "headache")]
    assert joining(kg, [1], [0]) == [("aspirin", "treats", "headache")]
    assert sorted(joining(kg, [0], [3])) == [("aspirin", "interacts", "warfarin"), ("warfarin", "interacts", "aspirin")]
    assert joining(kg, [2], [3]) == [] and joining(kg, [], [1]) == [] and joining(kg, [1], []) == []
