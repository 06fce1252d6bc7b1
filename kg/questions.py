"""Multiple-choice questions generated from any graph, in MedQA's jsonl format, with the triplet that proves each answer.

Concepts are split, not triplets: a held-out concept never occurs in training, neither as question nor as option.
Distractors have the answer's type and are linked to the asked concept by no relation: `random` draws them from the
answers of the same relation with their frequency (popularity says nothing), `neighbourhood` from the concepts two
hops from the answer, `strict` like `random` with every concept of the question held out.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..files import write_json, write_jsonl
from .graph import KnowledgeGraph
from .wording import is_worded, wording_of

LETTERS = "ABCD"
SHARES = {"test": 0.15, "dev": 0.05}  # of the concepts; the rest trains


@dataclass
class _Pool:
    """All ways to ask one relation family in one direction."""

    template: str
    family: str
    inverse: bool
    asked: np.ndarray  # (n,) concept rows
    answers: np.ndarray  # (n,) concept rows, parallel
    relations: np.ndarray  # (n,) relation rows, parallel


def split_concepts(kg: KnowledgeGraph, seed: int) -> np.ndarray:
    """(N,) array of "train", "dev", "test": a seeded draw over concepts."""
    draw = np.random.default_rng([seed, 17]).random(len(kg))
    return np.where(draw < SHARES["test"], "test", np.where(draw < SHARES["test"] + SHARES["dev"], "dev", "train"))


class QuestionMaker:
    """Draws questions about the concepts of one graph."""

    def __init__(self, kg: KnowledgeGraph, seed: int = 0, min_share: float = 0.01) -> None:
        self.kg, self.seed = kg, seed
        self.types = np.asarray(kg.types, dtype=str)
        self.side = split_concepts(kg, seed)
        (s0, e0, _), (s1, e1, _) = kg.csr(), kg.csr(inverse=True)
        self.near = [np.concatenate([e0[s0[i] : s0[i + 1]], e1[s1[i] : s1[i + 1]]]) for i in range(len(kg))]
        self.linked = [set(row.tolist()) for row in self.near]
        self.pools = self._pools(min_share)
        if not self.pools:
            raise InputError("no relation of this graph can be asked: every one has too few triplets. Add triplets or sources.")
        self.skipped: Counter[str] = Counter()

    def _pools(self, min_share: float) -> list[_Pool]:
        kg, triplets = self.kg, self.kg.triplets
        count = np.bincount(triplets[:, 1], minlength=len(kg.relations))
        asked = [r for r, name in enumerate(kg.relations) if is_worded(name) or count[r] >= min_share * len(triplets)]
        families: dict[str, list[int]] = {}
        for r in asked:
            families.setdefault(wording_of(kg.relations[r]).family, []).append(r)
        pools = []
        for family, members in sorted(families.items()):
            rows = triplets[np.isin(triplets[:, 1], members)]
            wording = wording_of(kg.relations[members[0]])
            for template, inverse, ends in ((wording.forward, False, (0, 2)), (wording.inverse, True, (2, 0))):
                if template is not None and len(np.unique(rows[:, ends[1]])) >= len(LETTERS):
                    pools.append(_Pool(template, family, inverse, rows[:, ends[0]], rows[:, ends[1]], rows[:, 1]))
        return pools

    def draw(self, part: str, group: str, count: int, *, unique: bool) -> list[dict[str, Any]]:
        """Up to `count` questions of `part` ("train", "dev", "test") with the distractors of `group`.

        Relations are drawn by the square root of their size. With `unique` no (concept, family, answer) is asked
        twice, so fewer than `count` may come back.
        """
        rng = np.random.default_rng([self.seed, *f"{part}/{group}".encode()])
        inside = (self.side == part) if part == "train" or group == "strict" else np.ones(len(self.side), dtype=bool)
        usable = []
        for pool in self.pools:
            keep = np.flatnonzero((self.side[pool.asked] == part) & inside[pool.answers])
            if len(keep):
                answers = pool.answers[inside[pool.answers]]
                usable.append((pool, rng.permutation(keep), answers, frozenset(answers.tolist())))
        if not usable:
            return []
        weight = np.sqrt([len(keep) for _, keep, _, _ in usable])
        position = [0] * len(usable)
        rows: list[dict[str, Any]] = []
        seen: set[tuple[int, str, bool, int]] = set()
        while len(rows) < count and weight.sum() > 0:
            which = int(rng.choice(len(usable), p=weight / weight.sum()))
            pool, keep, answers, answer_set = usable[which]
            if position[which] == len(keep):
                if unique:
                    weight[which] = 0
                    continue
                position[which] = 0
            k = keep[position[which]]
            position[which] += 1
            asked, answer = int(pool.asked[k]), int(pool.answers[k])
            if unique and (asked, pool.family, pool.inverse, answer) in seen:
                continue
            wrong = self._distractors(rng, group, asked, answer, answers, answer_set, inside)
            if wrong is None:
                self.skipped[f"{part}/{group}: fewer than 3 distractors"] += 1
                if not unique and self.skipped[f"{part}/{group}: fewer than 3 distractors"] > 20 * count:
                    break
                continue
            seen.add((asked, pool.family, pool.inverse, answer))
            rows.append(self._row(rng, f"graph-{part}-{group}-{len(rows)}", pool, int(k), asked, answer, wrong, group))
        return rows

    def _distractors(
        self, rng: np.random.Generator, group: str, asked: int, answer: int,
        answers: np.ndarray, answer_set: frozenset[int], inside: np.ndarray,
    ) -> list[int] | None:  # fmt: skip
        wrong: list[int] = []
        # A namesake of a linked concept (another id, the same name) would be right by its text.
        names = {self.kg.names[row].lower() for row in (asked, answer, *self.linked[asked])}
        for _ in range(60 if group == "neighbourhood" else 40):
            if group == "neighbourhood":
                middle = int(rng.choice(self.near[answer]))
                c = int(rng.choice(self.near[middle]))
                if c not in answer_set:
                    continue
            else:
                c = int(answers[rng.integers(len(answers))])
            name = self.kg.names[c].lower()
            if c in (asked, answer) or name in names or c in self.linked[asked] or self.types[c] != self.types[answer] or not inside[c]:
                continue
            wrong.append(c)
            names.add(name)
            if len(wrong) == len(LETTERS) - 1:
                return wrong
        return None

    def _row(
        self, rng: np.random.Generator, name: str, pool: _Pool, k: int, asked: int, answer: int, wrong: list[int], group: str
    ) -> dict[str, Any]:
        kg = self.kg
        options = [answer, *wrong]
        order = rng.permutation(len(options))
        letters = {LETTERS[i]: options[j] for i, j in enumerate(order)}
        gold = LETTERS[int(np.flatnonzero(order == 0)[0])]
        head, tail = (answer, asked) if pool.inverse else (asked, answer)
        return {
            "id": name, "question": pool.template.format(kg.names[asked]), "answer": kg.names[answer],
            "options": {letter: kg.names[c] for letter, c in letters.items()}, "answer_idx": gold,
            "template": pool.template, "concept": kg.ids[asked], "option_concepts": {letter: kg.ids[c] for letter, c in letters.items()},
            "group": group, "relation": pool.family, "inverse": pool.inverse,
            "triplet": [kg.ids[head], kg.relations[int(pool.relations[k])], kg.ids[tail]],
        }  # fmt: skip


def write_questions(kg: KnowledgeGraph, folder: Path, seed: int, train: int = 26_000, test: int = 1_000, dev: int = 200) -> dict[str, Any]:
    """Write `questions/{train,dev,test}.jsonl` and `questions/split.json` under `folder`; returns the counts."""
    maker = QuestionMaker(kg, seed)
    parts = {
        "train": [row for group in ("random", "neighbourhood") for row in maker.draw("train", group, train // 2, unique=False)],
        "dev": [row for group in ("random", "neighbourhood") for row in maker.draw("dev", group, dev, unique=True)],
        "test": [row for group in ("random", "neighbourhood", "strict") for row in maker.draw("test", group, test, unique=True)],
    }
    np.random.default_rng([seed, 23]).shuffle(parts["train"])  # type: ignore[arg-type]
    out = folder / "questions"
    out.mkdir(parents=True, exist_ok=True)
    counts: dict[str, Any] = {}
    for part, rows in parts.items():
        write_jsonl(out / f"{part}.jsonl", rows)
        counts[part] = dict(Counter(row["group"] for row in rows))
    held = {part: [kg.ids[i] for i in np.flatnonzero(maker.side == part)] for part in ("dev", "test")}
    write_json(out / "split.json", {"rule": "each concept drawn once with the seed", "seed": seed, "shares": SHARES, **held})
    counts["skipped"] = dict(maker.skipped)
    return counts
