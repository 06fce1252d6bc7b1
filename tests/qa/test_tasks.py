"""Every task in its original file format, and what it says about files that are not right."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from meg.errors import InputError
from meg.qa.tasks import TASKS, Question, hashed_part, lettered
from meg.qa.tasks.mmlu_medical import SUBJECTS

STEM = "A 30-year-old has fever, which drug helps?"
MEDQA = {
    "question": STEM,
    "answer": "Aspirin",
    "options": {"B": "Water", "A": "Aspirin", "D": "Salt", "C": "Air"},
    "answer_idx": "A",
    "meta_info": "step1",
}
MEDMCQA = {"question": STEM, "opa": "Water", "opb": "Salt", "opc": "Aspirin", "opd": "Air", "cop": 3, "id": "abc", "subject_name": "x"}
PUBMED = {"QUESTION": "Does aspirin help?", "CONTEXTS": ["We asked.", "It did."], "LABELS": ["A", "B"], "final_decision": "maybe"}
GRAPH = {
    "id": "g0", "question": "Which condition is treated by aspirin?", "answer": "fever",
    "options": {"A": "cough", "B": "fever", "C": "rash", "D": "gout"},
    "answer_idx": "B", "template": "Which condition is treated by {}?", "concept": "c1", "group": "random",
    "relation": "treats", "inverse": False,
    "option_concepts": {"A": "c2", "B": "c3", "C": "c4", "D": "c5"}, "triplet": ["c1", "treats", "c3"],
}  # fmt: skip


def jsonl(path: Path, rows: list) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows), encoding="utf-8")
    return path


def mmlu(folder: Path, row: list[str]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for subject in SUBJECTS:
        with (folder / f"{subject}_test.csv").open("w", newline="", encoding="utf-8") as out:
            csv.writer(out).writerow(row)
    return folder


def pubmed(folder: Path, rows: dict) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pqal_train_dev.json").write_text(json.dumps(rows))
    return folder


WRITE = {  # task -> (folder below a data root, function that writes one good question in a folder)
    "graph": ("questions", lambda f: jsonl(f / "test.jsonl", [GRAPH])),
    "medqa_usmle": ("qa/medqa/US/4_options", lambda f: [jsonl(f / f"{part}.jsonl", [MEDQA]) for part in ("train", "test")]),
    "medmcqa": ("qa/medmcqa", lambda f: jsonl(f / "dev.json", [MEDMCQA])),
    "mmlu_medical": ("qa/mmlu/test", lambda f: mmlu(f, [STEM, "Water", "Salt", "Aspirin, 1 g", "Air", "C"])),
    "pubmedqa": ("qa/pubmedqa", lambda f: (pubmed(f, {}), (f / "pqal_test.json").write_text(json.dumps({"123": PUBMED})))),
}


def test_every_task_is_covered_here() -> None:
    assert set(WRITE) == set(TASKS.names())


@pytest.mark.parametrize("root", [True, False])
@pytest.mark.parametrize("task", WRITE)
def test_reads_its_original_format_from_a_data_root_and_from_its_own_folder(task: str, root: bool, tmp_path: Path) -> None:
    below, write = WRITE[task]
    write(tmp_path / below)
    split = TASKS[task](tmp_path if root else tmp_path / below, "test", 0)
    assert split.rule and len(split.questions) == (6 if task == "mmlu_medical" else 1)
    for q in split.questions:
        assert q.id and q.text and len(q.options) >= 3 and all(isinstance(text, str) and text for text in q.options)
        assert (
            q.options[q.gold]
            == {"graph": "fever", "medqa_usmle": "Aspirin", "medmcqa": "Aspirin", "mmlu_medical": "Aspirin, 1 g", "pubmedqa": "maybe"}[task]
        )
    assert len({q.id for q in split.questions}) == len(split.questions)


@pytest.mark.parametrize("task", WRITE)
def test_a_missing_file_is_one_clear_error(task: str, tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(InputError) as caught:
            TASKS[task](place, "test", 0)
        assert str(tmp_path) in str(caught.value) and "\n" not in str(caught.value)


def without_options(task: str, folder: Path) -> tuple[Path, str]:
    """(data, the place that the error names) of a second question that has no options."""
    if task == "graph":
        path = jsonl(folder / "q.jsonl", [GRAPH, {k: v for k, v in GRAPH.items() if k != "options"}])
    elif task == "medqa_usmle":
        path = jsonl(folder / "q.jsonl", [MEDQA, {"question": STEM, "answer_idx": "A"}])
    elif task == "medmcqa":
        path = jsonl(folder / "q.json", [MEDMCQA, {"question": STEM, "cop": 1}])
    elif task == "mmlu_medical":
        mmlu(folder, [STEM, "a", "b", "c", "d", "A"])
        path = folder / "anatomy_test.csv"
        path.write_text(path.read_text() + '"Only a question",A\n')
        return folder, f"{path}:2"
    else:  # PubMedQA's options are always the same; a record can lack its text
        path = folder / "q.json"
        path.write_text(json.dumps({"1": PUBMED, "2": {"CONTEXTS": []}}))
        return path, f"{path}: record 2"
    return path, f"{path}:2"


@pytest.mark.parametrize("task", WRITE)
def test_a_question_without_options_names_file_and_line(task: str, tmp_path: Path) -> None:
    data, where = without_options(task, tmp_path)
    with pytest.raises(InputError) as caught:
        TASKS[task](data, "test", 0)
    assert str(caught.value).startswith(where) and "\n" not in str(caught.value)


@pytest.mark.parametrize("task", ["graph", "medqa_usmle", "medmcqa", "pubmedqa"])
def test_malformed_json_names_file_and_line(task: str, tmp_path: Path) -> None:
    good = {"graph": GRAPH, "medqa_usmle": MEDQA, "medmcqa": MEDMCQA}.get(task)
    path = tmp_path / "broken.json"
    if good:
        jsonl(path, [good, "", '{"question": "half'])
    else:
        path.write_text('{"1": {\n"QUESTION": "x",\n"CONTEXTS": [}}')
    with pytest.raises(InputError, match=r"broken\.json:3: not valid JSON"):
        TASKS[task](path, "test", 0)
    path.write_text('{"1":\n"\\ud800"' if task == "pubmedqa" else "[1, 2]\n")
    with pytest.raises(InputError, match=r"broken\.json:"):
        TASKS[task](path, "test", 0)
    path.write_bytes(b'{"question": "\xff\xfe"}\n')
    with pytest.raises(InputError, match=r"broken\.json.*cannot be read"):
        TASKS[task](path, "test", 0)


def test_mmlu_that_is_not_text_or_not_csv_is_an_input_error(tmp_path: Path) -> None:
    mmlu(tmp_path, [STEM, "a", "b", "c", "d", "A"])
    (tmp_path / "anatomy_test.csv").write_bytes(b"\xff\xfe,a,b,c,d,A\n")
    with pytest.raises(InputError, match=r"anatomy_test\.csv:1"):
        TASKS["mmlu_medical"](tmp_path, "test", 0)
    (tmp_path / "anatomy_test.csv").write_text(f"{'x' * 140_000},a,b,c,d,A\n")
    with pytest.raises(InputError, match=r"anatomy_test\.csv:1"):
        TASKS["mmlu_medical"](tmp_path, "test", 0)
    (tmp_path / "anatomy_test.csv").write_text("q,a,b,c,d,E\n")
    with pytest.raises(InputError, match=r"anatomy_test\.csv:1: answer_idx 'E'"):
        TASKS["mmlu_medical"](tmp_path, "test", 0)
    with pytest.raises(InputError, match="no train split"):
        TASKS["mmlu_medical"](tmp_path, "train", 0)


def test_wrong_answers_are_refused_and_absent_ones_are_not(tmp_path: Path) -> None:
    for task, row, key, value in (
        ("medqa_usmle", MEDQA, "answer_idx", "E"), ("graph", GRAPH, "answer_idx", "b"), ("medmcqa", MEDMCQA, "cop", 0),
        ("medmcqa", MEDMCQA, "cop", "A"),
    ):  # fmt: skip
        path = jsonl(tmp_path / "q.jsonl", [{**row, key: value}])
        with pytest.raises(InputError, match=r"q\.jsonl:1"):
            TASKS[task](path, "test", 0)
        path = jsonl(tmp_path / "q.jsonl", [{k: v for k, v in row.items() if k != key}])
        assert TASKS[task](path, "test", 0).questions[0].gold is None
    path = tmp_path / "p.json"
    path.write_text(json.dumps({"1": {**PUBMED, "final_decision": "perhaps"}}))
    with pytest.raises(InputError, match=r"record 1.*perhaps"):
        TASKS["pubmedqa"](path, "test", 0)


def test_options_are_in_the_order_of_their_letters() -> None:
    assert lettered(MEDQA, "f:3").options == ("Aspirin", "Water", "Air", "Salt") and lettered(MEDQA, "f:3").id == "3"
    for wrong in (
        {**MEDQA, "question": "  "},
        {**MEDQA, "question": None},
        {**MEDQA, "options": {"A": "one"}},
        {**MEDQA, "options": ["a", "b"]},
    ):
        with pytest.raises(InputError, match=r"^f:3: "):
            lettered(wrong, "f:3")


def test_medqa_without_official_files_is_split_by_the_question(tmp_path: Path) -> None:
    jsonl(tmp_path / "dev.jsonl", [{**MEDQA, "question": f"Question {i // 2}?", "id": i} for i in range(400)])
    parts = {part: TASKS["medqa_usmle"](tmp_path, part, 0) for part in ("train", "test")}
    texts = {part: {q.text for q in split.questions} for part, split in parts.items()}
    assert not texts["train"] & texts["test"] and len(texts["train"] | texts["test"]) == 200
    assert 0.15 < len(texts["test"]) / 200 < 0.35 and "3:1" in parts["test"].rule
    assert {q.text for q in TASKS["medqa_usmle"](tmp_path, "test", 1).questions} != texts["test"]
    question = Question("1", "x", ("a", "b"), 0)
    assert (
        hashed_part(question, 3) == hashed_part(question, 3)
        and hashed_part(question, 3, 1.0) == "test"
        and hashed_part(question, 3, 0.0) == "train"
    )


def test_pubmedqa_uses_a_fold_where_the_official_test_has_no_answers(tmp_path: Path) -> None:
    pubmed(tmp_path, {str(i): PUBMED for i in range(5)})
    (tmp_path / "pqal_cv_folds.json").write_text(json.dumps([[1, "3"], ["0"]]))
    assert [q.id for q in TASKS["pubmedqa"](tmp_path, "test", 0).questions] == ["1", "3"]
    train = TASKS["pubmedqa"](tmp_path, "train", 0)
    assert [q.id for q in train.questions] == ["0", "2", "4"] and "fold 0" in train.rule
    assert train.questions[0].context == "We asked. It did." and train.questions[0].options == ("yes", "no", "maybe")


def test_graph_questions_carry_their_concepts(tmp_path: Path) -> None:
    (question,) = TASKS["graph"](jsonl(tmp_path / "q.jsonl", [GRAPH]), "test", 0).questions
    assert (
        question.source["concept"] == "c1" and question.source["option_concepts"] == ["c2", "c3", "c4", "c5"] and question.group == "random"
    )
    with pytest.raises(InputError, match=r"q\.jsonl:1: no template, concept, option_concepts, group;.*--task medqa_usmle"):
        TASKS["graph"](jsonl(tmp_path / "q.jsonl", [MEDQA]), "test", 0)
    with pytest.raises(InputError, match=r"q\.jsonl:1"):
        TASKS["graph"](jsonl(tmp_path / "q.jsonl", [{**GRAPH, "option_concepts": {"A": "c2"}}]), "test", 0)


def test_unknown_task() -> None:
    with pytest.raises(InputError, match="Did you mean 'medqa_usmle'"):
        TASKS["medqa_usml"]
