"""What a report says: tables and sentences from the rows of `results.json`, and nothing that is not in them.

A column of a table is a question group with the names of the concepts in or out of the prompt; only rows of one
column are compared with each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

Row = dict[str, Any]
TRUE, CEILING = "true", "oracle"
LABELS = {
    "true": "MEG, true prefix",
    "trained:no_prefix": "trained without prefix",
    "trained:constant": "trained with one learned constant",
    "trained:rewired": "trained on a rewired graph",
    "trained:text": "trained on text-only vectors",
    "swap:none": "prefix taken out",
    "swap:none_question": "question's concepts taken out",
    "swap:zero": "prefix of zeros",
    "swap:noise": "prefix of noise",
    "swap:shuffled": "concepts shuffled",
    "oracle": "ceiling: vectors alone",
}


@dataclass(frozen=True)
class Heading:
    """A heading of a report."""

    text: str


@dataclass(frozen=True)
class Text:
    """A paragraph of a report, plain text."""

    text: str


@dataclass(frozen=True)
class Table:
    """A table of a report: one header row, and cells as text."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]


Block = Heading | Text | Table


def label(condition: str) -> str:
    """A condition in words; an unknown one as it is."""
    return LABELS.get(condition, condition)


def _rank(condition: str) -> int:
    kinds = (TRUE, "trained:", "swap:")
    return next((i for i, kind in enumerate(kinds) if condition.startswith(kind)), 4 if condition == CEILING else 3)


def conditions(rows: Iterable[Row]) -> list[str]:
    """The conditions of some rows in reading order: true, trained controls, swapped ones, others, the ceiling."""
    return sorted(dict.fromkeys(row["condition"] for row in rows), key=_rank)


def column(row: Row) -> tuple[str, bool | None]:
    """(question group, whether names are in the prompt): what makes two rows comparable."""
    return row.get("group", "all"), row.get("names")


def column_title(key: tuple[str, bool | None]) -> str:
    """A column in words, such as "random, names out"."""
    group, names = key
    return group if names is None else f"{group}, names {'in' if names else 'out'}"


def tasks(results: Row) -> dict[str, list[Row]]:
    """The rows of a merged `results.json` by task, in their order."""
    found: dict[str, list[Row]] = {}
    for row in results["rows"]:
        found.setdefault(row.get("task", results.get("task", "?")), []).append(row)
    return found


def by_column(rows: Iterable[Row]) -> dict[tuple[str, bool | None], list[Row]]:
    """The rows of each column, columns in their order."""
    found: dict[tuple[str, bool | None], list[Row]] = {}
    for row in rows:
        found.setdefault(column(row), []).append(row)
    return found


def effect(rows: Sequence[Row]) -> Row | None:
    """True against the controls of one column; None without a scored true row.

    `difference` is true minus the best control that was trained anew; `separated` says whether the lower bound
    of the true row is above the upper bound of every control. Both are None where there is no such control.
    """
    at = {row["condition"]: row for row in rows if row["accuracy"] is not None}
    if TRUE not in at:
        return None
    true = at[TRUE]
    controls = [row for name, row in at.items() if name not in (TRUE, CEILING)]
    best = max(controls, key=lambda row: row["accuracy"], default=None)
    rival = max((row for row in controls if row["condition"].startswith("trained:")), key=lambda row: row["accuracy"], default=None)
    return {
        "group": column(true)[0],
        "names": column(true)[1],
        "n": true["n"],
        "true": _short(true),
        "best_control": best and f"{_short(best)} {label(best['condition'])}",
        "best_trained": rival and f"{_short(rival)} {label(rival['condition'])}",
        "difference": rival and round(true["accuracy"] - rival["accuracy"], 4),
        "separated": true["ci95"][0] > max(row["ci95"][1] for row in controls) if controls else None,
        "ceiling": at[CEILING]["accuracy"] if CEILING in at else None,
        "above_chance": None if true.get("chance") is None else true["ci95"][0] > true["chance"],
    }


def _short(row: Row) -> str:
    return f"{row['accuracy']:.3f} [{row['ci95'][0]:.3f}, {row['ci95'][1]:.3f}]"


def effects_of(rows: Sequence[Row]) -> list[Row]:
    """The effect in each column of one task."""
    return [found for part in by_column(rows).values() if (found := effect(part))]


def effect_table(effects: Sequence[Row]) -> Table:
    """Effects with their best controls, one question group a line."""
    header = ["questions", "n", "MEG", "best control", "best control trained anew", "difference", "above every control", "ceiling"]
    yes = {True: "yes", False: "no", None: ""}
    body = []
    for e in effects:
        points = "" if e["difference"] is None else f"{e['difference'] * 100:+.1f} points"
        ceiling = "" if e["ceiling"] is None else f"{e['ceiling']:.3f}"
        title = column_title((e["group"], e["names"]))
        body.append(
            [title, f"{e['n']:,}", e["true"], e["best_control"] or "", e["best_trained"] or "", points, yes[e["separated"]], ceiling]
        )
    return Table(header, body)


def reading(effects: Sequence[Row]) -> str:
    """What the effects say in plain words; the graph is credited only where the intervals are apart."""
    guessed = [column_title((e["group"], e["names"])) for e in effects if e["above_chance"] is False]
    if guessed:
        return f"{_compared(effects)} With the true prefix the answers cannot be told from guessing for {'; '.join(guessed)}."
    return _compared(effects)


