from __future__ import annotations

import pytest

from meg.models.prompts import Concepts, User, encode_chat
from meg.qa.encoding import PromptEncoder


@pytest.fixture(scope="module")
def tokenizer(tiny_meg):
    return tiny_meg("mistral").tokenizer


PARTS = [
    ["Question: ", User("aspirin"), " ", Concepts((7, 3)), "\nRight? ", User("headache"), " ", Concepts((9,))],
    ["Question: ", User("aspirin"), " ", Concepts((2, 11)), "\nRight? ", User("headache"), " ", Concepts((0,))],
    ["Question: ", User("aspirin"), " ", Concepts((2,)), "\nRight? ", User("headache"), " ", Concepts((0, 5))],
    ["Question: ", User("aspirin"), Concepts(()), "\nRight? yes"],
    ["Question: ", "aspirin", " ", Concepts((2, 11)), "\nRight? ", User("headache"), " ", Concepts((0,))],
]


@pytest.mark.parametrize("width", [1, 3])
@pytest.mark.parametrize("answer", [None, "yes"])
def test_the_same_as_encoding_each_prompt_anew(tokenizer, width: int, answer: str | None) -> None:
    encoder = PromptEncoder(tokenizer, width)
    for parts in PARTS + PARTS[::-1]:
        assert encoder(parts, answer) == encode_chat(tokenizer, parts, answer, tokens_per_concept=width)
    assert encoder._shape.cache_info().misses == 4 and encoder.cut == 0


def test_rows_are_in_the_order_of_the_prompt(tokenizer) -> None:
    encoder = PromptEncoder(tokenizer, 2)
    assert [row for row in encoder(PARTS[0]).rows if row >= 0] == [7, 7, 3, 3, 9, 9]
    assert [row for row in encoder(PARTS[1]).rows if row >= 0] == [2, 2, 11, 11, 0, 0]
    assert all(row == -1 for row in encoder(PARTS[3]).rows)


@pytest.mark.parametrize("limit", [30, 60, 90])
def test_long_text_is_cut_and_template_concepts_and_answer_stay(tokenizer, limit: int) -> None:
    encoder = PromptEncoder(tokenizer, 1, limit)
    long = "this patient has had fever for seven days. " * 30
    parts = ["Q: ", User(long), Concepts((4,)), "\nIs it? ", User("headache"), Concepts((5,))]
    cut, full = encoder(parts, "yes"), encode_chat(tokenizer, parts, "yes")
    assert limit / 2 < len(cut.ids) <= limit < len(full.ids) and encoder.cut == 1
    assert cut.ids[cut.answer_start :] == full.ids[full.answer_start :]
    assert [row for row in cut.rows if row >= 0] == [4, 5]
    text = tokenizer.decode(cut.ids)
    assert "Is it?" in text and "headache" in text and "Q: this" in text and "\u2026" in text
    assert "s. {" in text.replace("s.  {", "s. {")  # the middle went, not the end
    assert encoder(parts, "yes") == cut


def test_every_prompt_that_does_not_fit_counts_once(tokenizer) -> None:
    encoder = PromptEncoder(tokenizer, 1, 40)
    for word in ("fever ", "cough "):
        for _ in range(2):
            assert len(encoder(["Q: ", User(word * 40)]).ids) <= 40
    encoder(["Q: ", User("fever")])
    assert encoder.cut == 2


def test_the_end_of_the_longest_piece_survives_between_inline_concepts(tokenizer) -> None:
    story = "has had a cough for many days " * 20
    parts = ["Q: ", User("A man with "), User("gout"), " ", Concepts((1,)), User(f"{story}. What helps?"), "\nRight? ", User("rest")]
    cut = PromptEncoder(tokenizer, 1, 70)(parts, "yes")
    text = tokenizer.decode(cut.ids)
    assert len(cut.ids) <= 70 and "A man with gout" in text and "What helps?" in text and text.count("\u2026") == 1
    assert [row for row in cut.rows if row >= 0] == [1]


def test_what_has_nothing_to_cut_is_left_as_it_is(tokenizer) -> None:
    parts = ["a template that is longer than the limit ", Concepts((1, 2, 3)), User("x")]
    assert PromptEncoder(tokenizer, 1, 5)(parts, "yes") == encode_chat(tokenizer, parts, "yes")
