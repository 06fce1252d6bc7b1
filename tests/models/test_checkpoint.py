from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from meg.errors import InputError
from meg.models import checkpoint
from meg.models.meg import MEGModel
from meg.models.prompts import MARKER


@pytest.fixture
def base(tiny, tmp_path: Path) -> Path:
    """A folder with the tiny Mistral."""
    language_model, tokenizer = tiny("mistral")
    language_model.save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    return tmp_path / "base"


def logits(model: MEGModel) -> torch.Tensor:
    ids = torch.tensor([model.tokenizer(f"Question: {MARKER} Right? 12")["input_ids"]])
    with torch.no_grad():
        return model(ids, prefix=torch.linspace(-1, 1, 32).reshape(2, 16)).logits


@pytest.mark.parametrize("adapter", ["lora", "full", "none"])
@pytest.mark.parametrize("mapping", ["mlp_skip", "linear"])
def test_round_trip(tiny_meg, base: Path, tmp_path: Path, adapter: str, mapping: str) -> None:
    model = tiny_meg(adapter=adapter, mapping=mapping, base=str(base), scoring="letter", tokens_per_concept=2)
    torch.nn.init.normal_(model.mapper.F_skip.weight if mapping == "mlp_skip" else model.mapper.F.weight)
    model.alpha.raw.data.fill_(1.5)
    model.save_pretrained(tmp_path / "meg")
    again = MEGModel.from_pretrained(tmp_path / "meg")
    assert torch.equal(logits(again), logits(model))
    assert again.config == model.config and again.marker_id == model.marker_id
    assert torch.equal(again.alpha(), model.alpha())
    assert torch.equal(again.mapper.back(torch.ones(64)), model.mapper.back(torch.ones(64)))
    trainable = {key for key, p in again.named_parameters() if p.requires_grad}
    assert trainable == {key for key, p in model.named_parameters() if p.requires_grad}
    assert not again.training
    assert ((tmp_path / "meg" / "language_model").is_dir(), (tmp_path / "meg" / "adapter").is_dir()) == (
        adapter == "full",
        adapter == "lora",
    )


def test_base_elsewhere_and_other_base(tiny, tiny_meg, base: Path, tmp_path: Path) -> None:
    model = tiny_meg(base=str(tmp_path / "moved"))
    model.save_pretrained(tmp_path / "meg")
    with pytest.raises(InputError, match="no model at"):
        MEGModel.from_pretrained(tmp_path / "meg")
    assert torch.equal(logits(MEGModel.from_pretrained(tmp_path / "meg", base=base)), logits(model))
    other, tokenizer = tiny("llama")
    other.save_pretrained(tmp_path / "other")
    tokenizer.save_pretrained(tmp_path / "other")
    with pytest.raises(InputError, match="model_type llama instead of mistral"):
        MEGModel.from_pretrained(tmp_path / "meg", base=tmp_path / "other")


def test_dtype_leaves_the_mapper_in_float32(tiny_meg, base: Path, tmp_path: Path) -> None:
    tiny_meg(base=str(base)).save_pretrained(tmp_path / "meg")
    model = MEGModel.from_pretrained(tmp_path / "meg", dtype=torch.bfloat16)
    assert model.language_model.get_input_embeddings().weight.dtype == torch.bfloat16
    assert {p.dtype for p in model.mapper.parameters()} == {torch.float32}
    assert logits(model).dtype == torch.bfloat16


def test_merged_model_needs_no_base(tiny_meg, tmp_path: Path) -> None:
    model = tiny_meg(base="gone/elsewhere").merge_and_unload()
    model.save_pretrained(tmp_path / "meg")
    assert torch.equal(logits(MEGModel.from_pretrained(tmp_path / "meg")), logits(model))


def test_save_replaces_ours_and_keeps_the_rest(tiny_meg, base: Path, tmp_path: Path) -> None:
    folder = tmp_path / "meg"
    tiny_meg(adapter="full").save_pretrained(folder)
    (folder / "metrics.jsonl").write_text("{}\n")
    tiny_meg(base=str(base)).save_pretrained(folder)
    assert (folder / "metrics.jsonl").read_text() == "{}\n"
    assert not (folder / "language_model").exists() and (folder / "adapter").is_dir()


def test_failed_save_leaves_what_was_there(tiny_meg, base: Path, tmp_path: Path, monkeypatch) -> None:
    folder = tmp_path / "meg"
    model = tiny_meg(base=str(base))
    model.save_pretrained(folder)
    before = sorted(p.name for p in folder.iterdir())

    def broken(*_, **__) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(model.language_model, "save_pretrained", broken)
    with pytest.raises(KeyboardInterrupt):
        model.save_pretrained(folder)
    assert sorted(p.name for p in folder.iterdir()) == before
    with pytest.raises(KeyboardInterrupt):
        model.save_pretrained(tmp_path / "new")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["base", "meg"]


@pytest.mark.parametrize("lost", ["meg_config.json", "mapper.safetensors", "adapter", "damaged", "shape"])
def test_incomplete_folder(tiny_meg, base: Path, tmp_path: Path, lost: str) -> None:
    folder = tmp_path / "meg"
    tiny_meg(base=str(base)).save_pretrained(folder)
    if lost == "damaged":
        (folder / "mapper.safetensors").write_bytes(b"no weights")
    elif lost == "shape":
        config = json.loads((folder / "meg_config.json").read_text())
        (folder / "meg_config.json").write_text(json.dumps({**config, "d_kg": 17}))
    else:
        (folder / lost).rename(tmp_path / "aside")
    with pytest.raises(InputError) as caught:
        MEGModel.from_pretrained(folder)
    assert "\n" not in str(caught.value)


def test_what_is_not_a_model(base: Path, tmp_path: Path) -> None:
    for path, words in [(base, "not a MEG model"), (tmp_path / "no", "no MEG model"), ("./no", "no MEG model"), ("a/b", "no MEG model")]:
        with pytest.raises(InputError, match=words):
            MEGModel.from_pretrained(path)


def test_push(tiny_meg, base: Path, monkeypatch) -> None:
    sent: dict[str, list[str]] = {}

    class Api:
        def __init__(self, token: str | None) -> None:
            assert token == "t"

        def create_repo(self, repo: str, *, private: bool, exist_ok: bool) -> str:
            return f"https://hub/{repo}"

        def upload_folder(self, *, repo_id: str, folder_path: Path, commit_message: str) -> None:
            sent[repo_id] = sorted(p.name for p in folder_path.iterdir())

    monkeypatch.setattr("huggingface_hub.HfApi", Api)
    assert tiny_meg(base=str(base)).push_to_hub("me/meg", token="t") == "https://hub/me/meg"
    assert {checkpoint.NAME, checkpoint.MAPPER, checkpoint.ADAPTER, "tokenizer.json"} <= set(sent["me/meg"])
