"""Many prompts to token ids: the same wording with other concepts is tokenised once, and long texts are cut to fit."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import lru_cache

from ..models.prompts import Concepts, Encoded, Part, User, encode_chat

log = logging.getLogger("meg")


class PromptEncoder:
    """Encodes prompts for one tokenizer.

    Args:
        tokenizer: with the marker added.
        tokens_per_concept: marker tokens a concept takes.
        max_length: longest sequence in tokens; the longest piece of the user's text loses its middle, so that neither
            the template, nor the question at a vignette's end, nor the answer is lost. None: no limit.

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
            longest = max((i for i, p in enumerate(parts) if isinstance(p, User)), key=lambda i: len(parts[i].text), default=None)
            if longest is None or len(parts[longest].text) < 8:
                break
            text = parts[longest].text
            keep = int(len(text) * max(0.5, 0.98 * self.max_length / len(encoded.ids))) - 3
            parts[longest] = User(f"{text[: keep // 2]}\u2026{text[len(text) - keep // 2 :]}")
            encoded = encode_chat(self.tokenizer, parts, answer, tokens_per_concept=self.width)
        return encoded

    def __call__(self, parts: Sequence[Part], answer: str | None = None) -> Encoded:
        """Ids of one prompt (and answer); `rows` are the concepts' rows in the order of the prompt."""
        rows = iter([row for p in parts if isinstance(p, Concepts) for row in p.rows for _ in range(self.width)])
        shape = tuple(len(p.rows) if isinstance(p, Concepts) else p for p in parts)
        encoded = self._shape(shape, answer)
        return Encoded(encoded.ids, [next(rows) if r >= 0 else -1 for r in encoded.rows], encoded.answer_start)
