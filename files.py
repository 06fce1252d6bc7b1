"""Files: written whole or not at all, read with the line number of what is wrong, hashed once."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import os
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from .errors import InputError

UNREADABLE = (OSError, EOFError, UnicodeDecodeError, zlib.error)  # what reading a damaged or forbidden file raises


def sibling(path: Path) -> Path:
    """A temporary name beside `path` (same file system, hidden), not created."""
    return path.with_name(f".{path.name}.{os.getpid()}.partial")


def remove(path: Path) -> None:
    """Remove a file or a folder if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def whole(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path; what is written there takes the place of `path` only if the block succeeds.

    Works for a file and for a folder (make the folder yourself). Whatever interrupts the block, also Ctrl-C,
    leaves `path` as it was and nothing beside it; where the new folder cannot take its place, the old one is put back.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise InputError(f"cannot write to {path.parent}: {error.strerror}. Choose another output folder.") from None
    partial, old = sibling(path), path.with_name(f".{path.name}.{os.getpid()}.old")
    remove(partial)
    try:
        yield partial
        if path.is_dir() and not partial.is_dir():
            raise InputError(f"{path} is a folder, and a file would be written. Choose another name.")
        if partial.is_dir() and path.exists():
            path.rename(old)
            partial.rename(path)
        else:
            partial.replace(path)
    finally:
        if old.exists() and not path.exists():
            old.rename(path)
        remove(old)
        remove(partial)


def write_text(path: Path | str, text: str) -> None:
    """Write a text file whole."""
    with whole(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: Path | str, value: Any) -> None:
    """Write one JSON document, indented, whole."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_jsonl(path: Path | str, rows: Any) -> None:
    """Write an iterable of JSON rows, one a line, whole."""
    with whole(path) as partial, partial.open("w", encoding="utf-8") as out:
        for row in rows:
            out.write(json.dumps(row, ensure_ascii=False) + "\n")


def existing(path: Path | str, what: str, then: str = "Check the path.") -> Path:
    """`path` if it is there, else an `InputError` that names it."""
    path = Path(path)
    if not path.exists():
        raise InputError(f"{what} not found: {path}. {then}")
    return path


def open_text(path: Path | str) -> IO[str]:
    """Open a UTF-8 text file, plain or gzip (by its first bytes), for reading."""
    try:
        path = existing(path, "file")
        if path.is_dir():
            raise InputError(f"{path} is a folder, a file is needed.")
        with path.open("rb") as head:
            zipped = head.read(2) == b"\x1f\x8b"
        raw = gzip.open(path, "rb") if zipped else path.open("rb")  # noqa: SIM115 (the wrapper closes it)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}. Check the path and its permissions.") from None
    return io.TextIOWrapper(raw, encoding="utf-8-sig", newline="")


def read_json(path: Path | str) -> Any:
    """One JSON document, or an `InputError` with the line that does not parse."""
    with open_text(path) as lines:
        try:
            return json.load(lines)
        except json.JSONDecodeError as error:
            raise InputError(f"{path}:{error.lineno}: not valid JSON ({error.msg}).") from None
        except UNREADABLE as error:
            raise InputError(f"{path}: cannot be read ({error}).") from None


def read_jsonl(path: Path | str) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line number, object) of every non-empty line of a JSON-lines file; a bad line is an `InputError`."""
    number = 0
    try:
        with open_text(path) as lines:
            for number, line in enumerate(lines, 1):
                if not line.strip():
                    continue
                try:
                    row = json.loads(line)
                except json.JSONDecodeError as error:
                    raise InputError(f"{path}:{number}: not valid JSON ({error.msg}). One object a line is needed.") from None
                if not isinstance(row, dict):
                    raise InputError(f"{path}:{number}: a JSON object is needed, not {type(row).__name__}.")
                yield number, row
    except UNREADABLE as error:
        raise InputError(f"{path}:{number + 1}: cannot be read ({error}).") from None


def read_tsv(path: Path | str, columns: list[str] | None = None, required: int | None = None) -> Iterator[tuple[int, list[str]]]:
    """(line number, fields) of a tab-separated file, plain or gzip.

    With `columns` the first line must be a header that starts with them; every row needs at least `required`
    (default: all) of them. A row that has fewer is an `InputError` with its line number.
    """
    needed = required if required is not None else len(columns or [])
    number = 0
    try:
        with open_text(path) as lines:
            reader = csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
            for number, fields in enumerate(reader, 1):
                if number == 1 and columns is not None:
                    if fields[: len(columns)] != columns:
                        raise InputError(f"{path}:1: the header must begin with {', '.join(columns)}; found {', '.join(fields)}.")
                    continue
                if not fields:
                    continue
                if len(fields) < needed:
                    raise InputError(f"{path}:{number}: {len(fields)} tab-separated fields, at least {needed} are needed.")
                yield number, fields
    except (*UNREADABLE, csv.Error) as error:
        raise InputError(f"{path}:{number + 1}: cannot be read ({error}).") from None


def sha256(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
