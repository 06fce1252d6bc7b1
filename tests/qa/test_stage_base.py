"""The base of a run: how a model of the user's is referred to, and when the cached small LM may be taken."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import pytest

from meg.errors import InputError
from meg.files import write_json
from meg.models import base
from meg.qa import stage_base
from meg.qa.recipes import recipe


def test_a_folder_is_kept_as_an_absolute_path(tmp_path: Path, tiny, monkeypatch) -> None:
    for part in tiny("llama"):
        part.save_pretrained(tmp_path / "model")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out").mkdir()
    found = stage_base.make_base(tmp_path / "out", Namespace(model="model"), recipe("smoke", "model"))
    assert found == {"model": str(tmp_path / "model"), "revision": None}
    assert stage_base.base_reference(tmp_path / "out") == (str(tmp_path / "model"), None)
    assert stage_base.base_model(tmp_path / "out") == str(tmp_path / "model")


def test_a_hub_model_is_kept_with_its_commit(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(base, "check_base", lambda place: "fine")
    monkeypatch.setattr(base, "read_config", lambda place: Namespace(_commit_hash="abc123"))
    stage_base.make_base(tmp_path, Namespace(model="owner/name"), recipe("smoke", "owner/name"))
    assert stage_base.base_reference(tmp_path) == ("owner/name", "abc123")


def test_references_without_a_revision_and_bases_with_their_own_weights(tmp_path: Path) -> None:
    assert stage_base.base_reference(tmp_path) is None and stage_base.base_model(tmp_path) is None
    write_json(tmp_path / "base.json", {"model": "owner/name"})
    assert stage_base.base_reference(tmp_path) == ("owner/name", None)
    with pytest.raises(InputError, match="meg train base"):
        stage_base.base_reference(tmp_path / "none")


def test_the_cached_lm_is_trained_anew_when_the_models_room_changed(tmp_path: Path, monkeypatch) -> None:
    trained = []

    def train(family: str, texts: list[str], out: Path, **options) -> dict:
        trained.append(out)
        write_json(out / "config.json", {"hidden_size": 8})
        return {"loss": 1.0}

    monkeypatch.setattr(base, "train_base", train)
    monkeypatch.setattr(stage_base, "corpus", lambda graph, instructions: ["a text"])
    monkeypatch.setattr(stage_base, "settings", lambda: {"CKPT_DIR": str(tmp_path / "kept")})
    args = Namespace(model=None, family="mistral", graph=None, instructions=None, seed=0)

    def cached(code: str) -> bool:
        monkeypatch.setattr(stage_base, "code_digest", lambda room: f"{room} {code}")
        return stage_base.make_base(tmp_path / "out", args, recipe("smoke", None))["cached"]

    assert [cached("one"), cached("one"), cached("two"), cached("one")] == [False, True, False, True]
    assert len(trained) == 2
