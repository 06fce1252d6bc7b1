"""The mapping networks: linear, mlp, mlp_skip, transformer, resampler.

MEG (https://arxiv.org/abs/2411.03883) maps a concept's graph vector x to a token G(x) of the language model with a
4x128 MLP, and back with a second network F. The names `G` and `F` in the state dicts of `mlp` and `transformer` are
those of the published weights. A linear skip around the MLP keeps small runs from losing what the graph vector says;
the resampler is the cross-attention of Flamingo (https://arxiv.org/abs/2204.14198) on slices of one vector.

All weights and outputs are float32, whatever the language model's dtype.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

from . import MAPPINGS


class Mapping(nn.Module):
    """What all networks share: shapes, the optional LayerNorm at the language model's scale, float32.

    Args:
        d_kg, d_lm: width of a concept's vector and of the language model's input embeddings.
        tokens: tokens a concept becomes (P).
        scale: standard deviation that the outputs start with.
        norm: end with a LayerNorm whose weight starts at `scale`; otherwise the last layer is rescaled once, at
            the start, on unit-variance vectors.
    """

    def __init__(self, d_kg: int, d_lm: int, tokens: int, scale: float, norm: bool) -> None:
        super().__init__()
        self.d_kg, self.d_lm, self.tokens, self.scale = d_kg, d_lm, tokens, scale
        self.norm = nn.LayerNorm(d_lm) if norm else None

    def _map(self, x: Tensor) -> Tensor:
        """(..., K, d_kg) -> (..., K, P * d_lm)."""
        raise NotImplementedError

    def _back(self, y: Tensor) -> Tensor:
        """(..., d_lm) -> (..., d_kg)."""
        raise NotImplementedError

    def _start(self, last: nn.Module) -> None:
        """Bring the outputs to `scale`, through the norm or else through the last layer."""
        with torch.no_grad():
            if self.norm is not None:
                self.norm.weight.fill_(self.scale)
                return
            x = torch.randn(512, 1, self.d_kg, generator=torch.Generator().manual_seed(0))
            ratio = self.scale / self(x).std()
            for parameter in last.parameters():
                parameter.mul_(ratio)

    def forward(self, x: Tensor) -> Tensor:
        """Concept vectors (..., K, d_kg), or one (d_kg,), to tokens (..., K * P, d_lm); a concept's tokens stay together."""
        x = x.unsqueeze(0) if x.dim() == 1 else x
        with torch.autocast(x.device.type, enabled=False):
            y = self._map(x.float())
            y = y.reshape(*x.shape[:-2], x.shape[-2] * self.tokens, self.d_lm)
            return y if self.norm is None else self.norm(y)

    def back(self, y: Tensor) -> Tensor:
        """Network F: tokens (..., d_lm) back to concept vectors (..., d_kg)."""
        with torch.autocast(y.device.type, enabled=False):
            return self._back(y.float())


def _mlp(d_in: int, d_out: int, hidden: int, layers: int) -> nn.Sequential:
    """`layers` times Linear and ReLU, then a Linear."""
    widths = [d_in, *[hidden] * layers]
    steps: list[nn.Module] = []
    for a, b in itertools.pairwise(widths):
        steps += [nn.Linear(a, b), nn.ReLU()]
    return nn.Sequential(*steps, nn.Linear(widths[-1], d_out))


@MAPPINGS.register("linear")
class LinearMapping(Mapping):
    """y = W x + b, then the LayerNorm; F is linear too."""

    def __init__(self, d_kg: int, d_lm: int, tokens: int = 1, *, scale: float = 1.0, norm: bool = True) -> None:
        super().__init__(d_kg, d_lm, tokens, scale, norm)
        self.fc1 = nn.Linear(d_kg, tokens * d_lm)
        self.F = nn.Linear(d_lm, d_kg)
        self._start(self.fc1)

    def _map(self, x: Tensor) -> Tensor:
        return self.fc1(x)

    def _back(self, y: Tensor) -> Tensor:
        return self.F(y)


