"""Check the sample graph, alone or against an open graph: python scripts/check_sample.py [--against FOLDER] [--out FOLDER]

Three questions: is the format right (ids, names, types, relations, loops, counts); does an open graph give each UMLS
identifier to the same name; and what does it say of each fact: not covered (an end is missing there), confirmed,
contradicted, or unconfirmed. The open graph has the layout of the source `merged:`; its non-commercial triplets are
used if they lie beside the others, for this comparison only. `kg/sample/relations.tsv` and `types.tsv` hold what is
allowed and which open relations and groups mean the same; `looked_at.tsv` what a person said of a contradiction.
Exit code 1: the format check fails; 2: bad input.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from meg.errors import InputError
from meg.files import existing, read_tsv, sha256, write_json, write_text
from meg.kg.graph import CUI
from meg.kg.sources import read_source

SAMPLE = Path(__file__).resolve().parent.parent / "kg" / "sample"
BAR = {"concepts": 600, "triplets": 3000, "relations": 10, "types": 8}
STATES = ("confirmed", "contradicted", "unconfirmed")
NOT_INDICATED = ("non_indication", "not_treats", "does_not_treat")
NAMES = ("preferred", "exact", "layperson")
IS_A_STEPS, PART_STEPS = 4, 8
Triple = tuple[str, str, str]


def table(name: str, columns: list[str]) -> dict[str, list[list[str]]]:
    """A table of the packaged sample: first column -> the other ones, each a list of words."""
    return {f[0]: [cell.split() for cell in f[1:]] for _, f in read_tsv(SAMPLE / name, columns)}


# relation -> [types of the head, types of the tail, open relations head to tail, open relations tail to head]
RELATIONS = table("relations.tsv", ["relation", "heads", "tails", "open_forward", "open_backward"])
GROUPS = {kind: groups for kind, (groups,) in table("types.tsv", ["type", "open_groups"]).items()}  # groups that can hold a type
BROADER = RELATIONS["is_a"][2]


class Sample:
    """The two tables as they stand, repeated rows included; `concepts`: id -> (name, type, synonyms)."""

    def __init__(self, folder: Path) -> None:
        existing(folder, "sample folder")
        rows = read_tsv(folder / "concepts.tsv", ["id", "name", "type", "synonyms"], required=3)
        self.rows = [(f[0], f[1], f[2], [s for s in (f[3].split("|") if len(f) > 3 else []) if s]) for _, f in rows]
        self.triplets = [(f[0], f[1], f[2]) for _, f in read_tsv(folder / "triplets.tsv", ["head", "relation", "tail"])]
        self.concepts = {key: (name, kind, more) for key, name, kind, more in reversed(self.rows)}
        if not self.rows or not self.triplets:
            raise InputError(f"{folder}: no concept or no triplet. It needs concepts.tsv and triplets.tsv with rows.")

    def name(self, key: str) -> str:
        return self.concepts[key][0] if key in self.concepts else key

    def words(self, triple: Triple) -> str:
        return f"{self.name(triple[0])} — {triple[1]} — {self.name(triple[2])}"


# -- format


def allowed(relation: str, head: str, tail: str) -> bool:
    """Whether a relation may join a concept of type `head` to one of type `tail`."""
    if relation == "is_a":
        return head == tail or (head, tail) == ("drug", "drug_class") or {head, tail} == {"disease", "finding"}
    return relation not in RELATIONS or (head in RELATIONS[relation][0] and tail in RELATIONS[relation][1])


def _repeated(values: Iterable[Any]) -> list[Any]:
    return sorted(value for value, n in Counter(values).items() if n > 1)


def shape(sample: Sample) -> tuple[int, dict[str, list[str]]]:
    """Size of the largest connected part, and the concepts on a directed cycle of is_a or of part_of."""
    import networkx

    whole = networkx.Graph((h, t) for h, _, t in sample.triplets if h in sample.concepts and t in sample.concepts)
    cycles = {}
    for relation in ("is_a", "part_of"):
        links = networkx.DiGraph((h, t) for h, r, t in sample.triplets if r == relation)
        loops = [part for part in networkx.strongly_connected_components(links) if len(part) > 1]
        cycles[f"cycle of {relation}"] = sorted(sample.name(key) for part in loops for key in part)
    return max(map(len, networkx.connected_components(whole)), default=0), cycles


def check_format(sample: Sample) -> dict[str, Any]:
    """Counts and, per rule, what breaks it (names or ids, in order)."""
    links, kinds = set(sample.triplets), {key: kind for key, (_, kind, _) in sample.concepts.items()}
    linked = {key for head, _, tail in links for key in (head, tail)}
    wrong = [t for t in links if t[0] in kinds and t[2] in kinds and not allowed(t[1], kinds[t[0]], kinds[t[2]])]
    both = [t for t in links if t[1] == "treats" and (t[0], "contraindicated_in", t[2]) in links]
    used, preferred = Counter(r for _, r, _ in links), Counter(name.casefold() for _, name, *_ in sample.rows)
    counts = {"concepts": len(kinds), "triplets": len(links), "relations": len(used), "types": len(set(kinds.values()))}
    largest, cycles = shape(sample)
    rules = {
        "empty id or name": [key or name or "both" for key, name, *_ in sample.rows if not key.strip() or not name.strip()],
        "repeated id": _repeated(key for key, *_ in sample.rows),
        "repeated name (case ignored)": [name for name, n in sorted(preferred.items()) if n > 1],
        "unknown type": sorted(f"{sample.name(key)}: {kind}" for key, kind in kinds.items() if kind not in GROUPS),
        "unknown relation": sorted(set(used) - set(RELATIONS)),
        "types that the relation does not allow": sorted(f"{sample.words(t)} ({kinds[t[0]]}, {kinds[t[2]]})" for t in wrong),
        "id without a concept": sorted(linked - set(kinds)),
        "concept without a triplet": sorted(sample.name(key) for key in kinds if key not in linked),
        "self-loop": sorted(sample.words(t) for t in links if t[0] == t[2]),
        "repeated triplet": [sample.words(t) for t in _repeated(sample.triplets)],
        "treats and contraindicated_in": sorted(map(sample.words, both)),
        **cycles,
        "below the bar": [f"{key}: {counts[key]} of {least}" for key, least in BAR.items() if counts[key] < least],
    }
    return {
        "passed": not any(rules.values()),
        "counts": counts | {"synonyms": sum(len(more) for _, _, more in sample.concepts.values())},
        "bar": BAR,
        "largest_component": largest,
        "types": dict(Counter(kinds.values()).most_common()),
        "relations": dict(used.most_common()),
        "rules": rules,
    }


# -- the open graph


def _fold(name: str) -> str:
    return " ".join(name.split()).casefold()


class OpenGraph:
    """Names, groups and links of the open graph, by id."""

    def __init__(self, folder: Path) -> None:
        rows = read_source(f"merged:{folder}")
        kept = ("triplets", "concepts", "synonyms", "triplets_nc")
        files = {name: path for name in kept for path in (folder / f"{name}.tsv", folder / f"{name}.tsv.gz") if path.is_file()}
        self.files, self.noncommercial = list(files.values()), "triplets_nc" in files
        self.concepts, names, triplets = dict(rows.concepts), list(rows.synonyms), list(rows.triplets)
        if self.noncommercial:
            triplets += [(f[0], f[2], f[3]) for _, f in read_tsv(files["triplets_nc"], ["head_id", "head_name", "relation", "tail_id"])]
            more = {key for head, _, tail in triplets for key in (head, tail)} - set(self.concepts)
            self.concepts |= {f[0]: (f[1], f[2]) for _, f in read_tsv(files["concepts"], ["id", "name", "group"]) if f[0] in more}
            synonyms = read_tsv(files["synonyms"], ["id", "name", "type"])
            names += [(f[0], f[1]) for _, f in synonyms if f[0] in more and f[2] in NAMES]
        self.names = {key: {_fold(name)} for key, (name, _) in self.concepts.items()}
        for key, name in names:
            if key in self.names:
                self.names[key].add(_fold(name))
        self.by_name: dict[str, set[str]] = defaultdict(set)
        for key, own in self.names.items():
            for name in own:
                self.by_name[name].add(key)
        self.out: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
        self.back: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
        for head, relation, tail in triplets:
            if head in self.names and tail in self.names:
                self.out[relation][head].add(tail)
                self.back[relation][tail].add(head)

    def find(self, key: str, name: str, kind: str, synonyms: list[str]) -> set[str]:
        """Ids here of a sample concept in a group that fits: its own and those of its name, else those of its longer synonyms."""
        for words in ([name], [synonym for synonym in synonyms if len(synonym) > 3]):
            ids = {key, *(i for word in words for i in self.by_name.get(_fold(word), ()))}
            if fits := {i for i in ids if i in self.concepts and self.concepts[i][1] in GROUPS.get(kind, ())}:
                return fits
        return set()

    def step(self, keys: Iterable[str], relations: Iterable[str], back: bool = False) -> set[str]:
        """What is one triplet away."""
        tables = [(self.back if back else self.out)[relation] for relation in relations]
        return {other for key in keys for links in tables for other in links.get(key, ())}

    def said(self, keys: set[str], relation: str) -> set[str]:
        """What one triplet of the same meaning as the sample's `relation` links to `keys`."""
        return self.step(keys, RELATIONS[relation][2]) | self.step(keys, RELATIONS[relation][3], back=True)

    def above(self, keys: set[str], relations: Iterable[str] = BROADER) -> set[str]:
        """All that is broader, within `IS_A_STEPS`, without `keys` themselves."""
        seen, front = set(keys), set(keys)
        for _ in range(IS_A_STEPS):
            front = self.step(front, relations) - seen
            seen |= front
        return seen - keys

    def wholes(self, keys: set[str]) -> set[str]:
        """All that has `keys` as a part: paths of part and is_a steps, at least one of them a part step."""
        parts, front = set[str](), self.said(keys | self.above(keys, ["is_a"]), "part_of")
        for _ in range(PART_STEPS):
            parts |= front
            front = (self.said(front, "part_of") | self.step(front, ["is_a"])) - parts
        return parts - keys


