"""KG encoders, one file each: a module that turns node features and the adjacency into concept embeddings."""

from __future__ import annotations

from ...registry import Registry

ENCODERS: Registry = Registry("kg_encoders", "meg.kg.encoders")
