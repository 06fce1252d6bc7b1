from __future__ import annotations

import logging

import pytest
import torch
from transformers import Trainer, TrainingArguments

from meg.errors import InputError
from meg.models.meg import MEGModel
from meg.models.packing import pack, prefix_of
from meg.models.prompts import MARKER, Concepts, encode_chat

FAMILIES = ("mistral", "llama")


def rows_of(model: MEGModel, texts: list[str], left: bool = True) -> tuple[torch.Tensor, torch.Tensor]:
    """Padded ids and mask of whole texts."""
    lines = [model.tokenizer(text)["input_ids"] for text in texts]
    width = max(map(len, lines))
    pads = [[(width - len(line)) * [value] for line in lines] for value in (3, 0)]
    joined = [[pad + line if left else line + pad for pad, line in zip(pads[0], lines, strict=True)]]
    masks = [pad + [1] * len(line) if left else [1] * len(line) + pad for pad, line in zip(pads[1], lines, strict=True)]
    return torch.tensor(joined[0]), torch.tensor(masks)


@pytest.mark.parametrize("family", FAMILIES)
def test_without_concepts_it_is_the_base(tiny, tiny_meg, family: str) -> None:
    base, _ = tiny(family)
    model = tiny_meg(family)
    ids, mask = rows_of(model, ["aspirin is a drug", "headache"])
    expected = base(input_ids=ids, attention_mask=mask).logits
    prefix, masked = torch.randn(2, 3, 16), torch.zeros(2, 3, dtype=torch.bool)
    with torch.no_grad(), model.language_model.disable_adapter():
        assert torch.equal(model(ids, mask).logits, expected)
        assert torch.equal(model(ids, mask, prefix=prefix, prefix_mask=masked).logits, expected)
        marked, _ = rows_of(model, [f"aspirin{MARKER} is a drug", f"head{MARKER}ache"])
    assert not torch.equal(model(ids, mask).logits, expected)  # the adapter does something
    assert model.marker_id >= base.config.vocab_size
    assert model.language_model.get_input_embeddings().num_embeddings == base.config.vocab_size
    assert (marked == model.marker_id).sum() == 2


@pytest.mark.parametrize("width", [1, 2])
@pytest.mark.parametrize("mapping", ["mlp_skip", "transformer", "resampler"])
def test_concepts_stand_where_the_marker_stood(tiny_meg, mapping: str, width: int) -> None:
    model = tiny_meg(mapping=mapping, tokens_per_concept=width)
    ids, mask = rows_of(model, [f"Question: {MARKER} Right?", "Question: Right? yes", f"no {MARKER} concept"])
    prefix = torch.randn(3, 4, 16)
    real = torch.tensor([[False, True, True, True], [True, False, False, True], [False] * 4])
    out = model(ids, mask, prefix=prefix, prefix_mask=real).logits
    embeddings = model.language_model.get_input_embeddings()
    for row in range(3):
        line = ids[row][mask[row].bool()].tolist()
        at = line.index(model.marker_id) if model.marker_id in line else 1
        before, after = line[:at], line[at + (model.marker_id in line) :]
        mapped = model.embed(prefix[row][real[row]])
        assert mapped.shape == (int(real[row].sum()) * width, 64)
        whole = torch.cat([embeddings(torch.tensor(before)), mapped, embeddings(torch.tensor(after))])
        alone = model.language_model(inputs_embeds=whole[None]).logits[0]
        assert torch.allclose(out[row, -len(alone) :], alone, atol=1e-5)


def test_place_in_place_keeps_the_shape_and_the_gradient(tiny_meg) -> None:
    model = tiny_meg(adapter="none")
    ids, mask = rows_of(model, [f"a {MARKER}{MARKER} b c", f"a {MARKER} b"], left=False)
    prefix = torch.randn(2, 2, 16, requires_grad=True)
    real = torch.tensor([[True, True], [False, True]])
    out = model(ids, mask, labels=ids, prefix=prefix, prefix_mask=real)
    assert out.logits.shape[:2] == ids.shape
    out.loss.backward()
    assert prefix.grad[real].abs().sum(-1).gt(0).all() and prefix.grad[~real].eq(0).all()
    assert model.mapper.skip.weight.grad.abs().sum() > 0
    assert all(p.grad is None for p in model.language_model.parameters())


