"""From a user message with concepts in it to token ids, through the tokenizer's own chat template.

A message is a list of parts: `str` is our template, `User` is somebody's text, `Concepts` are rows of a concept
matrix. The ids are those that the chat template gives, with two differences: text of a `User` never becomes a special
token or a marker, and each concept is `tokens_per_concept` marker tokens. The marker is a token of its own with an id
above the base vocabulary, so no text can be mistaken for it and nothing has to be searched.
"""

from __future__ import annotations

import functools
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias
from weakref import WeakKeyDictionary

from ..errors import InputError
from .config import MARKER

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["MARKER", "Concepts", "Encoded", "User", "add_marker", "answer_ids", "encode_chat", "end_id"]

PROBE, REPLY = "\u241fmessage\u241f", "\u241freply\u241f"
# Some templates print today's date; a fixed one keeps the prompts of training and of later use equal.
DATE = "26 Jul 2024"


@dataclass(frozen=True)
class User:
    """Untrusted text: special tokens and the marker inside it are plain text."""

    text: str


@dataclass(frozen=True)
class Concepts:
    """Rows of a concept matrix, one marker each (times `tokens_per_concept`)."""

    rows: tuple[int, ...]


Part: TypeAlias = str | User | Concepts


@dataclass(frozen=True)
class Encoded:
    """One prompt: `ids`, the concept row at each marker position (-1 elsewhere), and where the answer begins."""

    ids: list[int]
    rows: list[int]
    answer_start: int


def add_marker(tokenizer: PreTrainedTokenizerBase, marker: str = MARKER) -> int:
    """Give the tokenizer the marker as one added special token; returns its id (twice: the same id).

    Raises:
        InputError: the text is an ordinary token of the tokenizer already.
    """
    from transformers import AddedToken

    if marker not in tokenizer.get_added_vocab():
        if marker in tokenizer.get_vocab():
            raise InputError(f"the marker {marker!r} is a word of this tokenizer's vocabulary. Choose another marker.")
        tokenizer.add_tokens([AddedToken(marker, special=True, normalized=False)], special_tokens=True)
    return int(tokenizer.get_added_vocab()[marker])


