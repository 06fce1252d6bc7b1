"""Recipes: every hyper-parameter of a training stage in one frozen, validated place.

`small` is the recipe that two CPU cores can run: full fine-tuning of a small LM, yes/no scoring, linear skip in the
mapper, a fixed number of steps. `published` holds the settings of the MEG paper (arXiv 2411.03883). `smoke` is for
tests: the same path in a few steps.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..errors import InputError, unknown
from ..models.config import SCORINGS


@dataclass(frozen=True)
class Base:
    """The small base LM: sizes, and optimizer steps of `batch` sequences."""

    hidden: int = 96
    layers: int = 2
    heads: int = 4
    ff: int = 256
    vocab: int = 3000
    steps: int = 200
    batch: int = 64
    lr: float = 3e-3


@dataclass(frozen=True)
class Phase:
    """One training phase. `steps` are optimizer steps; with `epochs` set they follow from the data instead."""

    lr: float
    batch: int  # sequences (phase I) or questions (phase II) a device and step
    accumulation: int = 1
    steps: int | None = None
    epochs: float | None = None
    schedule: str = "linear"
    warmup: float = 30  # steps, or a share of them when below 1
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.999)
    clip: float = 1.0
    max_length: int | None = None
    temperature: float = 1.0  # of NT-Xent
    compound: bool = False  # add NT-Xent and back-translation (phase I)
    bf16: bool = False

    def __post_init__(self) -> None:
        if (self.steps is None) == (self.epochs is None):
            raise InputError("a phase needs either steps or epochs, not both.")
        if self.batch < 1 or self.accumulation < 1:
            raise InputError(f"batch is {self.batch} and accumulation {self.accumulation}; both must be at least 1.")


@dataclass(frozen=True)
class Recipe:
    """All phases, the model's form, and how questions are asked."""

    name: str
    vocabulary: Phase  # phase I
    reading: Phase  # phase II on questions generated from the graph
    qa: Phase  # phase II on any other task
    base: Base = Base()
    mapping: str = "mlp_skip"
    adapter: str = "full"
    lora_r: int = 32
    lora_alpha: int = 64
    lora_dropout: float = 0.05
    scoring: str = "yes_no"
    placement: str = "inline"  # of a question's concepts: after their mention, or in a list after the question
    max_concepts: int = 20
    max_option_concepts: int = 2
    names: tuple[str, ...] = ("out", "in")  # graph questions: names out, names in, or both in turn
    eval_batch: int = 64

    def phase(self, task: str) -> Phase:
        """The phase II settings of a task."""
        return self.reading if task == "graph" else self.qa

    def __post_init__(self) -> None:
        if self.scoring not in SCORINGS:
            raise unknown("scoring", self.scoring, SCORINGS)
        if "out" in self.names and self.scoring == "option":
            raise InputError("scoring 'option' reads the options' names; names out needs yes_no or letter.")


_SMALL = Recipe(
    name="small",
    vocabulary=Phase(lr=3e-3, batch=128, steps=200, betas=(0.9, 0.98), temperature=0.1, compound=True),
    reading=Phase(lr=2e-3, batch=64, steps=800, betas=(0.9, 0.98)),
    qa=Phase(lr=1e-3, batch=32, epochs=2, betas=(0.9, 0.98), max_length=512),
)
_SMOKE = replace(
    _SMALL,
    name="smoke",
    base=Base(hidden=32, layers=2, heads=2, ff=64, vocab=1000, steps=4, batch=8),
    vocabulary=replace(_SMALL.vocabulary, steps=3, batch=8),
    reading=replace(_SMALL.reading, steps=4, batch=8),
    qa=replace(_SMALL.qa, steps=2, epochs=None, batch=4),
)
_PAPER = Phase(
    lr=1e-5, batch=4, accumulation=8, epochs=1, schedule="cosine", warmup=0.03, weight_decay=0, max_length=124, compound=True, bf16=True
)
_PUBLISHED = Recipe(
    name="published",
    vocabulary=_PAPER,
    reading=replace(_PAPER, lr=1e-4, batch=1, epochs=1, max_length=400, compound=False),
    qa=replace(_PAPER, lr=1e-4, batch=1, epochs=3, max_length=400, compound=False),
    mapping="mlp",
    adapter="lora",
    scoring="option",
    placement="list",
    names=("in",),
    eval_batch=4,
)

RECIPES: dict[str, Recipe] = {r.name: r for r in (_SMALL, _SMOKE, _PUBLISHED)}


def recipe(name: str | None, model: str | None = None) -> Recipe:
    """The recipe called `name`; by default `published` for a model of the user's, `small` for the embedded LM."""
    name = name or ("published" if model else "small")
    if name not in RECIPES:
        raise unknown("recipe", name, RECIPES)
    return RECIPES[name]
