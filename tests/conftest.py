"""Tiny language models built in code: a Mistral and a Llama with a trained tokenizer, and MEG models on them."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # tiny tensors: a second thread only waits

TEXTS = [
    "aspirin is a drug. it treats headache and 12 other symptoms.",
    "Question: which disease is treated by aspirin?\nCandidate: headache\nRight? yes no",
    "Explain to me this medical concept. Concepts: A) B) C) D) the answer is the letter of one option.",
]
FAMILIES = ("mistral", "llama")


@pytest.fixture(scope="session")
def tiny() -> Callable[[str], tuple[Any, Any]]:
    """tiny("mistral" | "llama") -> (language model of 64 dimensions with grouped heads, tokenizer), new each time."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM

    from meg.models.base import train_tokenizer
    from meg.models.families import family

    def make(name: str) -> tuple[Any, Any]:
        tokenizer = train_tokenizer(family(name), TEXTS, 400)
        kind = (MistralConfig, MistralForCausalLM) if name == "mistral" else (LlamaConfig, LlamaForCausalLM)
        config = kind[0](
            vocab_size=len(tokenizer), hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, max_position_embeddings=256, initializer_range=0.12,
            bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=None,
        )  # fmt: skip
        torch.manual_seed(0)
        return kind[1](config).eval(), tokenizer

    return make


@pytest.fixture(scope="session")
def tiny_meg(tiny: Callable[[str], tuple[Any, Any]]) -> Callable[..., Any]:
    """tiny_meg("mistral", **MEGConfig settings) -> a new MEGModel (d_kg 16) whose adapter is not zero."""
    import torch

    from meg.models.config import MEGConfig
    from meg.models.meg import MEGModel

    def make(name: str = "mistral", **settings: Any) -> MEGModel:
        language_model, tokenizer = tiny(name)
        config = MEGConfig(**{"d_kg": 16, "lora_r": 4, "lora_alpha": 8, "lora_dropout": 0.0, **settings})
        model = MEGModel.create(language_model, tokenizer, config)
        for key, parameter in model.named_parameters():
            if "lora_B" in key:
                torch.nn.init.normal_(parameter, std=0.1)
        return model

    return make
