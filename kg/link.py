"""Entity linking by dictionary: the longest names and synonyms of a graph that stand in a text.

A window of up to eight words is looked up in a plain dict of casefolded names; no index beats it for build time and
memory at a million names. Punctuation inside a name does not matter, word boundaries do.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .graph import KnowledgeGraph
from .relevance import joining, rank

WORD = re.compile(r"[^\W_]+(?:['’]s\b)?")
WINDOW = 8
SCORES = {"preferred": 1.0, "synonym": 0.95, "plural": 0.9}
# Common words that some ontology also uses as a name; alone they are never a mention.
COMMON = frozenset(
    """able about above absent acute after again against ages all allow almost alone along already also although always
    among amount another answer any area around associated back base based because become been before begin being below best better
    between both bring call came can care cause caused causes change changes child children clinical come common compared complete
    condition control could course daily date days decrease decreased describe detail different direct disease disorder does done
    down drug during each early either else end entire even ever every evidence examination example exam except expected factor family
    feel female few finding findings first five following form former found four free from full function further gave general
    generally give given goes going good great group had half hand hard has have having hence here high higher history home hour
    hours however human important include increase increased indicated individual initial into its itself just keep kind known label
    large last later lead leads least left less level levels life like likely line little local long look lower made main major make
    male man management many marked mass may mean means measure medical medication men method might mild minute minutes moderate
    month months more most move much must name near need negative neither never new next night none normal note noted nothing now
    number object obtain occur often old once one only open operation option order other others otherwise over own part partial
    particular past patient patients people per performed person persons physical place plan point poor position positive possible
    present presents previous primary problem process product prior procedure progress provide question questions rate ratio reason
    recent record reduce regular related report reported resting result results reveal reveals right role room same school second
    secondary seen seem self serious set several severe shape short should show shown shows side sign signs similar simple since
    single site size slow small some soon source stage standard start state states status step still stop strong study subject
    such sudden support sure surface symptom symptoms system take taken test tests than that the their them then there therefore
    these they thing think third this those three through time times today together took total toward treatment true turn type
    types under unit until upon upper use used useful usual usually value variable various very visit visits want week weeks well went were
    what when where whether which while who whole whose why will with within without woman women word work worse would year years
    yes yet you young your bilateral chronic onset progressive""".split()  # noqa: SIM905
)


@dataclass(frozen=True)
class Candidate:
    """A concept that a mention may mean; `how` is a key of `SCORES`."""

    id: str
    name: str
    score: float
    how: str


@dataclass(frozen=True)
class Mention:
    """`text` = the source text from character `start` to `end` (exclusive); candidates, best first."""

    start: int
    end: int
    text: str
    candidates: tuple[Candidate, ...]


def singular(word: str) -> str:
    """The word without an English plural ending (rough: "biopsies" -> "biopsy", "virus" stays)."""
    if len(word) < 4 or not word.endswith("s") or word.endswith(("ss", "us", "is")):
        return word
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    return word[:-2] if word.endswith(("sses", "xes", "ches", "shes", "zes")) and not word.endswith("aches") else word[:-1]


def _words(text: str) -> list[str]:
    return [_plain(match.group()) for match in WORD.finditer(text)]


def _plain(word: str) -> str:
    return word[:-2] if word.endswith(("'s", "’s")) else word


def _stem(words: list[str]) -> str:
    return " ".join([*words[:-1], singular(words[-1])])


class EntityLinker:
    """`linker(text)` -> mentions, in the order of the text, never overlapping.

    Single words below four letters match only as an abbreviation in capitals ("MI"), and so do names in capitals of
    up to five letters ("AIDS"); common English words never match alone.
    """

    def __init__(self, kg: KnowledgeGraph) -> None:
        self.kg = kg
        self._exact: dict[str, list[tuple[int, str]]] = {}
        self._stems: dict[str, list[tuple[int, str]]] = {}
        self._capitals: dict[str, list[tuple[int, str]]] = {}
        self._longest: dict[str, int] = {}
        for how, names in (("preferred", enumerate(kg.names)), ("synonym", kg.synonyms)):
            for row, name in names:
                self._enter(row, name, how)
        self._degree = np.bincount(kg.triplets[:, [0, 2]].ravel(), minlength=len(kg))

    def _enter(self, row: int, name: str, how: str) -> None:
        surface = _words(name)
        if not 0 < len(surface) <= WINDOW:
            return
        words = [word.casefold() for word in surface]
        if len(words) == 1:
            word = surface[0]
            if len(word) < 2 or word.isdigit() or (len(word) < 4 and not word.isupper()):
                return
            if len(word) <= 5 and word.isupper():
                self._capitals.setdefault(word, []).append((row, how))
                return
        if sum(map(len, words)) < 4 or all(word in COMMON or word.isdigit() for word in words):
            return
        self._exact.setdefault(" ".join(words), []).append((row, how))
        stem = _stem(words)
        if stem != " ".join(words):
            self._stems.setdefault(stem, []).append((row, "plural"))
        for first in {words[0], stem.partition(" ")[0]}:
            self._longest[first] = max(self._longest.get(first, 0), len(words))

    def _find(self, surface: list[str], words: list[str]) -> list[tuple[int, str]]:
        found: list[tuple[int, str]] = []
        if len(surface) == 1:
            word = surface[0]
            found += self._capitals.get(word, [])
            if word.endswith("s") and word[:-1].isupper():
                found += [(row, "plural") for row, _ in self._capitals.get(word[:-1], [])]
            if len(word) < 4 or words[0] in COMMON:
                return found
        key, stem = " ".join(words), _stem(words)
        found += self._exact.get(key, []) + self._stems.get(stem, [])
        if stem != key:
            found += [(row, "plural") for row, _ in self._exact.get(stem, [])]
        return found

    def _candidates(self, found: list[tuple[int, str]]) -> tuple[Candidate, ...]:
        best: dict[int, str] = {}
        for row, how in found:
            if row not in best or SCORES[how] > SCORES[best[row]]:
                best[row] = how
        rows = sorted(best, key=lambda row: (-SCORES[best[row]], -self._degree[row], row))
        return tuple(Candidate(self.kg.ids[row], self.kg.names[row], SCORES[best[row]], best[row]) for row in rows)

    def __call__(self, text: str) -> list[Mention]:
        """Mentions in `text`; where matches overlap, the longest wins. Concepts that share a name are all candidates."""
        matches = list(WORD.finditer(text))
        surface = [_plain(match.group()) for match in matches]
        words = [word.casefold() for word in surface]
        spans = []
        for first in range(len(words)):
            reach = max(self._longest.get(words[first], 1), self._longest.get(singular(words[first]), 1))
            for last in range(first, min(first + reach, len(words))):
                found = self._find(surface[first : last + 1], words[first : last + 1])
                if found:
                    start = matches[first].start()
                    end = matches[last].start() + len(surface[last])
                    spans.append((end - start, first, last, start, end, found))
        taken = [False] * len(words)
        mentions = []
        for _, first, last, start, end, found in sorted(spans, key=lambda span: (-span[0], span[3])):
            if not any(taken[first : last + 1]):
                taken[first : last + 1] = [True] * (last + 1 - first)
                mentions.append(Mention(start, end, text[start:end], self._candidates(found)))
        return sorted(mentions, key=lambda mention: mention.start)

    def relevant(self, text: str, keep: int) -> list[Mention]:
        """The first mention of each of the `keep` concepts of `text` that matter most (`meg.kg.relevance.rank`), best first."""
        mentions = self(text)
        first = {m.candidates[0].id: m for m in reversed(mentions) if m.candidates}
        return [first[self.kg.ids[row]] for row in rank(mentions, self.kg, keep)]

    def joining(self, first: Iterable[str], second: Iterable[str]) -> list[tuple[str, str, str]]:
        """Triplets, by name, between concepts of `first` and of `second`."""
        return joining(self.kg, map(self.kg.index, first), map(self.kg.index, second))

    def save(self, path: Path | str) -> None:
        """Write the graph folder that `load` reads; the dictionary is made anew in less time than it takes to read it."""
        self.kg.save(path)

    @classmethod
    def load(cls, path: Path | str) -> EntityLinker:
        """A linker for the graph in a folder."""
        return cls(KnowledgeGraph.load(path))