def test_shapes_of_a_prefix(tiny_meg) -> None:
    model = tiny_meg()
    ids, mask = rows_of(model, [f"what is {MARKER} now"] * 2)
    one = torch.randn(16)
    expected = model(ids, mask, prefix=one.expand(2, 1, 16)).logits
    for prefix in (one, one[None], one[None, None]):
        assert torch.equal(model(ids, mask, prefix=prefix).logits, expected)
    several = torch.randn(3, 16)
    assert torch.allclose(
        model(ids, mask, prefix=several, prefix_mask=torch.tensor([True, False, True])).logits,
        model(ids, mask, prefix=several[[0, 2]]).logits,
    )


@pytest.mark.parametrize(
    ("prefix", "mask", "words"),
    [
        (torch.randn(2, 1, 15), None, "shape"),
        (torch.randn(3, 1, 16), None, "batch of 2"),
        (torch.randn(2, 2, 16), torch.ones(2, 3), "batch of 2"),
        (torch.randn(2, 1, 1, 16), None, "shape"),
        (torch.randn(2, 3, 16), None, "2 markers for 3 concepts"),
    ],
)
def test_wrong_prefix(tiny_meg, prefix: torch.Tensor, mask: torch.Tensor | None, words: str) -> None:
    model = tiny_meg()
    ids, attention = rows_of(model, [f"{MARKER} and {MARKER}"] * 2)
    with pytest.raises(InputError, match=words):
        model(ids, attention, prefix=prefix, prefix_mask=mask)


def test_no_marker_is_said_once(tiny_meg, caplog) -> None:
    model = tiny_meg()
    ids, mask = rows_of(model, ["no marker here"])
    with caplog.at_level(logging.WARNING, "meg"):
        for _ in range(3):
            model(ids, mask, prefix=torch.randn(2, 16))
    assert sum("after its first token" in r.message for r in caplog.records) == 1


def test_packed_rows_are_not_rewritten(tiny_meg) -> None:
    model = tiny_meg()
    batch = pack([[encode_chat(model.tokenizer, ["x ", Concepts((1, 2))])]], 0)
    with pytest.raises(InputError, match="4-D"):
        model(batch["input_ids"], batch["attention_mask"], prefix=torch.randn(1, 3, 16))