def check_ids(sample: Sample, graph: OpenGraph) -> dict[str, Any]:
    """Which of the sample's UMLS identifiers the open graph gives to the same name, and what it says of the others."""
    odd: dict[str, list[str]] = {"only a synonym agrees": [], "another name": [], "not in the open graph": []}
    cuis = {key: concept for key, concept in sample.concepts.items() if CUI.fullmatch(key)}
    for key, (name, kind, synonyms) in cuis.items():
        own = graph.names.get(key)
        if own is None:
            odd["not in the open graph"].append(f"{key} {name} ({kind})")
        elif _fold(name) not in own:
            shared = [s for s in synonyms if _fold(s) in own]
            text = f"{key} {name} ({kind}): there {graph.concepts[key][0]}"
            odd["only a synonym agrees" if shared else "another name"].append(text + "".join(f"; both {s}" for s in shared[:1]))
    return {"with_cui": len(cuis), "same_name": len(cuis) - sum(map(len, odd.values())), "odd": odd}


# -- facts


def judge(graph: OpenGraph, relation: str, heads: set[str], tails: set[str]) -> tuple[str, str]:
    """(state, how) of a covered triplet; how is `direct` or `near` of a confirmed one, the reason of a contradicted one."""
    if relation not in RELATIONS:
        return "unconfirmed", ""
    if graph.said(heads, relation) & tails:
        return "confirmed", "direct"
    if near(graph, relation, heads, tails):
        return "confirmed", "near"
    reason = opposite(graph, relation, heads, tails)
    return ("contradicted", reason) if reason else ("unconfirmed", "")


