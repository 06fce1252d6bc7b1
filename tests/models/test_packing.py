from __future__ import annotations

import pytest
import torch

from meg.models.packing import pack, prefix_of
from meg.models.prompts import Concepts, Encoded, User, encode_chat


def test_layout() -> None:
    one = Encoded([1, 2, 3, 4, 9], [-1, -1, -1, -1, -1], 4)
    two = Encoded([1, 2, 5, 8, 9], [-1, -1, -1, -1, -1], 3)
    batch = pack([[one, two], [one]], pad_id=0)
    assert batch["input_ids"].tolist() == [[1, 2, 3, 4, 9, 5, 8, 9], [1, 2, 3, 4, 9, 0, 0, 0]]
    assert batch["position_ids"].tolist() == [[0, 1, 2, 3, 4, 2, 3, 4], [0, 1, 2, 3, 4, 0, 0, 0]]
    assert batch["labels"].tolist() == [[-100, -100, -100, -100, 9, -100, 8, 9], [-100, -100, -100, -100, 9, -100, -100, -100]]
    assert batch["last"].tolist() == [[3, 5], [3, -1]]
    assert batch["branches"].tolist() == [2, 1]
    assert batch["input_ids"].dtype == batch["rows"].dtype == batch["last"].dtype == torch.int64
    mask = batch["attention_mask"]
    assert mask.dtype == torch.bool and mask.shape == (2, 1, 8, 8)
    seen = mask[0, 0].int().tolist()
    assert seen[4] == [1, 1, 1, 1, 1, 0, 0, 0]
    assert seen[5] == [1, 1, 0, 0, 0, 1, 0, 0]
    assert seen[7] == [1, 1, 0, 0, 0, 1, 1, 1]
    assert mask.any(-1).all()  # no position sees nothing
    assert not mask[1, 0, :5, 5:].any()


def test_trunk_leaves_each_branch_a_prompt_token() -> None:
    same = Encoded([1, 2, 3, 7], [-1] * 4, 3)
    batch = pack([[same, Encoded([1, 2, 3, 8], [-1] * 4, 3)]], pad_id=0)
    assert batch["input_ids"].tolist() == [[1, 2, 3, 7, 3, 8]]
    assert batch["last"].tolist() == [[2, 4]]


def test_trunk_ends_where_concepts_differ() -> None:
    batch = pack([[Encoded([1, 99, 3], [-1, 5, -1], 3), Encoded([1, 99, 3], [-1, 6, -1], 3)]], pad_id=0)
    assert batch["rows"].tolist() == [[-1, 5, -1, 6, -1]]


@pytest.mark.parametrize("width", [1, 2])
def test_prefix_of(width: int) -> None:
    matrix = torch.arange(30.0).reshape(10, 3)
    rows = torch.tensor([[-1] + [4] * width + [-1] + [7] * width, [-1] * (2 * width + 1) + [-1]])
    prefix, mask = prefix_of(rows, matrix, width)
    assert mask.tolist() == [[True, True], [False, False]]
    assert torch.equal(prefix[0], matrix[[4, 7]])
    prefix, mask = prefix_of(rows[1:], matrix, width)
    assert prefix.shape == (1, 0, 3) and mask.shape == (1, 0)


@pytest.mark.parametrize("width", [1, 2])
@pytest.mark.parametrize("family", ["mistral", "llama"])
def test_packed_equals_separate(tiny_meg, family: str, width: int) -> None:
    model = tiny_meg(family, tokens_per_concept=width)
    vectors = torch.randn(12, 16)
    groups = []
    for count in (4, 1, 3):
        question = ["Question: which disease is treated by aspirin", Concepts((1, 2)), User(" x" * count), "\nCandidate: "]
        groups.append(
            [
                encode_chat(
                    model.tokenizer,
                    [*question, User("headache " * i), Concepts((5 + i,)), "\nRight?"],
                    ["yes", "no", "the letter"][i % 3],
                    tokens_per_concept=width,
                )
                for i in range(count)
            ]
        )
    batch = pack(groups, model.tokenizer.pad_token_id)
    prefix, mask = prefix_of(batch["rows"], vectors, width)
    scores = model.score_packed(batch, prefix, mask)
    chosen = model.score_packed(batch, prefix, mask, token_ids=[5, 9])
    likelihood, tokens = model.likelihood_packed(batch, prefix, mask)
    arguments = (batch["input_ids"], batch["attention_mask"], batch["labels"], prefix, mask, batch["position_ids"])
    total, count = 0.0, 0
    for row, group in enumerate(groups):
        for branch, e in enumerate(group):
            alone = model(torch.tensor([e.ids]), None, None, *prefix_of(torch.tensor([e.rows]), vectors, width)).logits[0]
            assert torch.allclose(scores[row, branch], alone[e.answer_start - 1], atol=1e-5)
            answer = torch.tensor(e.ids[e.answer_start :])
            expected = alone.log_softmax(-1)[e.answer_start - 1 : -1].gather(1, answer[:, None]).sum()
            assert torch.allclose(likelihood[row, branch], expected, atol=1e-4)
            assert tokens[row, branch] == len(answer)
            total, count = total - expected.item(), count + len(answer)
    present = batch["last"] >= 0
    assert torch.equal(chosen[present], scores[present][:, [5, 9]])
    assert scores[~present].isnan().all() and likelihood[~present].eq(0).all()
    for answers_only in (False, True):
        assert model(*arguments, answers_only=answers_only).loss.item() == pytest.approx(total / count, rel=1e-5)
    assert model(*arguments, num_items_in_batch=torch.tensor(10)).loss.item() == pytest.approx(total / 10, rel=1e-5)
