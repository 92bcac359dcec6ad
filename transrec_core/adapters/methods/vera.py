"""VeRA: a low-rank update with random, frozen matrices that all layers share; only vectors train.

LoRA's matrices differ from layer to layer. Here A and B are drawn once, from a seed, and never trained; each
adapted weight learns how much of each of their rows it takes. b starts at zero, so at the start nothing
changes, and the product can be added to the weight, as LoRA's.

    W x  ->  W x + b * B (d * A x)          A in R^{r x d_in}, B in R^{d_out x r};  d in R^r, b in R^{d_out}

Kopiczko et al. 2024 (https://arxiv.org/abs/2310.11454, equation 2), on the query and value projections, d
starting at 0.1 as there. A and B are not saved: they come from ``projection_seed``. Parameters for each
adapted matrix: r + d_out.
"""

from __future__ import annotations

import functools
import math
from typing import Literal, Self

import torch
from pydantic import Field
from torch import Tensor, nn

from transrec_core.adapters.anatomy import Site
from transrec_core.adapters.base import VECTORS, Adapter
from transrec_core.adapters.config import AdapterConfig
from transrec_core.adapters.drawing import FROZEN, TRAINED, Drawing
from transrec_core.adapters.registry import register


class VeRAConfig(AdapterConfig):
    """Settings of :class:`VeRA`; the ranks ``item_size`` and ``user_size`` may be large, they cost little.

    Attributes:
        targets: projections that get an update.
        d_init: what the vector d starts at.
        projection_seed: of the frozen random matrices.
    """

    method: Literal["vera"] = "vera"
    item_size: int = Field(256, ge=1)
    user_size: int = Field(64, ge=1)
    targets: tuple[Literal["query", "key", "value"], ...] = ("query", "value")
    d_init: float = Field(0.1, gt=0)
    projection_seed: int = Field(0, ge=0)


@functools.lru_cache(maxsize=8)
def projection(rows: int, columns: int, seed: int) -> Tensor:
    """A random matrix [rows, columns] of Kaiming's uniform distribution; the same for one shape and seed."""
    generator = torch.Generator().manual_seed(seed)
    bound = math.sqrt(3 / columns)
    return (2 * torch.rand(rows, columns, generator=generator, device="cpu") - 1) * bound


@register
class VeRA(Adapter):
    """``y + b * B (d * A x)`` beside a frozen linear map with input x [..., d_in] and output y [..., d_out].

    Args:
        linear: the frozen map.
        rank: r.
        config: its d_init, projection_seed and dropout.
    """

    down: Tensor  # A
    up: Tensor  # B

    Config = VeRAConfig
    title = "VeRA"
    family = "low rank"
    year = 2024
    references = ("arXiv:2310.11454",)
    grid = VECTORS
    merges = True

    def __init__(self, linear: nn.Linear, rank: int, config: VeRAConfig) -> None:
        super().__init__()
        seed, (d_out, d_in) = config.projection_seed, linear.weight.shape
        self.register_buffer("down", projection(rank, d_in, seed), persistent=False)
        self.register_buffer("up", projection(d_out, rank, seed + 1), persistent=False)
        self.d = nn.Parameter(torch.full((rank,), config.d_init))
        self.b = nn.Parameter(torch.zeros(d_out))
        self.dropout = nn.Dropout(config.dropout)

    @classmethod
    def roles(cls, config: VeRAConfig) -> tuple[str, ...]:
        return config.targets

    @classmethod
    def build(cls, site: Site, config: VeRAConfig) -> Self:
        assert isinstance(site.module, nn.Linear)
        return cls(site.module, config.size(site.encoder), config)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return y + self.b * ((self.dropout(x) @ self.down.T * self.d) @ self.up.T)

    def merge_into(self, site: Site) -> None:
        assert isinstance(site.module, nn.Linear)
        with torch.no_grad():
            site.module.weight += self.b[:, None] * (self.up @ (self.d[:, None] * self.down))

    @classmethod
    def count(cls, config: VeRAConfig, width: int, inner: int, size: int, layers: int) -> int:
        return layers * len(config.targets) * (size + width)

    @classmethod
    def picture(cls) -> Drawing:
        d = Drawing(460, 124, "Two frozen random matrices, shared by all layers, between two trained vectors")
        d.line((10, 62), (44, 62), (44, 32), (80, 32))
        d.box(80, 12, 200, 40, "W")
        d.line((44, 62), (44, 92), (80, 92))
        for number, (name, fill) in enumerate(zip("AdBb", (FROZEN, TRAINED) * 2, strict=True)):
            d.box(80 + 52 * number, 76, 44, 32, name, fill)
        d.line((280, 92), (320, 92), (320, 71))
        d.line((280, 32), (320, 32), (320, 53))
        d.join(320, 62)
        d.line((329, 62), (380, 62))
        return d
