"""One table from the runs of several seeds: true against the best control, seed by seed.

    python scripts/bench/seeds.py RUNS/seeds/0 RUNS/seeds/1 ...

`margin` is the lower bound of the true prefix minus the highest upper bound of a control (95 % Wilson intervals).
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from meg.errors import InputError
from meg.files import read_json


def rows_of(folder: Path) -> list[dict[str, Any]]:
    """The rows of the one results.json of a run below `folder`."""
    found = sorted(p for p in folder.glob("*/*/results.json"))
    if not found:
        raise InputError(f"no FAMILY/TASK/results.json below {folder}. Run scripts/bench/seeds.sh first.")
    document = read_json(found[0])
    return [{**row, "seed": document["seed"]} for row in document["rows"]]


def table(rows: list[dict[str, Any]]) -> list[str]:
    """A Markdown table, one line for each seed, question group and way to show names."""
    lines = ["| names | questions | seed | n | true | best control | | margin | trained without prefix | ceiling |", "|" + "---|" * 10]
    keys = sorted({(r["names"], r["group"], r["seed"]) for r in rows if r["condition"] == "true"})
    for names, group, seed in keys:
        here = {r["condition"]: r for r in rows if (r["names"], r["group"], r["seed"]) == (names, group, seed)}
        true = here["true"]
        controls = {name: r for name, r in here.items() if name not in ("true", "oracle")}
        best = max(controls, key=lambda name: controls[name]["ci95"][1])
        trained, ceiling = here.get("trained:no_prefix"), here.get("oracle")
        lines.append(
            f"| {'in' if names else 'out'} | {group} | {seed} | {true['n']} | {_cell(true)} | {_cell(controls[best])} | {best} "
            f"| {true['ci95'][0] - controls[best]['ci95'][1]:+.3f} | {_cell(trained)} | {ceiling['accuracy'] if ceiling else ''} |"
        )
    return lines


def _cell(row: dict[str, Any] | None) -> str:
    return f"{row['accuracy']:.3f} [{row['ci95'][0]:.3f}, {row['ci95'][1]:.3f}]" if row else ""


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    try:
        rows = [row for folder in parser.parse_args().folders for row in rows_of(folder) if row["task"] == "graph"]
    except InputError as error:
        raise SystemExit(f"seeds: error: {error}") from None
    print("\n".join(table(rows)))


if __name__ == "__main__":
    main()
