from __future__ import annotations

from dataclasses import FrozenInstanceError, replace

import pytest

from meg.errors import InputError
from meg.models.config import MEGConfig
from meg.qa.recipes import RECIPES, Phase, recipe


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_fits_the_model_configuration(name: str) -> None:
    r = RECIPES[name]
    assert r.name == name and r.base.hidden % (2 * r.base.heads) == 0
    MEGConfig(
        d_kg=8, mapping=r.mapping, adapter=r.adapter, lora_r=r.lora_r, lora_alpha=r.lora_alpha, lora_dropout=r.lora_dropout,
        scoring=r.scoring,
    )  # fmt: skip
    assert set(r.names) <= {"in", "out"} and r.names and r.eval_batch >= 1
    with pytest.raises(FrozenInstanceError):
        r.scoring = "letter"


def test_the_default_follows_from_the_base() -> None:
    assert recipe(None).name == "small" and recipe(None, "owner/model").name == "published"
    assert recipe("smoke", "owner/model").name == "smoke"
    with pytest.raises(InputError, match="Did you mean 'published'"):
        recipe("publishd")


def test_the_published_settings() -> None:
    r = RECIPES["published"]
    assert (r.adapter, r.mapping, r.scoring, r.lora_r, r.lora_alpha) == ("lora", "mlp", "option", 32, 64)
    assert (r.vocabulary.lr, r.vocabulary.epochs, r.vocabulary.compound) == (1e-5, 1, True)
    assert r.phase("graph") is r.reading and r.phase("medqa_usmle") is r.qa and r.reading.epochs
    assert (r.qa.lr, r.qa.epochs, r.qa.compound) == (1e-4, 3, False)


def test_what_cannot_work_is_refused() -> None:
    with pytest.raises(InputError, match="either steps or epochs"):
        Phase(lr=1, batch=1)
    with pytest.raises(InputError, match="either steps or epochs"):
        Phase(lr=1, batch=1, steps=1, epochs=1)
    for wrong in ({"batch": 0}, {"accumulation": 0}):
        with pytest.raises(InputError, match="at least 1"):
            Phase(**{"lr": 1, "batch": 1, "steps": 1, **wrong})
    with pytest.raises(InputError, match="unknown scoring 'lettre'"):
        replace(RECIPES["smoke"], scoring="lettre")
