"""Compacter: a bottleneck adapter whose two maps are sums of Kronecker products.

A parameterised hypercomplex multiplication (PHM) layer writes a weight as n Kronecker products of a small n x
n matrix A_i, shared by all adapters of the model, and a matrix that is itself of rank one. That takes the
count from 2 d m to about 2 (d + m).

    W = sum_{i=1..n}  A_i (x) (s_i t_i^T)          A_i in R^{n x n},  s_i in R^{in / n},  t_i in R^{out / n}
    h <- h + W_up^T f(W_down^T h + b_down) + b_up

Karimi Mahabadi et al. 2021 (https://arxiv.org/abs/2106.04647, equations 4 and 6), after both sublayers as
Houlsby. Parameters: 2 (d + m) + d + m for each adapter, and n^3 once for the shared A (60,928 on bert-base
and d = 64 with m = 64 / 16, n = 4, as the released code counts).

The paper draws A from N(0, 0.01^2), so that the maps start near zero; with the skip connection that is
harmless but slow, and without it (as in the released code) it is fatal. Here A has the scale 1 / sqrt(n), so
that W_down starts at the size of a Glorot matrix, and t of the second map starts at zero: exactly the
identity.
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field
from torch import Tensor, nn

from transrec_core.adapters.anatomy import Site
from transrec_core.adapters.base import Adapter
from transrec_core.adapters.config import AdapterConfig
from transrec_core.adapters.drawing import TRAINED, Drawing
from transrec_core.adapters.layers import ACTIVATIONS, PHM, SharedRule
from transrec_core.adapters.registry import register
from transrec_core.base.errors import UserError


class CompacterConfig(AdapterConfig):
    """Settings of :class:`Compacter`.

    Attributes:
        position: sublayers that get one; None means both.
        phm_dim: number n of terms in the sum of Kronecker products.
    """

    method: Literal["compacter"] = "compacter"
    position: Literal["attention", "ffn", "both"] | None = None
    phm_dim: int = Field(4, ge=1)


@register
class Compacter(Adapter):
    """``y + up(f(down(y)))`` with PHM layers, y [..., d]."""

    Config = CompacterConfig
    title = "Compacter"
    family = "bottleneck"
    year = 2021
    references = ("arXiv:2106.04647",)

    def __init__(self, width: int, size: int, config: CompacterConfig) -> None:
        super().__init__()
        n = config.phm_dim
        if width % n or size % n:
            raise UserError(
                f"compacter: phm_dim={n} divides neither or only one of width {width} and size {size}; "
                "choose sizes it divides"
            )
        self.down = PHM(width, size, n)
        self.up = PHM(size, width, n, zero=True)
        self.activation = ACTIVATIONS[config.activation]
        self.dropout = nn.Dropout(config.dropout)

    @classmethod
    def roles(cls, config: CompacterConfig) -> tuple[str, ...]:
        position = config.position or "both"
        return ("attention", "ffn") if position == "both" else (position,)

    @classmethod
    def build(cls, site: Site, config: CompacterConfig) -> Self:
        return cls(site.width, config.size(site.encoder), config)

    @classmethod
    def build_shared(cls, config: CompacterConfig) -> nn.Module:
        return SharedRule(config.phm_dim)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        rule = self._shared[0].a
        correction: Tensor = self.up(self.activation(self.down(self.dropout(y), rule)), rule)
        return y + correction

    @classmethod
    def count(cls, config: CompacterConfig, width: int, inner: int, size: int, layers: int) -> int:
        return layers * len(cls.roles(config)) * 3 * (width + size)

    @classmethod
    def count_shared(cls, config: CompacterConfig) -> int:
        return config.phm_dim**3

    @classmethod
    def picture(cls) -> Drawing:
        d = Drawing(
            460,
            120,
            (
                "Each map of the bottleneck is a sum of Kronecker products of a small shared matrix and two "
                "vectors"
            ),
        )
        d.box(10, 30, 70, 60, "W", TRAINED)
        d.words(98, 60, "=  Σ", size=16)
        d.box(130, 42, 36, 36, "Aᵢ", TRAINED)
        d.words(148, 96, "n × n, shared\nby all", size=11)
        d.words(188, 60, "⊗", size=18)
        d.words(212, 60, "(", size=26)
        d.box(224, 30, 12, 60, "", TRAINED)
        d.words(230, 104, "sᵢ", size=12)
        d.box(246, 54, 60, 12, "", TRAINED)
        d.words(276, 80, "tᵢ", size=12)
        d.words(318, 60, ")", size=26)
        d.words(390, 60, "d × m weight from\nabout d/n + m/n\nnumbers a term", size=11)
        return d
