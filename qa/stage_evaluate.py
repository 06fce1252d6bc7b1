"""The evaluation stage: results.json, predictions.jsonl and three answered examples."""

from __future__ import annotations

from argparse import Namespace
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..errors import InputError
from ..files import write_json, write_jsonl
from ..kg.graph import KnowledgeGraph
from ..kg.relevance import joining
from ..kg.scoring import unit_vectors
from ..stages import versions
from .evaluate import conditions, evaluate_conditions, interval, rows_of, softmax
from .grounding import Example, oracle
from .recipes import Recipe
from .stage_train import checkpoint, knowledge, load_examples, question_names


def _limited(examples: list[Example], limit: float | None, seed: int) -> list[Example]:
    if limit is None:
        return examples
    keep = round(limit * len(examples)) if limit < 1 else min(int(limit), len(examples))
    if keep < 1:
        raise InputError(f"--limit {limit} leaves no question of {len(examples)}.")
    return [examples[i] for i in sorted(np.random.default_rng(seed).permutation(len(examples))[:keep])]


def _described(kg: KnowledgeGraph, rows: tuple[int, ...]) -> list[dict[str, str]]:
    return [{"id": kg.ids[row], "name": kg.names[row], "type": kg.types[row]} for row in rows]


def answered_examples(kg: KnowledgeGraph, examples: list[Example], scores: list[np.ndarray], count: int = 3) -> list[dict[str, Any]]:
    """The first `count` questions of different relations or groups, with the answer, its probabilities and the concepts used."""
    chosen: dict[str, int] = {}
    for i, e in enumerate(examples):
        chosen.setdefault(e.text.split(" ")[0] + e.group, i)
    picks = list(dict.fromkeys([*chosen.values(), *range(len(examples))]))[:count]
    rows = []
    for i in picks:
        e = examples[i]
        answered = bool(np.isfinite(scores[i]).all())
        pred = int(scores[i].argmax()) if answered else None
        asked = (*e.mentioned, *e.concepts)
        rows.append({
            "id": e.id, "question": e.text, "options": list(e.options), "gold": e.gold, "pred": pred,
            "probabilities": [round(float(p), 4) for p in softmax(scores[i])] if answered else None, "concepts": _described(kg, asked),
            "option_concepts": [_described(kg, o) for o in e.option_concepts],
            "evidence": [] if pred is None else joining(kg, asked, [row for rows in e.option_concepts for row in rows]),
        })  # fmt: skip
    return rows


def evaluation_stage(
    partial: Path, args: Namespace, recipe: Recipe, data: Path, controls: list[str], trained: dict[str, Path]
) -> dict[str, Any]:
    """Evaluate one checkpoint on one task under every condition."""
    kg, embeddings = knowledge(args)
    examples, rule = load_examples(args, recipe, data, kg, args.split)
    examples = _limited(examples, args.limit, args.seed)
    groups = torch.from_numpy(np.unique(np.asarray(kg.types, dtype=str), return_inverse=True)[1])
    vectors, names = torch.from_numpy(embeddings.vectors), question_names(args.task, recipe)
    rows, predictions, shown, relations, bases = [], [], [], [], []
    for folder in (args.checkpoint, *trained.values()):  # one at a time: a large model is in memory once
        model = checkpoint(folder, embeddings, "auto")
        bases.append(model.config.base or "embedded")
        todo = conditions(model, vectors, groups, controls, args.seed)
        results_of = evaluate_conditions(todo, examples, names, args.task, recipe.eval_batch, recipe.phase(args.task).max_length)
        for condition, with_names, scores, table, predicted in results_of:
            rows += table
            predictions += predicted
            if folder == args.checkpoint and condition is todo[0]:
                shown = answered_examples(kg, examples, scores)
                relations += _per_relation(examples, predicted, with_names)
        del model, todo, results_of, condition  # each of them holds the model
    if args.task == "graph" and embeddings.meta.get("score") == "cosine":
        rows += rows_of("oracle", False, examples, oracle(examples, unit_vectors(embeddings)), args.task)[0]
    for row in predictions:
        row["concepts"] = [kg.ids[r] for r in row["concepts"]]
    settings = {
        "recipe": asdict(recipe),
        "controls": controls,
        "split_rule": rule,
        "limit": args.limit,
        "graph": kg.stats(),
        "checkpoint": str(args.checkpoint),
    }
    results = {"task": args.task, "split": args.split, "model": bases[0], "seed": args.seed,
               "settings": settings, "versions": versions(), "rows": rows, "per_relation": relations}  # fmt: skip
    write_json(partial / "results.json", results)
    write_jsonl(partial / "predictions.jsonl", predictions)
    write_json(partial / "examples.json", shown)
    return {"questions": len(examples), "unanswered": sum(r["unanswered"] for r in rows)}


def _per_relation(examples: list[Example], predicted: list[dict[str, Any]], names: bool) -> list[dict[str, Any]]:
    total: Counter[tuple[str, str]] = Counter()
    right: Counter[tuple[str, str]] = Counter()
    for e, p in zip(examples, predicted, strict=True):
        if e.gold is not None and e.relation:
            total[e.relation, e.group] += 1
            right[e.relation, e.group] += p["pred"] == e.gold
    return [
        {"relation": r, "group": g, "names": names, "n": n, "accuracy": round(right[r, g] / n, 4), "ci95": interval(right[r, g], n)}
        for (r, g), n in sorted(total.items())
    ]
