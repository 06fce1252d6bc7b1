"""What the training stages of a run load, do and leave behind."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from transformers import set_seed

from ..errors import InputError
from ..files import existing, read_jsonl
from ..kg.graph import KnowledgeGraph
from ..kg.store import ConceptEmbeddings
from ..models.base import open_base
from ..models.config import MEGConfig
from ..models.meg import MEGModel
from .grounding import Example, ground
from .recipes import Recipe
from .stage_base import base_reference
from .tasks import TASKS
from .train import train_questions, train_vocabulary


def knowledge(args: Namespace) -> tuple[KnowledgeGraph, ConceptEmbeddings]:
    """The graph and its concept embeddings, which must belong together."""
    kg = KnowledgeGraph.load(args.graph)
    embeddings = ConceptEmbeddings.load(args.embeddings)
    embeddings.check_graph(kg)
    return kg, embeddings


def checkpoint(folder: Path, embeddings: ConceptEmbeddings, device_map: str | None = None) -> MEGModel:
    """A checkpoint that reads these embeddings; for training the Trainer places it, so no device map then."""
    model = MEGModel.from_pretrained(folder, device_map=device_map if torch.cuda.is_available() else None)
    check_embeddings(model, embeddings)
    return model


def check_embeddings(model: MEGModel, embeddings: ConceptEmbeddings) -> None:
    """Refuse embeddings of another width or graph than the checkpoint was trained with."""
    if embeddings.dim != model.config.d_kg:
        raise InputError(
            f"the embeddings have {embeddings.dim} numbers a concept, the checkpoint reads {model.config.d_kg}. "
            "Use the file it was trained with."
        )
    if model.config.embeddings and embeddings.meta.get("graph") != model.config.embeddings:
        raise InputError(
            "the embeddings belong to another graph than the checkpoint was trained with. Use the file it was trained with, or train anew."
        )


def vocabulary_stage(partial: Path, args: Namespace, recipe: Recipe) -> dict[str, Any]:
    """Phase I: a new MEG model on the base, aligned on vocabulary instructions."""
    set_seed(args.seed)
    kg, embeddings = knowledge(args)
    place, revision = base_reference(args.base) or (None, None)
    language_model, tokenizer = open_base(place or args.base, revision=revision)
    config = MEGConfig(
        base=place, base_revision=revision, d_kg=embeddings.dim, mapping=recipe.mapping, adapter=recipe.adapter, lora_r=recipe.lora_r,
        lora_alpha=recipe.lora_alpha, lora_dropout=recipe.lora_dropout, scoring=recipe.scoring,
        placement=recipe.placement, embeddings=embeddings.meta.get("graph"),
    )  # fmt: skip
    model = MEGModel.create(language_model, tokenizer, config)
    rows = [row for _, row in read_jsonl(existing(args.instructions / "vocabulary.jsonl", "vocabulary instructions"))]
    if args.extended:
        rows += [row for _, row in read_jsonl(existing(args.instructions / "extended.jsonl", "extended instructions"))]
    index = {concept: row for row, concept in enumerate(kg.ids)}
    result = train_vocabulary(model, rows, torch.from_numpy(embeddings.vectors), index, recipe.vocabulary, partial, args.seed)
    model.save_pretrained(partial)
    return {**result, "instructions": len(rows)}


def load_examples(args: Namespace, recipe: Recipe, data: Path, kg: KnowledgeGraph, split: str) -> tuple[list[Example], str]:
    """The grounded questions of a task's split and the rule of the split."""
    read = TASKS[args.task](existing(data, "data", "Give --data, or set BASE_DATA_DIR."), split, args.seed)
    if not read.questions:
        raise InputError(f"{args.task}: no {split} questions in {data}.")
    limits = {"max_concepts": recipe.max_concepts, "max_option_concepts": recipe.max_option_concepts}
    return ground(read.questions, kg, placement=MEGConfig.load(args.checkpoint).placement, **limits), read.rule


def question_names(task: str, recipe: Recipe) -> tuple[str, ...]:
    """Names out is possible only where the task itself says which words are concepts."""
    return recipe.names if task == "graph" else ("in",)


def questions_stage(partial: Path, args: Namespace, recipe: Recipe, data: Path) -> dict[str, Any]:
    """Phase II on one task, or the same training without the knowledge."""
    set_seed(args.seed)
    kg, embeddings = knowledge(args)
    model = checkpoint(args.checkpoint, embeddings)
    model.config = replace(model.config, control=args.control)
    examples, rule = load_examples(args, recipe, data, kg, "train")
    names = question_names(args.task, recipe)
    result = train_questions(
        model,
        examples,
        torch.from_numpy(embeddings.vectors),
        recipe.phase(args.task),
        partial,
        args.seed,
        names=names,
        control=args.control,
    )
    model.save_pretrained(partial)
    return {**result, "split": rule}
