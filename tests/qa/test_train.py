"""Both phases on tiny models: they learn, they repeat themselves, and they train what they should."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import set_seed

from meg.errors import InputError
from meg.mapping.losses import back_translation, nt_xent
from meg.models.prompts import Concepts, answer_ids, encode_chat
from meg.models.questions import Mention
from meg.qa.data import plan_batches
from meg.qa.evaluate import score
from meg.qa.grounding import Example
from meg.qa.recipes import Phase
from meg.qa.train import Trainee, VocabularyBatches, _arguments, _steps, processes, train_questions, train_vocabulary

VECTORS = torch.randn(12, 16, generator=torch.Generator().manual_seed(2))
NAMES = ["aspirin", "headache", "drug", "symptoms", "disease", "letter", "option", "concept", "answer", "other", "medical", "right"]
ROWS = [
    {"id": f"v{i}", "concept": f"c{i}", "instruction": "Explain to me this medical concept {kg_embedding}", "answer": name}
    for i, name in enumerate(NAMES)
]
INDEX = {f"c{i}": i for i in range(12)}
EXAMPLES = [
    Example(f"q{i}", ("Which disease is treated by ", Mention(NAMES[i], i), "?"), tuple(NAMES[(i + j) % 12] for j in range(1, 5)), i % 4,
            "all", None, (), tuple(((i + j) % 12,) for j in range(1, 5)), f"text {i}")
    for i in range(8)
]  # fmt: skip
PHASE = Phase(lr=3e-3, batch=4, steps=3, warmup=1)


def weights(model) -> dict[str, torch.Tensor]:
    return {key: value.detach().clone() for key, value in model.state_dict().items()}


def trained(tiny_meg, out, kind: str, seed: int = 0, **settings):
    """A tiny model after a few steps of a phase, and the phase's result."""
    out.mkdir(exist_ok=True)
    set_seed(seed)
    model = tiny_meg("mistral", **settings)
    if kind == "vocabulary":
        return model, train_vocabulary(model, ROWS, VECTORS, INDEX, replace(PHASE, compound=True), out, seed)
    return model, train_questions(model, EXAMPLES, VECTORS, PHASE, out, seed, names=("out", "in"))


@pytest.mark.parametrize("kind", ["vocabulary", "questions"])
@pytest.mark.parametrize("adapter", ["full", "lora"])
def test_same_seed_same_weights(tiny_meg, tmp_path, kind: str, adapter: str) -> None:
    (one, result), (two, again), (other, _) = (
        trained(tiny_meg, tmp_path / f"{number}", kind, seed, adapter=adapter, lora_dropout=0.1 if adapter == "lora" else 0.0)
        for number, seed in enumerate((0, 0, 1))
    )  # fmt: skip
    assert result == again and np.isfinite(result["loss"]) and result["steps"] == 3 and result["parameters"] > 0
    assert all(torch.equal(value, weights(two)[key]) for key, value in weights(one).items())
    assert any(not torch.equal(value, weights(other)[key]) for key, value in weights(one).items())
    assert not one.training


def test_lora_leaves_the_base_alone_and_moves_mapper_and_adapter(tiny_meg, tmp_path) -> None:
    before = weights(tiny_meg("mistral"))
    model, _ = trained(tiny_meg, tmp_path / "lora", "vocabulary")
    moved = {key for key, value in weights(model).items() if not torch.equal(value, before[key])}
    assert (
        any("lora_A" in key for key in moved)
        and any(key.startswith("mapper.") for key in moved)
        and any(key.startswith("alpha.") for key in moved)
    )
    assert not any(key.startswith("language_model.") and "lora_" not in key for key in moved)


def test_questions_can_be_learnt(tiny_meg, tmp_path) -> None:
    model = tiny_meg("llama", adapter="full")
    set_seed(0)
    train_questions(model, EXAMPLES, VECTORS, Phase(lr=5e-3, batch=8, steps=40, warmup=2), tmp_path, 0, names=("out",))
    right = [int(s.argmax()) == e.gold for s, e in zip(score(model, EXAMPLES, VECTORS, names=False), EXAMPLES, strict=True)]
    assert np.mean(right) >= 0.75
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert (
        [row["step"] for row in rows] == [10, 20, 30, 40]
        and rows[-1]["loss"] < rows[0]["loss"]
        and {r["stage"] for r in rows} == {"questions"}
    )


def test_the_control_never_sees_the_questions_concepts(tiny_meg, tmp_path, monkeypatch) -> None:
    from meg.qa import train as module

    seen = []
    real = module.training_group
    monkeypatch.setattr(
        module, "training_group", lambda e, encoder, **kw: seen.append((e, kw["names"], real(e, encoder, **kw))) or seen[-1][2]
    )
    model = tiny_meg("mistral")
    train_questions(model, EXAMPLES, VECTORS, PHASE, tmp_path, 0, names=("out", "in"), control="no_prefix")
    assert {names for _, names, _ in seen} == {True, False}
    for e, names, group in seen:
        for (option,), encoded in zip(e.option_concepts, group, strict=True):
            assert [row for row in encoded.rows if row >= 0] == ([] if names else [option])


