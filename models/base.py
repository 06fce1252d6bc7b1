"""Base language models: opening one with clear errors, and training a small one where no large one can run.

The small LM is an ordinary Hugging Face folder: a byte-level BPE tokenizer with the family's chat format, and a
Mistral or Llama of a few hundred thousand weights. Two things in its initialisation let it read a prefix after few
steps: standard deviation 1/sqrt(hidden), and query projections close to the key projections, so that a token looks
for similar tokens from the start.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from ..files import write_jsonl
from .families import Family, family

if TYPE_CHECKING:
    import torch
    from tokenizers import Tokenizer
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

log = logging.getLogger("meg")
GB = 1e9
WEIGHTS = ("*.safetensors", "*.bin", "*.gguf", "*.safetensors.index.json", "*.bin.index.json")


@contextmanager
def _told(place: str) -> Iterator[None]:
    """Turn what transformers and the Hub raise for a model that cannot be had into one line."""
    from huggingface_hub import errors

    try:
        yield
    except (OSError, ValueError, ImportError, errors.HFValidationError) as error:
        causes: list[BaseException] = []
        cause: BaseException | None = error
        while cause is not None and cause not in causes:
            causes.append(cause)
            cause = cause.__cause__ or cause.__context__
        if any(isinstance(c, errors.GatedRepoError) for c in causes):
            raise InputError(f"no access to {place}: accept its licence on the Hub, then run `hf auth login`.") from None
        if any(isinstance(c, errors.RepositoryNotFoundError) for c in causes):
            raise InputError(f"no model {place}: no such folder, and the Hub has none (or a private one: `hf auth login`).") from None
        if any(isinstance(c, errors.LocalEntryNotFoundError | errors.OfflineModeIsEnabled | ConnectionError) for c in causes):
            raise InputError(f"{place} is not on this machine and the Hub cannot be reached. Give a downloaded model's folder.") from None
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise InputError(f"the model {place} cannot be opened: {reason}") from None


def read_config(place: Path | str, revision: str | None = None) -> Any:
    """The transformers configuration of a causal language model in a folder or on the Hub.

    Raises:
        InputError: no such folder, no access, the Hub cannot be reached, not a causal language model.
    """
    from transformers import AutoConfig
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, MODEL_FOR_MASKED_LM_MAPPING_NAMES

    path = Path(place)
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise InputError(f"{place} is not a model: it has no config.json.")
    elif path.exists() or str(place).startswith((".", "/", "~")) or str(place).count("/") > 1:
        raise InputError(f"no model at {place}: not a folder. Give a folder with a config.json, or a hub id owner/name.")
    with _told(str(place)):
        config = AutoConfig.from_pretrained(str(place), revision=revision)
    if config.model_type not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES or config.model_type in MODEL_FOR_MASKED_LM_MAPPING_NAMES:
        raise InputError(f"{place} is a {config.model_type!r} model, which does not write text. Give a causal language model.")
    return config


def _check_memory(place: str, config: Any, dtype: Any, device_map: Any) -> str:
    """Estimate the weights from the configuration; an `InputError` when they do not fit, else a line about them."""
    import psutil  # type: ignore[import-untyped]
    import torch
    from transformers import AutoModelForCausalLM

    with _told(place), torch.device("meta"):
        weights = sum(p.numel() for p in AutoModelForCausalLM.from_config(config).parameters())
    wanted = dtype if dtype not in (None, "auto") else getattr(config, "dtype", None) or torch.float32
    kind = getattr(torch, wanted) if isinstance(wanted, str) else wanted
    need, free = weights * kind.itemsize, psutil.virtual_memory().available
    if device_map is not None and torch.cuda.is_available():
        free += sum(torch.cuda.mem_get_info(i)[0] for i in range(torch.cuda.device_count()))
    text = f"{weights:,} weights, {need / GB:.2g} GB as {str(kind).removeprefix('torch.')}"
    if need > free:
        raise InputError(f"{place} does not fit: {text}, {free / GB:.2g} GB free. Choose a smaller model or a machine with more memory.")
    return text


def check_base(place: Path | str) -> str:
    """Whether a base model can be used, without loading its weights; returns a line about it.

    Raises:
        InputError: missing, no access, not a causal language model, no weights or no fast tokenizer, too large for the
            memory that is free.
    """
    config = read_config(place)
    if Path(place).is_dir() and not any(any(Path(place).glob(pattern)) for pattern in WEIGHTS):
        raise InputError(f"{place} holds no weights: none of {', '.join(WEIGHTS)}. Give the folder of a complete model.")
    text = f"{place}: {config.model_type}, {_check_memory(str(place), config, None, 'auto')}"
    if not open_tokenizer(place).is_fast:
        raise InputError(f"{place} has no fast tokenizer, which is needed. Give a model with a tokenizer.json.")
    return text


def open_language_model(
    place: Path | str, dtype: torch.dtype | str | None = None, device_map: Any = None, revision: str | None = None
) -> PreTrainedModel:  # fmt: skip
    """Load a causal language model from a folder or the Hub (`dtype` None: as it was saved).

    Raises:
        InputError: see `check_base`; also weights that are missing or damaged.
    """
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM
    from transformers.utils.logging import disable_progress_bar

    if not sys.stderr.isatty():
        disable_progress_bar()
    config = read_config(place, revision)
    _check_memory(str(place), config, dtype, device_map)
    try:
        with _told(str(place)):
            model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
                str(place), revision=revision, dtype=dtype or "auto", device_map=device_map
            )
    except (SafetensorError, RuntimeError) as error:
        if isinstance(error, torch.OutOfMemoryError):
            raise InputError(f"{place} does not fit in the GPU's memory. Choose a smaller model or dtype.") from None
        raise InputError(f"the weights of {place} cannot be read: {str(error).splitlines()[0]}") from None
    return model.eval()


def open_tokenizer(place: Path | str, revision: str | None = None) -> PreTrainedTokenizerBase:
    """Load the tokenizer of a folder or hub model; an `InputError` if there is none."""
    from transformers import AutoTokenizer

    with _told(f"{place} (tokenizer)"):
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(str(place), revision=revision)
    return tokenizer


def open_base(
    place: Path | str, dtype: torch.dtype | str | None = None, device_map: Any = None, revision: str | None = None
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:  # fmt: skip
    """Language model and tokenizer of a folder or hub model; errors as in `open_language_model`."""
    model = open_language_model(place, dtype, device_map, revision)
    return model, open_tokenizer(place, revision)


def train_tokenizer(row: Family, texts: Sequence[str], vocab: int) -> PreTrainedTokenizerBase:
    """A byte-level BPE tokenizer: lossless, every digit a token, with the family's special tokens and chat format."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    special = [row.bos, row.eos, *row.special]
    least = 256 + len(special)
    if vocab < least:
        raise InputError(f"vocab = {vocab}: at least {least} is needed (256 bytes and the special tokens).")
    bpe: Tokenizer = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    bpe.train_from_iterator(
        texts, trainers.BpeTrainer(vocab_size=vocab, special_tokens=special, initial_alphabet=alphabet, show_progress=False)
    )
    bpe.post_processor = processors.TemplateProcessing(
        single=f"{row.bos} $A", pair=f"{row.bos} $A {row.bos} $B", special_tokens=[(row.bos, bpe.token_to_id(row.bos))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe, bos_token=row.bos, eos_token=row.eos, chat_template=row.chat_template,
        clean_up_tokenization_spaces=False, model_max_length=2048, model_input_names=["input_ids", "attention_mask"],
    )  # fmt: skip


def small_model(row: Family, tokenizer: PreTrainedTokenizerBase, *, hidden: int, layers: int, heads: int, ff: int) -> PreTrainedModel:
    """A Mistral or Llama with random weights, initialised as the module's docstring says (uses torch's global generator)."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM

    if hidden % (2 * heads):
        raise InputError(f"hidden = {hidden} and heads = {heads}: hidden must be a multiple of twice the heads.")
    kind: tuple[Any, Any] = (MistralConfig, MistralForCausalLM) if row.name == "mistral" else (LlamaConfig, LlamaForCausalLM)
    config = kind[0](
        vocab_size=len(tokenizer), hidden_size=hidden, intermediate_size=ff, num_hidden_layers=layers, num_attention_heads=heads,
        num_key_value_heads=heads, max_position_embeddings=2048, initializer_range=hidden**-0.5, tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=None,
    )  # fmt: skip
    model: PreTrainedModel = kind[1](config)
    with torch.no_grad():
        for layer in model.model.layers:
            attention = layer.self_attn
            attention.q_proj.weight.mul_(0.1).add_(attention.k_proj.weight, alpha=0.9)
    return model


def _batches(ids: list[list[int]], batch: int, steps: int, seed: int) -> list[dict[str, torch.Tensor]]:
    """`steps` padded batches: texts in random order, those of similar length together, again and again."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    batches: list[dict[str, torch.Tensor]] = []
    while len(batches) < steps:
        order = torch.randperm(len(ids), generator=generator).tolist()
        order.sort(key=lambda i: len(ids[i]))  # stable: random among equals
        starts = range(0, len(order), batch)
        for start in [starts[i] for i in torch.randperm(len(starts), generator=generator).tolist()]:
            rows = [torch.tensor(ids[i]) for i in order[start : start + batch]]
            pad = torch.nn.utils.rnn.pad_sequence
            labels = pad(rows, batch_first=True, padding_value=-100)
            mask = (labels != -100).long()
            batches.append({"input_ids": labels.clamp(min=0), "attention_mask": mask, "labels": labels})
    return batches[:steps]


def train_base(
    name: str, texts: Sequence[str], out: Path | str, *, seed: int, steps: int = 300, batch: int = 64, lr: float = 3e-3,
    hidden: int = 96, layers: int = 2, heads: int = 4, ff: int = 256, vocab: int = 3000, max_length: int = 64,
) -> dict[str, Any]:  # fmt: skip
    """Train the small LM of a family on texts (next token) and write it to a folder, with `metrics.jsonl`.

    Args:
        name: family: "mistral", "llama" or "me-llama".
        steps, batch: optimizer steps of `batch` texts.
        max_length: tokens of a text that are read.

    Returns:
        {"loss": mean of the last steps, "steps", "parameters", "vocabulary"}.

    Raises:
        InputError: no texts, sizes that do not go together, or a family without a small LM.
    """
    import torch
    from transformers import Trainer, TrainingArguments, set_seed
    from transformers.trainer_callback import PrinterCallback

    row = family(name)
    if not row.chat_template:
        raise InputError(f"there is no small LM of the family {name!r}; choose mistral, llama or me-llama, or give a model.")
    if not texts or steps < 1:
        raise InputError(f"{len(texts)} texts and {steps} steps: at least one of each is needed to train the base LM.")
    out = Path(out)
    tokenizer = train_tokenizer(row, texts, vocab)
    set_seed(seed)
    model = small_model(row, tokenizer, hidden=hidden, layers=layers, heads=heads, ff=ff)
    encoded = tokenizer(list(texts), truncation=True, max_length=max_length - 1)["input_ids"]
    data = _batches([[*line, tokenizer.eos_token_id] for line in encoded], batch, steps, seed)
    gpu = torch.cuda.is_available()
    arguments = TrainingArguments(
        output_dir=str(out), max_steps=steps, per_device_train_batch_size=1, learning_rate=lr, lr_scheduler_type="linear",
        warmup_steps=min(30, steps // 4), weight_decay=0.01, adam_beta2=0.98, seed=seed, use_cpu=not gpu, remove_unused_columns=False,
        report_to="none", save_strategy="no", logging_steps=min(10, steps), disable_tqdm=True, dataloader_pin_memory=False,
    )  # fmt: skip
    trainer = Trainer(model=model, args=arguments, train_dataset=data, data_collator=lambda items: items[0])
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    history = [{"stage": "base", "step": line["step"], "loss": line["loss"]} for line in trainer.state.log_history if "loss" in line]
    out.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    write_jsonl(out / "metrics.jsonl", history)
    log.info("base: %d steps, loss %.3f", steps, history[-1]["loss"])
    return {"loss": history[-1]["loss"], "steps": steps, "parameters": model.num_parameters(), "vocabulary": len(tokenizer)}
