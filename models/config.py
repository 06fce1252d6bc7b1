"""What a MEG model is made of: `MEGConfig`, saved as `meg_config.json` beside the weights."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from ..errors import InputError, unknown
from ..files import read_json, write_json
from ..mapping import MAPPINGS

NAME = "meg_config.json"
MARKER = "{kg_embedding}"
ADAPTERS = ("lora", "full", "none")
SCORINGS = ("yes_no", "letter", "option")
PLACEMENTS = ("inline", "list")
CONTROLS = ("no_prefix",)  # trainings anew without the knowledge
IDENTITY = ("model_type", "hidden_size", "num_hidden_layers", "vocab_size")


def identity_of(config: Any) -> dict[str, Any]:
    """What must agree between two base models: the values of `IDENTITY` in a transformers configuration."""
    return {key: getattr(config, key, None) for key in IDENTITY}


@dataclass
class MEGConfig:
    """Settings of a MEG model, checked when made. (Not frozen: transformers' Trainer sets `use_cache` on it.)

    Attributes:
        d_kg: width of a concept's vector.
        base, base_revision: hub id or folder of the base model, and its commit.
        base_identity: `identity_of` the base; filled in when the model is made.
        family: name of the base's family (`meg.models.families`).
        mapping, mapping_settings: the mapping network and its keyword arguments.
        tokens_per_concept: tokens a concept becomes in the prompt.
        adapter: how the base learns: "lora", "full" or "none" (frozen).
        lora_r, lora_alpha, lora_dropout: LoRA on all linear layers.
        embedding_scale: standard deviation of the base's input embeddings; measured when the model is made.
        scoring: how a multiple-choice question is answered: "yes_no", "letter" or "option".
        placement: where a question's concepts stand: "inline" after their mention, or in a "list" after the question.
        control: how the knowledge was taken out when this checkpoint was trained ("no_prefix"), or None.
        embeddings: fingerprint of the graph whose concept embeddings the model was trained with.
        marker: text of the marker token.
    """

    d_kg: int
    base: str | None = None
    base_revision: str | None = None
    base_identity: dict[str, Any] = field(default_factory=dict)
    family: str = "generic"
    mapping: str = "mlp_skip"
    mapping_settings: dict[str, Any] = field(default_factory=dict)
    tokens_per_concept: int = 1
    adapter: str = "lora"
    lora_r: int = 32
    lora_alpha: int = 64
    lora_dropout: float = 0.05
    embedding_scale: float | None = None
    scoring: str = "yes_no"
    placement: str = "inline"
    control: str | None = None
    embeddings: str | None = None
    marker: str = MARKER

    def __post_init__(self) -> None:
        if self.mapping not in MAPPINGS.names():
            raise unknown("mapping", self.mapping, MAPPINGS)
        for key, allowed in {"adapter": ADAPTERS, "scoring": SCORINGS, "placement": PLACEMENTS}.items():
            if getattr(self, key) not in allowed:
                raise unknown(key, getattr(self, key), allowed)
        if self.control is not None and self.control not in CONTROLS:
            raise unknown("control", self.control, CONTROLS)
        for key in ("d_kg", "tokens_per_concept", "lora_r"):
            value = getattr(self, key)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise InputError(f"{key} = {value!r}: a whole number of at least 1 is needed.")
        if not self.lora_alpha > 0:
            raise InputError(f"lora_alpha = {self.lora_alpha!r}: a number above 0 is needed.")
        if not 0 <= self.lora_dropout < 1:
            raise InputError(f"lora_dropout = {self.lora_dropout!r}: a number in [0, 1) is needed.")

    def save(self, folder: Path | str) -> None:
        """Write `meg_config.json` in a folder."""
        write_json(Path(folder) / NAME, asdict(self))

    @classmethod
    def load(cls, folder: Path | str) -> MEGConfig:
        """Read `meg_config.json` of a folder.

        Raises:
            InputError: no such file, not JSON, an unknown or missing key, a value that is not allowed.
        """
        path = Path(folder) / NAME
        if not path.is_file():
            raise InputError(f"{folder} is not a MEG model: it has no {NAME}. Give one written by save_pretrained (meg/ of a run).")
        values = read_json(path)
        if not isinstance(values, dict) or "d_kg" not in values:
            raise InputError(f"{path}: not the configuration of a MEG model (no d_kg).")
        known = [f.name for f in fields(cls)]
        for key in values:
            if key not in known:
                raise unknown(f"key of {path}", key, known)
        try:
            return cls(**values)
        except TypeError as error:
            raise InputError(f"{path}: {error}.") from None
