"""DoRA: LoRA for the direction of a weight, and a trained length for each of its rows.

Full fine-tuning changes direction and length of weights independently, LoRA ties them together; DoRA takes
the weight apart, updates its direction by a low-rank product and trains the length m by itself. With B = 0
and m the row norms of W, it starts as W.

    W x  ->  m / ||W + s B A||  *  (W + s B A) x          norm over each row, m in R^{d_out}

Liu et al. 2024 (https://arxiv.org/abs/2402.09353, equation 5; the norm is a constant in the gradient, section
4.3). Parameters for each adapted matrix: r (d_in + d_out) + d_out.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from transrec_core.adapters.anatomy import Site
from transrec_core.adapters.drawing import Drawing, low_rank_picture
from transrec_core.adapters.methods.lora import LoRA, LoRAConfig
from transrec_core.adapters.registry import register


class DoRAConfig(LoRAConfig):
    """Settings of :class:`DoRA`, those of LoRA."""

    method: Literal["dora"] = "dora"


@register
class DoRA(LoRA):
    """The weight-decomposed update of a frozen linear map with input x [..., d_in] and output y [..., d_out].

    Args:
        linear: the frozen map, whose weight is read and never changed.
        rank: r.
        config: as for LoRA.
    """

    Config = DoRAConfig
    title = "DoRA"
    family = "low rank"
    year = 2024
    references = ("arXiv:2402.09353",)

    def __init__(self, linear: nn.Linear, rank: int, config: LoRAConfig) -> None:
        super().__init__(linear, rank, config)
        self._linear = (linear,)  # in a tuple, so that the frozen map does not become a part of the adapter
        self.magnitude = nn.Parameter(linear.weight.detach().norm(dim=1))

    def stretch(self) -> Tensor:
        """m / ||W + s B A|| [d_out]."""
        norm = (self._linear[0].weight.detach() + self.update().detach()).norm(dim=1)
        return self.magnitude / norm

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        bias, stretch = self._linear[0].bias, self.stretch()
        straight = y if bias is None else y - bias
        return y + (stretch - 1) * straight + stretch * self.scale * (self.dropout(x) @ self.a.T @ self.b.T)

    def merge_into(self, site: Site) -> None:
        assert isinstance(site.module, nn.Linear)
        with torch.no_grad():
            stretch = self.stretch()
            site.module.weight.copy_(stretch[:, None] * (site.module.weight + self.update()))

    @classmethod
    def count(cls, config: LoRAConfig, width: int, inner: int, size: int, layers: int) -> int:
        return layers * len(config.targets) * (size * 2 * width + width)

    @classmethod
    def picture(cls) -> Drawing:
        return low_rank_picture(
            "A low-rank update of the direction of each row, and a trained length", "× α / r", magnitude=True
        )
