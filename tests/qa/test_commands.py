"""Input that cannot work: one line, exit code 2, and nothing written."""

from __future__ import annotations

import json
import weakref
from pathlib import Path

import numpy as np
import pytest

from meg.cli import main
from meg.errors import InputError
from meg.files import write_jsonl
from meg.kg.graph import KnowledgeGraph
from meg.kg.instructions import vocabulary
from meg.kg.questions import QuestionMaker
from meg.kg.rows import GraphRows
from meg.kg.store import ConceptEmbeddings
from meg.models.meg import MEGModel
from meg.settings import NAMES


def make(shift: int) -> KnowledgeGraph:
    concepts = {f"m{i:02}": (f"medicine {i}", "drug") for i in range(20)} | {f"d{i:02}": (f"nervosis {i}", "disease") for i in range(20)}
    return KnowledgeGraph.from_rows(
        GraphRows(concepts, [(f"m{i:02}", "treats", f"d{(i * k + shift) % 20:02}") for i in range(20) for k in (1, 7)])
    )


def vectors(kg: KnowledgeGraph, dim: int, path: Path) -> None:
    ConceptEmbeddings(list(kg.ids), np.random.default_rng(0).standard_normal((len(kg), dim)), {"graph": kg.fingerprint}).save(path)


@pytest.fixture(scope="module")
def place(tmp_path_factory, tiny, tiny_meg):
    """Two graphs of the same concepts, embeddings, a base, checkpoints, instructions and questions."""
    folder = tmp_path_factory.mktemp("commands")
    kg, other = make(0), make(1)
    kg.save(folder / "graph")
    other.save(folder / "other_graph")
    vectors(kg, 16, folder / "embeddings.h5")
    vectors(kg, 8, folder / "narrow.h5")
    vectors(other, 16, folder / "other.h5")
    tiny_meg("mistral", adapter="full", embeddings=kg.fingerprint).save_pretrained(folder / "meg")
    tiny_meg("mistral", adapter="full", embeddings="somebody else's").save_pretrained(folder / "stranger")
    tiny_meg("mistral", adapter="full", embeddings=kg.fingerprint, control="no_prefix").save_pretrained(folder / "no_prefix")
    tiny_meg("mistral", adapter="full", embeddings="somebody else's", control="no_prefix").save_pretrained(folder / "strange_control")
    for family in ("mistral", "llama"):
        language_model, tokenizer = tiny(family)
        language_model.save_pretrained(folder / family)
        tokenizer.save_pretrained(folder / family)
    (folder / "i/questions").mkdir(parents=True)
    write_jsonl(folder / "i/vocabulary.jsonl", vocabulary(kg))
    for part in ("train", "test"):
        write_jsonl(folder / f"i/questions/{part}.jsonl", QuestionMaker(kg).draw(part, "random", 8, unique=True))
    write_jsonl(folder / "open.jsonl", [{"question": "Why?", "options": {"A": "x", "B": "y"}}])
    (folder / "a_file").write_text("keep me")
    with pytest.MonkeyPatch.context() as patch:
        for name in NAMES:
            patch.setenv(name, {"SEED": "0", "NPROC": "1"}.get(name, str(folder / "settings" / name.lower())))
        yield folder


def snapshot(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def refused(place: Path, capsys, words: list) -> str:
    """The one line of a command that must fail."""
    before = snapshot(place)
    code = main([str(word) for word in words])
    out, err = capsys.readouterr()
    lines = [line for line in err.splitlines() if line.startswith("meg:")]
    assert code == 2 and out == "" and "Traceback" not in err and len(lines) == 1 and lines[0].startswith("meg: error: "), err
    assert snapshot(place) == before
    return lines[0]


def qa(place: Path, **changes) -> list:
    """A line of `meg train qa` with some arguments changed; None leaves one out."""
    return ["train", "qa", *flags(place, {"checkpoint": "meg", **changes})]


def evaluate(place: Path, **changes) -> list:
    return ["evaluate", *flags(place, {"checkpoint": "meg", **changes})]


def flags(place: Path, changes: dict) -> list:
    paths = {"checkpoint", "base", "graph", "embeddings", "data", "out", "instructions"}
    chosen = {"graph": "graph", "embeddings": "embeddings.h5", "data": "i", "out": "new/out", "task": "graph", "recipe": "smoke", **changes}
    return [w for key, value in chosen.items() if value is not None for w in (f"--{key}", place / value if key in paths else value)]


def phase_one(place: Path, **changes) -> list:
    words = ["train", "vocabulary", *flags(place, {"base": "mistral", "instructions": "i", "task": None, "data": None, **changes})]
    return words


@pytest.mark.parametrize("command", [qa, evaluate, phase_one])
@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"embeddings": "other.h5"}, "belong to another graph"),
        ({"graph": "other_graph"}, "belong to another graph"),
        ({"embeddings": "nothing.h5"}, "nothing.h5"),
        ({"embeddings": "a_file"}, "not an embeddings file"),
        ({"graph": "nothing"}, "input 'graph' of stage"),
        ({"graph": "i"}, "is not a graph folder"),
        ({"recipe": "smok"}, "Did you mean 'smoke'"),
        ({"out": "a_file/out"}, "cannot write to"),
        ({"out": "a_file"}, "is not a folder"),
        ({"out": "i"}, "holds files that are not of a stage"),
        ({"seed": "x"}, "--seed"),
    ],
)  # fmt: skip
def test_what_every_stage_refuses(place, capsys, command, changes, says) -> None:
    assert says in refused(place, capsys, command(place, **changes))


