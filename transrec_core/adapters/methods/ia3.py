"""(IA)3: learned vectors that multiply keys, values and the inner activations of the feed-forward sublayer.

    k <- l_k * k,   v <- l_v * v,   f(W_1 x) <- l_ff * f(W_1 x)          each l starts at one

Liu et al. 2022 (https://arxiv.org/abs/2205.05638, section 3.3). They fold into the frozen weights. Parameters
for each layer of width d with inner width f: 2 d + f.
"""

from __future__ import annotations

from typing import Any, Literal, Self

import torch
from torch import Tensor, nn

from transrec_core.adapters.anatomy import Site
from transrec_core.adapters.base import VECTORS, Adapter
from transrec_core.adapters.config import AdapterConfig
from transrec_core.adapters.drawing import TRAINED, Drawing
from transrec_core.adapters.registry import register


class IA3Config(AdapterConfig):
    """Settings of :class:`IA3`, those of every adapter."""

    method: Literal["ia3"] = "ia3"


@register
class IA3(Adapter):
    """``l * y`` on keys, values and the inner activations, y [..., size]."""

    Config = IA3Config
    title = "(IA)³"
    family = "vectors"
    year = 2022
    references = ("arXiv:2205.05638",)
    grid = VECTORS
    merges = True

    def __init__(self, size: int) -> None:
        super().__init__()
        self.l = nn.Parameter(torch.ones(size))

    @classmethod
    def roles(cls, config: AdapterConfig) -> tuple[str, ...]:
        return ("key", "value", "hidden")

    @classmethod
    def build(cls, site: Site, config: AdapterConfig) -> Self:
        if site.role == "hidden":
            assert isinstance(site.feeds, nn.Linear)
            return cls(site.feeds.in_features)
        assert isinstance(site.module, nn.Linear)
        return cls(site.module.out_features)

    def forward(self, x: Any, y: Tensor) -> Tensor:
        return self.l * y

    def merge_into(self, site: Site) -> None:
        with torch.no_grad():
            if site.role == "hidden":
                assert isinstance(site.feeds, nn.Linear)
                site.feeds.weight.mul_(self.l)
                return
            assert isinstance(site.module, nn.Linear)
            site.module.weight.mul_(self.l[:, None])
            if site.module.bias is not None:
                site.module.bias.mul_(self.l)

    @classmethod
    def count(cls, config: AdapterConfig, width: int, inner: int, size: int, layers: int) -> int:
        return layers * (2 * width + inner)

    @classmethod
    def picture(cls) -> Drawing:
        d = Drawing(
            460,
            128,
            "Learned vectors multiply keys, values and the inner activations of the feed-forward sublayer",
        )
        for y, name, label, beside in ((48, "K", "lₖ", 6), (80, "V", "lᵥ", 122)):
            d.line((50, y), (81, y))
            d.box(10, y - 12, 40, 24, name)
            d.join(90, y, "⊙")
            d.box(77, min(beside, 102), 26, 22, label, TRAINED)
            d.line((90, 28 if beside < 50 else 102), (90, y - 9 if beside < 50 else y + 9))
            d.line((99, y), (130, y))
        d.box(130, 36, 80, 56, "attention")
        d.box(262, 52, 50, 24, "f(W₁x)")
        d.line((312, 64), (345, 64))
        d.join(354, 64, "⊙")
        d.box(341, 96, 26, 22, "l", TRAINED)
        d.line((354, 96), (354, 73))
        d.line((363, 64), (394, 64))
        d.box(394, 52, 50, 24, "W₂")
        return d
