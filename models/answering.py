"""`MEGModel.answer`: from a question (and options) to probabilities, with the concepts that were used.

The linker and the embeddings come from outside, so that this room knows nothing of the graph: a linker offers
`relevant(text, keep) -> [mention with .start, .end, .candidates]` and `joining(ids, ids) -> triplets`, embeddings `rows` and `vectors`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from ..errors import InputError
from .packing import pack, prefix_of
from .prompts import User, answer_ids, encode_chat
from .questions import LETTERS, answers, mentioned, question_prompts

if TYPE_CHECKING:
    from .meg import MEGModel


@dataclass(frozen=True)
class Answer:
    """An answer: `index` and `option` are None for a free answer, whose text is `text`."""

    index: int | None
    option: str | None
    probabilities: list[float]
    concepts: list[dict[str, str]] = field(default_factory=list)  # {"id", "name", "where": "question" or the option's text}
    evidence: list[tuple[str, str, str]] = field(default_factory=list)  # triplets between the question's and the options' concepts
    text: str = ""


def _linked(text: str, where: str, linker: Any, embeddings: Any, keep: int) -> tuple[list[tuple[int, int, int]], list[dict[str, str]]]:
    """Spans (start, end, row) of the kept mentions that have a vector, best first, and how they are shown."""
    if linker is None or embeddings is None:
        return [], []
    found = linker.relevant(text, keep)
    rows = [int(row) for row in embeddings.rows([m.candidates[0].id for m in found])]
    known = [(row, m) for row, m in zip(rows, found, strict=True) if row >= 0]
    shown = [{"id": m.candidates[0].id, "name": m.candidates[0].name, "where": where} for _, m in known]
    return [(m.start, m.end, row) for row, m in known], shown


def option_scores(model: MEGModel, batch: dict[str, Any], prefix: torch.Tensor, prefix_mask: torch.Tensor) -> torch.Tensor:
    """(B, n) scores of packed branches: log-odds of yes against no, or the log-likelihood of the answer; NaN or 0 where there is none."""
    if model.config.scoring == "yes_no":
        yes, no = (answer_ids(model.tokenizer, text)[0] for text in answers([], scoring="yes_no"))
        if yes == no:
            raise InputError(
                "this tokenizer cuts 'yes' and 'no' so that both begin alike; yes_no scoring needs two tokens. Use a larger vocabulary."
            )
        logits = model.score_packed(batch, prefix, prefix_mask, token_ids=[yes, no])
        return logits[..., 0] - logits[..., 1]
    return model.likelihood_packed(batch, prefix, prefix_mask)[0]


@torch.no_grad()
def answer(
    model: MEGModel, question: str, options: Sequence[str] | None = None, linker: Any = None, embeddings: Any = None, *,
    max_concepts: int = 20, max_option_concepts: int = 2, max_new_tokens: int = 64,
) -> Answer:  # fmt: skip
    """Answer one question; without a linker and embeddings no concept is used.

    Raises:
        InputError: empty question, a single option, or embeddings of another width than the model's.
    """
    if not question.strip():
        raise InputError("the question is empty.")
    if options is not None and (not all(o.strip() for o in options) or len({o.strip() for o in options}) < len(options)):
        raise InputError("the options must be different from each other and not empty.")
    if options is not None and not 2 <= len(options) <= len(LETTERS):
        raise InputError(f"{len(options)} options given; 2 to {len(LETTERS)} are needed, or none for a free answer.")
    if embeddings is not None and embeddings.dim != model.config.d_kg:
        raise InputError(f"the embeddings have {embeddings.dim} numbers a concept, the model reads {model.config.d_kg}.")
    model.eval()
    width, scoring = model.config.tokens_per_concept, model.config.scoring
    spans, concepts = _linked(question, "question", linker, embeddings, max_concepts)
    inline = model.config.placement == "inline"
    asked = mentioned(question, spans) if inline else [User(question)]
    rows = [] if inline else [row for _, _, row in spans]
    if options is None:
        (parts,) = question_prompts(asked, [], scoring="letter", concepts=rows)
        encoded = encode_chat(model.tokenizer, parts[:-1], tokens_per_concept=width)
        ids = torch.tensor([encoded.ids])
        used = [row for row in encoded.rows if row >= 0][::width]
        prefix = torch.as_tensor(embeddings.vectors[used])[None] if used else None
        new = model.generate(
            prefix=prefix, input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=max_new_tokens, do_sample=False
        )
        return Answer(None, None, [], concepts, [], model.tokenizer.decode(new[0], skip_special_tokens=True).strip())
    linked = [_linked(text, text, linker, embeddings, max_option_concepts) for text in options]
    option_rows = [[row for _, _, row in found] for found, _ in linked]
    parts_of = question_prompts(asked, options, scoring=scoring, concepts=rows, option_concepts=option_rows)
    if scoring == "yes_no":
        group = [encode_chat(model.tokenizer, p, tokens_per_concept=width) for p in parts_of]
    else:
        group = [encode_chat(model.tokenizer, parts_of[0], text, tokens_per_concept=width) for text in answers(options, scoring=scoring)]
    batch = pack([group], model.tokenizer.pad_token_id)
    vectors = torch.as_tensor(embeddings.vectors) if embeddings is not None else torch.zeros(1, model.config.d_kg)
    scores = option_scores(model, batch, *prefix_of(batch["rows"], vectors, width))
    probabilities = torch.softmax(scores[0, : len(options)], -1).tolist()
    index = max(range(len(options)), key=probabilities.__getitem__)
    evidence = linker.joining([c["id"] for c in concepts], [c["id"] for _, shown in linked for c in shown]) if linker is not None else []
    return Answer(index, options[index], probabilities, concepts + [c for _, shown in linked for c in shown], evidence)