class _Chat:
    """A tokenizer that keeps trusted and untrusted text apart, and what its chat template puts around a message.

    In a copy of the tokenizer special tokens are plain text, and every special token has a stand-in with a secret
    name. Trusted text gets the stand-ins before all is tokenised at once, so the ids are exactly those of the
    original tokenizer, and nothing that a user writes can be special.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, marker: str) -> None:
        from tokenizers import AddedToken, Tokenizer

        backend = getattr(tokenizer, "backend_tokenizer", None)
        if backend is None:
            raise InputError(f"{type(tokenizer).__name__} has no tokenizer.json; MEG needs a fast tokenizer.")
        self.copy = Tokenizer.from_str(backend.to_str())
        self.copy.encode_special_tokens = True
        self.copy.no_truncation()
        self.copy.no_padding()
        self.secret = secrets.token_hex(8)
        special = {i: token for i, token in backend.get_added_tokens_decoder().items() if token.special}
        self.copy.add_tokens([AddedToken(self.stand_in(i), lstrip=t.lstrip, rstrip=t.rstrip, normalized=False) for i, t in special.items()])
        self.original = {self.copy.token_to_id(self.stand_in(i)): i for i in special}
        self.special = {t.content: i for i, t in special.items()}
        self.marker = self.special.get(marker)
        names = sorted((name for name in self.special if name != marker), key=len, reverse=True)
        self.pattern = re.compile("|".join(map(re.escape, names)) or r"(?!)")
        self.known: dict[str | None, tuple[str, str, bool]] = {}
        self.ending = ("", "", -1)  # end of the prompt, what stands between it and the answer, id that ends an answer
        self.answers = functools.lru_cache(maxsize=4096)(self._answer)

    def stand_in(self, token: int) -> str:
        return f"\ue000{self.secret}.{token}\ue001"

    def trusted(self, text: str) -> str:
        """Trusted text with a stand-in for each special token."""
        return self.pattern.sub(lambda found: self.stand_in(self.special[found.group()]), text)

    def encode(self, text: str) -> list[int]:
        return [self.original.get(i, i) for i in self.copy.encode(text, add_special_tokens=False).ids]

    def around(self, tokenizer: PreTrainedTokenizerBase, system: str | None) -> tuple[str, str, bool]:
        """(text before the message, text after it, whether the template trims the message)."""
        if system not in self.known:
            self.known[system] = _around(tokenizer, system)
        return self.known[system]

    def _answer(self, answer: str) -> tuple[int, ...]:
        tail, gap, end = self.ending
        context = self.trusted(tail) if tail else ":"
        before, close = self.encode(context), self.stand_in(end)
        whole = self.encode(context + self.trusted(gap) + answer + close)
        if whole[: len(before)] != before:
            before, whole = [end], self.encode(close + self.trusted(gap) + answer + close)
        return tuple(whole[len(before) : -1])


def _render(tokenizer: PreTrainedTokenizerBase, content: str, system: str | None, reply: str | None = None) -> str:
    """The chat as text; a template that knows no system role gets the system text in front of the message."""
    from jinja2 import TemplateError

    if tokenizer.chat_template is None:
        return (tokenizer.bos_token or "") + (f"{system}\n\n" if system else "") + content + (f" {reply}" if reply else "")
    user = [{"role": "user", "content": content}]
    ahead = [{"role": "system", "content": system}] if system else []
    answer = [{"role": "assistant", "content": reply}] if reply else []
    options: dict[str, Any] = {"tokenize": False, "add_generation_prompt": reply is None, "date_string": DATE}
    try:
        return str(tokenizer.apply_chat_template(ahead + user + answer, **options))
    except TemplateError:
        if not system:
            raise
        return _render(tokenizer, f"{system}\n\n{content}", None, reply)


def _around(tokenizer: PreTrainedTokenizerBase, system: str | None) -> tuple[str, str, bool]:
    head, found, tail = _render(tokenizer, PROBE, system).partition(PROBE)
    if not found:
        raise InputError(f"the chat template of {tokenizer.name_or_path!r} drops the user's message; MEG cannot use it.")
    return head, tail, f"\t{PROBE}\t" not in _render(tokenizer, f"\t{PROBE}\t", system)


_CHATS: WeakKeyDictionary[PreTrainedTokenizerBase, tuple[tuple[int, str | None, str], _Chat]] = WeakKeyDictionary()


def _chat(tokenizer: PreTrainedTokenizerBase, marker: str = MARKER) -> _Chat:
    """The `_Chat` of a tokenizer, made again when tokens were added or the template changed."""
    key = (len(tokenizer), tokenizer.chat_template, marker)
    known = _CHATS.get(tokenizer)
    if known is not None and known[0] == key:
        return known[1]
    chat = _Chat(tokenizer, marker)
    head, tail, _ = chat.around(tokenizer, None)
    prompt, whole = head + PROBE + tail, _render(tokenizer, PROBE, None, REPLY)
    gap, close = "", ""
    if whole.startswith(prompt) and REPLY in whole:
        gap, _, close = whole[len(prompt) :].partition(REPLY)
    first = chat.pattern.match(close.lstrip())
    end = chat.special[first.group()] if first else tokenizer.eos_token_id
    if end is None:
        raise InputError(f"the tokenizer {tokenizer.name_or_path!r} has no end-of-sequence token; set tokenizer.eos_token.")
    chat.ending = (tail, gap, end)
    _CHATS[tokenizer] = (key, chat)
    return chat


def end_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """The token that ends an answer: what the chat template puts there, else end-of-sequence."""
    return _chat(tokenizer).ending[2]


def answer_ids(tokenizer: PreTrainedTokenizerBase, answer: str) -> list[int]:
    """The ids of an answer as it stands after a prompt, without the end token; blanks around it do not count."""
    return list(_chat(tokenizer).answers(answer.strip()))


def encode_chat(
    tokenizer: PreTrainedTokenizerBase, parts: Sequence[Part], answer: str | None = None,
    tokens_per_concept: int = 1, system: str | None = None,
) -> Encoded:  # fmt: skip
    """Token ids of one user message, and of the answer to it if given (then closed by the end token).

    The prompt's ids are the same with and without an answer. Without a chat template the message stands alone after
    the begin-of-sequence token.

    Raises:
        InputError: there are concepts but the tokenizer has no marker (`add_marker`), or the template cannot be used.
    """
    chat = _chat(tokenizer)
    head, tail, trims = chat.around(tokenizer, system)
    rows: list[int] = []
    pieces: list[str] = []
    trusted = ""
    for part in parts:
        if isinstance(part, str):
            trusted += part
            continue
        pieces.append(chat.trusted(trusted))
        trusted = ""
        if isinstance(part, User):
            pieces.append(part.text)
        elif part.rows:
            if chat.marker is None:
                raise InputError(f"the prompt has concepts but the tokenizer has no marker {MARKER}; call add_marker first.")
            rows += [row for row in part.rows for _ in range(tokens_per_concept)]
            pieces.append(chat.stand_in(chat.marker) * (len(part.rows) * tokens_per_concept))
    content = "".join([*pieces, chat.trusted(trusted)])
    ids = chat.encode(chat.trusted(head) + (content.strip() if trims else content) + chat.trusted(tail))
    order = iter(rows)
    at = [next(order) if i == chat.marker else -1 for i in ids]
    start = len(ids)
    if answer is not None:
        closing = [*chat.answers(answer.strip()), chat.ending[2]]
        ids, at = ids + closing, at + [-1] * len(closing)
    return Encoded(ids, at, start)
