"""Generated questions: nothing held out is ever seen in training, wrong options are wrong, right ones are right."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest

from meg.errors import InputError
from meg.files import read_jsonl
from meg.kg.graph import KnowledgeGraph
from meg.kg.questions import LETTERS, QuestionMaker, split_concepts, write_questions
from meg.kg.rows import GraphRows
from meg.kg.wording import wording_of

COUNT = 120


def make(relations: tuple[str, ...] = ("treats", "has_finding", "strange_link"), seed: int = 0) -> KnowledgeGraph:
    """A random graph of drugs and diseases; names repeat now and then, as in real sources."""
    rng = np.random.default_rng(seed)
    concepts = {f"m{i:03}": (f"medicine {i % 110}", "drug") for i in range(COUNT)}
    concepts |= {f"d{i:03}": (f"disease {i % 110}", "disease") for i in range(COUNT)}
    links = [(f"m{a:03}", relations[0], f"d{b:03}") for a, b in rng.integers(0, COUNT, (500, 2))]
    links += [(f"d{a:03}", relations[1], f"d{b:03}") for a, b in rng.integers(0, COUNT, (300, 2))]
    links += [(f"m{a:03}", relations[2], f"m{b:03}") for a, b in rng.integers(0, COUNT, (200, 2))]
    return KnowledgeGraph.from_rows(GraphRows(concepts, links))


@pytest.fixture(scope="module")
def kg() -> KnowledgeGraph:
    return make()


@pytest.fixture(scope="module")
def folder(kg: KnowledgeGraph, tmp_path_factory):
    out = tmp_path_factory.mktemp("questions")
    counts = write_questions(kg, out, seed=4, train=600, test=60, dev=30)
    return out, counts


@pytest.fixture(scope="module")
def rows(folder) -> dict[str, list[dict]]:
    return {part: [row for _, row in read_jsonl(folder[0] / f"questions/{part}.jsonl")] for part in ("train", "dev", "test")}


def named(row: dict) -> set[str]:
    return {row["concept"], *row["option_concepts"].values()}


def test_counts_are_those_of_the_files(folder, rows) -> None:
    _, counts = folder
    assert json.dumps(counts)
    for part, written in rows.items():
        assert counts[part] == dict(Counter(row["group"] for row in written))
        assert len({row["id"] for row in written}) == len(written)
    assert len(rows["train"]) == 600 and set(counts["test"]) == {"random", "neighbourhood", "strict"}
    assert all(count > 10 for count in counts["test"].values())


def test_no_held_out_concept_in_any_training_question(kg, folder, rows) -> None:
    split = json.loads((folder[0] / "questions/split.json").read_text())
    held = {*split["dev"], *split["test"]}
    assert held and not set(split["dev"]) & set(split["test"])
    assert not held & {concept for row in rows["train"] for concept in named(row)}
    assert {row["concept"] for row in rows["test"]} <= set(split["test"])
    assert {row["concept"] for row in rows["dev"]} <= set(split["dev"])
    strict = {concept for row in rows["test"] if row["group"] == "strict" for concept in named(row)}
    assert strict and strict <= set(split["test"])


def test_gold_is_right_and_every_other_option_is_wrong(kg, rows) -> None:
    triplets = {(kg.ids[h], kg.relations[r], kg.ids[t]) for h, r, t in kg.triplets}
    linked = {frozenset((h, t)) for h, _, t in triplets}
    for row in [row for part in rows.values() for row in part]:
        gold = row["option_concepts"][row["answer_idx"]]
        head, relation, tail = row["triplet"]
        assert (head, relation, tail) in triplets
        assert (tail, head) == (row["concept"], gold) if row["inverse"] else (head, tail) == (row["concept"], gold)
        wording = wording_of(relation)
        assert row["relation"] == wording.family and row["template"] == (wording.inverse if row["inverse"] else wording.forward)
        assert row["question"] == row["template"].format(kg[row["concept"]].name)
        assert row["answer"] == row["options"][row["answer_idx"]] == kg[gold].name
        assert tuple(sorted(row["options"])) == tuple(LETTERS) and set(row["option_concepts"]) == set(row["options"])
        assert all(row["options"][letter] == kg[concept].name for letter, concept in row["option_concepts"].items())
        assert len({text.lower() for text in row["options"].values()}) == 4
        for letter, concept in row["option_concepts"].items():
            assert kg[concept].type == kg[gold].type and concept != row["concept"]
            if letter != row["answer_idx"]:
                assert frozenset((row["concept"], concept)) not in linked and kg[concept].name != kg[row["concept"]].name


def test_neighbourhood_options_are_two_hops_from_the_answer(kg, rows) -> None:
    near = {key: {n.concept.id for n in kg.neighbors(key)} for key in kg.ids}
    for row in [row for row in rows["train"] + rows["test"] if row["group"] == "neighbourhood"]:
        gold = row["option_concepts"][row["answer_idx"]]
        around = {c for middle in near[gold] for c in near[middle]}
        assert set(row["option_concepts"].values()) - {gold} <= around


def test_the_letter_says_nothing_and_test_questions_are_asked_once(rows) -> None:
    letters = Counter(row["answer_idx"] for row in rows["train"])
    assert all(0.17 < letters[letter] / 600 < 0.33 for letter in LETTERS)
    for group in ("random", "neighbourhood", "strict"):
        asked = [(r["concept"], r["relation"], r["inverse"], r["answer"], r["template"]) for r in rows["test"] if r["group"] == group]
        keys = [
            (r["concept"], r["relation"], r["inverse"], r["option_concepts"][r["answer_idx"]]) for r in rows["test"] if r["group"] == group
        ]
        assert len(asked) == len(set(keys))


def test_every_relation_is_asked_also_one_without_a_wording(rows) -> None:
    assert {row["relation"] for row in rows["train"]} == {"treats", "finding", "strange_link"}
    strange = next(row for row in rows["train"] if row["relation"] == "strange_link")
    assert "'strange link'" in strange["question"]
    assert {row["inverse"] for row in rows["train"]} == {False, True}


def test_a_relation_with_braces_can_be_asked() -> None:
    row = QuestionMaker(make(("a{0}b", "x{}", "}{"))).draw("train", "random", 40, unique=False)
    assert len(row) == 40 and all(r["question"].count("medicine") + r["question"].count("disease") == 1 for r in row)


def test_the_seed_decides_everything(kg, folder, tmp_path) -> None:
    write_questions(kg, tmp_path / "same", seed=4, train=600, test=60, dev=30)
    write_questions(kg, tmp_path / "other", seed=5, train=600, test=60, dev=30)
    for name in ("train.jsonl", "dev.jsonl", "test.jsonl", "split.json"):
        first = (folder[0] / "questions" / name).read_bytes()
        assert first == (tmp_path / "same/questions" / name).read_bytes()
        assert first != (tmp_path / "other/questions" / name).read_bytes()


def test_split_shares(kg) -> None:
    side = Counter(np.concatenate([split_concepts(kg, seed) for seed in range(20)]).tolist())
    total = sum(side.values())
    assert side["test"] / total == pytest.approx(0.15, abs=0.02) and side["dev"] / total == pytest.approx(0.05, abs=0.02)


def test_a_graph_that_cannot_be_asked_is_refused_or_gives_no_question() -> None:
    with pytest.raises(InputError, match="no relation of this graph can be asked"):
        QuestionMaker(KnowledgeGraph.from_rows(GraphRows({"a": ("a", "t"), "b": ("b", "t")}, [("a", "treats", "b")])))
    full = {f"c{i}": (f"n{i}", "t") for i in range(6)}
    everyone = KnowledgeGraph.from_rows(GraphRows(full, [(a, "treats", b) for a in full for b in full if a != b]))
    maker = QuestionMaker(everyone)  # every option would be linked
    assert maker.draw("train", "random", 10, unique=False) == [] and maker.draw("test", "strict", 10, unique=True) == []
