"""Families of base models: what cannot be asked from a model itself, and the tiny versions trained here.

Any causal language model of transformers works; `generic` stands for one without a row of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..errors import unknown


@dataclass(frozen=True)
class Family:
    """One family.

    Attributes:
        name: as in `scripts/<name>/`.
        model_types: `config.model_type` of its models.
        base: hub id that is meant when a model of this family is asked for by the family's name.
        title: name in reports.
        chat_template, bos, eos, special: chat format of the tiny base that `meg.models.base` trains; `special` are
            further special tokens of that format. Published models bring their own.
    """

    name: str
    model_types: tuple[str, ...]
    base: str | None
    title: str
    chat_template: str = ""
    bos: str = "<s>"
    eos: str = "</s>"
    special: tuple[str, ...] = ()


# The formats of Mistral v0.3, Llama 3 and Llama 2 without tools, images and default system prompts.
_MISTRAL = (
    "{{- bos_token }}{%- set ns = namespace(system='') %}"
    "{%- for message in messages %}"
    "{%- if message.role == 'system' %}{%- set ns.system = message.content + '\\n\\n' %}"
    "{%- elif message.role == 'user' %}{{- '[INST] ' + ns.system + message.content + '[/INST]' }}{%- set ns.system = '' %}"
    "{%- else %}{{- ' ' + message.content + eos_token }}{%- endif %}"
    "{%- endfor %}"
)
_LLAMA3 = (
    "{{- bos_token }}"
    "{%- for message in messages %}"
    "{{- '<|start_header_id|>' + message.role + '<|end_header_id|>\\n\\n' + message.content | trim + '<|eot_id|>' }}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{%- endif %}"
)
_LLAMA2 = (
    "{%- set ns = namespace(system='') %}"
    "{%- for message in messages %}"
    "{%- if message.role == 'system' %}{%- set ns.system = '<<SYS>>\\n' + message.content + '\\n<</SYS>>\\n\\n' %}"
    "{%- elif message.role == 'user' %}"
    "{{- bos_token + '[INST] ' + ns.system + message.content | trim + ' [/INST]' }}{%- set ns.system = '' %}"
    "{%- else %}{{- ' ' + message.content | trim + ' ' + eos_token }}{%- endif %}"
    "{%- endfor %}"
)

FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        Family(
            "mistral", ("mistral",), "mistralai/Mistral-7B-Instruct-v0.3", "Mistral", _MISTRAL, special=("[INST]", "[/INST]")
        ),
        Family(
            "llama", ("llama",), "meta-llama/Llama-3.1-8B-Instruct", "Llama 3", _LLAMA3, "<|begin_of_text|>", "<|eot_id|>",
            ("<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>"),
        ),
        # Me-LLaMA's weights need credentials of PhysioNet; MODEL names the folder.
        Family("me-llama", (), None, "Me-LLaMA", _LLAMA2),
        Family("generic", (), None, "other"),
    )
}  # fmt: skip


def family(name: str) -> Family:
    """The row of a family's name."""
    if name not in FAMILIES:
        raise unknown("family", name, FAMILIES)
    return FAMILIES[name]


def family_of(config: Any) -> Family:
    """The family of a transformers configuration, `generic` when no row fits; Llama 2 vocabularies (32,000) are Me-LLaMA's."""
    for row in FAMILIES.values():
        if config.model_type in row.model_types:
            small = row.name == "llama" and config.vocab_size == 32000
            return FAMILIES["me-llama"] if small else row
    return FAMILIES["generic"]
