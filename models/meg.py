"""`MEGModel`: a causal language model that reads mapped knowledge-graph concepts as tokens of its input.

MEG (https://arxiv.org/abs/2411.03883): concept vectors go through a mapping network and take the place of markers in
the prompt. The marker is one added token above the base vocabulary; it is never looked up, and the base is not
resized. Every concept is mapped by itself, so neither order, nor padding, nor packing changes its tokens.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers.modeling_outputs import CausalLMOutput

from ..errors import InputError
from ..mapping import build
from ..mapping.losses import Alpha
from .config import MEGConfig, identity_of
from .families import family_of
from .packing import pack
from .prompts import Encoded, add_marker, end_id
from .splice import place, rebuild

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

log = logging.getLogger("meg")


class MEGModel(nn.Module):
    """Language model, mapping network, tokenizer (with the marker) and configuration.

    Attributes:
        language_model: the transformers model, wrapped by PEFT when `config.adapter` is "lora".
        mapper: the mapping network, float32.
        alpha: weight of NT-Xent against back-translation in phase I.
    """

    language_model: Any
    accepts_loss_kwargs = True  # transformers' Trainer then passes num_items_in_batch

    def __init__(self, language_model: Any, tokenizer: PreTrainedTokenizerBase, config: MEGConfig) -> None:
        super().__init__()
        self.language_model = language_model
        self.tokenizer = tokenizer
        self.config = config
        self.marker_id = add_marker(tokenizer, config.marker)
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.eos_token
        weight = language_model.get_input_embeddings().weight
        self.mapper = build(
            config.mapping, config.d_kg, weight.shape[1], config.tokens_per_concept,
            scale=config.embedding_scale or 1.0, **config.mapping_settings,
        ).to(weight.device)  # fmt: skip
        self.alpha = Alpha().to(weight.device)
        self._told = False

    @classmethod
    def create(cls, base_model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, config: MEGConfig) -> MEGModel:
        """A new model on a base: adds the marker, builds the mapper at the base's embedding scale, adds the adapter.

        With `adapter` "lora" or "none" the base's own weights are frozen.
        """
        embeddings: Any = base_model.get_input_embeddings()
        weight = embeddings.weight.detach()
        config = replace(
            config,
            base_identity=identity_of(base_model.config),
            family=family_of(base_model.config).name if config.family == "generic" else config.family,
            embedding_scale=weight[:: max(1, len(weight) // 4096)].float().std().item(),
        )
        language_model: Any = base_model
        if config.adapter != "full":
            base_model.requires_grad_(False)
        if config.adapter == "lora":
            from peft import LoraConfig, get_peft_model

            lora = LoraConfig(
                r=config.lora_r, lora_alpha=config.lora_alpha, lora_dropout=config.lora_dropout,
                target_modules="all-linear", task_type="CAUSAL_LM",
            )  # fmt: skip
            language_model = get_peft_model(base_model, lora)
        return cls(language_model, tokenizer, config).eval()

    @property
    def device(self) -> torch.device:
        """Where the input embeddings live."""
        return self.language_model.get_input_embeddings().weight.device

    def embed(self, prefix: Tensor) -> Tensor:
        """Map concept vectors (..., K, D_kg) to tokens (..., K * P, D_lm), each concept by itself."""
        vectors = prefix.unsqueeze(0) if prefix.dim() == 1 else prefix
        tokens = self.mapper(vectors.reshape(-1, 1, self.config.d_kg))
        return tokens.reshape(*vectors.shape[:-2], vectors.shape[-2] * self.config.tokens_per_concept, tokens.shape[-1])

    def _prefix(self, prefix: Tensor | None, mask: Tensor | None, batch: int) -> tuple[Tensor, Tensor]:
        """Prefix as (B, K, D_kg) float32 and its mask as (B, K) bool, on the model's device; K = 0 without a prefix."""
        d_kg = self.config.d_kg
        if prefix is None:
            prefix, mask = torch.zeros(batch, 0, d_kg), None
        prefix = torch.as_tensor(prefix)  # numpy, as ConceptEmbeddings gives it, is welcome
        if not 1 <= prefix.dim() <= 3 or prefix.shape[-1] != d_kg:
            raise InputError(f"prefix of shape {tuple(prefix.shape)}: ({d_kg},), (K, {d_kg}) or (B, K, {d_kg}) is needed.")
        prefix = prefix.to(self.device, torch.float32)[(None,) * (3 - prefix.dim())]
        mask = torch.ones(prefix.shape[:2]) if mask is None else mask[(None,) * (2 - mask.dim())]
        mask = mask.to(self.device, torch.bool)
        if mask.dim() != 2 or mask.shape[1] != prefix.shape[1] or {len(prefix), len(mask)} - {1, batch}:
            raise InputError(
                f"prefix {tuple(prefix.shape)} with prefix_mask {tuple(mask.shape)} for a batch of {batch}: "
                f"({batch}, K, {d_kg}) with ({batch}, K) is needed."
            )
        return prefix.expand(batch, -1, -1), mask.expand(batch, -1)

    def _splice(
        self, input_ids: Tensor, attention_mask: Tensor | None, labels: Tensor | None,
        prefix: Tensor | None, prefix_mask: Tensor | None, *, fixed: bool = False, left: bool = False,
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:  # fmt: skip
        """(inputs_embeds, attention_mask, labels) with the real prefix rows in place of the markers.

        Where each row has as many markers as real prefix rows (times P) nothing moves. `fixed` forbids moving,
        `left` asks for padding on the left.
        """
        vectors, real = self._prefix(prefix, prefix_mask, len(input_ids))
        input_ids = input_ids.to(self.device)
        marker = input_ids == self.marker_id
        fits = torch.equal(marker.sum(1), real.sum(1) * self.config.tokens_per_concept)
        ragged = left and attention_mask is not None and not bool(attention_mask[:, -1].all())
        if fits and not ragged:
            labels = labels.to(self.device).masked_fill(marker, -100) if labels is not None else None
        elif fixed:
            raise InputError("a 4-D attention mask or position_ids need one marker per concept token in every row.")
        else:
            input_ids, attention_mask, labels, told = rebuild(
                input_ids, attention_mask, labels, real.sum(1).tolist(), marker=self.marker_id,
                width=self.config.tokens_per_concept, pad=self.tokenizer.pad_token_id, left=left,
            )  # fmt: skip
            if not told and not self._told:
                log.warning("a prompt has no marker %s: the prefix goes right after its first token.", self.config.marker)
                self._told = True
            marker = input_ids == self.marker_id
        # The marker's id lies outside the base vocabulary: look another row up, then replace it.
        embeds = self.language_model.get_input_embeddings()(input_ids.masked_fill(marker, 0))
        if vectors.shape[1]:
            mapped = self.embed(vectors[real]).to(embeds.dtype)
            embeds = embeds.masked_scatter(marker.unsqueeze(-1), mapped)
        return embeds, attention_mask, labels

    @contextmanager
    def _only(self, keep: Tensor | None) -> Iterator[None]:
        """Let only the positions `keep` (B, T) bool reach the output layer; the logits are then (1, N, V)."""
        if keep is None:
            yield
            return
        head = self.language_model.get_output_embeddings()
        hook = head.register_forward_pre_hook(lambda _, args: (args[0][keep.to(args[0].device)].unsqueeze(0),))
        try:
            yield
        finally:
            hook.remove()

    def _logits(self, embeds: Tensor, mask: Tensor | None, position_ids: Tensor | None, keep: Tensor | None = None) -> Tensor:
        """Logits (B, T, V), or (N, V) of the positions `keep` alone, in row order."""
        if mask is not None:
            mask = mask.to(self.device)
            kind = self.language_model.config._attn_implementation
            if mask.dim() == 4 and kind == "eager":
                mask = torch.zeros(mask.shape, dtype=embeds.dtype, device=mask.device).masked_fill(~mask, torch.finfo(embeds.dtype).min)
            elif mask.dim() == 4 and kind != "sdpa":
                raise InputError(f"packed prompts do not work with {kind} attention; load the base with attn_implementation='sdpa'.")
        with self._only(keep):
            more = {} if position_ids is None else {"position_ids": position_ids.to(self.device)}
            logits: Tensor = self.language_model(inputs_embeds=embeds, attention_mask=mask, use_cache=False, **more).logits
        return logits if keep is None else logits[0]

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, labels: Tensor | None = None,
        prefix: Tensor | None = None, prefix_mask: Tensor | None = None, position_ids: Tensor | None = None,
        num_items_in_batch: Tensor | int | None = None, answers_only: bool = False,
    ) -> CausalLMOutput:  # fmt: skip
        """Next-token logits, and the mean loss over labels.

        A row with as many markers as real prefix rows (times P) gets them in place. Another row is rewritten: one
        marker stands for all its concepts, no marker means right after the first token, without a real prefix row
        the markers are dropped; the logits are then those of the rewritten rows.

        Args:
            input_ids: (B, T).
            attention_mask: (B, T), 1 = real, or (B, 1, T, T) bool, True = may see (`packing.pack`).
            labels: (B, T), -100 = no loss.
            prefix: (D_kg,), (K, D_kg) or (B, K, D_kg) concept vectors.
            prefix_mask: (B, K) bool, False = empty slot; absent = all real.
            position_ids: (B, T).
            num_items_in_batch: divide the summed loss by this instead of by the number of labels.
            answers_only: logits (N, V) only of the positions whose next token has a label; faster in training.

        Raises:
            InputError: shapes that do not agree; a number of markers that is neither 0, 1, nor that of the concepts.
        """
        fixed = position_ids is not None or (attention_mask is not None and attention_mask.dim() == 4)
        embeds, attention_mask, labels = self._splice(input_ids, attention_mask, labels, prefix, prefix_mask, fixed=fixed)
        if labels is None:
            return CausalLMOutput(logits=self._logits(embeds, attention_mask, position_ids))
        target = functional.pad(labels[:, 1:], (0, 1), value=-100)
        keep = target != -100
        logits = self._logits(embeds, attention_mask, position_ids, keep if answers_only else None)
        chosen = logits if answers_only else logits[keep]
        total = functional.cross_entropy(chosen.float(), target[keep].to(chosen.device), reduction="sum")
        count = keep.sum().clamp(min=1) if num_items_in_batch is None else num_items_in_batch
        return CausalLMOutput(loss=total / (count.to(total.device) if isinstance(count, Tensor) else count), logits=logits)

    @torch.no_grad()
    def generate(
        self, prefix: Tensor | None = None, prefix_mask: Tensor | None = None, input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None, **generate_kwargs: Any,
    ) -> Tensor:  # fmt: skip
        """New tokens (B, T_new). Other keywords go to transformers' `generate`, which refuses those it does not know.

        Generation ends at the base's own end tokens and at the one of the chat template.
        """
        if input_ids is None:
            batch = len(prefix) if prefix is not None and len(prefix.shape) == 3 else 1
            start = self.tokenizer.bos_token_id
            input_ids = torch.full((batch, 0 if start is None else 1), start or 0)
        embeds, mask, _ = self._splice(input_ids, attention_mask, None, prefix, prefix_mask, left=True)
        if "generation_config" not in generate_kwargs:
            known = self.language_model.generation_config.eos_token_id
            ends = [*(known if isinstance(known, list) else [known] if known is not None else []), end_id(self.tokenizer)]
            generate_kwargs = {"eos_token_id": sorted(set(ends)), "pad_token_id": self.tokenizer.pad_token_id, **generate_kwargs}
        mask = torch.ones(embeds.shape[:2], dtype=torch.long) if mask is None else mask
        new: Tensor = self.language_model.generate(inputs_embeds=embeds, attention_mask=mask.to(self.device), **generate_kwargs)
        return new

    @torch.no_grad()
    def score_packed(
        self, batch: Mapping[str, Any], prefix: Tensor | None = None, prefix_mask: Tensor | None = None,
        token_ids: Sequence[int] | None = None,
    ) -> Tensor:  # fmt: skip
        """Logits after each branch's prompt, (B, n, len(token_ids)) or (B, n, V), float32; NaN where there is no branch.

        Args:
            batch: what `packing.pack` returned.
            prefix, prefix_mask: what `packing.prefix_of` returned for it.
        """
        last = batch["last"].to(self.device)
        embeds, mask, _ = self._splice(batch["input_ids"], batch["attention_mask"], None, prefix, prefix_mask, fixed=True)
        keep = torch.zeros(embeds.shape[:2], dtype=torch.bool, device=self.device)
        row, branch = (last >= 0).nonzero(as_tuple=True)
        keep[row, last[row, branch]] = True
        logits = self._logits(embeds, mask, batch["position_ids"], keep).float()
        logits = logits if token_ids is None else logits[:, list(token_ids)]
        scores = torch.full((*last.shape, logits.shape[-1]), float("nan"), device=logits.device)
        scores[row, branch] = logits
        return scores

    @torch.no_grad()
    def likelihood_packed(
        self, batch: Mapping[str, Any], prefix: Tensor | None = None, prefix_mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """Log-likelihood of each branch's answer (its labels) and its number of tokens, both (B, n) float32."""
        last, labels = batch["last"].to(self.device), batch["labels"].to(self.device)
        embeds, mask, _ = self._splice(batch["input_ids"], batch["attention_mask"], None, prefix, prefix_mask, fixed=True)
        target = functional.pad(labels[:, 1:], (0, 1), value=-100)
        row, at = (target != -100).nonzero(as_tuple=True)
        logits = self._logits(embeds, mask, batch["position_ids"], target != -100)
        values = -functional.cross_entropy(logits.float(), target[row, at], reduction="none")
        branch = ((last[row] >= 0) & (last[row] <= at[:, None])).sum(1) - 1
        score = torch.zeros(last.shape, device=self.device).index_put_((row, branch), values, accumulate=True)
        return score, torch.zeros_like(score).index_put_((row, branch), torch.ones_like(values), accumulate=True)

    def score_options(
        self, prompts: Sequence[str], options: Sequence[Sequence[str]], prefix: Tensor | None = None,
        prefix_mask: Tensor | None = None, normalize: bool = False,
    ) -> list[Tensor]:  # fmt: skip
        """Log-likelihood of each option as the continuation of its prompt, one 1-D tensor a prompt.

        Prompts are whole texts (special tokens and markers count); option texts begin with their own blank. Options
        are packed behind the prompt, 16 prompts a forward pass. `normalize` divides by the number of scored tokens.
        """
        vectors, real = self._prefix(prefix, prefix_mask, len(prompts))
        groups = [
            self._continuations(prompt, texts, int(count)) for prompt, texts, count in zip(prompts, options, real.sum(1), strict=True)
        ]
        scores: list[Tensor] = []
        for start in range(0, len(groups), 16):
            batch = pack(groups[start : start + 16], self.tokenizer.pad_token_id)
            score, count = self.likelihood_packed(batch, *self._of_rows(batch["rows"], vectors[start:], real[start:]))
            score = score / count.clamp(min=1) if normalize else score
            scores += [score[row, : len(group)] for row, group in enumerate(groups[start : start + 16])]
        return scores

    def _of_rows(self, rows: Tensor, vectors: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
        """The prefix in the order of packed markers; row numbers count the real concepts of each question."""
        found = [line[line >= 0][:: self.config.tokens_per_concept].to(self.device) for line in rows]
        chosen = [vectors[i][real[i]][index] for i, index in enumerate(found)]
        mask = [torch.ones(len(c), dtype=torch.bool, device=self.device) for c in chosen]
        pad = nn.utils.rnn.pad_sequence
        return pad(chosen, batch_first=True), pad(mask, batch_first=True)

    def _continuations(self, prompt: str, texts: Sequence[str], concepts: int) -> list[Encoded]:
        """Prompt and continuation as ids, for each text; what all of them and the prompt share counts as the prompt."""
        if not texts:
            raise InputError("a prompt without options cannot be scored.")
        bare = bool(self.tokenizer.bos_token) and prompt.startswith(self.tokenizer.bos_token)
        blanks = len(prompt) - len(prompt.rstrip())
        head, gap = prompt[: len(prompt) - blanks], prompt[len(prompt) - blanks :]
        ids = [self.tokenizer(t, add_special_tokens=not bare)["input_ids"] for t in [head, *(head + gap + text for text in texts)]]
        shared = 0
        while shared < min(map(len, ids)) and len({line[shared] for line in ids}) == 1:
            shared += 1
        if shared == 0 or any(len(line) == shared for line in ids[1:]):
            raise InputError(f"prompt {prompt!r} with options {list(texts)!r}: each needs at least one token of its own.")
        source, _ = place(ids[0][:shared], self.marker_id, concepts, self.config.tokens_per_concept)
        start = [ids[0][s] if s >= 0 else self.marker_id for s in source]
        rows = [~s if s < 0 else -1 for s in source]
        return [Encoded(start + line[shared:], rows + [-1] * (len(line) - shared), len(start)) for line in ids[1:]]

    def answer(self, *args: Any, **kwargs: Any) -> Any:
        """Answer a question, with its probabilities, concepts and evidence; see `meg.models.answering.answer`."""
        from .answering import answer

        return answer(self, *args, **kwargs)

    def gradient_checkpointing_enable(self, gradient_checkpointing_kwargs: dict[str, Any] | None = None) -> None:
        """Recompute activations in the backward pass; also lets gradients reach the mapper through a frozen base."""
        self.language_model.enable_input_require_grads()
        self.language_model.gradient_checkpointing_enable(gradient_checkpointing_kwargs=gradient_checkpointing_kwargs)

    def activation_checkpointing_enable(self, **options: Any) -> None:
        """The same under the name that newer versions of transformers call."""
        self.language_model.enable_input_require_grads()
        self.language_model.activation_checkpointing_enable(**options)

    def merge_and_unload(self) -> MEGModel:
        """Fold LoRA into the base's weights; saved afterwards, the folder holds the whole language model."""
        if self.config.adapter == "lora":
            self.language_model = self.language_model.merge_and_unload()
            self.config = replace(self.config, adapter="full")
        return self

    def save_pretrained(self, folder: Path | str) -> None:
        """Write the model's folder, whole or not at all; see `meg.models.checkpoint`."""
        from .checkpoint import save

        save(self, folder)

    @classmethod
    def from_pretrained(
        cls, path: Path | str, base: Path | str | None = None, device_map: Any = None, dtype: Any = None
    ) -> MEGModel:  # fmt: skip
        """Open a folder or a hub repository written by `save_pretrained` or `push_to_hub`.

        Args:
            base: another place of the same base model.
            device_map, dtype: as in transformers, for the language model; the mapper stays float32.

        Raises:
            InputError: no such folder, not a MEG model, its base missing or another one.
        """
        from .checkpoint import load

        return load(path, base=base, device_map=device_map, dtype=dtype)

    def push_to_hub(self, repo: str, *, private: bool = False, token: str | None = None) -> str:
        """Upload the model's folder to a hub repository; returns its address."""
        from .checkpoint import push

        return push(self, repo, private=private, token=token)
