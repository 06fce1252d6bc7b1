from __future__ import annotations

import importlib.util
from pathlib import Path
from types import SimpleNamespace

import pytest

import meg.models
from meg.errors import InputError
from meg.files import write_json
from meg.models.config import NAME, MEGConfig
from meg.models.families import FAMILIES, family, family_of


def test_round_trip(tmp_path: Path) -> None:
    config = MEGConfig(
        d_kg=32, base="someone/model", base_identity={"hidden_size": 8}, mapping="mlp", mapping_settings={"layers": 2},
        tokens_per_concept=2, adapter="full", scoring="letter", embedding_scale=0.02, embeddings="abc",
        placement="list", control="no_prefix",
    )  # fmt: skip
    config.save(tmp_path)
    assert MEGConfig.load(tmp_path) == config


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"d_kg": 0}, "d_kg = 0"),
        ({"d_kg": "16"}, "d_kg = '16'"),
        ({"mapping": "mpl"}, "Did you mean 'mlp'"),
        ({"adapter": "qlora"}, "Did you mean 'lora'"),
        ({"scoring": "yesno"}, "Did you mean 'yes_no'"),
        ({"placement": "inlin"}, "Did you mean 'inline'"),
        ({"control": "no_prefx"}, "Did you mean 'no_prefix'"),
        ({"tokens_per_concept": 0}, "tokens_per_concept"),
        ({"lora_r": 0}, "lora_r"),
        ({"lora_alpha": 0}, "lora_alpha"),
        ({"lora_dropout": 1.0}, "lora_dropout"),
    ],
)
def test_checked_when_made(wrong: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        MEGConfig(**{"d_kg": 16, **wrong})


def test_concepts_stand_inline_and_nothing_is_taken_out_unless_said(tmp_path: Path) -> None:
    write_json(tmp_path / NAME, {"d_kg": 3})
    config = MEGConfig.load(tmp_path)
    assert (config.placement, config.control) == ("inline", None)


def test_load_errors(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a MEG model"):
        MEGConfig.load(tmp_path)
    write_json(tmp_path / NAME, {"hidden_size": 3})
    with pytest.raises(InputError, match="no d_kg"):
        MEGConfig.load(tmp_path)
    write_json(tmp_path / NAME, {"d_kg": 3, "maping": "mlp"})
    with pytest.raises(InputError, match="Did you mean 'mapping'"):
        MEGConfig.load(tmp_path)


def test_families() -> None:
    assert {"mistral", "llama", "me-llama"} <= set(FAMILIES)
    assert family_of(SimpleNamespace(model_type="mistral", vocab_size=32768)).name == "mistral"
    assert family_of(SimpleNamespace(model_type="llama", vocab_size=128256)).name == "llama"
    assert family_of(SimpleNamespace(model_type="llama", vocab_size=32000)).name == "me-llama"
    assert family_of(SimpleNamespace(model_type="gpt2", vocab_size=50257)).name == "generic"
    with pytest.raises(InputError, match="Did you mean 'mistral'"):
        family("mistrall")


def test_bare_name_is_refused() -> None:
    spec = importlib.util.spec_from_file_location("models", meg.models.__file__)
    with pytest.raises(ModuleNotFoundError, match=r"meg\.models"):
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
