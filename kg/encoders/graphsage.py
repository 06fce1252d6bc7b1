"""GraphSAGE with mean aggregation (Hamilton et al. 2017, https://arxiv.org/abs/1706.02216), full batch on a CSR adjacency.

h_i' = W_self h_i + W_neigh mean_{j in N(i)} h_j,   ReLU between layers, z_i = h_i / |h_i| after the last.
"""

from __future__ import annotations

import itertools

import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.nn import SAGEConv

from . import ENCODERS


@ENCODERS.register("graphsage")
class GraphSAGE(nn.Module):
    """`layers` SAGE layers of width `dim` over text features."""

    def __init__(self, num_features: int, dim: int = 128, layers: int = 2) -> None:
        super().__init__()
        widths = [num_features] + [dim] * layers
        self.layers = nn.ModuleList(SAGEConv(a, b, aggr="mean") for a, b in itertools.pairwise(widths))

    def forward(self, x: Tensor, adjacency: Tensor) -> Tensor:
        """Concept embeddings of unit length.

        Args:
            x: (N, F) node features.
            adjacency: (N, N) sparse CSR, one row per destination node.

        Returns:
            (N, dim), each row with L2 norm 1.
        """
        for number, layer in enumerate(self.layers):
            x = layer(x if number == 0 else F.relu(x), adjacency)
        return F.normalize(x, dim=-1)
