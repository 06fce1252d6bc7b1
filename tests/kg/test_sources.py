from __future__ import annotations

import gzip

import pytest

from meg import InputError, KnowledgeGraph
from meg.kg.sources import SOURCES
from meg.kg.sources.sample import PACKAGED


def write(path, *rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join("\t".join(row) + "\n" for row in rows)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text, encoding="utf-8")
    return path


def sample(folder):
    write(
        folder / "concepts.tsv",
        ("id", "name", "type", "synonyms"),
        ("m1", "aspirin", "drug", "acetylsalicylic acid|ASA"),
        ("m2", "headache", "symptom", ""),
    )
    write(folder / "triplets.tsv", ("head", "relation", "tail"), ("m1", "treats", "m2"))
    return folder


def tsv(folder):
    return write(folder / "t.tsv.gz", ("head", "relation", "tail"), ("a b", "r", "c"), ("c", "r", "a b"), ("c", "r", "a b"))


def kge(folder):
    write(folder / "train.txt", ("heart_disease", "isa", "disease"))
    write(folder / "valid.txt.gz", ("/m/0_1", "isa", "disease"))
    return folder


def merged(folder):
    triplets = [
        ("C0000001", "One", "treats", "C0000002", "Two", "S"),
        ("C0000001", "One", "treats", "G:1", "g", "S"),
        ("X", "x", "r", "C0000001", "One", "S"),
    ]
    write(
        folder / "triplets.tsv.gz",
        ("head_id", "head_name", "relation", "tail_id", "tail_name", "source"),
        *triplets,
        ("G:1", "g", "r", "G:1", "g", "S"),
    )
    names = [("C0000001", "One", "drug"), ("C0000002", "Two", "disease"), ("G:1", "g", "gene"), ("L", "lonely", "gene")]
    write(folder / "concepts.tsv.gz", ("id", "name", "group", "semantic_types"), *[(*row, "") for row in names])
    synonyms = [
        ("C0000001", "One", "preferred"),
        ("C0000001", "Uno", "exact"),
        ("C0000001", "about one", "related"),
        ("C0000002", "two-ish", "layperson"),
        ("L", "l", "exact"),
    ]
    write(folder / "synonyms.tsv.gz", ("id", "name", "type", "source"), *[(*row, "S") for row in synonyms])
    write(
        folder / "definitions.tsv.gz",
        ("id", "definition", "source"),
        ("C0000001", "first", "S"),
        ("C0000001", "second", "S"),
        ("L", "none", "S"),
    )
    write(folder / "synonyms_nc.tsv.gz", ("id", "name", "type", "source"), ("C0000001", "not free", "exact", "S"))
    return folder


MADE = {"sample": sample, "tsv": tsv, "kge": kge, "merged": merged, "merged-cui": merged}


def test_every_source_has_a_case_here():
    assert set(SOURCES) == set(MADE)


@pytest.mark.parametrize("kind", sorted(MADE))
def test_every_source_builds_saves_and_loads(kind, tmp_path):
    spec = f"{kind}:{MADE[kind](tmp_path / 'data')}"
    kg = KnowledgeGraph.build(spec)
    assert len(kg) >= 2 and kg.num_triplets >= 1
    assert kg.sources[0].startswith(f"{kind}:") and str(tmp_path) not in kg.sources[0]
    kg.save(tmp_path / "graph")
    assert KnowledgeGraph.load(tmp_path / "graph").fingerprint == kg.fingerprint == KnowledgeGraph.build(spec).fingerprint


def test_sample_synonyms(tmp_path):
    kg = KnowledgeGraph.build(f"sample:{sample(tmp_path)}")
    assert kg["m1"].synonyms == ("ASA", "acetylsalicylic acid") and kg["m2"].synonyms == ()


@pytest.mark.skipif(not (PACKAGED / "concepts.tsv").is_file(), reason="the packaged tables are not written yet")
def test_packaged_sample_has_no_row_to_drop():
    kg = KnowledgeGraph.build("sample:")
    assert kg.sources == ["sample"] == KnowledgeGraph.build("sample").sources
    assert kg.dropped == {} and len(kg) >= 100 and len(kg.relations) >= 3
    assert (PACKAGED / "LICENSE").is_file() and (PACKAGED / "README.md").is_file()


