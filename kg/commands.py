"""Commands about graphs: `meg kg build|stats|show|neighbors|export|instructions` and `meg link`.

Each function adds its arguments to a parser; what it sets as `run` takes them and returns the result as a dict.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..files import read_jsonl, write_jsonl
from ..stages import MANIFEST, run_stage
from .graph import Concept, KnowledgeGraph
from .storage import replaceable


def _graph_flag(parser: ArgumentParser, required: bool = True) -> None:
    parser.add_argument("--graph", type=Path, required=required, metavar="DIR", help="a graph folder, made by `meg kg build`")


def build(parser: ArgumentParser) -> None:
    """`meg kg build SOURCE... --out DIR`."""
    parser.add_argument("sources", nargs="+", metavar="SOURCE", help="KIND:PATH, for example sample: or tsv:FILE; several are united by id")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the graph folder to write")
    parser.set_defaults(run=_build)


def _build(args: Namespace) -> dict[str, Any]:
    from .sources import SOURCES, source_name, source_path, split_spec
    from .sources.sample import PACKAGED

    def work(partial: Path) -> dict[str, Any]:
        kg = KnowledgeGraph.build(*args.sources)
        kg.save(partial)
        return kg.stats()

    for spec in args.sources:
        SOURCES[split_spec(spec)[0]]
    replaceable(args.out, MANIFEST)
    names = [source_name(spec) for spec in args.sources]  # kind and last part: the same from every working folder
    paths = [source_path(spec) or PACKAGED for spec in args.sources]
    inputs = {f"{number}. {name}": path for number, (name, path) in enumerate(zip(names, paths, strict=True), 1)}
    manifest = run_stage("kg build", args.out, work, inputs=inputs, settings={"sources": names}, code=("kg",))
    return _with_text({"out": str(args.out), "skipped": manifest["skipped"], **manifest["result"]})


def stats(parser: ArgumentParser) -> None:
    """`meg kg stats DIR`."""
    parser.add_argument("graph", type=Path, metavar="DIR", help="a graph folder, made by `meg kg build`")
    parser.set_defaults(run=lambda args: _with_text(KnowledgeGraph.load(args.graph).stats()))


def _with_text(figures: dict[str, Any], most: int = 12) -> dict[str, Any]:
    """Figures with a readable "text": long tables cut after `most` rows."""
    lines = []
    for key, value in figures.items():
        if isinstance(value, dict):
            shown = ", ".join(f"{name or '(none)'} {count}" for name, count in list(value.items())[:most])
            value = (shown + (f", and {len(value) - most} more" if len(value) > most else "")) or "none"
        elif isinstance(value, list):
            value = ", ".join(value)
        lines.append(f"{key}: {value}")
    return {**figures, "text": "\n".join(lines)}


def show(parser: ArgumentParser) -> None:
    """`meg kg show CONCEPT --graph DIR [--relation R] [--limit N]`."""
    parser.add_argument("concept", metavar="CONCEPT", help="an id or a name")
    _graph_flag(parser)
    parser.add_argument("--relation", help="only triplets of this relation")
    parser.add_argument("--limit", type=int, default=50, help="triplets shown (default 50)")
    parser.set_defaults(run=_show)


def resolve(kg: KnowledgeGraph, given: str) -> Concept:
    """The concept of an id or a name; InputError if there is none, or if the name belongs to several."""
    if given in kg:
        return kg[given]
    found = kg.find(given)
    if len(found) > 1 and sum(concept.name.casefold() == given.casefold() for concept in found) != 1:
        raise InputError(f"{given!r} names {len(found)} concepts: {', '.join(concept.id for concept in found)}. Give one of these ids.")
    return found[0] if found else kg[given]


def _show(args: Namespace) -> dict[str, Any]:
    kg = KnowledgeGraph.load(args.graph)
    concept = resolve(kg, args.concept)
    near = kg.neighbors(concept.id, args.relation)
    rows = [{"relation": n.relation, "inverse": n.inverse, "id": n.concept.id, "name": n.concept.name} for n in near[: max(args.limit, 0)]]
    lines = [f"{concept.id}  {concept.name}  ({concept.type})"]
    lines += [f"also: {', '.join(concept.synonyms)}"] if concept.synonyms else []
    lines += [concept.definition] if concept.definition else []
    for row in rows:
        other, relation = f"{row['name']} ({row['id']})", row["relation"]
        lines.append(f"  {other} --{relation}--> this" if row["inverse"] else f"  --{relation}--> {other}")
    lines += [f"  and {len(near) - len(rows)} more triplets; see --limit"] if len(near) > len(rows) else []
    return {
        "id": concept.id, "name": concept.name, "type": concept.type, "synonyms": list(concept.synonyms),
        "definition": concept.definition, "num_triplets": len(near), "triplets": rows, "text": "\n".join(lines),
    }  # fmt: skip


def neighbors(parser: ArgumentParser) -> None:
    """`meg kg neighbors CONCEPT --embeddings FILE [--graph DIR] [-k N]`."""
    parser.add_argument("concept", metavar="CONCEPT", help="an id, or with --graph also a name")
    parser.add_argument("--embeddings", type=Path, required=True, metavar="FILE", help="concept embeddings, made by `meg kg embed`")
    _graph_flag(parser, required=False)
    parser.add_argument("-k", type=int, default=10, metavar="N", help="concepts listed (default 10)")
    parser.set_defaults(run=_neighbors)


def _neighbors(args: Namespace) -> dict[str, Any]:
    from .store import ConceptEmbeddings

    if args.k < 1:
        raise InputError(f"-k is {args.k}; it must be at least 1.")
    embeddings = ConceptEmbeddings.load(args.embeddings)
    kg = KnowledgeGraph.load(args.graph) if args.graph else None
    if kg is None and args.concept not in embeddings:
        raise InputError(f"{args.concept!r} is not an id of {args.embeddings}; to look a concept up by its name, give --graph too.")
    concept = resolve(kg, args.concept).id if kg is not None else args.concept
    rows = [
        {"id": key, "name": kg[key].name if kg is not None and key in kg else None, "cosine": round(score, 4)}
        for key, score in embeddings.nearest(concept, args.k)
    ]
    text = "\n".join(f"{row['cosine']:.4f}  {row['id']}" + (f"  {row['name']}" if row["name"] else "") for row in rows)
    return {"concept": concept, "nearest": rows, "text": text}


def export(parser: ArgumentParser) -> None:
    """`meg kg export --embeddings FILE --format h5|npy|tsv|word2vec --out PATH`."""
    from .store import FORMATS

    parser.add_argument("--embeddings", type=Path, required=True, metavar="FILE", help="concept embeddings, made by `meg kg embed`")
    parser.add_argument("--format", required=True, choices=FORMATS, help="h5 is the published layout, one dataset a concept")
    parser.add_argument("--out", type=Path, required=True, metavar="PATH", help="the file to write")
    parser.set_defaults(run=_export)


def _export(args: Namespace) -> dict[str, Any]:
    from .store import ConceptEmbeddings

    embeddings = ConceptEmbeddings.load(args.embeddings)
    if args.out.is_dir() or args.out.resolve() == args.embeddings.resolve():
        raise InputError(f"--out {args.out} is a folder or the file that is read. Name a new file.")
    embeddings.export(args.out, args.format)
    return {"out": str(args.out), "format": args.format, "concepts": len(embeddings), "dim": embeddings.dim}


def link(parser: ArgumentParser) -> None:
    """`meg link FILE.jsonl --graph DIR --out OUT.jsonl`."""
    parser.add_argument("file", type=Path, metavar="FILE.jsonl", help='rows {"id", "text"}')
    _graph_flag(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="OUT.jsonl", help='rows {"id", "mentions"} to write')
    parser.set_defaults(run=_link)


def _link(args: Namespace) -> dict[str, Any]:
    from dataclasses import asdict

    from .link import EntityLinker

    if args.out.resolve() == args.file.resolve():
        raise InputError(f"--out {args.out} is the file that is read. Choose another one.")
    texts = []
    for number, row in read_jsonl(args.file):
        if not isinstance(row.get("text"), str) or "id" not in row:
            raise InputError(f'{args.file}:{number}: the row needs "id" and a string "text"; found {", ".join(row) or "nothing"}.')
        texts.append((row["id"], row["text"]))
    linker = EntityLinker(KnowledgeGraph.load(args.graph))
    rows = [{"id": key, "mentions": [asdict(mention) for mention in linker(text)]} for key, text in texts]
    write_jsonl(args.out, rows)
    count = sum(len(row["mentions"]) for row in rows)
    return {"out": str(args.out), "texts": len(rows), "mentions": count, "without_mention": sum(not row["mentions"] for row in rows)}


def instructions(parser: ArgumentParser) -> None:
    """`meg kg instructions --graph DIR --out DIR`."""
    _graph_flag(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the folder to write the jsonl files into")
    parser.set_defaults(run=_instructions)


def _instructions(args: Namespace) -> dict[str, Any]:
    def work(partial: Path) -> dict[str, Any]:
        from .instructions import extended, triplets, vocabulary
        from .questions import write_questions

        kg = KnowledgeGraph.load(args.graph)
        write_jsonl(partial / "vocabulary.jsonl", vocabulary(kg))
        write_jsonl(partial / "extended.jsonl", extended(kg, args.seed))
        write_jsonl(partial / "triplets.jsonl", triplets(kg))
        rows = {"vocabulary": len(kg), "extended": len(kg) if len(kg) > 1 else 0, "triplets": kg.num_triplets}
        return {**rows, "questions": write_questions(kg, partial, args.seed)}

    replaceable(args.out, MANIFEST)
    inputs = {"graph": args.graph}
    manifest = run_stage("kg instructions", args.out, work, inputs=inputs, settings={"seed": args.seed}, code=("kg",))
    return {"out": str(args.out), "skipped": manifest["skipped"], **manifest["result"]}
