"""LoRA: a low-rank update of a frozen weight.

Fine-tuning changes a weight matrix by something of low rank, so only that is learnt, as a product of two thin
matrices beside the frozen weight. B starts at zero, so at the start nothing changes; after training the
product can be added to the weight, and then inference costs nothing.

    W x  ->  W x + s B A x          A in R^{r x d_in},  B in R^{d_out x r}

Hu et al. 2021 (https://arxiv.org/abs/2106.09685, equation 3) scale by s = alpha / r, on the query and value
projections as there. Parameters for each adapted matrix: r (d_in + d_out).
"""

from __future__ import annotations

import math
from typing import Literal, Self

import torch
from pydantic import Field
from torch import Tensor, nn

from transrec_core.adapters.anatomy import Site
from transrec_core.adapters.base import Adapter
from transrec_core.adapters.config import AdapterConfig
from transrec_core.adapters.drawing import Drawing, low_rank_picture
from transrec_core.adapters.registry import register
from transrec_core.base.errors import UserError


class LoRAConfig(AdapterConfig):
    """Settings of :class:`LoRA`; the ranks are ``item_size`` and ``user_size``.

    Attributes:
        targets: projections that get an update.
        alpha: the update is scaled by alpha / rank (rsLoRA: alpha / sqrt(rank)); None means alpha = rank.
    """

    method: str = "lora"
    targets: tuple[Literal["query", "key", "value"], ...] = ("query", "value")
    alpha: float | None = Field(None, gt=0)


@register
class LoRA(Adapter):
    """``y + s B A x`` beside a frozen linear map with input x [..., d_in] and output y [..., d_out].

    Args:
        linear: the frozen map.
        rank: r.
        config: its alpha, initialisation and dropout.
    """

    Config = LoRAConfig
    title = "LoRA"
    family = "low rank"
    year = 2021
    references = ("arXiv:2106.09685",)
    merges = True

    def __init__(self, linear: nn.Linear, rank: int, config: LoRAConfig) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.empty(rank, linear.in_features))
        self.b = nn.Parameter(torch.zeros(linear.out_features, rank))
        self.scale = self.scale_of(rank if config.alpha is None else config.alpha, rank)
        self.dropout = nn.Dropout(config.dropout)
        if config.init == "normal":
            nn.init.normal_(self.a, std=0.02)
        else:
            nn.init.kaiming_uniform_(self.a, a=math.sqrt(5))

    @staticmethod
    def scale_of(alpha: float, rank: int) -> float:
        return alpha / rank

    @classmethod
    def roles(cls, config: LoRAConfig) -> tuple[str, ...]:
        return config.targets

    @classmethod
    def build(cls, site: Site, config: LoRAConfig) -> Self:
        linear, rank = site.module, config.size(site.encoder)
        assert isinstance(linear, nn.Linear)
        if rank > min(linear.in_features, linear.out_features):
            raise UserError(
                f"{cls.method} rank {rank} is larger than the matrix at {site.path}; lower "
                f"{site.encoder}_size"
            )
        return cls(linear, rank, config)

    def update(self) -> Tensor:
        """s B A [d_out, d_in]."""
        return self.scale * (self.b @ self.a)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return y + self.scale * (self.dropout(x) @ self.a.T @ self.b.T)

    def merge_into(self, site: Site) -> None:
        assert isinstance(site.module, nn.Linear)
        with torch.no_grad():
            site.module.weight += self.update()

    @classmethod
    def count(cls, config: LoRAConfig, width: int, inner: int, size: int, layers: int) -> int:
        return layers * len(config.targets) * size * 2 * width

    @classmethod
    def picture(cls) -> Drawing:
        return low_rank_picture("A low-rank product beside a frozen weight", "× α / r")