@pytest.mark.parametrize("command", [qa, evaluate])
@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"embeddings": "narrow.h5"}, "the embeddings have 8 numbers a concept, the checkpoint reads 16"),
        ({"checkpoint": "stranger"}, "another graph than the checkpoint was trained with"),
        ({"checkpoint": "nothing"}, "nothing"),
        ({"checkpoint": "mistral"}, "not a MEG model"),
        ({"checkpoint": "a_file"}, "not a MEG model"),
        ({"task": "medqa_usml"}, "Did you mean 'medqa_usmle'"),
        ({"task": None}, "--task"),
        ({"data": "nowhere"}, "nowhere"),
        ({"data": "open.jsonl"}, "open.jsonl:1: no template"),
        ({"data": None}, "base_data_dir"),
        ({"task": "medmcqa"}, "MedMCQA file not found"),
    ],
)
def test_what_training_and_evaluation_refuse(place, capsys, command, changes, says) -> None:
    assert says in refused(place, capsys, command(place, **changes))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"limit": "0"}, "--limit is 0.0"), ({"limit": "-3"}, "--limit is -3.0"), ({"limit": "nan"}, "--limit is nan"),
        ({"limit": "inf"}, "--limit is inf"), ({"limit": "many"}, "--limit"), ({"limit": "0.001"}, "leaves no question"),
        ({"controls": "zero,shufled"}, "Did you mean 'shuffled'"), ({"controls": "ALL"}, "unknown control 'ALL'"),
        ({"trained": "no_prefix"}, "NAME=DIR"), ({"trained": "no_prefix="}, "NAME=DIR"), ({"trained": "=x"}, "NAME=DIR"),
        ({"trained": "x=/no/such/folder"}, "/no/such/folder"), ({"split": "tset"}, "tset"),
    ],
)  # fmt: skip
def test_what_evaluation_refuses(place, capsys, changes, says) -> None:
    assert says in refused(place, capsys, evaluate(place, **changes))


def test_a_trained_control_that_is_no_checkpoint(place, capsys) -> None:
    assert "not a MEG model" in refused(place, capsys, evaluate(place, trained=f"x={place / 'llama'}"))
    assert "was not trained as the control 'no_prefix'" in refused(place, capsys, evaluate(place, trained=f"no_prefix={place / 'meg'}"))
    assert "was not trained as the control 'x'" in refused(place, capsys, evaluate(place, trained=f"x={place / 'no_prefix'}"))
    assert "another graph" in refused(place, capsys, evaluate(place, trained=f"no_prefix={place / 'strange_control'}"))


def test_training_needs_a_place_to_write(place, capsys) -> None:
    for command in (qa, phase_one):
        assert "--out" in refused(place, capsys, command(place, out=None))


def test_training_refuses_unknown_controls_and_questions_without_answers(place, capsys) -> None:
    assert "Choose from: no_prefix" in refused(place, capsys, qa(place, control="shuffled"))
    assert "has an answer" in refused(place, capsys, qa(place, task="medqa_usmle", data="open.jsonl"))
    assert "no train split" in refused(place, capsys, qa(place, task="mmlu_medical"))


def test_phase_one_and_base_refuse(place, capsys) -> None:
    assert "base not found" in refused(place, capsys, phase_one(place, base="nothing"))
    assert "no model at" in refused(place, capsys, phase_one(place, base="a_file"))
    assert "vocabulary.jsonl" in refused(place, capsys, phase_one(place, instructions="mistral"))
    assert "extended.jsonl" in refused(place, capsys, [*phase_one(place), "--extended"])
    base = ["train", "base", "--graph", place / "graph", "--instructions", place / "i", "--out", place / "new/base", "--recipe", "smoke"]
    assert "'mistrl'" in refused(place, capsys, [*base, "--family", "mistrl"])
    assert "no/such" in refused(place, capsys, [*base, "--family", "mistral", "--model", place / "no/such"])


def test_embeddings_refuse(place, capsys) -> None:
    words = ["kg", "embed", "--graph", place / "graph", "--out", place / "new/e.h5", "--features", "hashing", "--steps", "1"]
    for more, says in (
        (["--encoder", "graphsge"], "Did you mean 'graphsage'"), (["--holdout", "1"], "--holdout is 1.0"), (["--dim", "0"], "dim is 0"),
        (["--features", "no/such/encoder"], "no/such/encoder"), (["--out", place / "a_file/e.h5"], "cannot write to"),
    ):  # fmt: skip
        assert says in refused(place, capsys, [*words, *more])
    assert "--holdout" in refused(place, capsys, ["kg", "evaluate", "--graph", place / "graph", "--embeddings", place / "embeddings.h5"])


