"""The report: what it merges, what it says, and that it never credits the graph without separated intervals."""

from __future__ import annotations

import importlib.util
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

import meg
from meg import cli
from meg.errors import InputError
from meg.qa import report, report_tables

GRAPH = {"true": 0.9, "swap:none": 0.25, "trained:no_prefix": 0.3, "oracle": 0.95}


def row(condition: str, accuracy: float | None, group: str = "random", names: bool = False, n: int = 500, half: float = 0.03) -> dict:
    interval = None if accuracy is None else [round(accuracy - half, 4), round(accuracy + half, 4)]
    return {"condition": condition, "group": group, "names": names, "n": n, "accuracy": accuracy, "ci95": interval, "unanswered": 0}


def evaluation(run: Path, task: str, rows: list[dict], **more) -> None:
    folder = run / "evaluation" / task
    folder.mkdir(parents=True)
    document = {
        "task": task,
        "split": "test",
        "model": "tiny",
        "seed": 0,
        "settings": {"recipe": {"name": "small"}},
        "versions": {"meg": "0"},
    }
    (folder / "results.json").write_text(json.dumps({**document, "rows": rows, **more}))
    prediction = {"id": "q1", "gold": 0, "pred": None, "probabilities": None, "concepts": [], "condition": "true"}
    (folder / "predictions.jsonl").write_text(json.dumps(prediction) + "\n")


@pytest.fixture
def run(tmp_path):
    """A run folder with two evaluations, a manifest, a loss curve and one example."""
    folder = tmp_path / "medqa_usmle"
    evaluation(folder, "graph", [row(name, value) for name, value in GRAPH.items()])
    weak = [row("true", 0.29, "all", True), row("swap:none", 0.28, "all", True), row("trained:no_prefix", 0.3, "all", True)]
    evaluation(folder, "medqa_usmle", weak)
    example = {
        "question": "Which <i>disease</i>?",
        "options": ["gout", "flu"],
        "gold": 0,
        "pred": 1,
        "probabilities": [0.4, 0.6],
        "concepts": [{"id": "C1", "name": "drug & co"}],
        "option_concepts": [[{"id": "C2", "name": "gout"}], []],
        "evidence": [["drug", "treats", "gout"]],
    }
    (folder / "evaluation/graph/examples.json").write_text(json.dumps([example]))
    (folder / "meg").mkdir()
    manifest = {"stage": "questions", "seconds": 61.5, "settings": {"seed": 3}, "result": {"dropped": {"no_answer": 2, "none": 0}}}
    (folder / "meg/manifest.json").write_text(json.dumps(manifest))
    (folder / "meg/metrics.jsonl").write_text("".join(json.dumps({"stage": "q", "step": i, "loss": 1 / i}) + "\n" for i in (1, 2, 3)))
    return folder


def test_merges_evaluations_with_the_runs_own_task_first(run):
    results = report.write_report(run)
    assert results == json.loads((run / "results.json").read_text())
    assert results["task"] == "medqa_usmle" and results["seed"] == 0 and results["versions"] == {"meg": "0"}
    assert [r["task"] for r in results["rows"]] == ["medqa_usmle"] * 3 + ["graph"] * 4
    lines = [json.loads(line) for line in (run / "predictions.jsonl").read_text().splitlines()]
    assert [line["task"] for line in lines] == ["graph", "medqa_usmle"] and lines[0]["pred"] is None
    assert results["tables"]["stages"] == [{"stage": "questions", "folder": "meg", "seconds": 61.5, "seed": 3}]
    assert results["tables"]["dropped"] == {"meg": {"no_answer": 2}}


def test_only_the_tasks_that_are_asked_for(run, capsys):
    assert cli.main(["report", str(run), "--task", "graph", "--quiet"]) == 0
    results = json.loads((run / "results.json").read_text())
    assert results["task"] == "graph" and {r["task"] for r in results["rows"]} == {"graph"}
    assert {json.loads(line)["task"] for line in (run / "predictions.jsonl").read_text().splitlines()} == {"graph"}
    assert len(report.write_report(run, ["graph", "medqa_usmle"])["rows"]) == 7
    with pytest.raises(InputError, match=r"unknown evaluated task 'pubmedqa'.*graph, medqa_usmle"):
        report.write_report(run, ["graph", "pubmedqa"])


def test_effect_is_against_the_best_control_and_needs_separated_intervals():
    strong = report_tables.effect([row(name, value) for name, value in GRAPH.items()])
    assert strong["difference"] == 0.6 and strong["separated"] is True and strong["ceiling"] == 0.95
    assert strong["best_trained"].startswith("0.300 [0.270, 0.330]")
    touching = report_tables.effect([row("true", 0.36), row("swap:zero", 0.3)])
    assert touching["separated"] is False and touching["difference"] is None
    assert report_tables.effect([row("true", 0.9)])["separated"] is None
    assert report_tables.effect([row("true", None), row("swap:none", None)]) is None


