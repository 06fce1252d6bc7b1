"""The whole job through the command line, in process, on a graph of sixty concepts."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from meg.cli import main
from meg.kg import questions
from meg.settings import NAMES

PHASES = ("build", "instructions", "embed", "base", "vocabulary", "qa", "control", "evaluate")


def steps(run: Path, seed: int = 0) -> dict[str, list[str]]:
    """The command of each step of a run folder."""
    here = {"graph": run / "graph", "embeddings": run / "embeddings.h5"}
    know = [word for key, path in here.items() for word in (f"--{key}", str(path))]
    task = ["--task", "graph", "--data", str(run / "instructions"), "--recipe", "smoke"]
    words = {
        "build": ["kg", "build", f"tsv:{run.parent / 'links.tsv'}", "--out", run / "graph"],
        "instructions": ["kg", "instructions", "--graph", run / "graph", "--out", run / "instructions"],
        "embed": ["kg", "embed", "--graph", run / "graph", "--out", run / "embeddings.h5", "--features", "hashing",
                  "--dim", 16, "--steps", 5],
        "base": ["train", "base", "--family", "mistral", "--graph", run / "graph", "--instructions", run / "instructions",
                 "--out", run / "base", "--recipe", "smoke"],
        "vocabulary": ["train", "vocabulary", "--base", run / "base", "--instructions", run / "instructions", "--out", run / "vocabulary",
                       "--recipe", "smoke", "--extended", *know],
        "qa": ["train", "qa", "--checkpoint", run / "vocabulary", "--out", run / "meg", *task, *know],
        "control": ["train", "qa", "--checkpoint", run / "vocabulary", "--out", run / "no_prefix", "--control", "no_prefix", *task, *know],
        "evaluate": ["evaluate", "--checkpoint", run / "meg", "--out", run / "evaluation" / "graph", "--trained",
                     f"no_prefix={run / 'no_prefix'}", "--limit", 12, *task, *know],
    }  # fmt: skip
    return {name: [str(word) for word in (*line, "--json", "--seed", seed)] for name, line in words.items()}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a graph of 30 medicines and 30 diseases; every path of the settings lies in it."""
    folder = tmp_path_factory.mktemp("job")
    lines = [f"medicine {i}\ttreats\tnervosis {(i * k) % 30}" for i in range(30) for k in (1, 7, 11)]
    lines += [f"nervosis {i}\tlooks_like\tnervosis {(i + k) % 30}" for i in range(30) for k in (3, 8)]
    (folder / "links.tsv").write_text("\n".join(lines) + "\n")
    with pytest.MonkeyPatch.context() as patch:
        for name in NAMES:
            patch.setenv(name, {"SEED": "0", "NPROC": "1"}.get(name, str(folder / name.lower())))
        whole = questions.write_questions
        patch.setattr(questions, "write_questions", lambda kg, out, seed: whole(kg, out, seed, train=300, test=20, dev=5))
        torch.set_num_threads(1)
        yield folder


def call(capsys, words: list[str]) -> dict:
    code = main(words)
    out, err = capsys.readouterr()
    assert code == 0, err
    return json.loads(out)


@pytest.fixture(scope="module")
def first(place) -> dict[str, dict]:
    """The manifests of a finished run."""
    run = place / "run"
    for name, words in steps(run).items():
        assert main(words) == 0, name
    files = {"build": "graph", "instructions": "instructions", "base": "base", "vocabulary": "vocabulary", "qa": "meg",
             "control": "no_prefix", "evaluate": "evaluation/graph"}  # fmt: skip
    found = {name: json.loads((run / folder / "manifest.json").read_text()) for name, folder in files.items()}
    return {**found, "embed": json.loads((run / "embeddings.manifest.json").read_text())}


def test_every_stage_leaves_a_manifest_of_what_it_used(first, place) -> None:
    assert set(first) == set(PHASES)
    for name, manifest in first.items():
        assert manifest["fingerprint"] and manifest["versions"]["meg"] and manifest["output"]["files"], name
        assert all(Path(entry["path"]).exists() for entry in manifest["inputs"].values())
    assert first["build"]["result"]["concepts"] == 60
    assert first["qa"]["settings"]["control"] is None and first["control"]["settings"]["control"] == "no_prefix"
    assert set(first["evaluate"]["inputs"]) == {"checkpoint", "embeddings", "graph", "data", "trained:no_prefix"}
    assert not list(place.rglob("*.partial"))