def near(graph: OpenGraph, relation: str, heads: set[str], tails: set[str]) -> bool:
    """The weaker agreements, over more than one triplet."""
    if relation == "is_a":
        return bool(graph.above(heads) & tails)
    if relation == "part_of":
        return bool(graph.wholes(heads) & tails)
    if relation in ("has_finding", "has_inheritance"):
        around = graph.step(tails, ["is_a"]) | graph.step(tails, ["is_a"], back=True)
        return bool(graph.said(heads, relation) & around)
    if relation == "has_location":
        places = graph.said(heads | graph.above(heads, ["is_a"]), relation)
        return bool((places | graph.wholes(places) | graph.step(places, ["is_a"])) & tails)
    return relation == "associated_gene" and bool(graph.said(graph.step(heads, ["is_a"], back=True), relation) & tails)


def opposite(graph: OpenGraph, relation: str, heads: set[str], tails: set[str]) -> str:
    """Why the open graph says the opposite, or an empty string."""
    if (relation == "is_a" and graph.above(tails) & heads) or (relation == "part_of" and graph.wholes(tails) & heads):
        return f"{relation} reversed"
    if relation == "treats" and graph.step(heads, NOT_INDICATED) & tails:
        return "listed as not indicated"
    if relation == "has_finding" and graph.step(heads, ["disease_excludes_finding"]) & tails:
        return "finding excluded"
    if relation == "has_inheritance":
        names = {graph.concepts[key][0] for key in graph.said(heads, relation)}
        modes = sorted(name for name in names if name.endswith(" inheritance"))
        return ", ".join(["there only", *modes]) if modes else ""
    return ""


