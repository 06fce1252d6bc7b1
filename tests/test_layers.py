"""The structure of the house: which room may import which, what is packaged, and what no file may name."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import meg

ROOT = Path(meg.__file__).parent
ROOMS = ("kg", "mapping", "models", "qa")
MAY_IMPORT = {
    "root": {"root"},
    "kg": {"kg", "root"},
    "mapping": {"mapping", "root"},
    "models": {"models", "mapping", "root"},
    "qa": {"qa", "models", "mapping", "kg", "root"},
    "cli": {"cli", "qa", "models", "mapping", "kg", "root"},
    "scripts": {"scripts", "cli", "qa", "models", "mapping", "kg", "root"},
}
SOURCES = [p for p in [*ROOT.glob("*.py"), *(p for folder in (*ROOMS, "scripts") for p in (ROOT / folder).rglob("*.py"))]]


def room_of(path: Path) -> str:
    parts = path.relative_to(ROOT).parts
    if len(parts) == 1:
        return "cli" if parts[0] == "cli.py" else "root"
    return parts[0]


def imported(path: Path) -> Iterator[str]:
    """Absolute names of all imports of a file, wherever they stand in it."""
    package = ["meg", *path.relative_to(ROOT).parent.parts]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{module}.{alias.name}" for alias in node.names)


def target(name: str) -> str | None:
    """The room of an imported name; None for other distributions."""
    parts = name.split(".")
    if parts[0] != "meg":
        return None
    second = parts[1] if len(parts) > 1 else ""
    return second if second in (*ROOMS, "cli", "scripts") else "root"


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_one_way_and_never_at_bare_rooms(path):
    names = set(imported(path))
    assert not {name for name in names if name.split(".")[0] in ROOMS}
    assert {room for name in names if (room := target(name))} <= MAY_IMPORT[room_of(path)]


def test_a_wrong_import_would_be_found():
    wrong = ROOT / "kg" / "imaginary.py"
    parsed = [target(name) for name in ("meg.models.meg.MEGModel", "meg.errors.InputError", "numpy.array")]
    assert parsed == ["models", "root", None]
    assert room_of(wrong) == "kg" and "models" not in MAY_IMPORT["kg"]


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_packages_are_the_folders():
    folders = {p.parent.relative_to(ROOT) for room in ROOMS for p in (ROOT / room).rglob("*.py")}
    assert set(project()["tool"]["setuptools"]["packages"]) == {"meg", *(".".join(("meg", *folder.parts)) for folder in folders)}
    assert all((ROOT / folder / "__init__.py").is_file() for folder in folders)
    assert not list((ROOT / "tests").rglob("__init__.py"))


def test_every_package_data_pattern_finds_a_file():
    for package, patterns in project()["tool"]["setuptools"]["package-data"].items():
        folder = ROOT.joinpath(*package.split(".")[1:])
        assert any(list(folder.glob(pattern)) for pattern in patterns), package


def test_pins_cover_what_the_project_needs():
    pinned = dict(re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE))
    lines = (ROOT / "constraints.txt").read_text().split()
    assert len(lines) == len(pinned), "every line of constraints.txt is NAME==VERSION"
    assert not [version for version in pinned.values() if "+" in version]
    pinned = {name.lower().replace("_", "-") for name in pinned}
    extras = project()["project"]["optional-dependencies"]
    needed = project()["project"]["dependencies"] + extras["offline"] + extras["dev"]
    assert {re.split(r"[<>=]", line)[0].lower() for line in needed} <= pinned


def test_bare_models_cannot_be_imported():
    done = subprocess.run([sys.executable, "-c", "import models"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert "ModuleNotFoundError" in done.stderr and "meg.models" in done.stderr


def test_importing_meg_costs_nothing():
    script = "import sys, meg; print({'numpy', 'torch', 'transformers'} & set(sys.modules))"
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert out == "set()\n"


def tracked() -> list[Path]:
    done = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True)
    if done.returncode == 0:
        return [path for line in done.stdout.splitlines() if (path := ROOT / line).is_file()]
    return [p for p in ROOT.rglob("*") if p.is_file() and not any(part.startswith(".") for part in p.relative_to(ROOT).parts)]


def test_no_file_names_a_registry_host_or_a_path_of_one_machine():
    hosts = ("pypi" + ".org", "python" + "hosted", "download.py" + "torch", "npm" + "js", "conda" + ".anaconda", "test.py" + "pi")
    machine = re.compile(r"(?<![\w.:/~$}-])/(?:home|root|work|mnt|tmp|opt|srv|Users)/\w")
    found = []
    for path in tracked():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found += [f"{path.relative_to(ROOT)}: {host}" for host in hosts if host in text]
        if path.suffix in (".py", ".sh", ".md", ".toml", ".config", "") and path.name != "LICENSE":
            found += [f"{path.relative_to(ROOT)}: {hit[0]}" for hit in machine.finditer(text)]
    assert found == []


def test_public_names_are_described():
    for path in SOURCES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        assert ast.get_docstring(tree) or path.stat().st_size == 0, f"{path.relative_to(ROOT)} has no docstring"
        for node in tree.body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                assert ast.get_docstring(node), f"{path.relative_to(ROOT)}:{node.lineno}: {node.name} has no docstring"