def test_another_base_than_the_checkpoint_was_trained_on(place) -> None:
    model = MEGModel.from_pretrained(place / "meg", base=place / "mistral")
    assert model.config.embeddings == make(0).fingerprint
    with pytest.raises(InputError, match="model_type llama instead of mistral") as caught:
        MEGModel.from_pretrained(place / "meg", base=place / "llama")
    assert "\n" not in str(caught.value)


def test_ask_refuses(place, capsys) -> None:
    ask = ["ask", "What is treated by medicine 3?", "--checkpoint", place / "meg"]
    assert "1 options given; 2 to 10 are needed" in refused(place, capsys, [*ask, "--options", "one"])
    assert "11 options given" in refused(place, capsys, [*ask, "--options", *"abcdefghijk"])
    assert "question is empty" in refused(place, capsys, ["ask", " ", *ask[2:], "--options", "a", "b"])
    assert "another graph" in refused(place, capsys, [*ask, "--graph", place / "other_graph"])
    assert "8 numbers" in refused(place, capsys, [*ask, "--embeddings", place / "narrow.h5"])
    assert "checkpoint not found" in refused(place, capsys, [*ask[:2], "--checkpoint", place / "nothing"])
    assert "--checkpoint" in refused(place, capsys, ask[:2])


def test_the_graph_and_embeddings_beside_the_checkpoint_are_found(place, capsys) -> None:
    assert (
        main(["ask", "What is treated by medicine 3?", "--checkpoint", str(place / "meg"), "--options", "nervosis 3", "x", "--json"]) == 0
    )
    answer = json.loads(capsys.readouterr().out)
    assert [c["name"] for c in answer["concepts"]] == ["medicine 3", "nervosis 3"]
    assert answer["evidence"] in ([], [["medicine 3", "treats", "nervosis 3"]])


def test_evaluation_finds_them_too_and_a_control_checkpoint_has_only_itself(place, tmp_path, capsys) -> None:
    words = evaluate(place, graph=None, embeddings=None, checkpoint="no_prefix", controls="all")
    words[words.index("--out") + 1] = tmp_path / "out"
    assert main([str(w) for w in words]) == 0
    rows = json.loads((tmp_path / "out/results.json").read_text())["rows"]
    assert {row["condition"] for row in rows} == {"trained:no_prefix"} and {row["names"] for row in rows} == {True, False}
    inputs = json.loads((tmp_path / "out/manifest.json").read_text())["inputs"]
    assert {name: inputs[name]["path"] for name in ("graph", "embeddings")} == {
        "graph": str(place / "graph"),
        "embeddings": str(place / "embeddings.h5"),
    }


def test_evaluation_holds_one_model_at_a_time(place, tmp_path, monkeypatch, capsys) -> None:
    from meg.qa import stage_evaluate as module

    held, alive = [], []
    load = module.checkpoint

    def watched(*args):
        alive.append(sum(ref() is not None for ref in held))
        model = load(*args)
        held.append(weakref.ref(model))
        return model

    monkeypatch.setattr(module, "checkpoint", watched)
    words = evaluate(place, trained=f"no_prefix={place / 'no_prefix'}", controls="none")
    words[words.index("--out") + 1] = tmp_path / "out"
    assert main([str(w) for w in words]) == 0
    assert alive == [0, 0]
    conditions = [row["condition"] for row in json.loads((tmp_path / "out/results.json").read_text())["rows"]]
    assert list(dict.fromkeys(conditions)) == ["true", "swap:none", "trained:no_prefix"]


def test_questions_without_answers_get_predictions_and_no_accuracy(place, tmp_path, capsys) -> None:
    words = evaluate(place, task="medqa_usmle", data="open.jsonl", controls="")
    words[words.index("--out") + 1] = tmp_path / "out"
    assert main([str(w) for w in words]) == 0
    (row,) = json.loads((tmp_path / "out/results.json").read_text())["rows"]
    assert row["accuracy"] is None and row["ci95"] is None and row["n"] == 1
    (prediction,) = [json.loads(line) for line in (tmp_path / "out/predictions.jsonl").read_text().splitlines()]
    assert prediction["pred"] in (0, 1) and prediction["gold"] is None


def test_scores_that_are_not_numbers_stay_valid_json(place, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setattr("meg.qa.evaluate.score", lambda model, examples, *_, **__: [np.full(4, np.nan)] * len(examples))
    words = evaluate(place, controls="none")
    words[words.index("--out") + 1] = tmp_path / "out"
    assert main([str(w) for w in words]) == 0
    for name in ("results.json", "examples.json"):
        json.loads((tmp_path / "out" / name).read_text(), parse_constant=lambda constant: pytest.fail(constant))
    rows = json.loads((tmp_path / "out/results.json").read_text())["rows"]
    assert all(row["accuracy"] == 0 and row["unanswered"] == row["n"] for row in rows if row["condition"] != "oracle")
