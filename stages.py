"""Stages: a piece of long work that leaves its manifest, and is skipped when its inputs did not change.

A stage's output is one folder (manifest inside, `manifest.json`) or one file (manifest beside it,
`<stem>.manifest.json`). The fingerprint is a hash of the settings, the inputs' contents, the version of MEG and the
sources of the rooms that do the work.
"""

from __future__ import annotations

import functools
import hashlib
import json
import logging
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from . import __version__
from .errors import InputError
from .files import existing, read_json, sha256, whole, write_json

log = logging.getLogger("meg")
MANIFEST = "manifest.json"


def manifest_path(out: Path, folder: bool) -> Path:
    """Where the manifest of a stage's output lies."""
    return out / MANIFEST if folder else out.with_name(f"{out.stem}.{MANIFEST}")


def _stamp(path: Path) -> list[int]:
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]


def _files(path: Path) -> list[Path]:
    return sorted(p for p in path.rglob("*") if p.is_file() and p.name != MANIFEST) if path.is_dir() else [path]


def _digest(path: Path, known: Mapping[str, Any]) -> dict[str, Any]:
    """{"sha256", "files": {name: [size, mtime, sha256]}}; files whose size and time did not change are not read again."""
    before = known.get("files", {})
    rows: dict[str, Any] = {}
    for file in _files(path):
        name = str(file.relative_to(path)) if path.is_dir() else file.name
        stamp = _stamp(file)
        old = before.get(name)
        rows[name] = [*stamp, old[2] if old and old[:2] == stamp else sha256(file)]
    total = hashlib.sha256(json.dumps([[n, r[2]] for n, r in rows.items()]).encode()).hexdigest()
    return {"sha256": total, "files": rows}


@functools.cache
def code_digest(room: str) -> str:
    """SHA-256 over the names and bytes of the Python sources of a room (a folder of the package)."""
    folder, total = Path(__file__).parent / room, hashlib.sha256()
    for file in sorted(folder.rglob("*.py")):
        total.update(f"{file.relative_to(folder)} {sha256(file)}\n".encode())
    return total.hexdigest()


def _complete(out: Path, recorded: Mapping[str, Any]) -> bool:
    files = recorded.get("files", {})
    base = out if out.is_dir() else out.parent
    return bool(files) and all((base / n).exists() and _stamp(base / n) == row[:2] for n, row in files.items())


def run_stage(
    name: str,
    out: Path | str,
    work: Callable[[Path], Mapping[str, Any] | None],
    *,
    inputs: Mapping[str, Path | str] | None = None,
    settings: Mapping[str, Any] | None = None,
    code: tuple[str, ...] = (),
    folder: bool = True,
    force: bool = False,
) -> dict[str, Any]:
    """Run `work(partial)` unless `out` already holds the result of the same inputs, settings and `code` (names of rooms).

    `work` writes a folder (already made) or a file at `partial`, and may return JSON figures, which the manifest
    keeps under "result". Returns the manifest; its key "skipped" says whether anything ran.

    Raises:
        InputError: an input is missing, or the output cannot be written.
    """
    out = Path(out)
    if out.exists() and out.is_dir() != folder:
        raise InputError(f"{out} is not a {'folder' if folder else 'file'}, which is what would be written. Choose another --out.")
    if folder and out.is_dir() and any(out.iterdir()) and not (out / MANIFEST).is_file():
        raise InputError(f"{out} holds files that are not of a stage of MEG. Choose another --out, or empty it.")
    settings = json.loads(json.dumps(dict(settings or {}), default=str))
    record = manifest_path(out, folder)
    try:
        old = read_json(record) if record.is_file() else {}
        old = old if isinstance(old, dict) else {}
    except InputError:
        old = {}
    digests = {}
    for key, path in (inputs or {}).items():
        path = existing(path, f"input {key!r} of stage {name!r}", "Check the path, or run the stage that makes it.")
        digests[key] = {"path": str(path), **_digest(path, old.get("inputs", {}).get(key, {}))}
    sources = {room: code_digest(room) for room in code}
    contents = {key: digest["sha256"] for key, digest in digests.items()}
    print_of = {"stage": name, "version": __version__, "code": sources, "settings": settings, "inputs": contents}
    fingerprint = hashlib.sha256(json.dumps(print_of, sort_keys=True).encode()).hexdigest()
    if not force and old.get("fingerprint") == fingerprint and _complete(out, old.get("output", {})):
        log.info("%s: up to date, skipped (%s)", name, out)
        return {**old, "skipped": True}

    if int(os.environ.get("RANK", "0")) > 0:  # under torchrun the first process alone writes
        with tempfile.TemporaryDirectory() as scratch:
            partial = Path(scratch) / out.name
            if folder:
                partial.mkdir()
            return {"result": dict(work(partial) or {}), "skipped": False}
    log.info("%s: running (%s)", name, out)
    start = time.perf_counter()
    manifest: dict[str, Any] = {"stage": name, "fingerprint": fingerprint, "code": sources, "settings": settings, "inputs": digests}
    with whole(out) as partial:
        if folder:
            partial.mkdir()
        result = work(partial)
        manifest |= {"result": dict(result or {}), "versions": versions(), "seconds": round(time.perf_counter() - start, 2)}
        if folder:
            manifest["output"] = _digest(partial, {})
            write_json(partial / MANIFEST, manifest)
    if not folder:
        manifest["output"] = _digest(out, {})
        write_json(record, manifest)
    log.info("%s: done in %.1f s", name, manifest["seconds"])
    return {**manifest, "skipped": False}


def versions() -> dict[str, str]:
    """Versions of MEG, Python and the libraries that decide a result."""
    import platform
    from importlib.metadata import PackageNotFoundError, version

    found = {"meg": __version__, "python": platform.python_version()}
    for package in ("torch", "transformers", "peft", "torch-geometric", "sentence-transformers", "numpy"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
