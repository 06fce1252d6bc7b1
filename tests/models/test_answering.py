"""`MEGModel.answer` with and without options, linker and embeddings."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from meg.errors import InputError
from meg.kg.graph import KnowledgeGraph
from meg.kg.link import EntityLinker
from meg.kg.rows import GraphRows
from meg.kg.store import ConceptEmbeddings
from meg.models.answering import answer, option_scores
from meg.models.packing import pack, prefix_of
from meg.models.prompts import User, answer_ids, encode_chat
from meg.models.questions import answers, mentioned, question_prompts

QUESTION, OPTIONS = "Which symptom is treated by aspirin?", ["headache", "fever", "no such thing"]


@pytest.fixture(scope="module")
def kg() -> KnowledgeGraph:
    concepts = {"C0000001": ("aspirin", "drug"), "C0000002": ("headache", "finding"), "C0000003": ("fever", "finding")}
    return KnowledgeGraph.from_rows(GraphRows(concepts, [("C0000001", "treats", "C0000002"), ("C0000001", "treats", "C0000003")]))


@pytest.fixture(scope="module")
def linker(kg: KnowledgeGraph) -> EntityLinker:
    return EntityLinker(kg)


@pytest.fixture(scope="module")
def embeddings(kg: KnowledgeGraph) -> ConceptEmbeddings:
    return ConceptEmbeddings(list(kg.ids), np.random.default_rng(0).standard_normal((3, 16)), {"graph": kg.fingerprint})


@pytest.fixture(scope="module", params=["yes_no", "letter", "option"])
def model(request, tiny_meg):
    return tiny_meg("mistral", scoring=request.param)


def one_by_one(model, rows: list[int], option_rows: list[list[int]], vectors: torch.Tensor) -> torch.Tensor:
    """Each option's score from a sequence of its own; with inline placement `rows` is the row of aspirin."""
    scoring, at = model.config.scoring, QUESTION.index("aspirin")
    inline = model.config.placement == "inline"
    asked = mentioned(QUESTION, [(at, at + 7, row) for row in rows]) if inline else [User(QUESTION)]
    parts = question_prompts(asked, OPTIONS, scoring=scoring, concepts=() if inline else rows, option_concepts=option_rows)
    scores = []
    for i, text in enumerate(OPTIONS if scoring == "yes_no" else answers(OPTIONS, scoring=scoring)):
        e = encode_chat(model.tokenizer, parts[i if scoring == "yes_no" else 0], None if scoring == "yes_no" else text)
        with torch.no_grad():
            logits = model(torch.tensor([e.ids]), None, None, *prefix_of(torch.tensor([e.rows]), vectors)).logits[0]
        if scoring == "yes_no":
            yes, no = (answer_ids(model.tokenizer, word)[0] for word in ("yes", "no"))
            scores.append(logits[-1, yes] - logits[-1, no])
        else:
            target = torch.tensor(e.ids[e.answer_start :])
            scores.append(logits[e.answer_start - 1 : -1].log_softmax(-1).gather(1, target[:, None]).sum())
    return torch.stack(scores)


@pytest.mark.parametrize("placement", ["inline", "list"])
def test_probabilities_are_those_of_each_option_alone(model, linker, embeddings, placement: str, monkeypatch) -> None:
    monkeypatch.setattr(model.config, "placement", placement)
    found = model.answer(QUESTION, OPTIONS, linker=linker, embeddings=embeddings)
    expected = one_by_one(model, [0], [[1], [2], []], torch.from_numpy(embeddings.vectors)).softmax(0)
    assert found.probabilities == pytest.approx(expected.tolist(), abs=1e-5)
    assert found.index == int(expected.argmax()) and found.option == OPTIONS[found.index]


def test_concepts_and_evidence_are_told(model, linker, embeddings) -> None:
    found = model.answer(QUESTION, ["headache", "a headache"], linker=linker, embeddings=embeddings)
    where = [("C0000001", "question"), ("C0000002", "headache"), ("C0000002", "a headache")]
    assert [(c["id"], c["where"]) for c in found.concepts] == where
    assert found.evidence == [("aspirin", "treats", "headache")] and found.text == ""


@pytest.mark.parametrize("options", [["headache", "headache "], ["headache", " "]])
def test_empty_and_repeated_options_are_refused(model, options) -> None:
    with pytest.raises(InputError, match="different from each other"):
        model.answer(QUESTION, options)


