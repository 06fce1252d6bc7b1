from __future__ import annotations

import argparse
import json

import numpy as np
import pytest

from meg import ConceptEmbeddings, InputError, KnowledgeGraph
from meg.kg import commands, training_commands


def call(name, *words, seed=0):
    parser = argparse.ArgumentParser()
    getattr(commands, name)(parser)
    args = parser.parse_args([str(word) for word in words])
    args.seed = seed
    return args.run(args)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder of sample tables: 12 drugs treat 12 diseases, so that questions can be asked."""
    folder = tmp_path_factory.mktemp("sample")
    drugs = [f"m{i}\tdrugamab {chr(97 + i)}in\tdrug\tbrand {i}" for i in range(60)]
    diseases = [f"d{i}\t{chr(97 + i % 26)}osis number {i}\tdisease\t" for i in range(60)]
    links = [f"m{i}\ttreats\td{(i * k) % 60}" for i in range(60) for k in (1, 7)]
    (folder / "concepts.tsv").write_text("\n".join(["id\tname\ttype\tsynonyms", *drugs, *diseases]) + "\n")
    (folder / "triplets.tsv").write_text("\n".join(["head\trelation\ttail", *links]) + "\n")
    return folder


@pytest.fixture(scope="module")
def graph(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "graph"
    call("build", f"sample:{data}", "--out", out)
    return out


def test_build_writes_a_graph_with_a_manifest_and_is_skipped_the_second_time(data, tmp_path):
    out = tmp_path / "graph"
    first = call("build", f"sample:{data}", "--out", out)
    assert first["concepts"] == 120 and first["skipped"] is False and json.dumps(first)
    assert KnowledgeGraph.load(out).fingerprint == first["fingerprint"]
    assert json.loads((out / "manifest.json").read_text())["stage"] == "kg build"
    second = call("build", f"sample:{data}", "--out", out)
    assert second["skipped"] is True and second["concepts"] == 120


def test_build_depends_on_content_and_kind_not_on_how_the_path_is_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "facts.tsv").write_text("a\ttreats\tb\n")
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "facts.tsv").write_text("c\ttreats\td\n")
    first = call("build", "tsv:facts.tsv", "--out", "graph")
    assert not first["skipped"] and first["concepts"] == 2
    for same in (f"tsv:{tmp_path}/facts.tsv", "tsv:./more/../facts.tsv"):
        assert call("build", same, "--out", "graph")["skipped"]
    both = call("build", "tsv:facts.tsv", "tsv:more/facts.tsv", "--out", "graph")
    assert not both["skipped"] and both["concepts"] == 4
    (tmp_path / "more" / "facts.tsv").write_text("c\ttreats\te\n")
    assert not call("build", "tsv:facts.tsv", "tsv:more/facts.tsv", "--out", "graph")["skipped"]


def test_embed_writes_its_losses_after_the_vectors(graph, tmp_path, monkeypatch):
    monkeypatch.setattr(training_commands, "settings", lambda: {"CKPT_DIR": str(graph.parent / "kept")})
    out, parser = tmp_path / "e.h5", argparse.ArgumentParser()
    training_commands.embed(parser)
    args = parser.parse_args(["--graph", str(graph), "--out", str(out), "--features", "hashing", "--dim", "8", "--steps", "3"])
    args.seed = 0
    assert not args.run(args)["skipped"] and ConceptEmbeddings.load(out).dim == 8
    rows = [json.loads(line) for line in (tmp_path / "e.metrics.jsonl").read_text().splitlines()]
    assert [(row["stage"], row["step"]) for row in rows] == [("embeddings", step) for step in (1, 2, 3)]
    assert args.run(args)["skipped"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["e.h5", "e.manifest.json", "e.metrics.jsonl"]


def test_build_refuses_what_it_cannot_do_and_leaves_other_folders_alone(data, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("keep")
    with pytest.raises(InputError, match="something else"):
        call("build", f"sample:{data}", "--out", tmp_path / "mine")
    with pytest.raises(InputError, match="Did you mean 'sample'"):
        call("build", "sampel:", "--out", tmp_path / "g")
    with pytest.raises(InputError, match="not found"):
        call("build", "tsv:/no/such", "--out", tmp_path / "g")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["mine"]


def test_stats_and_show(graph):
    stats = call("stats", graph)
    assert stats["triplets"] == KnowledgeGraph.load(graph).num_triplets and "relations: 1" in stats["text"]
    shown = call("show", "brand 3", "--graph", graph)
    assert shown["id"] == "m3" and shown["num_triplets"] == 2 and "--treats-->" in shown["text"]
    assert len(call("show", "m3", "--graph", graph, "--limit", "1")["triplets"]) == 1
    with pytest.raises(InputError, match="no concept 'm300'"):
        call("show", "m300", "--graph", graph)


def test_neighbors_and_export(graph, tmp_path):
    kg = KnowledgeGraph.load(graph)
    vectors = np.random.default_rng(0).standard_normal((len(kg), 4)).astype(np.float32)
    ConceptEmbeddings(list(kg.ids), vectors, {"graph": kg.fingerprint}).save(tmp_path / "e.h5")
    near = call("neighbors", "brand 3", "--embeddings", tmp_path / "e.h5", "--graph", graph, "-k", "3")
    assert near["concept"] == "m3" and len(near["nearest"]) == 3 and near["nearest"][0]["name"]
    assert call("neighbors", "m3", "--embeddings", tmp_path / "e.h5")["nearest"][0]["name"] is None
    call("export", "--embeddings", tmp_path / "e.h5", "--format", "tsv", "--out", tmp_path / "e.tsv")
    assert len((tmp_path / "e.tsv").read_text().splitlines()) == len(kg)
    with pytest.raises(InputError, match="the file that is read"):
        call("export", "--embeddings", tmp_path / "e.h5", "--format", "h5", "--out", tmp_path / "e.h5")


def test_link_writes_the_agreed_rows(graph, tmp_path):
    (tmp_path / "in.jsonl").write_text('{"id": 1, "text": "Give brand 3 for aosis number 0."}\n{"id": "x", "text": "nothing"}\n')
    result = call("link", tmp_path / "in.jsonl", "--graph", graph, "--out", tmp_path / "out.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert result["mentions"] == 2 and result["without_mention"] == 1
    assert rows[0]["id"] == 1 and rows[0]["mentions"][0]["candidates"][0] == {
        "id": "m3",
        "name": "drugamab din",
        "score": 0.95,
        "how": "synonym",
    }
    assert rows[0]["mentions"][0]["text"] == "brand 3" and rows[1] == {"id": "x", "mentions": []}
    (tmp_path / "bad.jsonl").write_text('{"id": 1, "text": "a"}\n{"id": 2}\n')
    with pytest.raises(InputError, match=r"bad\.jsonl:2"):
        call("link", tmp_path / "bad.jsonl", "--graph", graph, "--out", tmp_path / "none.jsonl")


def test_instructions_write_all_files_and_are_skipped_the_second_time(graph, tmp_path, monkeypatch):
    from meg.kg import questions

    monkeypatch.setattr(questions, "write_questions", lambda kg, folder, seed: {"train": len(kg), "seed": seed})
    first = call("instructions", "--graph", graph, "--out", tmp_path / "i", seed=3)
    assert first["vocabulary"] == first["extended"] == 120 and first["questions"] == {"train": 120, "seed": 3}
    assert len((tmp_path / "i" / "triplets.jsonl").read_text().splitlines()) == first["triplets"]
    assert call("instructions", "--graph", graph, "--out", tmp_path / "i", seed=3)["skipped"] is True
    assert call("instructions", "--graph", graph, "--out", tmp_path / "i", seed=4)["skipped"] is False
