"""`meg kg embed` and `meg kg evaluate`."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..files import write_jsonl
from ..settings import settings
from ..stages import run_stage


def embed(parser: ArgumentParser) -> None:
    """Arguments of `meg kg embed`."""
    parser.add_argument("--graph", type=Path, required=True, help="folder of a built graph")
    parser.add_argument("--out", type=Path, required=True, help="HDF5 file to write")
    parser.add_argument("--encoder", default="graphsage", help="KG encoder (default graphsage)")
    parser.add_argument("--features", default="minilm", help="text encoder of the names: minilm, sapbert, hashing, a hub id or a folder")
    parser.add_argument("--dim", type=int, default=128, help="numbers a concept (default 128)")
    parser.add_argument("--steps", type=int, default=150, help="optimizer steps (default 150)")
    parser.add_argument("--holdout", type=float, default=0.0, help="share of the triplets kept out for `meg kg evaluate` (default 0)")
    parser.set_defaults(run=_embed)


def _embed(args: Namespace) -> dict[str, Any]:
    from .train import EmbedSettings

    options = EmbedSettings(
        encoder=args.encoder, features=args.features, dim=args.dim, steps=args.steps, holdout=args.holdout, seed=args.seed
    )  # fmt: skip
    losses: list[dict[str, Any]] = []

    def work(partial: Path) -> dict[str, Any]:
        from .graph import KnowledgeGraph
        from .train import train_embeddings

        kg = KnowledgeGraph.load(args.graph)
        cache = Path(settings()["CKPT_DIR"]) / "features"
        embeddings = train_embeddings(kg, options, cache=cache, losses=losses)
        embeddings.save(partial)
        return {"concepts": len(kg), "dim": embeddings.dim, "loss": embeddings.meta["loss"]}

    inputs = {"graph": args.graph}
    manifest = run_stage("embeddings", args.out, work, inputs=inputs, settings=asdict(options), code=("kg",), folder=False)
    if losses:
        write_jsonl(args.out.with_name(f"{args.out.stem}.metrics.jsonl"), losses)
    return {"out": str(args.out), **manifest["result"], "skipped": manifest["skipped"]}


def evaluate(parser: ArgumentParser) -> None:
    """Arguments of `meg kg evaluate`."""
    parser.add_argument("--graph", type=Path, required=True, help="folder of the graph the embeddings belong to")
    parser.add_argument("--embeddings", type=Path, required=True, help="HDF5 file made with `meg kg embed --holdout`")
    parser.set_defaults(run=_evaluate)


def _evaluate(args: Namespace) -> dict[str, Any]:
    from .graph import KnowledgeGraph
    from .scoring import link_prediction
    from .store import ConceptEmbeddings

    return link_prediction(KnowledgeGraph.load(args.graph), ConceptEmbeddings.load(args.embeddings))
