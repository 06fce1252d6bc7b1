"""The base LM of a run: the user's model by reference, or the small LM trained on the graph's words and cached."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from argparse import Namespace
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..files import existing, read_json, read_jsonl, whole, write_json
from ..settings import settings
from ..stages import code_digest
from .recipes import Recipe

log = logging.getLogger("meg")
REFERENCE = "base.json"


def base_reference(folder: Path) -> tuple[str, str | None] | None:
    """(model, revision) that a base folder refers to, or None when the folder holds the weights itself.

    The model is an absolute folder, without a revision, or a Hub id with the commit that was checked.
    """
    existing(folder, "base", "Make it with `meg train base`.")
    if not (folder / REFERENCE).is_file():
        return None
    row = read_json(folder / REFERENCE)
    return row["model"], row.get("revision")


def base_model(folder: Path) -> str | None:
    """The model that a base folder refers to, or None when the folder holds the weights itself."""
    reference = base_reference(folder)
    return reference[0] if reference else None


def corpus(graph: Path, instructions: Path) -> list[str]:
    """What the small LM reads: names, types, synonyms and definitions, and questions without their answers. No triplet is told."""
    from ..kg.graph import KnowledgeGraph

    kg = KnowledgeGraph.load(graph)
    texts = [f"{name} is a {kind.replace('_', ' ')}." for name, kind in zip(kg.names, kg.types, strict=True)]
    texts += [f"{kg.names[row]} is also called {name}." for row, name in kg.synonyms]
    texts += list(kg.definitions.values())
    questions = instructions / "questions" / "train.jsonl"
    if questions.is_file():
        asked = (row for _, row in read_jsonl(questions))
        texts += [f"Question: {row['template'].format('')}\nIs this right?" for _, row in zip(range(2000), asked, strict=False)]
    # The answers of yes/no scoring must be whole tokens, after a blank and at the start of a line.
    return texts + ["Is this right? yes", "Is this right? no", "yes", "no"] * (50 + len(texts) // 100)


def make_base(partial: Path, args: Namespace, recipe: Recipe) -> dict[str, Any]:
    """Fill the stage's folder (see `meg train base`)."""
    from ..models.base import check_base, read_config, train_base

    if args.model:
        check_base(args.model)
        if Path(args.model).is_dir():
            reference = {"model": str(Path(args.model).absolute()), "revision": None}
        else:
            reference = {"model": args.model, "revision": getattr(read_config(args.model), "_commit_hash", None)}
        write_json(partial / REFERENCE, reference)
        return reference
    texts = corpus(args.graph, args.instructions)
    options = {**asdict(recipe.base), "seed": args.seed}
    key = hashlib.sha256(json.dumps([args.family, options, texts, code_digest("models")]).encode()).hexdigest()[:16]
    cached = Path(settings()["CKPT_DIR"]) / "base" / f"{args.family}-{key}"
    result: dict[str, Any] = {"cached": cached.is_dir()}
    if not cached.is_dir():
        with whole(cached) as folder:
            folder.mkdir()
            result |= train_base(args.family, texts, folder, **options) or {}
    else:
        log.info("base: the same LM was trained before, taken from %s", cached)
    try:
        shutil.copytree(cached, partial, dirs_exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot copy the cached base LM {cached}: {error}. Delete that folder and run again.") from None
    return {**result, "texts": len(texts), "hidden": read_json(partial / "config.json").get("hidden_size")}