def _compared(effects: Sequence[Row]) -> str:
    tested = [e for e in effects if e["separated"] is not None]
    if not tested:
        return "No control was run beside a scored true prefix, so this says nothing about the graph."
    apart, others = ([column_title((e["group"], e["names"])) for e in tested if e["separated"] is answer] for answer in (True, False))
    bound = "MEG's lower bound is above the upper bound of every control"
    if not others:
        return f"For every kind of question {bound}: here the graph makes the difference."
    if not apart:
        return f"For no kind of question is it so that {bound}: this run does not show that the graph helps."
    shown = f"{bound} for {'; '.join(apart)}: there the graph makes the difference."
    return f"{shown} This run does not show that it helps for {'; '.join(others)}."


def note(rows: Sequence[Row]) -> str:
    """What the control without a prefix means where names are out; empty where it does not occur."""
    if not any(row["condition"] == "trained:no_prefix" and row.get("names") is False for row in rows):
        return ""
    return (
        "Trained without prefix: with names in, the prompt has no concept vector at all; with names out the options keep theirs, "
        "because nothing else tells them apart, and the question has none."
    )


def example_lines(examples: Sequence[Row]) -> list[str]:
    """Answered questions as Markdown list items: the options with their probabilities, the concepts used, the triplets between them."""
    lines = []
    for e in examples:
        lines.append(f"- **{e['question']}**")
        for i, (text, p) in enumerate(zip(e["options"], e["probabilities"], strict=True)):
            marks = [word for word, index in (("answer", e["pred"]), ("right", e["gold"])) if index == i]
            lines.append(f"  - {text}: {p:.2f}" + (f" ({', '.join(marks)})" if marks else ""))
        used = [*e["concepts"], *(c for option in e["option_concepts"] for c in option)]
        lines.append("  - concepts: " + ("; ".join(f"{c['name']} [{c['id']}]" for c in used) or "none"))
        lines += [f"  - evidence: {head} — {relation} → {tail}" for head, relation, tail in e["evidence"]]
    return lines


def cell(row: Row | None) -> str:
    """Accuracy, interval and n of a row."""
    if row is None:
        return ""
    if row.get("accuracy") is None:
        return f"no gold answers (n {row['n']:,})"
    low, high = row["ci95"]
    unanswered = f", {row['unanswered']:,} unanswered" if row.get("unanswered") else ""
    return f"{row['accuracy']:.3f} [{low:.3f}, {high:.3f}] (n {row['n']:,}{unanswered})"


def accuracy_table(rows: Sequence[Row]) -> Table:
    """One task: conditions down, question groups with and without names across."""
    columns = by_column(rows)
    at = {(row["condition"], column(row)): row for row in rows}
    body = [[label(name), *(cell(at.get((name, key))) for key in columns)] for name in conditions(rows)]
    return Table(["condition", *map(column_title, columns)], body)


def relation_table(rows: Sequence[Row], most: int = 20) -> Table:
    """The true prefix by relation, `most` relations with the most questions, question groups across."""
    columns = list(by_column(rows))
    counts: dict[str, int] = {}
    for row in rows:
        counts[row["relation"]] = counts.get(row["relation"], 0) + row["n"]
    at = {(row["relation"], column(row)): row for row in rows}
    names = sorted(counts, key=lambda name: (-counts[name], name))[:most]
    return Table(["relation", *map(column_title, columns)], [[name, *(cell(at.get((name, key))) for key in columns)] for name in names])


def flat(value: Row, before: str = "") -> Iterable[tuple[str, str]]:
    """Nested settings as (dotted key, value) pairs."""
    for key, item in value.items():
        if isinstance(item, dict):
            yield from flat(item, f"{before}{key}.")
        else:
            yield f"{before}{key}", str(item)


def markdown_table(table: Table) -> str:
    """A table in Markdown."""
    lines = [table.header, ["---"] * len(table.header), *table.rows]
    return "\n".join("| " + " | ".join(str(item).replace("|", "\\|").replace("\n", " ") for item in line) + " |" for line in lines)


def readme_table(runs: Sequence[Row]) -> str:
    """The result table of the README, in Markdown, from the merged `results.json` of some runs."""
    lines = []
    for results in runs:
        graph = results.get("settings", {}).get("graph", {})
        name = f"{', '.join(graph.get('sources', ['?']))} ({graph.get('concepts', 0):,} concepts)"
        tables = {task: effect_table(effects_of(rows)) for task, rows in tasks(results).items()}
        lines += [[name, task, *line] for task, table in tables.items() for line in table.rows]
    return markdown_table(Table(["graph", "task", *effect_table([]).header], lines))


def terminal(results: Row) -> str:
    """The accuracy tables for a terminal: columns as paragraphs, because they are wider than a screen."""
    lines: list[str] = []
    for task, rows in tasks(results).items():
        for key, part in by_column(rows).items():
            lines.append(f"{task}: {column_title(key)}")
            lines += [f"  {label(name):<34} {cell(next(r for r in part if r['condition'] == name))}" for name in conditions(part)]
        lines.append(f"{task}: {reading(effects_of(rows))}")
    return "\n".join(lines)
