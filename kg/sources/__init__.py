"""Sources of a graph, one file each: `@SOURCES.register("kind")` on a function `read(path) -> GraphRows`.

On the command line and in `KnowledgeGraph.build` a source is `KIND:PATH`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ...errors import InputError
from ...registry import Registry
from ..rows import GraphRows

SOURCES: Registry[Callable[[Path], GraphRows]] = Registry("kg_sources", "meg.kg.sources")


def split_spec(spec: str) -> tuple[str, str]:
    """(kind, path) of `KIND:PATH`; only `sample` needs no path."""
    kind, colon, path = spec.partition(":")
    if not colon and kind not in SOURCES.names():
        raise InputError(f"source {spec!r} is not KIND:PATH. Kinds: {', '.join(SOURCES.names())}.")
    if not path and kind in SOURCES.names() and kind != "sample":
        raise InputError(f"source {spec!r} names no path. Write {kind}:PATH.")
    return kind, path


def source_path(spec: str) -> Path | None:
    """The path of a source, or None where the data come with the package."""
    path = split_spec(spec)[1]
    return Path(path).expanduser() if path else None


def source_name(spec: str) -> str:
    """How a graph names its source: the kind and the last part of the path."""
    path = source_path(spec)
    kind = split_spec(spec)[0]
    return kind if path is None else f"{kind}:{path.resolve().name}"


def read_source(spec: str) -> GraphRows:
    """Read `KIND:PATH`; InputError for an unknown kind (with the list), a missing path or a bad row."""
    kind, _ = split_spec(spec)
    return SOURCES[kind](source_path(spec) or Path())
