"""Scores, intervals and tables: numbers against known values and against scoring one prompt at a time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from meg.models.packing import prefix_of
from meg.models.prompts import User, answer_ids
from meg.models.questions import Mention, answers
from meg.qa.controls import DROP, DROP_QUESTION, KEEP
from meg.qa.data import prompts
from meg.qa.encoding import PromptEncoder
from meg.qa.evaluate import Condition, conditions, evaluate_conditions, interval, rows_of, score, softmax
from meg.qa.grounding import Example

VECTORS = torch.randn(12, 16, generator=torch.Generator().manual_seed(2))


def example(number: int, gold: int | None = 0, options: int = 4, group: str = "all") -> Example:
    return Example(
        f"q{number}", ("Which disease is treated by ", Mention("aspirin " * (number % 3 + 1), number % 12), "?"),
        tuple(f"headache {i}" for i in range(options)), gold, group, None, (), tuple(((number + i) % 12,) for i in range(options)),
        f"text {number}", "treats",
    )  # fmt: skip


LINKED = Example(
    "t", (User("What treats headache?"),), ("aspirin", "water"), 0, "all", "An abstract.", (8, 9), ((7,), ()), "What treats headache?"
)


def test_wilson_intervals() -> None:
    # Values of Newcombe (1998, Statistics in Medicine 17:857-872), table I, and the closed form at the ends.
    assert interval(81, 263) == pytest.approx([0.2553, 0.3662], abs=1e-4)
    assert interval(15, 148) == pytest.approx([0.0624, 0.1605], abs=1e-4)
    assert interval(0, 20) == pytest.approx([0.0, 0.1611], abs=1e-4)
    assert interval(1, 29) == pytest.approx([0.0061, 0.1718], abs=1e-4)
    assert interval(20, 20) == pytest.approx([1 - 0.1611, 1.0], abs=1e-4)


@pytest.mark.parametrize("names", [True, False])
@pytest.mark.parametrize("prefix", [KEEP, DROP, DROP_QUESTION])
@pytest.mark.parametrize("scoring", ["yes_no", "letter", "option"])
def test_packed_scores_are_those_of_each_option_alone(tiny_meg, scoring: str, prefix: str, names: bool) -> None:
    model = tiny_meg("mistral", scoring=scoring, tokens_per_concept=2)
    examples = [example(0), LINKED, example(4, options=5), example(2)]
    encoder = PromptEncoder(model.tokenizer, 2)
    found = score(model, examples, VECTORS, names=names, prefix=prefix, size=3)
    for e, values in zip(examples, found, strict=True):
        parts = prompts(e, scoring, names, prefix)
        assert values.shape == (len(e.options),) and values.dtype == np.float32
        texts = [None] * len(e.options) if scoring == "yes_no" else answers(e.options, scoring=scoring)
        for i, text in enumerate(texts):
            one = encoder(parts[i if scoring == "yes_no" else 0], text)
            with torch.no_grad():
                logits = model(torch.tensor([one.ids]), None, None, *prefix_of(torch.tensor([one.rows]), VECTORS, 2)).logits[0]
            if scoring == "yes_no":
                yes, no = (answer_ids(model.tokenizer, word)[0] for word in ("yes", "no"))
                expected = logits[-1, yes] - logits[-1, no]
            else:
                expected = (
                    logits[one.answer_start - 1 : -1].log_softmax(-1).gather(1, torch.tensor(one.ids[one.answer_start :])[:, None]).sum()
                )
            assert values[i] == pytest.approx(expected.item(), abs=2e-4)


def test_batch_size_and_order_do_not_change_scores(tiny_meg) -> None:
    model = tiny_meg("llama")
    examples = [example(i, options=2 + i % 4) for i in range(9)]
    whole = score(model, examples, VECTORS, names=False)
    for size, order in ((1, list(range(9))), (4, list(range(8, -1, -1)))):
        again = score(model, [examples[i] for i in order], VECTORS, names=False, size=size)
        assert all(np.allclose(again[k], whole[i], atol=1e-5) for k, i in enumerate(order))


def test_the_prefix_reaches_the_scores_only_where_it_is_kept(tiny_meg) -> None:
    model = tiny_meg("mistral")
    other = VECTORS.flip(0)
    kept = [score(model, [example(1)], v, names=True)[0] for v in (VECTORS, other)]
    dropped = [score(model, [example(1)], v, names=True, prefix=DROP)[0] for v in (VECTORS, other)]
    assert not np.allclose(*kept) and np.array_equal(*dropped)


def test_rows_count_group_by_group() -> None:
    scores = [np.array([3.0, 1, 2, 0])] * 4 + [np.array([0.0, 9, 0, 0])] * 2
    examples = [example(i, gold=0, group="ab"[i % 2]) for i in range(6)]
    table, predictions = rows_of("true", True, examples, scores, "graph")
    assert [(r["group"], r["n"], r["correct"], r["accuracy"]) for r in table] == [("a", 3, 2, 0.6667), ("b", 3, 2, 0.6667)]
    assert all(r["ci95"] == interval(2, 3) and r["unanswered"] == 0 and r["condition"] == "true" and r["names"] for r in table)
    assert [p["pred"] for p in predictions] == [0, 0, 0, 0, 1, 1] and predictions[0]["probabilities"] == pytest.approx(
        softmax(scores[0]), abs=1e-5
    )
    assert {*predictions[0]} == {"id", "task", "gold", "pred", "probabilities", "concepts", "condition", "names", "group"}


@pytest.mark.parametrize("bad", [np.array([np.nan, 1.0]), np.array([np.inf, 0.0]), np.array([])])
def test_a_question_without_an_answer_counts_as_wrong(bad: np.ndarray) -> None:
    table, predictions = rows_of("true", False, [example(0), example(1)], [bad, np.array([1.0, 0.0])], "graph")
    assert table[0]["n"] == 2 and table[0]["correct"] == 1 and table[0]["accuracy"] == 0.5 and table[0]["unanswered"] == 1
    assert predictions[0]["pred"] is None and predictions[0]["probabilities"] is None and predictions[1]["pred"] == 0


def test_without_gold_there_is_no_accuracy() -> None:
    (row,), predictions = rows_of("true", True, [example(0, None), example(1, None)], [np.array([1.0, 2.0])] * 2, "t")
    assert row["accuracy"] is None and row["ci95"] is None and row["n"] == 2 and "correct" not in row
    assert [p["pred"] for p in predictions] == [1, 1] and predictions[0]["gold"] is None
    (mixed,), _ = rows_of("true", True, [example(0, None), example(1, 1)], [np.array([1.0, 2.0])] * 2, "t")
    assert mixed["n"] == 1 and mixed["accuracy"] == 1.0


def test_conditions_and_their_prefixes(tiny_meg, monkeypatch) -> None:
    model, control = tiny_meg("mistral"), tiny_meg("mistral", control="no_prefix")
    todo = conditions(model, VECTORS, torch.zeros(12), ["none", "shuffled"], 0)
    assert [(c.name, c.prefix) for c in todo] == [("true", KEEP), ("swap:none", DROP), ("swap:shuffled", KEEP)]
    (alone,) = conditions(control, VECTORS, torch.zeros(12), ["none", "shuffled"], 0)
    assert (alone.name, alone.prefix) == ("trained:no_prefix", DROP) and alone.model is control and alone.vectors is VECTORS
    seen = []

    def fake(m, e, v, *, names, prefix, size, max_length):
        seen.append((names, prefix))
        assert (size, max_length) == (8, 77)
        return [np.array([1.0, 0.0])] * len(e)

    monkeypatch.setattr("meg.qa.evaluate.score", fake)
    found = list(evaluate_conditions([*todo, alone], [example(0)], ("out", "in"), "graph", 8, 77))
    assert [(c.name, names) for c, names, *_ in found][:3] == [("true", False), ("true", True), ("swap:none", False)]
    # A model trained without the knowledge is asked the way it was trained.
    of_swaps = [(False, KEEP), (True, KEEP), (False, DROP), (True, DROP), (False, KEEP), (True, KEEP)]
    assert seen == [*of_swaps, (False, DROP_QUESTION), (True, DROP)]


def test_scores_are_those_of_prompts_cut_to_the_length(tiny_meg) -> None:
    model = tiny_meg("mistral")
    long = replace(LINKED, question=(User("this patient has had fever. " * 8 + "What helps?"),), context=None)
    (found,) = score(model, [long], VECTORS, names=True, max_length=60)
    encoder = PromptEncoder(model.tokenizer, 1, 60)
    yes, no = (answer_ids(model.tokenizer, word)[0] for word in ("yes", "no"))
    for value, parts in zip(found, prompts(long, "yes_no", True), strict=True):
        one = encoder(parts)
        with torch.no_grad():
            logits = model(torch.tensor([one.ids]), None, None, *prefix_of(torch.tensor([one.rows]), VECTORS)).logits[0, -1]
        assert len(one.ids) <= 60 and value == pytest.approx((logits[yes] - logits[no]).item(), abs=2e-4)
    assert not np.allclose(found, score(model, [long], VECTORS, names=True)[0])


def test_condition_is_a_plain_record() -> None:
    assert Condition("x", None, VECTORS).prefix == KEEP


def test_softmax_of_large_scores() -> None:
    assert softmax(np.array([1000.0, 1000.0])) == pytest.approx([0.5, 0.5]) and softmax(np.array([-1e9, 0.0])) == pytest.approx([0, 1])
