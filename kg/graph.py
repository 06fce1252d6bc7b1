"""The knowledge graph: concepts in rows, an int32 triplet array, and its adjacency in both directions.

Triplets as one array with a CSR index cost some tens of megabytes for millions of edges, where a networkx graph
costs gigabytes; networkx is made only for the part that is looked at.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError, unknown
from .rows import Arrays, GraphRows, arrange, unite
from .storage import fingerprint, read_graph, write_graph

if TYPE_CHECKING:
    import networkx

CUI = re.compile(r"C\d{7}")


@dataclass(frozen=True)
class Concept:
    """One concept of the graph."""

    id: str
    name: str
    type: str
    synonyms: tuple[str, ...] = ()
    definition: str | None = None

    @property
    def cui(self) -> str | None:
        """The UMLS identifier, if the id is one."""
        return self.id if CUI.fullmatch(self.id) else None


@dataclass(frozen=True)
class Neighbor:
    """`concept` is linked by `relation`; `inverse` means that the triplet runs from `concept` to the one asked for."""

    relation: str
    inverse: bool
    concept: Concept


class KnowledgeGraph:
    """Concepts, named relations and triplets. Make one with `build`, `load` or `from_rows`.

    Attributes:
        ids, names, types: one entry a concept, sorted by id; the position is the concept's row everywhere.
        relations: names, sorted.
        triplets: int32 (E, 3), rows (head, relation, tail), unique, sorted, without self-loops.
        synonyms: (row, name), without the preferred name. definitions: row -> text.
        sources: what it was built from. dropped: rule -> number of rows left out.
        fingerprint: SHA-256 over ids, relations and triplets.
    """

    def __init__(self, content: Arrays, sources: Iterable[str] = (), fingerprint_: str | None = None) -> None:
        self.ids, self.names, self.types = content.ids, content.names, content.types
        self.relations, self.triplets = content.relations, content.triplets
        self.synonyms, self.definitions = content.synonyms, content.definitions
        self.dropped, self.sources = content.dropped, list(sources)
        self.fingerprint = fingerprint_ or fingerprint(self.ids, self.relations, self.triplets)
        self._csr: dict[bool, tuple[np.ndarray, np.ndarray, np.ndarray]] = {}

    # -- making and keeping

    @classmethod
    def build(cls, *specs: str) -> KnowledgeGraph:
        """Read the sources `KIND:PATH` and unite them by concept id.

        Raises:
            InputError: an unknown kind, a missing path, a bad row, or no concept at all.
        """
        from .sources import read_source, source_name

        if not specs:
            raise InputError("no source given. Name at least one, for example sample: or tsv:FILE.")
        graph = cls.from_rows([read_source(spec) for spec in specs], sources=[source_name(spec) for spec in specs])
        if not len(graph):
            raise InputError(f"{', '.join(specs)}: no concept found. Check that the path holds data of this kind.")
        return graph

    @classmethod
    def from_rows(cls, rows: GraphRows | Iterable[GraphRows], sources: Iterable[str] = ()) -> KnowledgeGraph:
        """A graph of one source's rows, or of several united by id."""
        return cls(arrange(unite([rows] if isinstance(rows, GraphRows) else rows)), sources)

    @classmethod
    def load(cls, folder: Path | str) -> KnowledgeGraph:
        """Read a folder written by `save`; InputError if it is missing, foreign or damaged."""
        return cls(*read_graph(folder))

    def save(self, folder: Path | str) -> None:
        """Write the graph as a folder, whole or not at all."""
        content = Arrays(
            self.ids, self.names, self.types, self.relations, self.triplets, self.synonyms, self.definitions, self.dropped
        )  # fmt: skip
        write_graph(folder, content, self.sources)

    # -- concepts

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {key: row for row, key in enumerate(self.ids)}

    @cached_property
    def _synonyms_of(self) -> dict[int, list[str]]:
        found: dict[int, list[str]] = {}
        for row, name in self.synonyms:
            found.setdefault(row, []).append(name)
        return found

    @cached_property
    def _by_name(self) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for row, name in [*enumerate(self.names), *self.synonyms]:
            rows = found.setdefault(name.casefold(), [])
            if row not in rows:
                rows.append(row)
        return found

    @property
    def num_triplets(self) -> int:
        """Number of unique triplets."""
        return len(self.triplets)

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[str]:
        return iter(self.ids)

    def __contains__(self, concept_id: object) -> bool:
        return concept_id in self._rows

    def __repr__(self) -> str:
        return f"KnowledgeGraph({len(self)} concepts, {self.num_triplets} triplets, {len(self.relations)} relations)"

    def index(self, concept_id: str) -> int:
        """The row of a concept; InputError (with what may have been meant) if it is not in the graph."""
        row = self._rows.get(concept_id)
        if row is None:
            raise InputError(f"no concept {concept_id!r} in this graph of {len(self)} concepts.{self._hint(concept_id)}")
        return row

    def _hint(self, given: str) -> str:
        same = self.find(given)
        if not same:
            alike = {name: row for name, rows in self._by_name.items() for row in rows[:1]}
            alike |= {key.casefold(): row for row, key in enumerate(self.ids)}
            wanted = given.casefold()
            near = difflib.get_close_matches(wanted, [name for name in alike if name[:1] == wanted[:1]], n=1)
            same = [self.concept(alike[name]) for name in near]
        return f" Did you mean {same[0].id} ({same[0].name})?" if same else " Look it up by name with `meg kg show`."

    def concept(self, row: int) -> Concept:
        """The concept in a row."""
        return Concept(self.ids[row], self.names[row], self.types[row], tuple(self._synonyms_of.get(row, ())), self.definitions.get(row))

    def __getitem__(self, concept_id: str) -> Concept:
        return self.concept(self.index(concept_id))

    def find(self, name: str) -> list[Concept]:
        """Concepts of that preferred name or synonym, case ignored; those that prefer it come first."""
        return [self.concept(row) for row in self._by_name.get(" ".join(name.split()).casefold(), ())]

    # -- triplets

    def csr(self, inverse: bool = False) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Adjacency by head (or, `inverse`, by tail): (start int64 (N+1,), neighbours int32 (E,), relations int32 (E,)).

        Row i's neighbours are `neighbours[start[i]:start[i + 1]]`.
        """
        if inverse not in self._csr:
            own, other = (2, 0) if inverse else (0, 2)
            order = np.argsort(self.triplets[:, own], kind="stable")
            counts = np.bincount(self.triplets[:, own], minlength=len(self))
            start = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
            self._csr[inverse] = (start, self.triplets[order, other], self.triplets[order, 1])
        return self._csr[inverse]

    def neighbors(self, concept_id: str, relation: str | None = None) -> list[Neighbor]:
        """Linked concepts, outgoing triplets first; InputError for an unknown concept or relation."""
        row = self.index(concept_id)
        found = []
        for inverse in (False, True):
            start, others, kinds = self.csr(inverse)
            for k in range(start[row], start[row + 1]):
                name = self.relations[kinds[k]]
                found.append((name, inverse, int(others[k])))
        if relation is not None and relation not in self.relations:
            raise unknown(f"relation of {concept_id}", relation, {name for name, _, _ in found})
        return [Neighbor(name, inverse, self.concept(other)) for name, inverse, other in found if relation in (None, name)]

    def stats(self) -> dict[str, Any]:
        """Counts: concepts, triplets, relations, synonyms, concepts_with_cui, definitions, types, per relation, dropped rows."""
        used = np.bincount(self.triplets[:, 1], minlength=len(self.relations))
        per_relation = {self.relations[i]: int(used[i]) for i in np.argsort(-used, kind="stable")}
        return {
            "concepts": len(self),
            "triplets": self.num_triplets,
            "relations": len(self.relations),
            "synonyms": len(self.synonyms),
            "concepts_with_cui": sum(CUI.fullmatch(key) is not None for key in self.ids),
            "definitions": len(self.definitions),
            "types": dict(Counter(self.types).most_common()),
            "per_relation": per_relation,
            "sources": self.sources,
            "dropped": self.dropped,
            "fingerprint": self.fingerprint,
        }

    def to_networkx(self, ids: Iterable[str] | str | None = None, hops: int = 1) -> networkx.MultiDiGraph:
        """The graph around `ids` (all within `hops` steps in either direction, and every triplet among them), or all of it.

        Nodes are ids with `name` and `type`; the edge key is the relation, also kept as attribute `relation`.
        """
        import networkx

        inside = np.ones(len(self), dtype=bool)
        if ids is not None:
            inside[:] = False
            inside[[self.index(key) for key in ([ids] if isinstance(ids, str) else ids)]] = True
            for _ in range(hops):
                forward, backward = inside[self.triplets[:, 0]], inside[self.triplets[:, 2]]
                inside[self.triplets[forward, 2]] = True
                inside[self.triplets[backward, 0]] = True
        graph = networkx.MultiDiGraph()
        graph.add_nodes_from((self.ids[row], {"name": self.names[row], "type": self.types[row]}) for row in np.flatnonzero(inside))
        for head, kind, tail in self.triplets[inside[self.triplets[:, 0]] & inside[self.triplets[:, 2]]]:
            name = self.relations[kind]
            graph.add_edge(self.ids[head], self.ids[tail], key=name, relation=name)
        return graph
