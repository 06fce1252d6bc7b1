"""Both phases: one loop (transformers' Trainer) and two recipes.

Phase I aligns mapper and LM on vocabulary instructions: LM loss on the concept's name, plus
alpha * NT-Xent(G(x), mean token embedding of the name) + (1 - alpha) * back-translation(F(G(x)), x).
Phase II fine-tunes on questions with the LM loss on the answer alone.
"""

from __future__ import annotations

import json
import logging
import math
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset
from transformers import Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_callback import PrinterCallback, ProgressCallback

from ..errors import InputError
from ..mapping.losses import back_translation, nt_xent
from ..models.meg import MEGModel
from ..models.prompts import MARKER, Concepts, Encoded
from ..progress import bar
from .controls import DROP, DROP_QUESTION, KEEP
from .data import Batches, plan_batches, training_group
from .encoding import PromptEncoder
from .grounding import Example
from .recipes import Phase

log = logging.getLogger("meg")


class _Metrics(TrainerCallback):
    """Losses to `metrics.jsonl` and a progress bar."""

    def __init__(self, stage: str, path: Path) -> None:
        self.stage, self.path, self.bar = stage, path, None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.is_world_process_zero:
            self.bar = bar(state.max_steps, self.stage)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.bar is not None:
            self.bar.update(state.global_step - self.bar.n)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **kwargs: Any) -> None:
        if not state.is_world_process_zero or not logs or "loss" not in logs:
            return
        if self.bar is not None:
            self.bar.set_postfix(loss=f"{logs['loss']:.3f}")
        with self.path.open("a", encoding="utf-8") as out:
            out.write(json.dumps({"stage": self.stage, "step": state.global_step, **logs}) + "\n")

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.bar is not None:
            self.bar.close()


class Trainee(nn.Module):
    """What the Trainer sees: a batch in, its loss out. Phase I's mapping loss is added where the batch has the names' tokens.

    The Trainer writes into `model.config` of what it is given, so it is not given the model itself.
    """

    accepts_loss_kwargs = True

    def __init__(self, meg: MEGModel, temperature: float, parts: int = 1) -> None:
        super().__init__()
        # The LM loss comes divided by the labels of the whole step; the mapping loss is a mean of one of its `parts`.
        self.meg, self.temperature, self.parts = meg, temperature, parts

    def forward(
        self, name_ids: Tensor | None = None, name_mask: Tensor | None = None, num_items_in_batch: Any = None, **batch: Tensor
    ) -> dict[str, Tensor]:
        """{"loss"}: the LM loss, plus the mapping loss when `name_ids` (B, L) and `name_mask` (B, L) are given."""
        loss = self.meg(**batch, num_items_in_batch=num_items_in_batch, answers_only=True).loss
        if name_ids is not None and name_mask is not None:
            alone = batch["prefix_mask"].sum(1) == 1  # rows of several concepts name no single one
            if alone.any():
                loss = loss + self.mapping_loss(batch["prefix"][alone, 0], name_ids[alone], name_mask[alone]) / self.parts
        return {"loss": loss}

    def mapping_loss(self, x: Tensor, name_ids: Tensor, name_mask: Tensor) -> Tensor:
        """alpha * NT-Xent + (1 - alpha) * back-translation for concept vectors `x` (B, D_kg)."""
        mapped = self.meg.embed(x[:, None]).mean(1)
        with torch.no_grad():
            embedded = self.meg.language_model.get_input_embeddings()(name_ids).float() * name_mask[..., None]
            target = embedded.sum(1) / name_mask.sum(1, keepdim=True).clamp(min=1)
        alpha = self.meg.alpha()
        contrast = nt_xent(mapped, target, self.temperature)
        return alpha * contrast + (1 - alpha) * back_translation(self.meg.mapper.back(mapped), x)

    def gradient_checkpointing_enable(self, gradient_checkpointing_kwargs: dict[str, Any] | None = None) -> None:
        """As the model's own."""
        self.meg.gradient_checkpointing_enable(gradient_checkpointing_kwargs)


class VocabularyBatches(Batches):
    """Batches of vocabulary instructions with the token ids of the concepts' names."""

    def __getitem__(self, number: int) -> dict[str, Any]:
        answers = [self.groups(0, int(i))[0] for i in self.plan[number][1]]
        names = [torch.tensor(e.ids[e.answer_start : -1]) for e in answers]
        padded = torch.nn.utils.rnn.pad_sequence(names, batch_first=True)
        mask = torch.nn.utils.rnn.pad_sequence([torch.ones(len(n)) for n in names], batch_first=True)
        return {**super().__getitem__(number), "name_ids": padded, "name_mask": mask}