def test_packed_under_eager_attention(tiny_meg) -> None:
    model = tiny_meg()
    parts = [["Question: ", Concepts((0,)), c] for c in ("yes", "no", "drug")]
    batch = pack([[encode_chat(model.tokenizer, p) for p in parts]], 0)
    prefix = prefix_of(batch["rows"], torch.randn(1, 16))
    sdpa = model.score_packed(batch, *prefix)
    model.language_model.get_base_model().set_attn_implementation("eager")
    assert torch.allclose(model.score_packed(batch, *prefix), sdpa, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_generate(tiny_meg, family: str) -> None:
    model = tiny_meg(family)
    texts = [f"Explain {MARKER} to me", "a drug", f"the disease {MARKER} treats and more"]
    prefix = torch.randn(3, 2, 16)
    real = torch.tensor([[True, True], [True, False], [False, False]])
    options = {"max_new_tokens": 6, "do_sample": False, "eos_token_id": -1}
    for left in (True, False):
        ids, mask = rows_of(model, texts, left)
        new = model.generate(prefix, real, ids, mask, **options)
        assert new.shape == (3, 6)
        for row in range(3):
            alone = model.generate(prefix[row][None], real[row][None], ids[row][mask[row].bool()][None], **options)
            assert alone[0].tolist() == new[row].tolist()
    assert model.generate(prefix=prefix, max_new_tokens=2, do_sample=False, eos_token_id=-1).shape == (3, 2)
    with pytest.raises((ValueError, TypeError), match="no_such_option"):
        model.generate(input_ids=ids, attention_mask=mask, no_such_option=3)


@pytest.mark.parametrize("width", [1, 2])
def test_score_options(tiny_meg, width: int) -> None:
    model = tiny_meg(tokens_per_concept=width)
    prompts = [f"Question: {MARKER} Answer:", "aspirin is"]
    options = [[" A", " headache drug", " B"], [" a drug", " symptoms"]]
    prefix, real = torch.randn(2, 2, 16), torch.tensor([[True, True], [False, True]])
    scores = model.score_options(prompts, options, prefix, real)
    normal = model.score_options(prompts, options, prefix, real, normalize=True)
    for row, (prompt, texts) in enumerate(zip(prompts, options, strict=True)):
        assert scores[row].shape == (len(texts),)
        head = len(model.tokenizer(prompt)["input_ids"])
        for i, text in enumerate(texts):
            ids = torch.tensor([model.tokenizer(prompt + text)["input_ids"]])
            logits = model(ids, prefix=prefix[row][None], prefix_mask=real[row][None]).logits[0]
            count = ids.shape[1] - head
            picked = logits.log_softmax(-1)[-count - 1 : -1].gather(1, ids[0, -count:, None]).sum()
            assert scores[row][i].item() == pytest.approx(picked.item(), rel=1e-4)
            assert normal[row][i].item() == pytest.approx(picked.item() / count, rel=1e-4)
    with pytest.raises(InputError, match="at least one token"):
        model.score_options(["x"], [["", " a"]])


def test_score_options_in_many_passes(tiny_meg) -> None:
    model = tiny_meg()
    prompts = [f"drug {MARKER} {i}" for i in range(20)]
    prefix = torch.randn(20, 1, 16)
    together = model.score_options(prompts, [[" a", " b"]] * 20, prefix)
    alone = model.score_options(prompts[17:18], [[" a", " b"]], prefix[17:18])
    assert torch.allclose(together[17], alone[0], atol=1e-4)


class Rows(torch.utils.data.Dataset):
    """Packed batches, one an item."""

    def __init__(self, model: MEGModel) -> None:
        vectors = torch.randn(4, 16, generator=torch.Generator().manual_seed(1))
        self.batches = []
        for i in range(4):
            parts = [["Question: ", Concepts((i,)), f" {j}"] for j in range(3)]
            batch = pack([[encode_chat(model.tokenizer, p, "yes" if j == i % 3 else "no") for j, p in enumerate(parts)]], 0)
            prefix, mask = prefix_of(batch["rows"], vectors)
            kept = {key: batch[key] for key in ("input_ids", "attention_mask", "position_ids", "labels")}
            self.batches.append({**kept, "prefix": prefix, "prefix_mask": mask})

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, i: int) -> dict:
        return self.batches[i]


@pytest.mark.parametrize("adapter", ["lora", "full", "none"])
def test_trainer(tiny_meg, tmp_path, adapter: str) -> None:
    losses = {}
    for checkpointing in (False, True):
        torch.manual_seed(0)
        model = tiny_meg(adapter=adapter)
        before = {key: p.detach().clone() for key, p in model.named_parameters()}
        arguments = TrainingArguments(
            output_dir=str(tmp_path), max_steps=6, per_device_train_batch_size=1, gradient_accumulation_steps=2, learning_rate=1e-2,
            remove_unused_columns=False, label_names=["labels"], gradient_checkpointing=checkpointing, report_to="none",
            save_strategy="no", use_cpu=True, disable_tqdm=True, logging_steps=1, seed=0, dataloader_pin_memory=False,
        )  # fmt: skip
        trainer = Trainer(model=model, args=arguments, train_dataset=Rows(model), data_collator=lambda items: items[0])
        assert trainer.model_accepts_loss_kwargs
        trainer.train()
        losses[checkpointing] = [line["loss"] for line in trainer.state.log_history if "loss" in line]
        changed = {key.split(".")[0] for key, p in model.named_parameters() if not torch.equal(p, before[key])}
        assert changed == ({"mapper"} if adapter == "none" else {"mapper", "language_model"})
        if adapter == "lora":
            assert all("lora_" in k or torch.equal(p, before[k]) for k, p in model.language_model.named_parameters(prefix="language_model"))
    assert losses[True] == pytest.approx(losses[False], rel=1e-4)
    if adapter != "none":
        assert losses[False][-1] < losses[False][0]


def test_merge(tiny_meg) -> None:
    model = tiny_meg()
    ids, mask = rows_of(model, [f"Question: {MARKER} Right?"])
    prefix = torch.randn(1, 16)
    before = model(ids, mask, prefix=prefix).logits
    merged = model.merge_and_unload()
    assert merged is model and model.config.adapter == "full"
    assert torch.allclose(model(ids, mask, prefix=prefix).logits, before, atol=1e-5)
