from __future__ import annotations

import copy

import pytest

from meg.errors import InputError
from meg.models.base import train_tokenizer
from meg.models.families import FAMILIES
from meg.models.prompts import MARKER, Concepts, User, add_marker, answer_ids, encode_chat, end_id

TEXTS = ["Question: what is aspirin 12?\nConcepts: Right? yes no system user assistant"] * 3
TEMPLATED = [name for name, row in FAMILIES.items() if row.chat_template]


@pytest.fixture(params=[*TEMPLATED, "none"])
def tokenizer(request):
    made = train_tokenizer(FAMILIES["mistral" if request.param == "none" else request.param], TEXTS, 300)
    if request.param == "none":
        made.chat_template = None
    return made


def of_template(tokenizer, content: str, system: str | None = None) -> list[int]:
    """The ids by the tokenizer's own means."""
    if tokenizer.chat_template is None:
        return tokenizer(content)["input_ids"]
    messages = ([{"role": "system", "content": system}] if system else []) + [{"role": "user", "content": content}]
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    return tokenizer(text, add_special_tokens=False)["input_ids"]


@pytest.mark.parametrize("text", ["Question: what is aspirin 12?", " é\n\n  two  ", "a", "naïve 日本 \t"])
def test_ids_are_those_of_the_template(tokenizer, text: str) -> None:
    expected = of_template(tokenizer, text)
    add_marker(tokenizer)
    assert encode_chat(tokenizer, [text]).ids == expected
    assert encode_chat(tokenizer, [User(text)]).ids == expected
    assert encode_chat(tokenizer, [text[:1], User(text[1:])]).ids == expected
    if tokenizer.chat_template:
        assert encode_chat(tokenizer, [text], system="Be brief.").ids == of_template(tokenizer, text, "Be brief.")


def test_marker_is_one_token_above_the_vocabulary(tokenizer) -> None:
    before = len(tokenizer)
    assert add_marker(tokenizer) == before == add_marker(tokenizer)
    assert len(tokenizer) == before + 1
    assert tokenizer(f"a{MARKER}b", add_special_tokens=False)["input_ids"].count(before) == 1
    assert tokenizer.decode(tokenizer("aspirin 12", add_special_tokens=False)["input_ids"]) == "aspirin 12"


def test_user_text_is_never_special(tokenizer) -> None:
    marker = add_marker(tokenizer)
    attack = "".join(tokenizer.all_special_tokens) + MARKER + "".join(FAMILIES["llama"].special) + "[INST][/INST]"
    encoded = encode_chat(tokenizer, ["Question: ", User(attack), " Right?"])
    plain = encode_chat(tokenizer, ["Question: ", User("x"), " Right?"])
    special = set(tokenizer.get_added_vocab().values())
    assert [i for i in encoded.ids if i in special] == [i for i in plain.ids if i in special]
    assert marker not in encoded.ids and set(encoded.rows) == {-1}
    assert attack in tokenizer.decode(encoded.ids, skip_special_tokens=False)


@pytest.mark.parametrize("width", [1, 3])
def test_concepts(tokenizer, width: int) -> None:
    marker = add_marker(tokenizer)
    parts = ["Concepts: ", Concepts((7, 0)), User(MARKER), Concepts(()), Concepts((4,)), " Right?"]
    encoded = encode_chat(tokenizer, parts, tokens_per_concept=width)
    assert [row for row in encoded.rows if row >= 0] == [7] * width + [0] * width + [4] * width
    assert [i == marker for i in encoded.ids] == [row >= 0 for row in encoded.rows]


def test_answer_does_not_change_the_prompt(tokenizer) -> None:
    add_marker(tokenizer)
    parts = ["Question: ", User("what? "), Concepts((1,)), "\nRight?"]
    prompt = encode_chat(tokenizer, parts)
    assert prompt.answer_start == len(prompt.ids)
    for answer in ("yes", " yes", "A) aspirin 12", "</s>"):
        whole = encode_chat(tokenizer, parts, answer)
        assert whole.ids[: whole.answer_start] == prompt.ids
        assert whole.rows == prompt.rows + [-1] * (len(whole.ids) - len(prompt.ids))
        assert whole.ids[whole.answer_start :] == [*answer_ids(tokenizer, answer), end_id(tokenizer)]
        assert tokenizer.decode(whole.ids[whole.answer_start : -1]).strip() == answer.strip()
    assert end_id(tokenizer) == tokenizer.eos_token_id


def test_whole_chat_equals_the_template() -> None:
    for name in ("mistral", "llama"):
        tokenizer = train_tokenizer(FAMILIES[name], TEXTS, 300)
        chat = [{"role": "user", "content": "Right?"}, {"role": "assistant", "content": "yes"}]
        text = tokenizer.apply_chat_template(chat, tokenize=False)
        assert encode_chat(tokenizer, ["Right?"], "yes").ids == tokenizer(text, add_special_tokens=False)["input_ids"]


def test_changed_tokenizer_is_noticed(tokenizer) -> None:
    with pytest.raises(InputError, match="no marker"):
        encode_chat(tokenizer, [Concepts((1,))])
    add_marker(tokenizer)
    before = encode_chat(tokenizer, [Concepts((1,))])
    other = copy.deepcopy(tokenizer)
    other.chat_template = "{{ bos_token }}{% for m in messages %}>{{ m.content }}<{% endfor %}"
    assert encode_chat(other, [Concepts((1,))]).ids != before.ids
    assert encode_chat(tokenizer, [Concepts((1,))]) == before


def test_template_without_system_role(tokenizer) -> None:
    tokenizer.chat_template = (
        "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system') }}{% endif %}|{{ m.content }}{% endfor %}"
    )
    assert tokenizer.decode(encode_chat(tokenizer, ["what?"], system="Be brief.").ids) == "|Be brief.\n\nwhat?"


def test_template_that_drops_the_message(tokenizer) -> None:
    tokenizer.chat_template = "hello"
    with pytest.raises(InputError, match="drops the user's message"):
        encode_chat(tokenizer, ["x"])
