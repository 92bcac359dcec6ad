"""LoRA: a low-rank update of a frozen weight.

Fine-tuning changes a weight matrix by something of low rank, so only that is learnt, as a product of two thin
matrices beside the frozen weight. B starts at zero, so at the start nothing changes; after training the product can
be added to the weight, and then inference costs nothing.

    W x  ->  W x + (alpha / r) B A x          A in R^{r x d_in},  B in R^{d_out x r}

Hu et al. 2021 (https://arxiv.org/abs/2106.09685, equation 3), on the query and value projections as there.
Parameters for each adapted matrix: r (d_in + d_out).
"""

from __future__ import annotations

import math
from typing import Self

import torch
from torch import Tensor, nn

from transrec_core.adapters.anatomy import Site
from transrec_core.adapters.base import Adapter, AdapterConfig, register
from transrec_core.errors import UserError


@register("lora")
class LoRA(Adapter):
    """``y + scale * B(A(x))`` beside a frozen linear map with input x [..., d_in] and output y [..., d_out]."""

    def __init__(self, d_in: int, d_out: int, rank: int, scale: float = 1.0, init: str = "kaiming", dropout: float = 0.0):
        super().__init__()
        self.a = nn.Parameter(torch.empty(rank, d_in))
        self.b = nn.Parameter(torch.zeros(d_out, rank))
        self.scale = scale
        self.dropout = nn.Dropout(dropout)
        if init == "normal":
            nn.init.normal_(self.a, std=0.02)
        else:
            nn.init.kaiming_uniform_(self.a, a=math.sqrt(5))

    @classmethod
    def roles(cls, config: AdapterConfig) -> tuple[str, ...]:
        if config.position is not None:
            raise UserError("LoRA acts on projections, not behind a sublayer: leave 'position' out and set 'targets'")
        return config.targets

    @classmethod
    def build(cls, site: Site, config: AdapterConfig) -> Self:
        linear, rank = site.module, config.size(site.encoder)
        assert isinstance(linear, nn.Linear)
        if rank > min(linear.in_features, linear.out_features):
            raise UserError(f"LoRA rank {rank} is larger than the matrix at {site.path}; lower {site.encoder}_size")
        scale = 1.0 if config.alpha is None else config.alpha / rank
        return cls(linear.in_features, linear.out_features, rank, scale, config.init, config.dropout)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return y + self.scale * (self.dropout(x) @ self.a.T @ self.b.T)

    def merge_into(self, module: nn.Module) -> None:
        assert isinstance(module, nn.Linear)
        with torch.no_grad():
            module.weight += self.scale * (self.b @ self.a)