def figures(states: Counter[str]) -> dict[str, Any]:
    """Counts of one relation or of all, the covered share of all, and the shares of the states among the covered."""
    counts: dict[str, Any] = {key: states[key] for key in ("n", "covered", *STATES, "direct", "near")}
    of = {"covered": states["n"]} | dict.fromkeys(STATES, states["covered"])
    return counts | {f"{key}_share": round(states[key] / total, 4) if total else None for key, total in of.items()}


def check_facts(sample: Sample, graph: OpenGraph, verdicts: Mapping[Triple, str]) -> dict[str, Any]:
    """State of every triplet: figures per relation, and the contradicted ones by name with the verdict on them."""
    at = {key: graph.find(key, *concept) for key, concept in sample.concepts.items()}
    tables: dict[str, Counter[str]] = defaultdict(Counter)
    against, same = [], []
    for triple in sorted(set(sample.triplets)):
        head, relation, tail = triple
        heads, tails, marks = at.get(head, set()), at.get(tail, set()), ["n"]
        if heads and tails:
            state, how = judge(graph, relation, heads, tails)
            marks += ["covered", state, how]
            same += [sample.words(triple)] if heads == tails else []
            if state == "contradicted":
                one = dict(zip(("head", "relation", "tail"), triple, strict=True))
                against.append(one | {"names": sample.words(triple), "open_graph": how, "looked_at": verdicts.get(triple, "")})
        for name in [relation, "all", *(["compared"] if counterpart(relation) else [])]:
            tables[name].update(marks)
    return {
        "noncommercial_used": graph.noncommercial,
        "concepts_found": sum(map(bool, at.values())),
        "concepts_not_found": dict(Counter(sample.concepts[key][1] for key, ids in at.items() if not ids).most_common()),
        "overall": figures(tables["all"]),
        "relations_with_a_counterpart": figures(tables["compared"]),
        "per_relation": {relation: figures(tables[relation]) for relation in sorted({r for _, r, _ in sample.triplets})},
        "contradicted": against,
        "not_looked_at": sum(not a["looked_at"] for a in against),
        "verdicts_no_longer_needed": len(set(verdicts) - {(a["head"], a["relation"], a["tail"]) for a in against}),
        "one_concept_in_the_open_graph": same,
    }


def counterpart(relation: str) -> bool:
    """Whether the open graph has relations of the kind."""
    return relation in RELATIONS and any(RELATIONS[relation][2:])


# -- report

ABOUT = {
    "ids": "{with_cui} concepts have a UMLS identifier as id; for {same_name} of them the open graph gives that identifier to the very "
    "same name (preferred, exact or lay; case ignored). The others are listed for a person to look at.",
    "facts": "A fact is *covered* when both ends are found in the open graph, by identifier or by name, in a group that fits; confirmed, "
    "contradicted and unconfirmed are shares of the covered. *direct*: one triplet of an equivalent relation (`relations.tsv`). "
    "*near*: is_a or part_of over several steps; a finding or a mode of inheritance one is_a step away; the location of a broader "
    "disease, or one that is a part of the location named; a gene of a direct subtype. `prevents` is compared with lists of indications, "
    "which do not tell prevention from treatment. Where the open graph has no relation of the kind (*no counterpart*), a covered fact "
    "stays unconfirmed. Unconfirmed does not mean wrong: the open graph is far from complete. And agreement is no independent proof: "
    "many names were chosen because the open graph has them, and it could be looked at while the facts were written.",
}


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"