def test_questions_without_gold_are_counted_and_all_without_are_refused(tiny_meg, tmp_path) -> None:
    model = tiny_meg("mistral")
    some = [replace(e, gold=None) if i < 3 else e for i, e in enumerate(EXAMPLES)]
    result = train_questions(model, some, VECTORS, PHASE, tmp_path, 0)
    assert (result["questions"], result["without_answer"]) == (5, 3)
    with pytest.raises(InputError, match="none of the training questions has an answer"):
        train_questions(model, [replace(e, gold=None) for e in EXAMPLES], VECTORS, PHASE, tmp_path, 0)


def test_a_loss_that_is_not_finite_is_an_error(tiny_meg, tmp_path) -> None:
    model = tiny_meg("mistral", adapter="full")
    with torch.no_grad():
        model.language_model.get_output_embeddings().weight.fill_(float("nan"))
    with pytest.raises(InputError, match=r"the loss is not finite\. Lower the learning rate"):
        train_questions(model, EXAMPLES, VECTORS, PHASE, tmp_path, 0)


def test_instructions_of_several_concepts_give_a_marker_each(tiny_meg, tmp_path) -> None:
    rows = [{"instruction": "Explain these {kg_embedding}", "concepts": ["c1", "c2", "c3"], "answer": "a; b; c"}, ROWS[0]]
    result = train_vocabulary(tiny_meg("mistral"), rows, VECTORS, INDEX, replace(PHASE, steps=2), tmp_path, 0)
    assert result["steps"] == 2 and np.isfinite(result["loss"])


def test_mapping_loss_is_the_weighted_sum_of_its_two_parts(tiny_meg) -> None:
    model = tiny_meg("mistral")
    trainee = Trainee(model, temperature=0.5)
    ids, mask = torch.tensor([[5, 6, 7], [8, 9, 0]]), torch.tensor([[1.0, 1, 1], [1, 1, 0]])
    table = model.language_model.get_input_embeddings().weight
    target = torch.stack([table[[5, 6, 7]].mean(0), table[[8, 9]].mean(0)])
    mapped = model.embed(VECTORS[:2, None])[:, 0]
    alpha = model.alpha()
    expected = alpha * nt_xent(mapped, target, 0.5) + (1 - alpha) * back_translation(model.mapper.back(mapped), VECTORS[:2])
    assert trainee.mapping_loss(VECTORS[:2], ids, mask).item() == pytest.approx(expected.item(), rel=1e-5)


def test_vocabulary_batches_hold_the_names_without_the_end(tiny_meg) -> None:
    model = tiny_meg("mistral")
    encoded = [encode_chat(model.tokenizer, ["Explain ", Concepts((i,))], name) for i, name in enumerate(NAMES)]
    batch = VocabularyBatches(lambda _, i: [encoded[i]], plan_batches([12], 5, 1, 0), model, VECTORS)[0]
    order = plan_batches([12], 5, 1, 0)[0][1]
    for i, ids, mask in zip(order, batch["name_ids"], batch["name_mask"], strict=True):
        assert ids[mask.bool()].tolist() == answer_ids(model.tokenizer, NAMES[i])
    assert torch.equal(batch["prefix"][:, 0], VECTORS[order])


def vocabulary_batch(model, concepts: list[tuple[int, ...]]) -> dict[str, torch.Tensor]:
    """One batch of instructions about these concepts, each answered by the name of its first one."""
    encoded = [encode_chat(model.tokenizer, ["Explain ", Concepts(c)], NAMES[c[0]]) for c in concepts]
    return VocabularyBatches(lambda _, i: [encoded[i]], [(0, np.arange(len(concepts)))], model, VECTORS)[0]


