from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from meg.errors import InputError
from meg.models.base import check_base, open_base, small_model, train_base, train_tokenizer
from meg.models.families import FAMILIES, family

TEXTS = [f"{name} is a {kind}." for name in ("aspirin", "heparin", "insulin 12 mg", "µ-opioid") for kind in ("drug", "protein")] * 4
SMALL = {"hidden": 16, "layers": 1, "heads": 2, "ff": 32, "vocab": 300, "batch": 8}
TEMPLATED = [name for name, row in FAMILIES.items() if row.chat_template]


@pytest.mark.parametrize("name", TEMPLATED)
def test_tokenizer(name: str) -> None:
    row = family(name)
    tokenizer = train_tokenizer(row, TEXTS, 320)
    for text in ("Aspirin 125.50 mg", "  é\t日本\r\n {kg_embedding}  ", "don 't , stop", row.bos):
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        assert tokenizer.decode(ids) == text
    digits = tokenizer.convert_ids_to_tokens(tokenizer("125", add_special_tokens=False)["input_ids"])
    assert digits == ["1", "2", "5"]
    assert tokenizer("x")["input_ids"][0] == tokenizer.bos_token_id
    for special in (row.bos, row.eos, *row.special):
        assert len(tokenizer(special, add_special_tokens=False)["input_ids"]) == 1


@pytest.mark.parametrize("name", TEMPLATED)
def test_train_and_open(name: str, tmp_path: Path) -> None:
    result = train_base(name, TEXTS, tmp_path / "base", seed=0, steps=40, lr=1e-2, **SMALL)
    model, tokenizer = open_base(tmp_path / "base")
    assert type(model).__name__ == ("MistralForCausalLM" if name == "mistral" else "LlamaForCausalLM")
    assert model.config.vocab_size == len(tokenizer) == result["vocabulary"]
    assert model.num_parameters() == result["parameters"]
    history = [json.loads(line) for line in (tmp_path / "base" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in history] == [10, 20, 30, 40]
    assert all(set(line) == {"stage", "step", "loss"} and line["stage"] == "base" for line in history)
    assert history[-1]["loss"] < history[0]["loss"] - 0.5
    assert tokenizer.decode(tokenizer("Aspirin 12 mg", add_special_tokens=False)["input_ids"]) == "Aspirin 12 mg"
    assert tokenizer.chat_template == family(name).chat_template
    assert f"{result['parameters']:,} weights" in check_base(tmp_path / "base")


def test_same_seed_same_weights(tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        train_base("mistral", TEXTS, tmp_path / name, seed=seed, steps=3, **SMALL)
    a, b, c = ((tmp_path / name / "model.safetensors").read_bytes() for name in "abc")
    assert a == b != c


def test_initialisation() -> None:
    tokenizer = train_tokenizer(family("llama"), TEXTS, 300)
    torch.manual_seed(0)
    model = small_model(family("llama"), tokenizer, hidden=64, layers=1, heads=4, ff=64)
    attention = model.model.layers[0].self_attn
    q, k = attention.q_proj.weight.flatten(), attention.k_proj.weight.flatten()
    assert torch.cosine_similarity(q, k, dim=0) > 0.9
    assert model.get_input_embeddings().weight.std().item() == pytest.approx(1 / 8, rel=0.1)
    assert model.lm_head.weight is model.get_input_embeddings().weight


@pytest.mark.parametrize(
    ("arguments", "changes", "words"),
    [
        (("mistral", []), {}, "0 texts"),
        (("mistral", TEXTS), {"steps": 0}, "0 steps"),
        (("mistral", TEXTS), {"hidden": 10, "heads": 4}, "hidden = 10"),
        (("mistral", TEXTS), {"vocab": 100}, "vocab = 100"),
        (("generic", TEXTS), {}, "no small LM"),
        (("mistrl", TEXTS), {}, "Did you mean 'mistral'"),
    ],
)
def test_wrong_settings(tmp_path: Path, arguments: tuple, changes: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        train_base(*arguments, tmp_path / "base", seed=0, **{"steps": 2, **SMALL, **changes})
    assert not (tmp_path / "base").exists()


def test_base_that_cannot_be_had(tmp_path: Path, tiny, monkeypatch) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    for place, words in [
        (tmp_path / "no", "no model at"),
        (tmp_path / "file", "not a folder"),
        (tmp_path / "empty", "no config.json"),
        ("a/b/c", "no model at"),
        ("owner/never-downloaded", "Hub cannot be reached"),
    ]:
        with pytest.raises(InputError, match=words):
            check_base(place)
    model, tokenizer = tiny("llama")
    model.save_pretrained(tmp_path / "base")
    for opening in (check_base, open_base):
        with pytest.raises(InputError, match="tokenizer"):
            opening(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    monkeypatch.setattr("psutil.virtual_memory", lambda: type("Memory", (), {"available": 1000})())
    for opening in (check_base, open_base):
        with pytest.raises(InputError, match="does not fit"):
            opening(tmp_path / "base")


def test_a_slow_tokenizer_is_refused(tmp_path: Path, tiny, monkeypatch) -> None:
    model, tokenizer = tiny("llama")
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    assert "weights" in check_base(tmp_path)
    monkeypatch.setattr("meg.models.base.open_tokenizer", lambda place: type("Slow", (), {"is_fast": False})())
    with pytest.raises(InputError, match="no fast tokenizer"):
        check_base(tmp_path)


def test_damaged_base(tmp_path: Path, tiny) -> None:
    model, tokenizer = tiny("llama")
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    weights = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(weights[:100])
    with pytest.raises(InputError, match="weights"):
        open_base(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(InputError, match="cannot be opened"):
        open_base(tmp_path)
    with pytest.raises(InputError, match="holds no weights"):
        check_base(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    for kind in ("bert", "t5"):
        (tmp_path / "config.json").write_text(json.dumps({**config, "model_type": kind}))
        with pytest.raises(InputError, match="causal"):
            check_base(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(InputError, match="cannot be opened"):
        check_base(tmp_path)