def _words(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{key} {n}" for key, n in counts.items()) or "none"


def _fact_lines(facts: Mapping[str, Any]) -> list[str]:
    lines = ["## Facts", "", ABOUT["facts"], "", f"Non-commercial triplets used: {'yes' if facts['noncommercial_used'] else 'no'}.", ""]
    lines += ["| relation | n | covered | confirmed | direct | near | contradicted | unconfirmed |", "|---" + "|---:" * 7 + "|"]
    rows = {"**all**": facts["overall"], "**all with a counterpart**": facts["relations_with_a_counterpart"]}
    rows |= {name if counterpart(name) else f"{name} (no counterpart)": row for name, row in facts["per_relation"].items()}
    for name, f in rows.items():
        covered, confirmed, against, open_ = (f"{f[key]} ({_percent(f[f'{key}_share'])})" for key in ("covered", *STATES))
        lines.append(f"| {name} | {f['n']} | {covered} | {confirmed} | {f['direct']} | {f['near']} | {against} | {open_} |")
    lines += ["", f"Concepts found: {facts['concepts_found']}; not found, by type: {_words(facts['concepts_not_found'])}.", ""]
    lines += [f"### Contradicted ({len(facts['contradicted'])})", "", "| fact | open graph | looked_at |", "|---|---|---|"]
    lines += [f"| {a['names']} | {a['open_graph']} | {a['looked_at'] or '**not yet**'} |" for a in facts["contradicted"]]
    same = facts["one_concept_in_the_open_graph"]
    return [*lines, "", f"### Both ends are one concept in the open graph ({len(same)})", "", *(f"- {fact}" for fact in same), ""]


def report(result: Mapping[str, Any]) -> str:
    """check.md."""
    form = result["format"]
    lines = ["# Check of the sample graph", "", "Written by `scripts/check_sample.py`; `check.json` has the same figures.", ""]
    lines += [f"## Format: {'passed' if form['passed'] else 'FAILED'}", "", "| | here | at least |", "|---|---:|---:|"]
    lines += [f"| {key} | {n} | {form['bar'].get(key, '')} |" for key, n in form["counts"].items()]
    lines += [f"| concepts in the largest connected part | {form['largest_component']} | |", "", f"Types: {_words(form['types'])}.", ""]
    lines += ["| rule | rows that break it |", "|---|---:|", *(f"| {rule} | {len(found)} |" for rule, found in form["rules"].items()), ""]
    lines += [f"- {rule}: {fact}" for rule, found in form["rules"].items() for fact in found[:20]] + [""]
    if "ids" in result:
        lines += ["## Identifiers", "", ABOUT["ids"].format(**result["ids"]), ""]
        for kind, found in result["ids"]["odd"].items():
            lines += [f"### {kind.capitalize()} ({len(found)})", "", *(f"- {row}" for row in found), ""]
        lines += _fact_lines(result["facts"])
    lines += ["## Inputs", "", "| file | SHA-256 |", "|---|---|", *(f"| {name} | `{value}` |" for name, value in result["inputs"].items())]
    return "\n".join(lines) + "\n"


def run(args: argparse.Namespace) -> dict[str, Any]:
    """All checks that the arguments ask for; writes check.json and check.md with --against or --out."""
    sample, verdict_file = Sample(args.sample), args.sample / "looked_at.tsv"
    inputs = [args.sample / "concepts.tsv", args.sample / "triplets.tsv"]
    result: dict[str, Any] = {"format": check_format(sample)}
    if args.against:
        graph = OpenGraph(args.against)
        columns = ["head", "relation", "tail", "verdict"]
        verdicts = {(f[0], f[1], f[2]): f[3] for _, f in read_tsv(verdict_file, columns)} if verdict_file.is_file() else {}
        result |= {"ids": check_ids(sample, graph), "facts": check_facts(sample, graph, verdicts)}
        inputs += [*([verdict_file] if verdict_file.is_file() else []), SAMPLE / "relations.tsv", SAMPLE / "types.tsv", *graph.files]
    result["inputs"] = {f"{path.resolve().parent.name}/{path.name}": sha256(path) for path in inputs}
    if out := args.out or (args.sample if args.against else None):
        write_json(out / "check.json", result)
        write_text(out / "check.md", report(result))
    return result


def main(argv: list[str] | None = None) -> int:
    """Check and print a few lines; exit code 1 if the format is wrong, 2 if the input cannot be read."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--against", type=Path, metavar="FOLDER", help="open merged graph (triplets, concepts, synonyms, definitions)")
    parser.add_argument("--sample", type=Path, metavar="FOLDER", default=SAMPLE, help="sample graph (default: the one that comes with MEG)")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="where to write (default: the sample's folder, if --against is given)")
    args = parser.parse_args(argv)
    try:
        result = run(args)
    except InputError as error:
        print(f"check_sample: error: {error}", file=sys.stderr)
        return 2
    form = result["format"]
    print(f"format {'passed' if form['passed'] else 'FAILED'}: {_words(form['counts'])}")
    for rule, found in form["rules"].items():
        if found:
            print(f"  {rule}: {len(found)} ({'; '.join(found[:3])})")
    if args.against:
        facts = result["facts"]
        print("identifiers: {same_name} of {with_cui} have the same name in the open graph".format(**result["ids"]))
        every = {key: facts["overall"][key] for key in ("n", "covered", *STATES)}
        print(f"facts: {_words(every)}; contradictions not looked at: {facts['not_looked_at']}")
    return 0 if form["passed"] else 1


if __name__ == "__main__":
    sys.exit(main())