def gradients(model, batch: dict[str, torch.Tensor], accumulation: int) -> dict[str, torch.Tensor]:
    """Summed gradients of a step of `accumulation` equal batches."""
    model.zero_grad()
    trainee = Trainee(model, 0.5, accumulation)
    for _ in range(accumulation):
        trainee(**batch, num_items_in_batch=(batch["labels"] != -100).sum() * accumulation)["loss"].backward()
    return {key: p.grad.clone() for key, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("names", [True, False])
def test_accumulation_leaves_the_gradient_of_each_part_of_the_loss(tiny_meg, names: bool) -> None:
    model = tiny_meg("mistral", adapter="full")
    batch = vocabulary_batch(model, [(i,) for i in range(5)])
    if not names:  # the LM loss alone
        batch = {key: value for key, value in batch.items() if not key.startswith("name_")}
    one, four = (gradients(model, batch, accumulation) for accumulation in (1, 4))
    assert one.keys() == four.keys() and any(key.startswith("alpha.") for key in one) == names
    for key, value in one.items():
        assert torch.allclose(four[key], value, rtol=1e-3, atol=1e-5 * float(value.abs().max()) + 1e-8), key


def test_a_step_of_the_trainer_does_not_depend_on_accumulation(tiny_meg, tmp_path) -> None:
    rows, found = ROWS[:4], []  # a batch of four is all of them
    for accumulation in (1, 4):
        out = tmp_path / str(accumulation)
        out.mkdir()
        phase = Phase(lr=1e-12, batch=4, steps=10, accumulation=accumulation, compound=True)
        train_vocabulary(tiny_meg("mistral", adapter="full"), rows, VECTORS, INDEX, phase, out, 0)
        (line,) = (json.loads(text) for text in (out / "metrics.jsonl").read_text().splitlines())
        found.append((line["loss"], line["grad_norm"]))
    assert found[1] == pytest.approx(found[0], rel=1e-3)


def test_rows_of_several_concepts_take_no_part_in_the_mapping_loss(tiny_meg) -> None:
    model = tiny_meg("mistral")
    items = [(0,), (1, 2, 3), (4,), (5, 6)]
    batch = vocabulary_batch(model, items)
    lm = {key: value for key, value in batch.items() if not key.startswith("name_")}
    count = (batch["labels"] != -100).sum()
    trainee = Trainee(model, 0.5, 3)
    with torch.no_grad():
        extra = trainee(**batch, num_items_in_batch=count)["loss"] - trainee(**lm, num_items_in_batch=count)["loss"]
        alone = vocabulary_batch(model, [(0,), (4,)])
        expected = trainee.mapping_loss(VECTORS[[0, 4]], alone["name_ids"], alone["name_mask"]) / 3
        assert extra.item() == pytest.approx(expected.item(), rel=1e-3)
        none = vocabulary_batch(model, [(1, 2, 3), (5, 6)])
        bare = {key: value for key, value in none.items() if not key.startswith("name_")}
        assert trainee(**none)["loss"].item() == pytest.approx(trainee(**bare)["loss"].item(), rel=1e-6)


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({**ROWS[0], "id": "v9", "concept": "elsewhere"}, "instruction 'v9' cannot be used: its concept 'elsewhere' is not in this graph"),
        ({**ROWS[0], "concepts": ["c1", "elsewhere"]}, "'elsewhere' is not in this graph"),
        ({"id": "v9", "instruction": "Explain", "answer": "a"}, "its concept None is not in this graph"),
        ({"id": "v9", "concept": "c1", "answer": "a"}, "instruction 'v9' cannot be used: it has no instruction and answer"),
    ],
)
def test_instructions_of_another_graph_are_refused(tiny_meg, tmp_path, row: dict, says: str) -> None:
    with pytest.raises(InputError, match=says):
        train_vocabulary(tiny_meg("mistral"), [*ROWS, row], VECTORS, INDEX, PHASE, tmp_path, 0)
    assert not list(tmp_path.iterdir())


def test_epochs_are_seen_whole_and_cut_prompts_are_counted(tiny_meg, tmp_path) -> None:
    rows = [*ROWS[:9], {**ROWS[9], "instruction": "Explain to me " * 20 + "{kg_embedding}"}]
    phase = Phase(lr=1e-3, batch=4, epochs=1, accumulation=2)
    result = train_vocabulary(tiny_meg("mistral"), rows, VECTORS, INDEX, phase, tmp_path, 0)
    assert result["steps"] == 2 and result["cut"] == 0  # three batches: a whole step and a half
    long = [replace(e, context="this patient has had fever for days. " * 9) if i < 3 else e for i, e in enumerate(EXAMPLES)]
    result = train_questions(tiny_meg("mistral", scoring="letter"), long, VECTORS, replace(phase, max_length=110), tmp_path, 0)
    assert result["steps"] == 1 and result["cut"] == 3


def test_steps_of_several_processes(monkeypatch) -> None:
    assert processes() == 1
    monkeypatch.setenv("WORLD_SIZE", "3")
    assert processes() == 3 and _steps(Phase(lr=1, batch=4, steps=7, accumulation=2), 1000) == 42
    assert _steps(Phase(lr=1, batch=4, epochs=2, accumulation=2), 10) == 5  # the data's, however many share them


def test_steps_and_warmup() -> None:
    assert _steps(Phase(lr=1, batch=4, steps=7, accumulation=2), 1000) == 14
    assert _steps(Phase(lr=1, batch=4, epochs=3, accumulation=2), 10) == 8
    assert _steps(Phase(lr=1, batch=4, epochs=1, accumulation=8), 1) == 1
    assert _arguments(Phase(lr=1, batch=1, steps=8), 8, ".", 0).warmup_steps == 2
    assert _arguments(Phase(lr=1, batch=1, steps=800), 800, ".", 0).warmup_steps == 30
