"""Many prompts to token ids: the same wording with other concepts is tokenised once, and long texts are cut to fit."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import lru_cache

from ..models.prompts import Concepts, Encoded, Part, User, encode_chat

log = logging.getLogger("meg")


def shortened(parts: Sequence[Part], remove: int) -> list[Part]:
    """The parts without `remove` characters from the middle of all the user's text; an ellipsis stands where they were."""
    total = sum(len(p.text) for p in parts if isinstance(p, User))
    first = (total - remove) // 2
    last, at = first + remove, 0
    kept: list[Part] = []
    for part in parts:
        if not isinstance(part, User):
            kept.append(part)
            continue
        text, end = part.text, at + len(part.text)
        mark = "\u2026" if at <= first < end else ""
        kept.append(User(text[: max(0, first - at)] + mark + text[max(0, min(len(text), last - at)) :]))
        at = end
    return kept


class PromptEncoder:
    """Encodes prompts for one tokenizer.

    Args:
        tokenizer: with the marker added.
        tokens_per_concept: marker tokens a concept takes.
        max_length: longest sequence in tokens; a longer prompt loses the middle of the user's text, so that neither the
            template, nor the question at a vignette's end, nor the answer is lost. None: no limit.

    `cut` counts the prompts that did not fit.
    """

    def __init__(self, tokenizer: object, tokens_per_concept: int = 1, max_length: int | None = None) -> None:
        self.tokenizer, self.width, self.max_length = tokenizer, tokens_per_concept, max_length
        self.cut = 0
        self._shape = lru_cache(maxsize=65536)(self._encode_shape)

    def _encode_shape(self, shape: tuple[str | User | int, ...], answer: str | None) -> Encoded:
        parts: list[Part] = [Concepts(tuple(range(p))) if isinstance(p, int) else p for p in shape]
        encoded = encode_chat(self.tokenizer, parts, answer, tokens_per_concept=self.width)
        self.cut += self.max_length is not None and len(encoded.ids) > self.max_length
        while self.max_length is not None and len(encoded.ids) > self.max_length:
            total = sum(len(p.text) for p in parts if isinstance(p, User))
            if total < 8:
                break
            parts = shortened(parts, total - int(0.97 * total * self.max_length / len(encoded.ids)) + 2)
            encoded = encode_chat(self.tokenizer, parts, answer, tokens_per_concept=self.width)
        return encoded

    def __call__(self, parts: Sequence[Part], answer: str | None = None) -> Encoded:
        """Ids of one prompt (and answer); `rows` are the concepts' rows in the order of the prompt."""
        rows = iter([row for p in parts if isinstance(p, Concepts) for row in p.rows for _ in range(self.width)])
        shape = tuple(len(p.rows) if isinstance(p, Concepts) else p for p in parts)
        encoded = self._shape(shape, answer)
        return Encoded(encoded.ids, [next(rows) if r >= 0 else -1 for r in encoded.rows], encoded.answer_start)
