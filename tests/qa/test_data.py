"""Prompts of every condition, training groups, batches and the plan of batches."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from meg.models.prompts import Concepts, User
from meg.models.questions import Mention
from meg.qa.controls import DROP, DROP_QUESTION, KEEP
from meg.qa.data import Batches, collate, plan_batches, prompts, training_group
from meg.qa.encoding import PromptEncoder
from meg.qa.grounding import Example

GRAPH = Example(
    "g", ("Which finding occurs in ", Mention("aspirin", 7), "?"), ("headache", "symptoms", "drug", "fever"), 2, "all", None, (),
    ((1,), (2,), (3,), (4,)), "Which finding occurs in aspirin?",
)  # fmt: skip
TEXT = Example(
    "t", (User("What treats headache?"),), ("aspirin", "water"), 0, "all", "An abstract.", (8, 9), ((7,), ()), "What treats headache?"
)


def rows(parts: list) -> list[int]:
    return [row for p in parts if isinstance(p, Concepts) for row in p.rows]


def words(parts: list) -> str:
    return "".join(p if isinstance(p, str) else p.text for p in parts if not isinstance(p, Concepts))


@pytest.mark.parametrize("scoring", ["yes_no", "letter", "option"])
def test_names_out_has_no_name_and_no_user_text(scoring: str) -> None:
    for parts in prompts(GRAPH, scoring, names=False):
        assert not any(isinstance(p, User) for p in parts)
        assert not any(name in words(parts) for name in ("aspirin", *GRAPH.options))
        assert rows(parts)[0] == 7


def test_prefix_treatments_with_yes_no_scoring() -> None:
    assert [rows(p) for p in prompts(GRAPH, "yes_no", True, KEEP)] == [[7, 1], [7, 2], [7, 3], [7, 4]]
    assert [rows(p) for p in prompts(GRAPH, "yes_no", True, DROP)] == [[], [], [], []]
    assert [rows(p) for p in prompts(GRAPH, "yes_no", False, DROP_QUESTION)] == [[1], [2], [3], [4]]
    assert [rows(p) for p in prompts(TEXT, "yes_no", True, KEEP)] == [[8, 9, 7], [8, 9]]
    assert [rows(p) for p in prompts(TEXT, "yes_no", True, DROP_QUESTION)] == [[7], []]


@pytest.mark.parametrize("example", [GRAPH, TEXT])
@pytest.mark.parametrize("scoring", ["yes_no", "letter", "option"])
def test_a_control_with_names_keeps_every_word(example: Example, scoring: str) -> None:
    for with_prefix, without in zip(prompts(example, scoring, True, KEEP), prompts(example, scoring, True, DROP), strict=True):
        assert not rows(without)
        plain, marked = ("".join(words(parts).replace("\nConcepts: ", "").split()) for parts in (without, with_prefix))
        assert plain == marked


@pytest.mark.parametrize("scoring", ["yes_no", "letter", "option"])
def test_without_its_concept_an_inline_mention_reads_as_the_plain_question(scoring: str) -> None:
    question = (User("What treats "), Mention("headache", 5), User("?"))
    inline = replace(TEXT, question=question, concepts=())
    plain = replace(TEXT, concepts=(), option_concepts=((), ()))
    assert [words(p) for p in prompts(inline, scoring, True, DROP)] == [words(p) for p in prompts(plain, scoring, True, KEEP)]
    assert all(rows(p)[0] == 5 and "headache ?" in words(p) for p in prompts(inline, scoring, True, KEEP))


def test_the_example_itself_is_not_changed() -> None:
    before = repr(GRAPH)
    prompts(GRAPH, "yes_no", True, DROP)
    assert repr(GRAPH) == before


@pytest.mark.parametrize("scoring", ["yes_no", "letter", "option"])
def test_training_group_holds_the_right_answers(tiny_meg, scoring: str) -> None:
    model = tiny_meg("llama", scoring=scoring)
    group = training_group(GRAPH, PromptEncoder(model.tokenizer), scoring=scoring, names=True, prefix=KEEP)
    told = [model.tokenizer.decode(e.ids[e.answer_start : -1]).strip() for e in group]
    assert told == {"yes_no": ["no", "no", "yes", "no"], "letter": ["C"], "option": ["C) drug"]}[scoring]


@pytest.mark.parametrize("prefix", [KEEP, DROP, DROP_QUESTION])
def test_a_batch_has_one_vector_a_marker(tiny_meg, prefix: str) -> None:
    model = tiny_meg("mistral")
    vectors = torch.arange(12.0)[:, None].expand(12, 16)
    encoder = PromptEncoder(model.tokenizer)
    batch = collate([training_group(e, encoder, scoring="yes_no", names=True, prefix=prefix) for e in (GRAPH, TEXT)], model, vectors)
    markers = (batch["input_ids"] == model.marker_id).sum(1)
    assert torch.equal(markers, batch["prefix_mask"].sum(1))
    found = [row[mask][:, 0].tolist() for row, mask in zip(batch["prefix"], batch["prefix_mask"], strict=True)]
    expected = {KEEP: [[7, 1, 2, 3, 4], [8, 9, 7]], DROP: [[], []], DROP_QUESTION: [[1, 2, 3, 4], [7]]}
    assert found == expected[prefix]  # what the candidates share is there once
    assert torch.isfinite(model(**batch, answers_only=True).loss)


def test_batches_follow_the_plan(tiny_meg) -> None:
    model = tiny_meg("mistral")
    encoder = PromptEncoder(model.tokenizer)
    asked = []

    def groups(variant: int, index: int):
        asked.append((variant, index))
        return training_group((GRAPH, TEXT)[index], encoder, scoring="yes_no", names=variant == 0, prefix=KEEP)

    batches = Batches(groups, [(0, np.array([0, 1])), (1, np.array([0]))], model, torch.zeros(12, 16))
    assert len(batches) == 2 and len(batches[0]["input_ids"]) == 2 and len(batches[1]["input_ids"]) == 1
    assert asked == [(0, 0), (0, 1), (1, 0)]


def test_plan_takes_variants_in_turn_and_every_example_once_a_round() -> None:
    plan = plan_batches([10, 6], 4, 12, seed=1)
    assert [variant for variant, _ in plan] == [0, 1] * 6
    for variant, size in ((0, 10), (1, 6)):
        drawn = np.concatenate([indices for v, indices in plan if v == variant])
        assert all(len(indices) == 4 for v, indices in plan if v == variant)
        for start in range(0, len(drawn) - size + 1, size):
            assert sorted(drawn[start : start + size]) == list(range(size))
    again = plan_batches([10, 6], 4, 12, seed=1)
    assert all(np.array_equal(a[1], b[1]) for a, b in zip(plan, again, strict=True))
    assert any(not np.array_equal(a[1], b[1]) for a, b in zip(plan, plan_batches([10, 6], 4, 12, seed=2), strict=True))
    assert all(1 <= len(indices) <= 8 and set(indices) <= {0, 1, 2} for _, indices in plan_batches([3], 8, 5, seed=0))
