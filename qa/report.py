"""`meg report RUN_DIR`: the results of a run in one place, as data, as Markdown and as a page.

Reads `evaluation/*/results.json` (with `predictions.jsonl` and `examples.json` beside them) and the stages'
manifests; writes `results.json`, `predictions.jsonl`, `report.md` and `report.html`. Every figure in the text is
computed here from those files, so that no sentence can say more than they do.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

from ..errors import InputError, unknown
from ..files import existing, read_json, read_jsonl, write_json, write_jsonl, write_text
from .report_tables import (
    Block,
    Heading,
    Row,
    Table,
    Text,
    accuracy_table,
    effect_table,
    effects_of,
    example_lines,
    flat,
    markdown_table,
    note,
    reading,
    relation_table,
    tasks,
    terminal,
)

log = logging.getLogger("meg")


def _evaluation(path: Path) -> Row:
    """One evaluation's results.json, its rows with their task."""
    document = read_json(path)
    rows = document.get("rows") if isinstance(document, dict) and "task" in document else None
    if not isinstance(rows, list) or any(not {"condition", "n", "accuracy", "ci95"} <= row.keys() for row in rows):
        raise InputError(
            f"{path}: not the results of an evaluation (task, and rows with condition, n, accuracy and ci95). Run `meg evaluate` again."
        )
    return {**document, "rows": [{"task": document["task"], **row} for row in rows]}


def read_run(run: Path | str, only: Sequence[str] = ()) -> tuple[Row, list[Row], dict[str, list[Row]]]:
    """(merged results, predictions, task -> examples) of a run folder; `only`: the tasks to merge (default: all)."""
    run = existing(run, "run folder")
    found: dict[str, Row] = {}
    there: list[str] = []
    predictions: list[Row] = []
    examples: dict[str, list[Row]] = {}
    for path in sorted(run.glob("evaluation/*/results.json")):
        document = _evaluation(path)
        there.append(document["task"])
        if only and document["task"] not in only:
            continue
        found[document["task"]] = document
        beside = path.with_name("predictions.jsonl")
        predictions += [{"task": document["task"], **row} for _, row in read_jsonl(beside)] if beside.is_file() else []
        if path.with_name("examples.json").is_file():
            examples[document["task"]] = read_json(path.with_name("examples.json"))
    if not there:
        raise InputError(f"no evaluation/*/results.json in {run}. Run `meg evaluate ... --out {run}/evaluation/TASK` first.")
    for task in only:
        if task not in found:
            raise unknown("evaluated task", task, there)
    main = found.get(run.resolve().name) or next((found[name] for name in found if name != "graph"), None) or next(iter(found.values()))
    in_order = [main, *(document for document in found.values() if document is not main)]
    merged = {**main, "rows": [row for document in in_order for row in document["rows"]]}
    merged["per_relation"] = [{"task": document["task"], **row} for document in in_order for row in document.get("per_relation", [])]
    effects = {task: effects_of(rows) for task, rows in tasks(merged).items()}
    merged["run"] = run.resolve().name
    merged["tables"] = {"effects": effects, "stages": read_stages(run), "dropped": read_dropped(run)}
    return merged, predictions, examples


def _manifests(run: Path) -> list[tuple[Path, Row]]:
    paths = sorted(run.rglob("*manifest.json"), key=lambda path: path.stat().st_mtime)
    return [(path, value) for path in paths if isinstance(value := read_json(path), dict)]


def read_stages(run: Path) -> list[Row]:
    """Name, seconds and seed of each stage whose manifest lies in the run folder, in the order they ended."""
    rows = []
    for path, manifest in _manifests(run):
        place = path.parent if path.name == "manifest.json" else path.with_name(path.name.removesuffix(".manifest.json"))
        rows.append(
            {
                "stage": manifest.get("stage", "?"),
                "folder": str(place.relative_to(run)),
                "seconds": manifest.get("seconds"),
                "seed": manifest.get("settings", {}).get("seed"),
            }
        )
    return rows


