"""Mapping networks: from a concept's vector to tokens in the input space of a language model.

`MAPPINGS` is the registry; a network is one class in `networks.py` (or in another module of this folder).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..registry import Registry

if TYPE_CHECKING:
    from .networks import Mapping

__all__ = ["MAPPINGS", "build"]

MAPPINGS: Registry[type[Mapping]] = Registry("mapping", "meg.mapping")


def build(name: str, d_kg: int, d_lm: int, tokens: int = 1, *, scale: float = 1.0, **settings: Any) -> Mapping:
    """The mapping network `name`: `forward((..., K, d_kg)) -> (..., K * tokens, d_lm)`, `back((..., d_lm)) -> (..., d_kg)`.

    Args:
        scale: standard deviation of the language model's input embeddings, which the outputs get at the start.
        settings: keyword arguments of that network, e.g. `hidden=128, layers=4`.

    Raises:
        InputError: unknown name or setting.
    """
    import inspect

    from ..errors import InputError, unknown

    network = MAPPINGS[name]
    allowed = [key for key in inspect.signature(network).parameters if key not in ("d_kg", "d_lm", "tokens", "scale")]
    for key in settings:
        if key not in allowed:
            raise unknown(f"setting of the mapping {name!r}", key, allowed)
    for key, value in {"d_kg": d_kg, "d_lm": d_lm, "tokens": tokens}.items():
        if value < 1:
            raise InputError(f"{key} = {value}: a mapping needs at least 1.")
    return network(d_kg, d_lm, tokens, scale=scale, **settings)