def test_reading_says_where_the_graph_helps_and_where_not():
    strong = report_tables.effect([row("true", 0.9), row("swap:none", 0.3)])
    weak = report_tables.effect([row("true", 0.3, "relation"), row("swap:none", 0.3, "relation")])
    assert report_tables.reading([strong]).endswith("here the graph makes the difference.")
    assert "does not show that the graph helps" in report_tables.reading([weak])
    both = report_tables.reading([strong, weak])
    assert "random, names out: there the graph" in both and "does not show that it helps for relation, names out" in both
    assert "says nothing about the graph" in report_tables.reading([])


def test_markdown_has_the_figures_of_the_rows(run):
    report.write_report(run)
    text = (run / "report.md").read_text()
    assert "| MEG, true prefix | 0.900 [0.870, 0.930] (n 500) |" in text
    assert text.index("Task medqa_usmle") < text.index("Task graph")
    assert "| questions | meg | 61.5 | 3 |" in text and "Left out by meg: no_answer 2." in text
    assert "| recipe.name | small |" in text
    assert "-1.0 points | no |" in text and "+60.0 points | yes | 0.950 |" in text


class Page(HTMLParser):
    """Collects tags and ids, and refuses a page whose tags do not close."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for key, value in attrs if key in ("src", "href", "xlink:href")]
        self.ids += [value for key, value in attrs if key == "id"]
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_page_is_complete_and_needs_nothing_else(run):
    report.write_report(run)
    text = (run / "report.html").read_text()
    page = Page()
    page.feed(text)
    assert page.open == [] and "script" not in page.tags and "img" not in page.tags
    assert all(link.startswith("#") for link in page.links)
    assert len(page.ids) == len(set(page.ids))
    assert text.count("<svg") == 3  # two tasks, one loss curve
    assert 'name="viewport"' in text and "color-scheme: light dark" in text and "currentColor" in text
    assert "Which &lt;i&gt;disease&lt;/i&gt;?" in text and "drug &amp; co (C1)" in text
    assert "drug treats gout" in text and "60.0%" in text


def test_evaluation_without_gold_answers_is_reported_as_such(tmp_path):
    evaluation(tmp_path / "run", "pubmedqa", [row("true", None, "all", True), row("swap:none", None, "all", True)])
    results = report.write_report(tmp_path / "run")
    text = (tmp_path / "run/report.md").read_text()
    assert results["rows"][0]["accuracy"] is None
    assert "no gold answers (n 500)" in text and "says nothing about the graph" in text


def test_relations_are_listed_by_their_number_of_questions(tmp_path):
    relations = [{**row("", 0.5, n=n), "relation": name} for name, n in (("rare", 3), ("treats", 40), ("is_a", 9))]
    evaluation(tmp_path / "run", "graph", [row("true", 0.5)], per_relation=relations)
    text = report.markdown(report.write_report(tmp_path / "run"), {})
    assert text.index("| treats | 0.500") < text.index("| is_a | 0.500") < text.index("| rare | 0.500")
    assert len(report_tables.relation_table(relations, most=2).rows) == 2


def test_wrong_folders_are_input_errors(tmp_path):
    with pytest.raises(InputError, match="run folder not found"):
        report.write_report(tmp_path / "none")
    with pytest.raises(InputError, match="Run `meg evaluate"):
        report.write_report(tmp_path)
    evaluation(tmp_path, "graph", [{"condition": "true"}])
    with pytest.raises(InputError, match="not the results of an evaluation"):
        report.write_report(tmp_path)


def test_command_prints_the_table_or_json(run, capsys):
    assert cli.main(["report", str(run), "--quiet"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"trained without prefix +0\.300 \[0\.270, 0\.330\] \(n 500\)", out)
    assert cli.main(["report", str(run), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"][0]["condition"] == "true"


@pytest.fixture
def update_readme():
    path = Path(meg.__file__).parent / "scripts" / "update_readme.py"
    spec = importlib.util.spec_from_file_location("update_readme", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_update_readme_replaces_only_what_is_between_the_markers(run, tmp_path, update_readme):
    report.write_report(run)
    readme = tmp_path / "README.md"
    readme.write_text("# Title\n\n<!-- results -->\nold\n<!-- /results -->\n\nafter\n")
    for _ in range(2):
        assert update_readme.main([str(run / "results.json"), "--readme", str(readme)]) == 0
    text = readme.read_text()
    assert text.startswith("# Title\n\n<!-- results -->\n| graph | task |") and text.endswith("|\n<!-- /results -->\n\nafter\n")
    assert "| graph | random, names out | 500 | 0.900 [0.870, 0.930] |" in text and "old" not in text


def test_update_readme_refuses_a_readme_without_markers(run, tmp_path, update_readme, capsys):
    report.write_report(run)
    (tmp_path / "README.md").write_text("nothing here\n")
    assert update_readme.main([str(run / "results.json"), "--readme", str(tmp_path / "README.md")]) == 2
    assert "needs exactly one line" in capsys.readouterr().err
    assert (tmp_path / "README.md").read_text() == "nothing here\n"
