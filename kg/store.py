"""Concept embeddings: one matrix with the ids of its rows, kept in one HDF5 file.

Our layout: `vectors` (N, D) float32, `ids` (N,) UTF-8 bytes, the JSON attribute `meta`, and where the encoder left
them the groups `split` and `decoder`. Also read: the published file of Cabello et al. (2024,
https://arxiv.org/abs/2411.03883) with one dataset per concept, which costs one look-up a concept to load.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError, unknown
from ..files import existing, whole
from .graph import KnowledgeGraph

FORMATS = ("h5", "npy", "tsv", "word2vec")
NEXT = "Make the file with `meg kg embed`."


@dataclass
class ConceptEmbeddings:
    """Vectors of concepts.

    Attributes:
        ids: N concept ids, unique. vectors: float32 (N, D), finite.
        meta: encoder, settings, seed, versions and `graph`, the fingerprint of the graph they belong to.
        split: train/valid/test triplets, int32 (n, 3), of a training with a held-out part.
        decoder: arrays that the encoder's own score needs.
    """

    ids: list[str]
    vectors: np.ndarray
    meta: dict[str, Any] = field(default_factory=dict)
    split: dict[str, np.ndarray] | None = None
    decoder: dict[str, np.ndarray] | None = None

    def __post_init__(self) -> None:
        self.vectors = np.ascontiguousarray(self.vectors, dtype=np.float32)
        if self.vectors.ndim != 2 or len(self.vectors) != len(self.ids):
            raise InputError(f"{len(self.ids)} concept ids do not fit vectors of shape {self.vectors.shape}; one row a concept is needed.")
        if not np.isfinite(self.vectors).all():
            raise InputError("concept embeddings hold NaN or infinite numbers. Train them again.")
        if len(set(self.ids)) != len(self.ids):
            raise InputError("a concept id occurs twice in the embeddings; ids must be unique.")

    # -- files

    @classmethod
    def load(cls, path: Path | str) -> ConceptEmbeddings:
        """Read our file or the published one; InputError if it is missing or neither."""
        import h5py

        path = existing(path, "embeddings file", NEXT)
        if path.is_dir() or not h5py.is_hdf5(path):
            raise InputError(f"{path} is {'a folder' if path.is_dir() else 'not an HDF5 file'}, not an embeddings file. {NEXT}")
        try:
            with h5py.File(path, "r") as file:
                if isinstance(file.get("vectors"), h5py.Dataset) and file["vectors"].ndim == 2 and "ids" in file:
                    groups = {
                        name: {key: value[()] for key, value in file[name].items()} if name in file else None
                        for name in ("split", "decoder")
                    }  # fmt: skip
                    ids = [key.decode("utf-8") for key in file["ids"][()].tolist()]
                    return cls(ids, file["vectors"][()], json.loads(file.attrs.get("meta", "{}")), **groups)
                return _published(file, path)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path} is not an embeddings file ({type(error).__name__}: {error}). {NEXT}") from None

    def save(self, path: Path | str) -> None:
        """Write our HDF5 file, whole or not at all."""
        import h5py

        with whole(path) as partial, h5py.File(partial, "w") as file:
            file["vectors"] = self.vectors
            file["ids"] = np.array([key.encode("utf-8") for key in self.ids], dtype=np.bytes_)
            file.attrs["meta"] = json.dumps(self.meta)
            for name, group in (("split", self.split), ("decoder", self.decoder)):
                for key, value in (group or {}).items():
                    file[f"{name}/{key}"] = value

    def export(self, path: Path | str, format: str = "h5") -> None:
        """Write for other programs.

        `h5`: the published layout, one dataset a concept. `npy`: the matrix, and `<stem>.ids.txt` beside it. `tsv`: id
        and numbers. `word2vec`: its text format, blanks in ids as "_".
        """
        if format not in FORMATS:
            raise unknown("format", format, FORMATS)
        path = Path(path)
        if format == "npy":
            with whole(path) as partial, partial.open("wb") as out:
                np.save(out, self.vectors)
            with whole(path.with_name(f"{path.stem}.ids.txt")) as partial:
                partial.write_text("".join(f"{key}\n" for key in self.ids), encoding="utf-8")
        elif format == "h5":
            self._export_published(path)
        else:
            sep = "\t" if format == "tsv" else " "
            with whole(path) as partial, partial.open("w", encoding="utf-8") as out:
                if format == "word2vec":
                    out.write(f"{len(self)} {self.dim}\n")
                for key, vector in zip(self.ids, self.vectors, strict=True):
                    name = key if format == "tsv" else "_".join(key.split())
                    out.write(name + sep + sep.join(f"{x:.9g}" for x in vector.tolist()) + "\n")

    def _export_published(self, path: Path) -> None:
        import h5py

        for key in self.ids:
            if key in ("", ".") or _key(_disk_key(key)) != key:
                raise InputError(f"concept id {key!r} cannot be written in the published layout. Use format tsv, npy or word2vec.")
        with whole(path) as partial, h5py.File(partial, "w", libver="latest") as file:
            for key, vector in zip(self.ids, self.vectors, strict=True):
                file[_disk_key(key)] = vector

    # -- look-up

    @property
    def dim(self) -> int:
        """Length of a vector."""
        return self.vectors.shape[1]

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {key: row for row, key in enumerate(self.ids)}

    @cached_property
    def _unit(self) -> np.ndarray:
        return self.vectors / np.maximum(np.linalg.norm(self.vectors, axis=1, keepdims=True), 1e-12)

    @cached_property
    def _index(self) -> Any:
        import faiss

        index = faiss.IndexFlatIP(self.dim)
        index.add(self._unit)
        return index

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[str]:
        return iter(self.ids)

    def __contains__(self, concept_id: object) -> bool:
        return concept_id in self._rows

    def __getitem__(self, concept_id: str) -> np.ndarray:
        """The (D,) vector of a concept; InputError if there is none."""
        if concept_id not in self._rows:
            raise InputError(f"no embedding for concept {concept_id!r} among {len(self)}. Build the embeddings on a graph that has it.")
        return self.vectors[self._rows[concept_id]]

    def rows(self, ids: Iterable[str]) -> np.ndarray:
        """int32 (n,): the row of each id, -1 where it is unknown."""
        return np.array([self._rows.get(key, -1) for key in ids], dtype=np.int32)

    def lookup(self, ids: Iterable[str]) -> tuple[np.ndarray, np.ndarray]:
        """(vectors float32 (n, D), known bool (n,)); unknown concepts get zeros."""
        rows = self.rows(ids)
        known = rows >= 0
        vectors = np.zeros((len(rows), self.dim), dtype=np.float32)
        vectors[known] = self.vectors[rows[known]]
        return vectors, known

    def nearest(self, query: str | np.ndarray, k: int = 10) -> list[tuple[str, float]]:
        """The k concepts of highest cosine with a concept (itself left out) or with a (D,) vector, best first."""
        if isinstance(query, str):
            vector, skip = self[query], self._rows[query]
        else:
            vector, skip = np.asarray(query, dtype=np.float32), -1
            if vector.shape != (self.dim,):
                raise InputError(f"a query vector of shape {vector.shape} was given, ({self.dim},) is needed.")
        unit = vector / max(float(np.linalg.norm(vector)), 1e-12)
        scores, rows = self._index.search(unit[None].astype(np.float32), min(k + (skip >= 0), len(self)))
        found = [(self.ids[row], float(score)) for row, score in zip(rows[0].tolist(), scores[0], strict=True) if row != skip]
        return found[:k]

    def check_graph(self, kg: KnowledgeGraph) -> None:
        """InputError unless these are the embeddings of that graph: same fingerprint (where known) and same ids in order."""
        if self.meta.get("graph", kg.fingerprint) != kg.fingerprint or self.ids != kg.ids:
            own = f"{len(self)} concepts of {str(self.meta.get('graph', 'an unnamed graph'))[:12]}"
            raise InputError(
                f"the embeddings ({own}) belong to another graph than the one given ({len(kg)} concepts, {kg.fingerprint[:12]}). "
                "Make them for it with `meg kg embed --graph DIR`."
            )


def _key(name: str) -> str:
    """A concept id from a dataset's name in the published file."""
    name = name.replace("___", "/").replace("__", " ")
    return "p75" if name == "p_75" else name


def _disk_key(key: str) -> str:
    return key.replace("/", "___").replace(" ", "__")


def _published(file: Any, path: Path) -> ConceptEmbeddings:
    """One 1-D dataset a concept, at the root or inside groups; names decoded; `p75` is last, as the published reader has it."""
    import h5py

    found: dict[str, np.ndarray] = {}

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            found[_key(name.rsplit("/", 1)[-1])] = item[()]

    file.visititems(visit)
    if "p75" in found:
        found["p75"] = found.pop("p75")
    shapes = {vector.shape for vector in found.values()}
    if len(shapes) != 1 or len(next(iter(shapes))) != 1:
        raise InputError(f"{path} holds neither `vectors` and `ids` nor one vector of equal length a concept. {NEXT}")
    return ConceptEmbeddings(list(found), np.stack(list(found.values())), {"encoder": "published", "layout": "one dataset a concept"})
