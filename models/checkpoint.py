"""A model's folder: what `save_pretrained` writes, `from_pretrained` reads and `push_to_hub` uploads.

    meg_config.json      settings, and which base model belongs to it
    mapper.safetensors   mapping network and alpha
    adapter/             LoRA weights (adapter "lora"), or
    language_model/      the whole language model (adapter "full")
    tokenizer files      with the marker

The base's weights are not in it unless they were trained; they are found by the name in `meg_config.json`.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from ..files import whole
from .base import open_language_model, open_tokenizer, read_config
from .config import NAME, MEGConfig, identity_of

if TYPE_CHECKING:
    from .meg import MEGModel

MAPPER, ADAPTER, LANGUAGE_MODEL = "mapper.safetensors", "adapter", "language_model"
OURS = (NAME, MAPPER, ADAPTER, LANGUAGE_MODEL)


def save(model: MEGModel, folder: Path | str) -> None:
    """Write the folder whole or not at all; files of others that lie in it already stay."""
    from safetensors.torch import save_file

    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file; a folder is needed to save a model.")
    with whole(folder) as partial:
        partial.mkdir()
        model.config.save(partial)
        model.tokenizer.save_pretrained(partial)
        weights = {**model.mapper.state_dict(prefix="mapper."), **model.alpha.state_dict(prefix="alpha.")}
        save_file({key: value.detach().float().cpu().contiguous() for key, value in weights.items()}, partial / MAPPER)
        if model.config.adapter == "lora":
            model.language_model.save_pretrained(partial / ADAPTER, save_embedding_layers=False)
        elif model.config.adapter == "full":
            model.language_model.save_pretrained(partial / LANGUAGE_MODEL)
        for other in folder.iterdir() if folder.is_dir() else ():
            if other.name not in OURS and not (partial / other.name).exists():
                shutil.copytree(other, partial / other.name) if other.is_dir() else shutil.copy2(other, partial / other.name)


def _folder(path: Path | str) -> Path:
    """A local folder, or the local copy of a hub repository."""
    if Path(path).is_dir():
        return Path(path)
    name = str(path)
    if Path(path).exists() or name.startswith((".", "/", "~")) or name.count("/") != 1:
        raise InputError(f"no MEG model at {path}: not a folder. Give a folder written by save_pretrained, or a hub id owner/name.")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(f"no MEG model at {name}: no such folder, and the Hub says: {reason}") from None


def _weights(folder: Path) -> dict[str, Any]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = folder / MAPPER
    if not path.is_file():
        raise InputError(f"{folder} is incomplete: {MAPPER} is missing. Save the model again.")
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} cannot be read ({error}). Save the model again.") from None


def _check_base(config: MEGConfig, base: Any, where: str) -> None:
    found = identity_of(base)
    different = [f"{key} {found[key]} instead of {value}" for key, value in config.base_identity.items() if found.get(key) != value]
    if different:
        raise InputError(f"{where} is not the base of this model: {', '.join(different)}. Give the base it was trained on.")


def load(path: Path | str, *, base: Path | str | None = None, device_map: Any = None, dtype: Any = None) -> MEGModel:
    """Open a folder or hub repository (see `MEGModel.from_pretrained`)."""
    from .meg import MEGModel

    folder = _folder(path)
    config = MEGConfig.load(folder)
    weights = _weights(folder)
    part = {"lora": ADAPTER, "full": LANGUAGE_MODEL}.get(config.adapter)
    if part and not (folder / part).is_dir():
        raise InputError(f"{folder} is incomplete: {part}/ is missing. Save the model again.")
    place = str(folder / LANGUAGE_MODEL) if config.adapter == "full" else str(base or config.base or "")
    if not place:
        raise InputError(f"{folder} does not name its base model. Give it: from_pretrained(path, base=...).")
    if config.adapter == "full" and base is not None:
        _check_base(config, read_config(base), str(base))
    revision = config.base_revision if place == config.base else None
    _check_base(config, read_config(place, revision), place)
    language_model: Any = open_language_model(place, dtype, device_map, revision)
    if config.adapter == "lora":
        from peft import PeftModel

        language_model.requires_grad_(False)
        try:
            language_model = PeftModel.from_pretrained(language_model, folder / ADAPTER, is_trainable=True)
        except (OSError, ValueError, RuntimeError) as error:
            raise InputError(f"{folder / ADAPTER} cannot be read ({str(error).splitlines()[0]}). Save the model again.") from None
    elif config.adapter == "none":
        language_model.requires_grad_(False)
    model = MEGModel(language_model, open_tokenizer(folder), config)
    _fill(model, weights, folder / MAPPER)
    return model.eval()


def _fill(model: MEGModel, weights: dict[str, Any], where: Path) -> None:
    """Load the mapping network and alpha; an `InputError` when the file and the configuration do not agree."""
    wanted = {key: value.shape for key, value in model.state_dict().items() if not key.startswith("language_model.")}
    found = {key: value.shape for key, value in weights.items()}
    if wanted != found:
        wrong = sorted(key for key in wanted.keys() | found.keys() if wanted.get(key) != found.get(key))
        raise InputError(f"{where} does not fit {NAME}: {', '.join(wrong[:3])} ({len(wrong)} in all). Save the model again.")
    model.load_state_dict(weights, strict=False)


def push(model: MEGModel, repo: str, *, private: bool = False, token: str | None = None) -> str:
    """Upload the model's folder to a hub repository, made if needed; returns its address."""
    from huggingface_hub import HfApi

    api = HfApi(token=token)
    with tempfile.TemporaryDirectory() as scratch:
        save(model, Path(scratch) / "model")
        url = api.create_repo(repo, private=private, exist_ok=True)
        api.upload_folder(repo_id=repo, folder_path=Path(scratch) / "model", commit_message="MEG model")
    return str(url)
