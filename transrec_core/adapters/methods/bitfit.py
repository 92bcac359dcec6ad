"""BitFit: a learned vector is added to every bias.

    W x + b  <-  W x + b + c          c starts at zero

Ben Zaken et al. 2022 (https://arxiv.org/abs/2106.10199). It folds into the frozen biases. Parameters for each
layer of width d with inner width f: the number of its biases (7 d + f where all maps have one, as in BERT).
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


class BitFitConfig(AdapterConfig):
    """Settings of :class:`BitFit`, those of every adapter."""

    method: Literal["bitfit"] = "bitfit"


@register
class BitFit(Adapter):
    """``y + c`` behind every module of the adapted layers that has a bias (SASRec's attention has none), y
    [..., size].
    """

    Config = BitFitConfig
    title = "BitFit"
    family = "vectors"
    year = 2022
    references = ("arXiv:2106.10199",)
    grid = VECTORS
    merges = True

    def __init__(self, size: int) -> None:
        super().__init__()
        self.c = nn.Parameter(torch.zeros(size))

    @classmethod
    def roles(cls, config: AdapterConfig) -> tuple[str, ...]:
        return ("query", "key", "value", "attention", "expand", "ffn", "norm")

    @classmethod
    def build(cls, site: Site, config: AdapterConfig) -> Self | None:
        bias = site.module.bias
        return None if bias is None else cls(bias.numel())  # type: ignore[operator]

    def forward(self, x: Any, y: Tensor) -> Tensor:
        return y + self.c

    def merge_into(self, site: Site) -> None:
        with torch.no_grad():
            site.module.bias += self.c  # type: ignore[operator]

    @classmethod
    def count(cls, config: AdapterConfig, width: int, inner: int, size: int, layers: int) -> int:
        return layers * (7 * width + inner)

    @classmethod
    def picture(cls) -> Drawing:
        d = Drawing(460, 80, "A learned vector is added to every bias")
        d.line((10, 30), (60, 30))
        d.box(60, 12, 130, 36, "W x + b")
        d.line((190, 30), (251, 30))
        d.join(260, 30)
        d.box(247, 54, 26, 22, "c", TRAINED)
        d.line((260, 54), (260, 39))
        d.line((269, 30), (330, 30))
        d.words(338, 30, "at every bias", anchor="start", size=11)
        return d