def processes() -> int:
    """Processes that train together (torchrun), 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def _arguments(phase: Phase, steps: int, folder: str, seed: int) -> TrainingArguments:
    gpu = torch.cuda.is_available()
    warmup = phase.warmup if phase.warmup < 1 else min(phase.warmup, max(steps // 4, 1))
    arguments = TrainingArguments(
        output_dir=folder, max_steps=steps, per_device_train_batch_size=1, gradient_accumulation_steps=phase.accumulation,
        learning_rate=phase.lr, lr_scheduler_type=phase.schedule, warmup_steps=warmup,
        weight_decay=phase.weight_decay, adam_beta1=phase.betas[0], adam_beta2=phase.betas[1], max_grad_norm=phase.clip,
        seed=seed, data_seed=seed, use_cpu=not gpu, bf16=phase.bf16 and gpu, remove_unused_columns=False, label_names=["labels"],
        report_to="none", save_strategy="no", logging_steps=10, disable_tqdm=True, dataloader_pin_memory=gpu,
        logging_nan_inf_filter=False,  # a loss that is not finite must show in the mean
    )  # fmt: skip
    if arguments.n_gpu > 1:
        arguments._n_gpu = 1  # one process drives one GPU; several need torchrun, and DataParallel would split our batches
    return arguments


def _fit(model: MEGModel, batches: Dataset, phase: Phase, stage: str, out: Path, seed: int) -> dict[str, Any]:
    parts = phase.accumulation * processes()
    steps = max(1, math.ceil(len(batches) / parts))  # type: ignore[arg-type]
    with tempfile.TemporaryDirectory() as scratch:
        trainer = Trainer(
            model=Trainee(model, phase.temperature, parts), args=_arguments(phase, steps, scratch, seed), train_dataset=batches,
            data_collator=lambda items: items[0], callbacks=[_Metrics(stage, out / "metrics.jsonl")],
        )  # fmt: skip
        for callback in (PrinterCallback, ProgressCallback):
            trainer.remove_callback(callback)
        result = trainer.train()
    if not np.isfinite(result.training_loss):
        raise InputError(f"{stage}: the loss is not finite. Lower the learning rate of the recipe.")
    model.eval()
    return {
        "steps": steps,
        "loss": round(result.training_loss, 4),
        "parameters": sum(p.numel() for p in model.parameters() if p.requires_grad),
    }


def _steps(phase: Phase, examples: int) -> int:
    """Batches of the phase over all processes: those of fixed steps, or of the epochs."""
    if phase.steps is not None:
        return phase.steps * phase.accumulation * processes()
    return math.ceil(examples * (phase.epochs or 1) / phase.batch)


def train_vocabulary(
    model: MEGModel, rows: Sequence[dict[str, Any]], vectors: Tensor, index: dict[str, int], phase: Phase, out: Path, seed: int
) -> dict[str, Any]:
    """Phase I on rows {"instruction", "answer", "concept" or "concepts"} (`meg kg instructions`); writes metrics to `out`."""
    flat = []
    for row in rows:
        concepts = row.get("concepts") or [row.get("concept")]
        unknown = [c for c in concepts if c not in index]
        if unknown or not {"instruction", "answer"} <= row.keys():
            what = f"its concept {unknown[0]!r} is not in this graph" if unknown else "it has no instruction and answer"
            raise InputError(f"instruction {row.get('id')!r} cannot be used: {what}. Use what `meg kg instructions` wrote for this graph.")
        before, _, after = row["instruction"].partition(MARKER)
        flat.append(([before, Concepts(tuple(index[c] for c in concepts)), after], row["answer"]))
    encoder = PromptEncoder(model.tokenizer, model.config.tokens_per_concept, phase.max_length)
    plan = plan_batches([len(flat)], phase.batch, _steps(phase, len(flat)), seed)
    kind = VocabularyBatches if phase.compound else Batches
    result = _fit(model, kind(lambda _, i: [encoder(*flat[i])], plan, model, vectors), phase, "vocabulary", out, seed)
    return {**result, "cut": encoder.cut}


def train_questions(
    model: MEGModel, examples: Sequence[Example], vectors: Tensor, phase: Phase, out: Path, seed: int, *,
    names: Sequence[str] = ("in",), control: str | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Phase II. With `control="no_prefix"` the same training without the knowledge.

    Without it, prompts with names have no prefix at all; prompts without names keep the options' prefixes (nothing
    else tells the options apart) and lose the question's.
    """
    usable = [e for e in examples if e.gold is not None]
    if not usable:
        raise InputError("none of the training questions has an answer; phase II needs `answer_idx`.")
    treatments = {kind: KEEP if control is None else DROP if kind == "in" else DROP_QUESTION for kind in names}
    encoder = PromptEncoder(model.tokenizer, model.config.tokens_per_concept, phase.max_length)

    def groups(variant: int, index: int) -> list[Encoded]:
        kind = names[variant]
        return training_group(usable[index], encoder, scoring=model.config.scoring, names=kind == "in", prefix=treatments[kind])

    plan = plan_batches([len(usable)] * len(names), phase.batch, _steps(phase, len(usable) * len(names)), seed)
    stage = "questions" if control is None else f"questions {control}"
    result = _fit(model, Batches(groups, plan, model, vectors), phase, stage, out, seed)
    return {**result, "questions": len(usable), "without_answer": len(examples) - len(usable), "cut": encoder.cut}