def test_results_have_every_condition(first, place) -> None:
    folder = place / "run/evaluation/graph"
    results = json.loads((folder / "results.json").read_text())
    conditions = {row["condition"] for row in results["rows"]}
    assert conditions == {"true", "swap:none", "swap:zero", "swap:noise", "swap:shuffled", "trained:no_prefix", "oracle"}
    for row in results["rows"]:
        assert row["ci95"][0] <= row["accuracy"] <= row["ci95"][1] and row["unanswered"] == 0
    per = {
        (c, n): sum(r["n"] for r in results["rows"] if (r["condition"], r["names"]) == (c, n)) for c in conditions for n in (True, False)
    }
    assert {n for (c, names), n in per.items() if c != "oracle" or not names} == {12}
    predictions = [json.loads(line) for line in (folder / "predictions.jsonl").read_text().splitlines()]
    assert len(predictions) == 12 * 2 * 6
    for p in predictions:
        assert p["pred"] in range(4) and sum(p["probabilities"]) == pytest.approx(1, abs=1e-3)
        assert p["concepts"] and {concept.split()[0] for concept in p["concepts"]} <= {"medicine", "nervosis"}
    for condition in conditions - {"oracle"}:
        for names in (True, False):
            right = sum(p["pred"] == p["gold"] for p in predictions if (p["condition"], p["names"]) == (condition, names))
            assert right == sum(r["correct"] for r in results["rows"] if (r["condition"], r["names"]) == (condition, names))
    # Without a prefix and without names every option reads the same.
    assert all(
        p["probabilities"] == pytest.approx([0.25] * 4, abs=1e-4)
        for p in predictions
        if (p["condition"], p["names"]) == ("swap:none", False)
    )
    assert len(json.loads((folder / "examples.json").read_text())) == 3


def test_the_second_call_of_each_stage_is_skipped(first, place, capsys) -> None:
    run = place / "run"
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file()}
    for name, words in steps(run).items():
        result = call(capsys, words)
        assert result.get("skipped", name == "evaluate") is True, name
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file()} == before


def test_another_setting_is_not_skipped(first, place, capsys) -> None:
    words = steps(place / "run", seed=1)["embed"]
    words[words.index(str(place / "run/embeddings.h5"))] = str(place / "other.h5")
    assert call(capsys, words)["skipped"] is False
    assert call(capsys, words)["skipped"] is True
    assert call(capsys, [*words, "--holdout", "0.2"])["skipped"] is False
    scores = call(capsys, ["kg", "evaluate", "--graph", str(place / "run/graph"), "--embeddings", str(place / "other.h5"), "--json"])
    assert 0 < scores["mrr"] <= scores["typed"]["mrr"] <= 1 and scores["part"] == "test"


def test_ask(first, place, capsys) -> None:
    words = ["ask", "Which condition is treated by medicine 3?", "--checkpoint", str(place / "run/meg"), "--json"]
    answer = call(capsys, [*words, "--options", "nervosis 3", "nervosis 5", "rest"])
    assert answer["option"] in ("nervosis 3", "nervosis 5", "rest") and sum(answer["probabilities"]) == pytest.approx(1, abs=1e-4)
    assert [c["name"] for c in answer["concepts"]] == ["medicine 3", "nervosis 3", "nervosis 5"]
    assert answer["answer"] == answer["option"] and answer["notice"] == "For research only: not medical advice."
    assert call(capsys, words)["probabilities"] == []


def test_same_seed_same_weights(first, place, capsys) -> None:
    from safetensors.torch import load_file

    run, again = place / "run", place / "again"
    shutil.rmtree(place / "ckpt_dir")  # the base is trained anew too
    for number, words in enumerate(list(steps(again).values())[:6]):
        torch.manual_seed(99 + number)  # the state that a stage starts from must not matter
        assert main(words) == 0
    for name in ("base/model", "vocabulary/mapper", "vocabulary/language_model/model", "meg/mapper", "meg/language_model/model"):
        one, two = (load_file(folder / f"{name}.safetensors") for folder in (run, again))
        assert one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in one), name
    for name in ("instructions/questions/train.jsonl", "instructions/extended.jsonl"):
        assert (run / name).read_bytes() == (again / name).read_bytes()
    control = load_file(run / "no_prefix/language_model/model.safetensors")
    assert any(not torch.equal(control[key], two[key]) for key in two)