@MAPPINGS.register("mlp")
class MLPMapping(Mapping):
    """The published network: `layers` hidden layers of `hidden` units with ReLU, F the same in reverse."""

    def __init__(
        self, d_kg: int, d_lm: int, tokens: int = 1, *, scale: float = 1.0, hidden: int = 128, layers: int = 4, norm: bool = False
    ) -> None:  # fmt: skip
        super().__init__(d_kg, d_lm, tokens, scale, norm)
        forth, back = _mlp(d_kg, tokens * d_lm, hidden, layers), _mlp(d_lm, d_kg, hidden, layers)
        self.G, self.F = nn.ModuleList([forth]), nn.ModuleList([back])
        self._start(forth[-1])

    def _map(self, x: Tensor) -> Tensor:
        return self.G[0](x)

    def _back(self, y: Tensor) -> Tensor:
        return self.F[0](y)


@MAPPINGS.register("mlp_skip")
class SkipMapping(Mapping):
    """A linear map plus the published MLP, whose last layer starts at zero: at first it is `linear`."""

    def __init__(
        self, d_kg: int, d_lm: int, tokens: int = 1, *, scale: float = 1.0, hidden: int = 128, layers: int = 4, norm: bool = True
    ) -> None:  # fmt: skip
        super().__init__(d_kg, d_lm, tokens, scale, norm)
        self.skip = nn.Linear(d_kg, tokens * d_lm)
        self.F_skip = nn.Linear(d_lm, d_kg)
        forth, back = _mlp(d_kg, tokens * d_lm, hidden, layers), _mlp(d_lm, d_kg, hidden, layers)
        self.G, self.F = nn.ModuleList([forth]), nn.ModuleList([back])
        for parameter in (*forth[-1].parameters(), *back[-1].parameters()):
            nn.init.zeros_(parameter)
        self._start(self.skip)

    def _map(self, x: Tensor) -> Tensor:
        return self.skip(x) + self.G[0](x)

    def _back(self, y: Tensor) -> Tensor:
        return self.F_skip(y) + self.F[0](y)


@MAPPINGS.register("transformer")
class TransformerMapping(Mapping):
    """The published Transformer: Linear, pre-norm encoder over the K concepts, Linear; F the same in reverse."""

    def __init__(
        self, d_kg: int, d_lm: int, tokens: int = 1, *, scale: float = 1.0,
        hidden: int = 128, layers: int = 4, heads: int = 4, norm: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(d_kg, d_lm, tokens, scale, norm)

        def network(d_in: int, d_out: int) -> nn.Sequential:
            layer = nn.TransformerEncoderLayer(hidden, heads, 2 * hidden, dropout=0.0, batch_first=True, norm_first=True)
            encoder = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
            return nn.Sequential(nn.Linear(d_in, hidden), encoder, nn.Linear(hidden, d_out))

        self.G = network(d_kg, tokens * d_lm)
        self.F = network(d_lm, d_kg)
        self._start(self.G[2])

    @staticmethod
    def _sequences(x: Tensor) -> Tensor:
        """As (sequences, K, width): the encoder reads three dimensions."""
        while x.dim() < 3:
            x = x.unsqueeze(0)
        return x.flatten(0, -3)

    def _map(self, x: Tensor) -> Tensor:
        return self.G(self._sequences(x)).reshape(*x.shape[:-1], self.tokens * self.d_lm)

    def _back(self, y: Tensor) -> Tensor:
        return self.F(self._sequences(y)).reshape(*y.shape[:-1], self.d_kg)


@MAPPINGS.register("resampler")
class ResamplerMapping(Mapping):
    """P learned queries read `slices` projections of one vector by cross-attention; F is linear."""

    def __init__(
        self, d_kg: int, d_lm: int, tokens: int = 1, *, scale: float = 1.0, hidden: int = 128, slices: int = 4, heads: int = 4
    ) -> None:  # fmt: skip
        super().__init__(d_kg, d_lm, tokens, scale, norm=True)
        self.hidden, self.slices = hidden, slices
        self.read = nn.Linear(d_kg, slices * hidden)
        self.queries = nn.Parameter(torch.randn(tokens, hidden))
        self.attention = nn.MultiheadAttention(hidden, heads, batch_first=True)
        self.write = nn.Linear(hidden, d_lm)
        self.F = nn.Linear(d_lm, d_kg)
        self._start(self.write)

    def _map(self, x: Tensor) -> Tensor:
        slices = self.read(x).reshape(-1, self.slices, self.hidden)
        read, _ = self.attention(self.queries.expand(len(slices), -1, -1), slices, slices, need_weights=False)
        return self.write(read).reshape(*x.shape[:-1], self.tokens * self.d_lm)

    def _back(self, y: Tensor) -> Tensor:
        return self.F(y)
