"""The knowledge graph's room: graph and sources, concept embeddings, entity linking, instructions and questions.

The public names are loaded on first use.
"""

from __future__ import annotations

import importlib
from typing import Any

if __name__ == "kg":
    raise ModuleNotFoundError("this folder is the package meg.kg: install the repository and write `from meg.kg ...`.")

_PUBLIC = {"KnowledgeGraph": ".graph", "Concept": ".graph", "Neighbor": ".graph", "ConceptEmbeddings": ".store", "EntityLinker": ".link"}
__all__ = list(_PUBLIC)


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_PUBLIC[name], __name__), name)
