"""One question to a checkpoint of a run: `meg ask`."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from ..kg.link import EntityLinker
from .stage_train import checkpoint, knowledge

NOTICE = "For research only: not medical advice."


def ask_once(args: Namespace) -> dict[str, Any]:
    """Answer the question of `meg ask`."""
    kg, embeddings = knowledge(args)
    model = checkpoint(args.checkpoint, embeddings, "auto")
    found = model.answer(args.question, args.options, linker=EntityLinker(kg), embeddings=embeddings)
    lines = [found.text] if found.option is None else [f"{found.option}  (p = {found.probabilities[found.index or 0]:.2f})"]
    if args.options:
        lines += [f"  {p:.2f}  {text}" for p, text in zip(found.probabilities, args.options, strict=True)]
    lines.append("concepts: " + ("; ".join(f"{c['name']} [{c['id']}] in {c['where']}" for c in found.concepts) or "none found"))
    lines += [f"evidence: {head} -- {relation} -> {tail}" for head, relation, tail in found.evidence]
    if not found.concepts:
        lines.append("no concept of the graph was found in it: this answer does not use the graph")
    if found.option is None and model.config.scoring == "yes_no":
        lines.append("this checkpoint was trained to choose among options (--options A B ...); its free answers mean little")
    lines.append(NOTICE)
    return {
        "index": found.index, "option": found.option, "answer": found.option or found.text, "probabilities": found.probabilities,
        "concepts": found.concepts, "evidence": found.evidence, "notice": NOTICE, "text": "\n".join(lines),
    }  # fmt: skip
