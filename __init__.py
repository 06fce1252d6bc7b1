"""MEG: a medical knowledge graph inside a large language model.

The public names are loaded on first use, so that `import meg` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    "KnowledgeGraph": ".kg.graph",
    "ConceptEmbeddings": ".kg.store",
    "EntityLinker": ".kg.link",
    "MEGModel": ".models.meg",
    "MEGConfig": ".models.config",
    "InputError": ".errors",
    "settings": ".settings",
}
__all__ = [*_PUBLIC, "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_PUBLIC[name], __name__), name)


def __dir__() -> list[str]:
    return sorted(__all__)
