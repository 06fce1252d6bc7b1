"""The README: its commands parse or run dry, its Python names exist, its tree is the tree."""

from __future__ import annotations

import ast
import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

import meg
from meg.cli import find, parser_of

ROOT = Path(meg.__file__).parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


LINES = [line for block in blocks("bash") for line in block.splitlines() if line.strip()]
JOBS = [line for line in LINES if "scripts/" in line and "scripts/test.sh" not in line]
COMMANDS = [line for line in LINES if line.startswith("meg ")]


def test_every_command_is_of_a_kind_that_is_tested():
    assert set(LINES) == {*JOBS, *COMMANDS, "bash scripts/test.sh"}
    assert LINES[:2] == ["bash scripts/mistral/run_medqa_usmle.sh", "bash scripts/test.sh"]
    assert (ROOT / "scripts/test.sh").is_file()


@pytest.mark.parametrize("line", JOBS)
def test_jobs_run_dry(line):
    env = {key: value for key, value in os.environ.items() if key not in ("MODEL", "NPROC", "OUTPUT_DIR")}
    done = subprocess.run(["bash", "-c", f"{line} --dry-run"], cwd=ROOT, env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "train vocabulary" in done.stdout


@pytest.mark.parametrize("line", COMMANDS)
def test_commands_parse(line):
    name, rest = find(shlex.split(line)[1:])
    assert callable(parser_of(name).parse_args(rest).run)


def test_python_names_exist():
    for block in blocks("python"):
        imports = [node for node in ast.walk(ast.parse(block)) if isinstance(node, ast.ImportFrom) and node.module == "meg"]
        assert imports and all(hasattr(meg, alias.name) for node in imports for alias in node.names)


def test_tree_names_only_what_is_there():
    tree = next(block for block in blocks("text") if block.startswith("cli.py"))
    folder = ""
    for line in tree.splitlines():
        name = line.split()[0]
        if not line.startswith(" "):
            folder = name if name.endswith("/") else ""
        path = ROOT / name if not line.startswith(" ") else ROOT / folder / name
        assert path.is_dir() if name.endswith("/") else path.is_file(), line
        assert len(line.split(maxsplit=1)[1]) > 3


def test_tree_names_every_room_and_the_result_table_has_its_place():
    listed = {line.split()[0] for block in blocks("text") for line in block.splitlines() if line and not line.startswith(" ")}
    assert {"kg/", "mapping/", "models/", "qa/", "scripts/", "tests/"} <= listed
    assert README.index("<!-- results -->") < README.index("<!-- /results -->")
    assert "/work" not in README