def read_dropped(run: Path) -> dict[str, dict[str, int]]:
    """Stage folder -> rule -> rows that the stage left out, where it says so."""
    found = {}
    for path, manifest in _manifests(run):
        dropped = (manifest.get("result") or {}).get("dropped")
        if isinstance(dropped, dict) and any(dropped.values()):
            found[str(path.parent.relative_to(run))] = {rule: count for rule, count in dropped.items() if count}
    return found


def blocks(results: Row) -> list[Block]:
    """The report as headings, paragraphs and tables; Markdown and page show the same ones."""
    content: list[Block] = [Text(f"Model: {results.get('model', '?')}. Seed: {results.get('seed', '?')}.")]
    if set(tasks(results)) == {"graph"} and results.get("run", "graph") != "graph":
        content.append(Text(f"No question files for {results['run']} were found: questions generated from the graph take their place."))
    for task, rows in tasks(results).items():
        content.append(Heading(f"Task {task}"))
        effects = effects_of(rows)
        content += [Text(reading(effects)), effect_table(effects), accuracy_table(rows)]
        content += [Text(note(rows))] if note(rows) else []
        relations = [row for row in results.get("per_relation", []) if row["task"] == task]
        content += [Text("By relation, the most frequent ones:"), relation_table(relations)] if relations else []
    stages = results["tables"]["stages"]
    if stages:
        lines = [[s["stage"], s["folder"], _seconds(s), "" if s["seed"] is None else str(s["seed"])] for s in stages]
        content += [Heading("Stages"), Table(["stage", "folder", "seconds", "seed"], lines)]
        content.append(Text(f"Together {sum(s['seconds'] or 0 for s in stages):,.0f} seconds."))
    content.append(Heading("How it was made"))
    for folder, dropped in results["tables"]["dropped"].items():
        content.append(Text(f"Left out by {folder}: " + ", ".join(f"{rule} {count:,}" for rule, count in dropped.items()) + "."))
    for title in ("settings", "versions"):
        known = results.get(title) or {}
        if known:
            content.append(Table([title, "value"], list(flat(known))))
    content.append(
        Text(
            "Intervals are 95 % intervals over the questions of this run; a question that got no answer counts as wrong. "
            "The ceiling is what the concept vectors alone decide, without a language model."
        )
    )
    return content


def _seconds(stage: Row) -> str:
    return "" if stage["seconds"] is None else f"{stage['seconds']:,.1f}"


def markdown(results: Row, examples: dict[str, list[Row]]) -> str:
    """`report.md`."""
    parts = [f"# Results of {results.get('task', 'a run')}"]
    for block in blocks(results):
        if isinstance(block, Heading):
            parts.append(f"## {block.text}")
        elif isinstance(block, Text):
            parts.append(block.text)
        else:
            parts.append(markdown_table(block))
    for task, rows in examples.items():
        parts += [f"## Answered questions of {task}", "\n".join(example_lines(rows))]
    return "\n\n".join(parts) + "\n"


def write_report(run: Path | str, only: Sequence[str] = ()) -> Row:
    """Read a run folder and write the four files of its report into it; returns the merged results (of the tasks in `only`)."""
    from .report_html import page

    run = Path(run)
    results, predictions, examples = read_run(run, only)
    logs = [(str(path.parent.relative_to(run)), path) for path in sorted(run.rglob("metrics.jsonl"))]
    curves = {name: [row for _, row in read_jsonl(path) if {"step", "loss"} <= row.keys()] for name, path in logs}
    write_json(run / "results.json", results)
    write_jsonl(run / "predictions.jsonl", predictions)
    write_text(run / "report.md", markdown(results, examples))
    write_text(run / "report.html", page(results, blocks(results), curves, examples))
    log.info("report: %s and report.html, results.json, predictions.jsonl beside it", run / "report.md")
    return results


def report(parser: argparse.ArgumentParser) -> None:
    """Arguments of `meg report`."""
    parser.add_argument("folder", metavar="RUN_DIR", type=Path, help="a run folder with evaluation/*/results.json")

    parser.add_argument("--task", action="append", default=[], metavar="TASK", help="only this evaluation; may be repeated (default: all)")

    def run(args: argparse.Namespace) -> Row:
        results = write_report(args.folder, args.task)
        return {**results, "text": terminal(results)}

    parser.set_defaults(run=run)
