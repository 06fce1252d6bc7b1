from __future__ import annotations

import numpy as np
import pytest

from meg.errors import InputError
from meg.kg.graph import KnowledgeGraph
from meg.kg.questions import QuestionMaker
from meg.kg.rows import GraphRows
from meg.models.prompts import User
from meg.models.questions import Mention
from meg.qa.grounding import ground, oracle
from meg.qa.tasks import Question, Split
from meg.qa.tasks.graph import read


@pytest.fixture(scope="module")
def kg() -> KnowledgeGraph:
    concepts = {f"m{i:02}": (f"drugamab {i}", "drug") for i in range(30)} | {
        f"d{i:02}": (f"Willebrand disease {i}", "disease") for i in range(30)
    }
    return KnowledgeGraph.from_rows(GraphRows(concepts, [(f"m{i:02}", "treats", f"d{(i * k) % 30:02}") for i in range(30) for k in (1, 7)]))


@pytest.fixture
def split(kg: KnowledgeGraph, tmp_path) -> Split:
    from meg.files import write_jsonl

    write_jsonl(tmp_path / "q.jsonl", QuestionMaker(kg).draw("train", "random", 20, unique=True))
    return read(tmp_path / "q.jsonl", "train", 0)


def test_graph_questions_keep_the_concepts_of_the_file(kg: KnowledgeGraph, split: Split) -> None:
    examples = ground(split.questions, kg, max_concepts=20, max_option_concepts=2)
    assert len(examples) == len(split.questions) > 5
    for q, e in zip(split.questions, examples, strict=True):
        before, mention, after = e.question
        assert before.text + mention.name + after.text == q.text == e.text and e.mentioned == (kg.index(q.source["concept"]),)
        assert [kg.ids[row] for (row,) in e.option_concepts] == q.source["option_concepts"]
        assert (e.id, e.options, e.gold, e.group, e.concepts) == (q.id, q.options, q.gold, q.group, ())
        assert e.relation == ("~treats" if q.source["inverse"] else "treats")
    assert {e.relation for e in examples} == {"treats", "~treats"}


def test_a_concept_of_another_graph_is_refused(split: Split) -> None:
    other = KnowledgeGraph.from_rows(GraphRows({"x": ("x", "t")}, []))
    with pytest.raises(InputError, match=r"question graph-train-random-0: concept '.*' is not in this graph"):
        ground(split.questions, other, max_concepts=20, max_option_concepts=2)


def test_other_questions_are_linked_in_text_context_and_options(kg: KnowledgeGraph) -> None:
    q = Question(
        "1",
        "Give drugamab 3 or nothing?",
        ("Willebrand disease 4", "none", "drugamab 5 and drugamab 6"),
        None,
        context="He took drugamab 9.",
    )
    (e,) = ground([q], kg, max_concepts=20, max_option_concepts=1)
    row = kg.ids.index("m03")
    assert e.question == (User("Give "), Mention("drugamab 3", row), User(" or nothing?")) and e.mentioned == (row,)
    assert e.context == q.context and [kg.names[row] for row in e.concepts] == ["drugamab 9"]
    assert [[kg.names[row] for row in rows] for rows in e.option_concepts] == [["Willebrand disease 4"], [], ["drugamab 5"]]
    (listed,) = ground([q], kg, max_concepts=20, max_option_concepts=1, placement="list")
    assert listed.question == (User(q.text),) and listed.mentioned == () and listed.option_concepts == e.option_concepts
    assert sorted(kg.names[row] for row in listed.concepts) == ["drugamab 3", "drugamab 9"]
    (one,) = ground([q], kg, max_concepts=1, max_option_concepts=0, placement="list")
    assert one.concepts == listed.concepts[:1]
    (first,) = ground([q], kg, max_concepts=1, max_option_concepts=0)
    assert first.mentioned + first.concepts == one.concepts
    assert ground([q], kg, max_concepts=1, max_option_concepts=0)[0].option_concepts == ((), (), ())
    assert ground([], kg, max_concepts=1, max_option_concepts=1) == []


def test_a_concept_named_again_is_marked_at_its_first_mention(kg: KnowledgeGraph) -> None:
    text = "Drugamab 7 helps, drugamab 8 not; drugamab 7 again."
    (e,) = ground([Question("1", text, ("yes", "no"), 0, context="Drugamab 7.")], kg, max_concepts=9, max_option_concepts=1)
    assert "".join(p.name if isinstance(p, Mention) else p.text for p in e.question) == text
    assert [(p.name, kg.names[p.row]) for p in e.question if isinstance(p, Mention)] == [
        ("Drugamab 7", "drugamab 7"),
        ("drugamab 8", "drugamab 8"),
    ]
    assert e.concepts == ()


def test_oracle_is_the_cosine_of_question_and_option(kg: KnowledgeGraph, split: Split) -> None:
    unit = np.random.default_rng(0).standard_normal((len(kg), 4))
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    examples = ground(split.questions, kg, max_concepts=20, max_option_concepts=2)
    for q, scores in zip(split.questions, oracle(examples, unit), strict=True):
        expected = [unit[kg.index(q.source["concept"])] @ unit[kg.index(o)] for o in q.source["option_concepts"]]
        assert scores == pytest.approx(expected)


def test_mention_is_kept_apart_from_the_template(kg: KnowledgeGraph, split: Split) -> None:
    for e in ground(split.questions, kg, max_concepts=20, max_option_concepts=2):
        assert [type(part) for part in e.question] == [User, Mention, User]
        assert e.question[1].name not in e.question[0].text + e.question[2].text
