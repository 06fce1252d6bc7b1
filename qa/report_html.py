"""The page of a report: one file without references, light and dark, readable on a phone.

Plots are inline SVG from matplotlib; their text and axes take the colour of the page (`currentColor`).
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from .report_tables import CEILING, TRUE, Block, Heading, Row, Table, Text, column, column_title, conditions, label, tasks

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK = "#010203"  # stands for the page's text colour in a plot
COLOURS = {TRUE: "#2f81f7", "trained:": "#d9822b", "swap:": "#8c959f", CEILING: "#2da44e"}
STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.2rem; margin-top: 2.5rem; border-bottom: 1px solid var(--line); }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-size: .875rem; }
th, td { text-align: left; padding: .3rem .6rem; border-bottom: 1px solid var(--line); vertical-align: top; }
td:nth-child(n+2) { font-variant-numeric: tabular-nums; }
.plots { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 20rem), 1fr)); }
figure { margin: 0; } figcaption { font-size: .875rem; } svg { width: 100%; height: auto; max-width: 30rem; }
article { background: var(--soft); padding: .75rem 1rem; margin: 1rem 0; border-radius: .5rem; overflow-wrap: anywhere; }
li.gold { font-weight: 600; } small { opacity: .8; }
"""


def page(results: Row, content: Sequence[Block], curves: dict[str, list[Row]], examples: dict[str, list[Row]]) -> str:
    """`report.html`: the blocks of the report, a plot for each column of a task, loss curves and example answers."""
    title = f"Results of {results.get('task', 'a run')}"
    by_task = tasks(results)
    parts = []
    for block in content:
        parts.append(_block(block))
        if isinstance(block, Table) and block.header[0] == "condition":
            task = next(iter(by_task))
            parts.append(_accuracy_plots(task, by_task.pop(task)))
            parts += [f"<h3>Example answers</h3>{''.join(map(_example, examples[task]))}"] if examples.get(task) else []
    if curves:
        parts.append(f'<h2>Training loss</h2><div class="plots">{"".join(_loss_plots(curves))}</div>')
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>{escape(title)}</title>'
    body = "\n".join([f"<h1>{escape(title)}</h1>", *parts])
    return f'<!doctype html>\n<html lang="en"><head>{head}<style>{STYLE}</style></head>\n<body>{body}</body></html>\n'


def _block(block: Block) -> str:
    if isinstance(block, Heading):
        return f"<h2>{escape(block.text)}</h2>"
    if isinstance(block, Text):
        return f"<p>{escape(block.text)}</p>"
    head = "".join(f"<th>{escape(item)}</th>" for item in block.header)
    body = "\n".join("<tr>" + "".join(f"<td>{escape(item)}</td>" for item in row) + "</tr>" for row in block.rows)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _svg(figure: Figure, name: str) -> str:
    """A figure as inline SVG without metadata; the ids that remain are hashed with `name`, so no other figure has them."""
    import matplotlib

    out = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(out, format="svg", transparent=True, bbox_inches="tight")
    text = out.getvalue().replace(INK, "currentColor")
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    used = set(re.findall(r'#([^")]+)', text))
    return re.sub(r' id="([^"]+)"', lambda found: found[0] if found[1] in used else "", text)


def _axes(width: float, height: float) -> tuple[Figure, Any]:
    """An empty figure of `width` x `height` inches in the page's ink."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    axes = figure.subplots()
    axes.tick_params(colors=INK)
    axes.xaxis.label.set_color(INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(INK)
    return figure, axes


def _colour(condition: str) -> str:
    return next((colour for kind, colour in COLOURS.items() if condition.startswith(kind)), COLOURS["swap:"])


def _accuracy_plots(task: str, rows: Sequence[Row]) -> str:
    """One small plot a column: accuracy with its interval, a line per condition, all on the axis from 0 to 1."""
    figures = []
    for number, key in enumerate(dict.fromkeys(map(column, rows))):
        part = {row["condition"]: row for row in rows if column(row) == key and row["accuracy"] is not None}
        names = conditions(part.values())
        if not names:
            continue
        figure, axes = _axes(3.2, 0.6 + 0.27 * len(names))
        for place, name in enumerate(names):
            low, high = part[name]["ci95"]
            axes.plot([low, high], [place, place], color=_colour(name), linewidth=2.5)
            axes.plot(part[name]["accuracy"], place, "o", color=_colour(name), markersize=6)
        axes.set(xlim=(0, 1), ylim=(len(names) - 0.5, -0.5), xlabel="accuracy, 95 % interval")
        axes.set_yticks(range(len(names)), [label(name) for name in names])
        axes.grid(axis="x", color=INK, alpha=0.15)
        caption = escape(f"{task}: {column_title(key)}")
        figures.append(f"<figure>{_svg(figure, f'{task}-{number}')}<figcaption>{caption}</figcaption></figure>")
    return f'<div class="plots">{"".join(figures)}</div>' if figures else ""


def _loss_plots(curves: dict[str, list[Row]]) -> Iterable[str]:
    """One small plot a training stage."""
    for number, (stage, rows) in enumerate(curves.items()):
        figure, axes = _axes(3.6, 2.0)
        axes.plot([row["step"] for row in rows], [row["loss"] for row in rows], color=COLOURS[TRUE])
        axes.set(xlabel="optimizer step")
        axes.set_ylim(bottom=0)
        axes.grid(color=INK, alpha=0.15)
        yield f"<figure>{_svg(figure, f'loss-{number}')}<figcaption>{escape(stage)}</figcaption></figure>"


def _concepts(concepts: Sequence[Row]) -> str:
    """Concepts as names with their ids."""
    return ", ".join(f"{concept['name']} ({concept['id']})" for concept in concepts)


def _example(example: Row) -> str:
    """One question with its options, their probabilities, and the concepts that the model was given."""
    linked = example.get("option_concepts") or []
    chances = example.get("probabilities") or []
    items = []
    for place, option in enumerate(example.get("options") or []):
        marks = [f"{chances[place]:.1%}"] if place < len(chances) else []
        marks += ["right answer"] if place == example.get("gold") else []
        marks += ["MEG's answer"] if place == example.get("pred") else []
        concepts = _concepts(linked[place]) if place < len(linked) else ""
        kind = ' class="gold"' if place == example.get("gold") else ""
        more = f"<br><small>{escape(concepts)}</small>" if concepts else ""
        items.append(f"<li{kind}>{escape(str(option))} <small>{escape(', '.join(marks))}</small>{more}</li>")
    evidence = "; ".join(" ".join(triplet) for triplet in example.get("evidence") or [])
    notes = [("Concepts of the question", _concepts(example.get("concepts") or [])), ("Triplets between question and options", evidence)]
    below = "".join(f"<p><small>{title}: {escape(text)}</small></p>" for title, text in notes if text)
    return f'<article><p>{escape(str(example.get("question", "")))}</p><ol type="A">{"".join(items)}</ol>{below}</article>'