def test_without_linker_or_embeddings_no_concept_is_used(model, linker, embeddings) -> None:
    bare = model.answer(QUESTION, OPTIONS)
    assert bare.concepts == [] and bare.evidence == [] and sum(bare.probabilities) == pytest.approx(1)
    assert model.answer(QUESTION, OPTIONS, linker=linker).probabilities == bare.probabilities
    assert model.answer(QUESTION, OPTIONS, embeddings=embeddings).probabilities == bare.probabilities
    assert model.answer(QUESTION, OPTIONS, linker=linker, embeddings=embeddings).probabilities != bare.probabilities


def test_a_concept_without_a_vector_is_left_out(model, linker, embeddings) -> None:
    some = ConceptEmbeddings(embeddings.ids[1:], embeddings.vectors[1:])
    found = model.answer(QUESTION, OPTIONS, linker=linker, embeddings=some)
    assert {c["id"] for c in found.concepts} == {"C0000002", "C0000003"}


def test_a_free_answer(tiny_meg, linker, embeddings) -> None:
    model = tiny_meg("llama")
    found = answer(model, QUESTION, linker=linker, embeddings=embeddings, max_new_tokens=5)
    assert found.index is None and found.option is None and found.probabilities == [] and isinstance(found.text, str)
    assert [c["id"] for c in found.concepts] == ["C0000001"]
    assert found == answer(model, QUESTION, linker=linker, embeddings=embeddings, max_new_tokens=5)


@pytest.mark.parametrize(
    ("placement", "asked"),
    [
        ("inline", "Is aspirin <1> good for headache <2>, or aspirin?"),
        ("list", "Is aspirin good for headache, or aspirin?\nConcepts: <2><1>"),  # the longer mention first
    ],
)
def test_a_free_question_is_read_with_its_concepts_where_they_belong(tiny_meg, linker, kg, placement: str, asked: str, monkeypatch) -> None:
    model = tiny_meg("mistral", placement=placement, tokens_per_concept=2)
    numbered = ConceptEmbeddings(list(kg.ids), np.repeat(np.arange(1.0, 4)[:, None], 16, 1))  # the vector tells the row
    seen = []
    monkeypatch.setattr(model, "generate", lambda **inputs: seen.append(inputs) or torch.tensor([[5]]))
    model.answer("Is aspirin good for headache, or aspirin?", linker=linker, embeddings=numbered)
    order = seen[0]["prefix"][0, :, 0].int().tolist()
    said = model.tokenizer.decode(seen[0]["input_ids"][0])
    for row in order:
        said = said.replace(model.config.marker * 2, f"<{row}>", 1) if placement == "inline" else said
    listed = "".join(f"<{row}>" for row in order)
    said = said if placement == "inline" else said.replace(model.config.marker * 4, listed)
    assert f"Question: {asked}" in said and model.config.marker not in said


def test_what_cannot_be_answered_is_refused(tiny_meg, linker, embeddings) -> None:
    model = tiny_meg("mistral")
    with pytest.raises(InputError, match="the question is empty"):
        model.answer("  ", OPTIONS)
    with pytest.raises(InputError, match="1 options given; 2 to 10 are needed"):
        model.answer(QUESTION, ["one"])
    with pytest.raises(InputError, match="0 options"):
        model.answer(QUESTION, [])
    with pytest.raises(InputError, match="11 options given"):
        model.answer(QUESTION, [str(i) for i in range(11)])
    wide = ConceptEmbeddings(embeddings.ids, np.ones((3, 17)))
    with pytest.raises(InputError, match="17 numbers a concept, the model reads 16"):
        model.answer(QUESTION, OPTIONS, linker=linker, embeddings=wide)


def test_two_answers_that_begin_alike_are_refused(tiny_meg, monkeypatch) -> None:
    model = tiny_meg("mistral")
    monkeypatch.setattr("meg.models.answering.answer_ids", lambda tokenizer, text: [5])
    batch = pack([[encode_chat(model.tokenizer, [User("a")])]], model.tokenizer.pad_token_id)
    with pytest.raises(InputError, match="two tokens"):
        option_scores(model, batch, *prefix_of(batch["rows"], torch.zeros(1, 16)))
