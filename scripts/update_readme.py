#!/usr/bin/env python3
"""Put the results of some runs into the README: python scripts/update_readme.py RUN/results.json ... [--readme README.md]

The table goes between the lines `<!-- results -->` and `<!-- /results -->`, so that no number there is typed by hand.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from meg.errors import InputError
from meg.files import read_json, write_text
from meg.qa.report_tables import readme_table

START, END = "<!-- results -->", "<!-- /results -->"


def updated(readme: str, table: str) -> str:
    """The README's text with `table` between the markers."""
    if readme.count(START) != 1 or readme.count(END) != 1 or readme.index(START) > readme.index(END):
        raise InputError(f"the README needs exactly one line {START} and after it one line {END}.")
    before, rest = readme.split(START)
    return f"{before}{START}\n{table}\n{END}{rest.split(END)[1]}"


def main(argv: list[str] | None = None) -> int:
    """Rewrite the README; exit code 2 when a file is missing or is not what it should be."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path, nargs="+", help="results.json of a run, written by `meg report`")
    parser.add_argument("--readme", type=Path, default=Path(__file__).resolve().parent.parent / "README.md")
    args = parser.parse_args(argv)
    try:
        write_text(args.readme, updated(args.readme.read_text(encoding="utf-8"), readme_table([read_json(path) for path in args.results])))
    except InputError as error:
        print(f"update_readme: error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
