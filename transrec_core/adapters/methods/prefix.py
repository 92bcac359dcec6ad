"""Prefix: learned keys and values before those of the sequence, in every adapted layer (a deep soft prompt).

    K <- [P_k; K],   V <- [P_v; V]                P_k, P_v in R^{n x d}, in each adapted layer

Li and Liang 2021 (https://arxiv.org/abs/2101.00190, equation 3), without the reparametrising network. Like a
prompt it changes outputs from the start: attention is a weighted mean, and new members have weight.
Parameters: 2 n d a layer.
"""

from __future__ import annotations

from typing import Any, Literal, Self

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from transrec_core.adapters.anatomy import Site
from transrec_core.adapters.base import Adapter
from transrec_core.adapters.config import AdapterConfig
from transrec_core.adapters.drawing import TRAINED, Drawing
from transrec_core.adapters.registry import register


class PrefixConfig(AdapterConfig):
    """Settings of :class:`Prefix`: by default 30 keys and values in the item encoder."""

    method: Literal["prefix"] = "prefix"
    item_size: int = Field(30, ge=1)


@register
class Prefix(Adapter):
    """``[P_k; K], [P_v; V]``: n learned keys and values, each [n, d], before those of a layer [k, heads,
    T, d / heads].
    """

    Config = PrefixConfig
    title = "prefix"
    family = "soft prompt"
    year = 2021
    references = ("arXiv:2101.00190",)
    grid = (1e-2, 3e-2, 1e-1, 3e-1)
    identity_at_start = False
    averages = False

    def __init__(self, n_tokens: int, width: int) -> None:
        super().__init__()
        self.keys = nn.Parameter(torch.randn(n_tokens, width) * 0.02)
        self.values = nn.Parameter(torch.randn(n_tokens, width) * 0.02)

    @classmethod
    def roles(cls, config: AdapterConfig) -> tuple[str, ...]:
        return ("attend",)

    @classmethod
    def build(cls, site: Site, config: AdapterConfig) -> Self:
        return cls(config.size(site.encoder), site.width)

    def forward(
        self, x: Any, y: tuple[Tensor, Tensor, Tensor | None]
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        keys, values, mask = y
        extended = []
        for prefix, states in ((self.keys, keys), (self.values, values)):
            heads = prefix.unflatten(-1, (states.shape[1], -1)).transpose(0, 1)  # [heads, n, d / heads]
            extended.append(
                torch.cat([heads.expand(states.shape[0], -1, -1, -1).to(states.dtype), states], 2)
            )
        if mask is not None:  # True or 0 lets a position be read
            mask = F.pad(mask, (len(self.keys), 0), value=float(mask.dtype == torch.bool))
        return extended[0], extended[1], mask

    @classmethod
    def count(cls, config: AdapterConfig, width: int, inner: int, size: int, layers: int) -> int:
        return layers * 2 * size * width

    @classmethod
    def picture(cls) -> Drawing:
        d = Drawing(460, 112, "Learned keys and values before those of the sequence, in each layer")
        for row, (name, y) in enumerate((("K", 40), ("V", 72))):
            d.words(16, y + 12, name)
            for i in range(3):
                d.box(30 + 26 * i, y, 24, 24, ("Pₖ", "Pᵥ")[row], TRAINED)
            for i in range(5):
                d.box(112 + 26 * i, y, 24, 24)
        d.words(16, 20, "Q")
        for i in range(5):
            d.box(112 + 26 * i, 8, 24, 24)
        d.line((246, 52), (300, 52))
        d.box(300, 34, 90, 36, "attention")
        d.line((390, 52), (440, 52))
        return d
