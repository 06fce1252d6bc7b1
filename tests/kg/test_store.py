from __future__ import annotations

import json

import h5py
import numpy as np
import pytest

from meg import ConceptEmbeddings, InputError, KnowledgeGraph
from meg.kg.rows import GraphRows


def made(ids=("a", "b b", "x/y", "d"), dim=3) -> ConceptEmbeddings:
    vectors = np.random.default_rng(0).standard_normal((len(ids), dim)).astype(np.float32)
    return ConceptEmbeddings(list(ids), vectors, {"graph": "f00", "encoder": "test", "settings": {"dim": dim}})


def test_save_and_load_keep_everything(tmp_path):
    emb = made(("é", "b", "c"))
    emb.split = {"train": np.array([[0, 0, 1]], dtype=np.int32), "test": np.zeros((0, 3), dtype=np.int32)}
    emb.decoder = {"mean": np.ones(3, dtype=np.float32)}
    emb.save(tmp_path / "e.h5")
    again = ConceptEmbeddings.load(tmp_path / "e.h5")
    assert again.ids == emb.ids and again.meta == emb.meta and again.dim == 3
    assert np.array_equal(again.vectors, emb.vectors) and again.vectors.dtype == np.float32
    assert again.split["train"].tolist() == [[0, 0, 1]] and again.split["train"].dtype == np.int32 and again.split["test"].shape == (0, 3)
    assert again.decoder["mean"].tolist() == [1, 1, 1]
    made().save(tmp_path / "e.h5")
    plain = ConceptEmbeddings.load(tmp_path / "e.h5")
    assert plain.split is None and plain.decoder is None


def test_lookup_rows_and_single_vectors():
    emb = made()
    assert emb.rows(["d", "none", "a"]).tolist() == [3, -1, 0] and emb.rows([]).dtype == np.int32
    vectors, known = emb.lookup(["d", "none"])
    assert known.tolist() == [True, False] and np.array_equal(vectors[0], emb["d"]) and not vectors[1].any()
    assert emb.lookup([])[0].shape == (0, 3)
    assert "a" in emb and "none" not in emb and len(emb) == 4
    with pytest.raises(InputError, match="no embedding for concept 'none'"):
        emb["none"]


def test_nearest_is_cosine_and_leaves_the_concept_out():
    emb = ConceptEmbeddings(["e", "near", "far", "long"], np.array([[1, 0], [1, 0.1], [-1, 0], [90, 90]], dtype=np.float32))
    found = emb.nearest("e", k=10)
    assert [key for key, _ in found] == ["near", "long", "far"]
    assert found[1][1] == pytest.approx(2**-0.5, abs=1e-6) and found[2][1] == pytest.approx(-1)
    assert emb.nearest(np.array([0, 5.0]), k=1)[0][0] == "long"
    with pytest.raises(InputError, match="shape"):
        emb.nearest(np.zeros(3))


def test_the_published_layout_is_read_with_its_key_rules(tmp_path):
    with h5py.File(tmp_path / "p.h5", "w") as file:
        for number, key in enumerate(["a__b", "deep__vein___thrombosis", "p_75", "x___y"]):
            file[key] = np.full(2, number, dtype=np.float32)
    emb = ConceptEmbeddings.load(tmp_path / "p.h5")
    assert emb.ids == ["a b", "deep vein/thrombosis", "x/y", "p75"]
    assert emb["p75"].tolist() == [2, 2] and emb["x/y"].tolist() == [3, 3]
    with h5py.File(tmp_path / "nested.h5", "w") as file:
        file["part0/pyRDF2Vec/C1"] = np.zeros(2, dtype=np.float32)
        file["part1/pyRDF2Vec/q__r"] = np.ones(2, dtype=np.float32)
    assert ConceptEmbeddings.load(tmp_path / "nested.h5").ids == ["C1", "q r"]


def test_export_in_every_format(tmp_path):
    emb = made()
    emb.export(tmp_path / "e.h5")
    again = ConceptEmbeddings.load(tmp_path / "e.h5")
    assert sorted(again.ids) == sorted(emb.ids) and np.array_equal(again["b b"], emb["b b"])
    emb.export(tmp_path / "e.npy", format="npy")
    assert np.array_equal(np.load(tmp_path / "e.npy"), emb.vectors)
    assert (tmp_path / "e.ids.txt").read_text().splitlines() == emb.ids
    emb.export(tmp_path / "e.tsv", format="tsv")
    rows = [line.split("\t") for line in (tmp_path / "e.tsv").read_text().splitlines()]
    assert [row[0] for row in rows] == emb.ids and np.array_equal(np.array([row[1:] for row in rows], dtype=np.float32), emb.vectors)
    emb.export(tmp_path / "e.txt", format="word2vec")
    lines = (tmp_path / "e.txt").read_text().splitlines()
    assert lines[0] == "4 3" and lines[2].startswith("b_b ") and len(lines) == 5
    with pytest.raises(InputError, match="Choose from: h5, npy, tsv, word2vec"):
        emb.export(tmp_path / "e.bin", format="bin")
    with pytest.raises(InputError, match="published layout"):
        made(("a__b",)).export(tmp_path / "bad.h5")
    assert not (tmp_path / "bad.h5").exists()


def _text(path):
    path.write_text("no")


def _uneven(path):
    with h5py.File(path, "w") as file:
        file["a"], file["b"] = np.zeros(2), np.zeros(3)


def _short(path):
    with h5py.File(path, "w") as file:
        file["vectors"], file["ids"] = np.zeros((2, 2)), np.array([b"a"])


def _nan(path):
    with h5py.File(path, "w") as file:
        file["vectors"], file["ids"] = np.full((1, 2), np.nan), np.array([b"a"])


def _empty(path):
    h5py.File(path, "w").close()


@pytest.mark.parametrize("write", [_text, _uneven, _short, _nan, _empty])
def test_another_file_is_an_input_error(tmp_path, write):
    write(tmp_path / "e.h5")
    with pytest.raises(InputError):
        ConceptEmbeddings.load(tmp_path / "e.h5")
    with pytest.raises(InputError, match="meg kg embed"):
        ConceptEmbeddings.load(tmp_path / "none.h5")


def test_embeddings_of_another_graph_are_refused():
    kg = KnowledgeGraph.from_rows(GraphRows({"a": ("a", ""), "b": ("b", "")}, [("a", "r", "b")]))
    vectors = np.zeros((2, 2), dtype=np.float32)
    ConceptEmbeddings(["a", "b"], vectors, {"graph": kg.fingerprint}).check_graph(kg)
    ConceptEmbeddings(["a", "b"], vectors).check_graph(kg)
    for other in (
        ConceptEmbeddings(["a", "b"], vectors, {"graph": "f00"}),
        ConceptEmbeddings(["b", "a"], vectors, {"graph": kg.fingerprint}),
    ):
        with pytest.raises(InputError, match="meg kg embed --graph"):
            other.check_graph(kg)


def test_meta_is_json(tmp_path):
    made().save(tmp_path / "e.h5")
    with h5py.File(tmp_path / "e.h5") as file:
        assert json.loads(file.attrs["meta"])["graph"] == "f00" and file["vectors"].dtype == np.float32