def test_tsv_takes_names_as_ids_and_a_header_is_no_triplet(tmp_path):
    kg = KnowledgeGraph.build(f"tsv:{tsv(tmp_path)}")
    assert kg.ids == ["a b", "c"] and kg.num_triplets == 2 and kg.dropped == {"duplicates": 1}


def test_kge_unites_the_parts_and_reads_underscores_as_blanks(tmp_path):
    kg = KnowledgeGraph.build(f"kge:{kge(tmp_path)}")
    assert kg["heart_disease"].name == "heart disease" and kg["/m/0_1"].name == "/m/0_1"
    assert kg.num_triplets == 2 and kg.synonyms == []


def test_kge_names_the_folder_that_was_meant(tmp_path):
    kge(tmp_path / "outer" / "text")
    with pytest.raises(InputError, match="Did you mean one of its folders: text"):
        KnowledgeGraph.build(f"kge:{tmp_path / 'outer'}")


def test_merged_keeps_linked_concepts_and_exact_names(tmp_path):
    kg = KnowledgeGraph.build(f"merged:{merged(tmp_path)}")
    assert kg.ids == ["C0000001", "C0000002", "G:1"]
    assert kg["C0000001"].synonyms == ("Uno",) and kg["C0000002"].synonyms == ("two-ish",)
    assert kg["C0000001"].definition == "first" and kg["G:1"].type == "gene"
    assert kg.dropped == {"unconnected": 1, "loose_synonyms": 1, "more_definitions": 1, "dangling": 1, "self_loops": 1}


def test_merged_cui_keeps_triplets_with_a_cui_at_both_ends(tmp_path):
    kg = KnowledgeGraph.build(f"merged-cui:{merged(tmp_path)}")
    assert kg.ids == ["C0000001", "C0000002"] and kg.num_triplets == 1 and kg.dropped["without_cui"] == 3


def test_several_sources_make_one_graph(tmp_path):
    one = write(tmp_path / "a.tsv", ("a", "r", "b"))
    two = write(tmp_path / "b.tsv", ("b", "r", "c"))
    kg = KnowledgeGraph.build(f"tsv:{one}", f"tsv:{two}")
    assert kg.ids == ["a", "b", "c"] and kg.sources == ["tsv:a.tsv", "tsv:b.tsv"] and kg.synonyms == []


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("sampel:", "Did you mean 'sample'"), ("obo:file", "Choose from: .*kge.*merged.*tsv"), ("nothing", "is not KIND:PATH"),
        ("tsv:", "names no path"), ("tsv:/no/such/file", "not found"), ("merged:/no/such", "not found"), ("kge:/no/such", "not found"),
    ],
)  # fmt: skip
def test_a_wrong_source_is_one_line(spec, message):
    with pytest.raises(InputError, match=message) as caught:
        KnowledgeGraph.build(spec)
    assert "\n" not in str(caught.value)


def test_a_bad_row_is_named_by_file_and_line(tmp_path):
    path = write(tmp_path / "t.tsv", ("a", "r", "b"), ("a", "r"))
    with pytest.raises(InputError, match=r"t\.tsv:2: 2 tab-separated fields"):
        KnowledgeGraph.build(f"tsv:{path}")
    write(tmp_path / "s" / "concepts.tsv", ("name", "id", "type", "synonyms"))
    with pytest.raises(InputError, match=r"concepts\.tsv:1: the header"):
        KnowledgeGraph.build(f"sample:{tmp_path / 's'}")


def test_an_empty_source_and_no_source_are_input_errors(tmp_path):
    (tmp_path / "t.tsv").write_text("")
    with pytest.raises(InputError, match="no concept found"):
        KnowledgeGraph.build(f"tsv:{tmp_path / 't.tsv'}")
    with pytest.raises(InputError, match="no source given"):
        KnowledgeGraph.build()
