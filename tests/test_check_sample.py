"""The check of the sample graph: each rule, each verdict on a fact, on graphs of a few lines."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest

import meg

ROOT = Path(meg.__file__).parent
spec = importlib.util.spec_from_file_location("check_sample", ROOT / "scripts/check_sample.py")
check = importlib.util.module_from_spec(spec)
sys.modules["check_sample"] = check
spec.loader.exec_module(check)

CONCEPTS = [
    ("C0000001", "Flu", "disease", "Influenza"),
    ("C0000002", "Fever", "finding", ""),
    ("C0000003", "Infection", "disease", ""),
    ("C0000004", "Lung", "anatomy", ""),
    ("M1", "Chest", "anatomy", "Thorax"),
    ("M2", "Oseltamivir", "drug", ""),
    ("M3", "Chill", "finding", ""),
    ("M4", "Rash", "finding", ""),
    ("M5", "Dominant inheritance", "inheritance", ""),
    ("M6", "Nowhere", "finding", ""),
    ("M7", "Swab", "test", ""),
]
TRIPLETS = [
    ("C0000001", "has_finding", "C0000002"),
    ("C0000001", "has_finding", "M3"),
    ("C0000001", "has_finding", "M4"),
    ("C0000001", "has_finding", "M6"),
    ("C0000001", "is_a", "C0000003"),
    ("C0000001", "has_location", "M1"),
    ("C0000001", "has_inheritance", "M5"),
    ("C0000001", "diagnosed_by", "M7"),
    ("M1", "part_of", "C0000004"),
    ("M2", "treats", "C0000001"),
]
OPEN = [
    ("C0000001", "influenza", "disease"),
    ("C0000002", "pyrexia", "phenotype"),
    ("C0000003", "infection", "disease"),
    ("O1", "viral infection", "disease"),
    ("C0000004", "lung", "anatomy"),
    ("O2", "thorax", "anatomy"),
    ("O3", "oseltamivir", "drug"),
    ("O4", "chill", "phenotype"),
    ("O5", "severe chill", "phenotype"),
    ("O6", "rash", "phenotype"),
    ("O7", "recessive inheritance", "phenotype"),
    ("O8", "dominant inheritance", "phenotype"),
    ("O9", "swab", "procedure"),
    ("O10", "chest", "disease"),
]
LINKS = [
    ("C0000001", "has_symptom", "C0000002"),
    ("C0000001", "disease_may_have_finding", "O5"),
    ("O5", "is_a", "O4"),
    ("C0000001", "disease_excludes_finding", "O6"),
    ("C0000001", "is_a", "O1"),
    ("O1", "mesh_broader", "C0000003"),
    ("C0000001", "disease_has_location", "C0000004"),
    ("C0000004", "part_of", "O2"),
    ("C0000001", "has_inheritance", "O7"),
    ("O8", "is_a", "O7"),
    ("O9", "is_a", "O10"),
]


def write(path, *rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join("\t".join(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def sample(tmp_path):
    folder = tmp_path / "sample"
    write(folder / "concepts.tsv", ("id", "name", "type", "synonyms"), *CONCEPTS)
    write(folder / "triplets.tsv", ("head", "relation", "tail"), *TRIPLETS)
    return folder


@pytest.fixture
def merged(tmp_path):
    folder, names = tmp_path / "merged", {key: name for key, name, _ in OPEN}
    columns = ("head_id", "head_name", "relation", "tail_id", "tail_name", "source")
    write(folder / "triplets.tsv", columns, *[(h, names[h], r, t, names[t], "S") for h, r, t in LINKS])
    write(folder / "triplets_nc.tsv", columns, ("O3", "oseltamivir", "may_treat", "C0000001", "influenza", "S"))
    write(folder / "concepts.tsv", ("id", "name", "group"), *OPEN)
    write(folder / "synonyms.tsv", ("id", "name", "type", "source"), ("C0000002", "fever", "exact", "S"), ("C0000001", "flu", "broad", "S"))
    write(folder / "definitions.tsv", ("id", "definition"))
    return folder


def rules(folder):
    return {rule: found for rule, found in check.check_format(check.Sample(folder))["rules"].items() if found}


def test_the_packaged_sample_has_the_right_format():
    form = check.check_format(check.Sample(check.SAMPLE))
    assert {rule: found for rule, found in form["rules"].items() if found} == {}
    assert form["passed"] and form["largest_component"] >= 0.95 * form["counts"]["concepts"]


def test_tables_of_types_and_relations_agree():
    kinds = set(check.GROUPS)
    for relation, (heads, tails, *_) in check.RELATIONS.items():
        assert relation == "is_a" or (set(heads) | set(tails)) <= kinds


def test_only_the_bar_is_missed_by_a_small_sample(sample):
    assert set(rules(sample)) == {"below the bar"}


@pytest.mark.parametrize(
    ("table", "row", "rule", "said"),
    [
        ("concepts", ("M7", "Other", "test", ""), "repeated id", "M7"),
        ("concepts", ("M8", "swab", "test", ""), "repeated name (case ignored)", "swab"),
        ("concepts", ("M8", "Eight", "thing", ""), "unknown type", "Eight: thing"),
        ("concepts", ("M8", "Eight", "test", ""), "concept without a triplet", "Eight"),
        ("concepts", ("M8", " ", "test", ""), "empty id or name", "M8"),
        ("triplets", ("M1", "is_near", "M2"), "unknown relation", "is_near"),
        ("triplets", ("M2", "part_of", "M1"), "types that the relation does not allow", "Oseltamivir — part_of — Chest (drug, anatomy)"),
        ("triplets", ("M2", "treats", "M9"), "id without a concept", "M9"),
        ("triplets", ("M1", "part_of", "M1"), "self-loop", "Chest — part_of — Chest"),
        ("triplets", TRIPLETS[0], "repeated triplet", "Flu — has_finding — Fever"),
        ("triplets", ("C0000003", "is_a", "C0000001"), "cycle of is_a", "Flu"),
        ("triplets", ("C0000004", "part_of", "M1"), "cycle of part_of", "Chest"),
        ("triplets", ("M2", "contraindicated_in", "C0000001"), "treats and contraindicated_in", "Oseltamivir — treats — Flu"),
    ],
)
def test_each_rule_names_what_breaks_it(table, row, rule, said, sample):
    path = sample / f"{table}.tsv"
    path.write_text(path.read_text() + "\t".join(row) + "\n")
    found = rules(sample)
    assert said in found[rule]
    assert set(found) - {"below the bar", "concept without a triplet"} <= {rule}


def test_connectivity_ignores_direction(sample):
    assert check.shape(check.Sample(sample))[0] == len(CONCEPTS)


def facts(sample, merged, verdicts=None):
    return check.check_facts(check.Sample(sample), check.OpenGraph(merged), verdicts or {})


def test_facts_are_confirmed_contradicted_or_left_open(sample, merged):
    found = facts(sample, merged)
    per = found["per_relation"]
    assert {key: per["has_finding"][key] for key in ("n", "covered", "direct", "near", "contradicted", "unconfirmed")} == {
        "n": 4, "covered": 3, "direct": 1, "near": 1, "contradicted": 1, "unconfirmed": 0,
    }  # fmt: skip
    assert per["is_a"]["near"] == per["has_location"]["near"] == per["treats"]["direct"] == 1
    assert per["diagnosed_by"]["unconfirmed"] == per["diagnosed_by"]["covered"] == 1
    assert {(a["relation"], a["open_graph"]) for a in found["contradicted"]} == {
        ("has_finding", "finding excluded"),
        ("part_of", "part_of reversed"),
    }
    assert per["has_inheritance"]["near"] == 1  # the open graph's mode is one is_a step away
    assert found["overall"]["n"] == 10 and found["overall"]["covered_share"] == 0.9
    assert found["relations_with_a_counterpart"]["n"] == 9
    assert found["concepts_not_found"] == {"finding": 1}


def test_another_mode_of_inheritance_and_a_reversed_is_a_contradict(sample, merged):
    path = merged / "triplets.tsv"
    kept = [line for line in path.read_text().splitlines() if not line.startswith(("O8\t", "O1\t"))]
    kept += ["C0000003\tinfection\tis_a\tC0000001\tinfluenza\tS", "O8\tdominant inheritance\tseen_in\tO7\trecessive inheritance\tS"]
    path.write_text("\n".join(kept) + "\n")
    said = {a["relation"]: a["open_graph"] for a in facts(sample, merged)["contradicted"]}
    assert said["has_inheritance"] == "there only, recessive inheritance"
    assert said["is_a"] == "is_a reversed"


def test_non_commercial_triplets_are_optional(sample, merged):
    (merged / "triplets_nc.tsv").unlink()
    found = facts(sample, merged)
    assert not found["noncommercial_used"] and found["per_relation"]["treats"]["covered"] == 0


def test_types_and_names_decide_what_is_found(merged):
    graph = check.OpenGraph(merged)
    assert graph.find("M1", "Chest", "anatomy", ["Thorax"]) == {"O2"}  # the disease of that name does not fit
    assert graph.find("M9", "Severe  CHILL", "finding", []) == {"O5"}
    assert graph.find("M9", "Grippe", "disease", ["flu"]) == set()  # a short synonym, and only a broad one there


def test_ids_are_compared_by_name(sample, merged):
    ids = check.check_ids(check.Sample(sample), check.OpenGraph(merged))
    assert ids["with_cui"] == 4 and ids["same_name"] == 3
    assert ids["odd"]["only a synonym agrees"] == ["C0000001 Flu (disease): there influenza; both Influenza"]


def test_the_report_carries_verdicts_and_no_path(sample, merged, tmp_path, capsys):
    write(
        sample / "looked_at.tsv",
        ("head", "relation", "tail", "verdict"),
        ("C0000001", "has_finding", "M4", "kept: seen in children"),
        ("M1", "is_a", "M2", "old"),
    )
    assert check.main(["--sample", str(sample), "--against", str(merged), "--out", str(tmp_path / "out")]) == 1
    assert "format FAILED" in capsys.readouterr().out
    text = (tmp_path / "out/check.md").read_text()
    assert "| Flu — has_finding — Rash | finding excluded | kept: seen in children |" in text and "**not yet**" in text
    result = json.loads((tmp_path / "out/check.json").read_text())
    assert result["facts"]["not_looked_at"] == 1 and result["facts"]["verdicts_no_longer_needed"] == 1
    assert "sample/looked_at.tsv" in result["inputs"] and "merged/triplets_nc.tsv" in result["inputs"]
    assert str(tmp_path) not in text + json.dumps(result)


def test_without_an_open_graph_nothing_is_written(sample, capsys):
    assert check.main(["--sample", str(sample)]) == 1
    assert sorted(path.name for path in sample.iterdir()) == ["concepts.tsv", "triplets.tsv"]
    assert "below the bar: 4" in capsys.readouterr().out


@pytest.mark.parametrize("broken", ["folder", "header", "row", "empty", "open"])
def test_bad_input_is_one_line_and_exit_2(broken, sample, tmp_path, capsys):
    flags = ["--sample", str(sample)]
    if broken == "folder":
        flags = ["--sample", str(tmp_path / "none")]
    elif broken == "header":
        write(sample / "concepts.tsv", ("identifier", "name"))
    elif broken == "row":
        write(sample / "triplets.tsv", ("head", "relation", "tail"), ("M1", "is_a"))
    elif broken == "empty":
        write(sample / "triplets.tsv", ("head", "relation", "tail"))
    else:
        flags += ["--against", str(tmp_path / "none")]
    assert check.main(flags) == 2
    error = capsys.readouterr().err
    assert error.startswith("check_sample: error: ") and error.count("\n") == 1
