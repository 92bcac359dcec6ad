"""Houlsby: a bottleneck after the attention and after the feed-forward sublayer; what bottlenecks share.

A small network with a narrow waist corrects what a frozen sublayer computed, before its residual sum. A
serial one reads the sublayer's output, a parallel one its input. The second map starts at zero, so at the
start nothing changes.

    serial      h  <-  h + s (W_up f(W_down h + b_down) + b_up)          h in R^d: the sublayer's output
    parallel    h  <-  h + s (W_up f(W_down x + b_down) + b_up)          x in R^d: its input; waist m << d

Houlsby et al. 2019 (https://arxiv.org/abs/1902.00751, section 2.1) put one after the attention and one after
the feed-forward sublayer; Pfeiffer et al. 2021 (https://arxiv.org/abs/2005.00247) found that the one after
the feed-forward sublayer does nearly as well; He et al. 2022 (https://arxiv.org/abs/2110.04366, table 1 and
section 4.3) put it beside the feed-forward sublayer, with s = 4. Parameters for each adapter: 2 d m + d + m.

    x ─┬─► sublayer ─► h ─┬──────────────────────► + ─► residual sum        serial
       │                  └─► down ─► f ─► up ─► s ┘
       └─► down ─► f ─► up ─► s ─► (added to h instead)                     parallel

Pfeiffer as AdapterHub ships it reads LN(h + residual) instead of h; here it reads h, as the Houlsby adapter
does, so that the two differ in their position only.
"""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import Field
from torch import Tensor, nn

from transrec_core.adapters.anatomy import Site
from transrec_core.adapters.base import Adapter
from transrec_core.adapters.config import AdapterConfig
from transrec_core.adapters.drawing import Drawing, waists_behind
from transrec_core.adapters.layers import ACTIVATIONS
from transrec_core.adapters.registry import register


class BottleneckConfig(AdapterConfig):
    """What all bottleneck adapters can be set to.

    Attributes:
        position: sublayers that get one; None means the method's own choice.
        form: it reads what its sublayer computed ("serial") or what the sublayer read ("parallel").
        scale: factor s on its correction.
    """

    position: Literal["attention", "ffn", "both"] | None = None
    form: Literal["serial", "parallel"] = "serial"
    scale: float = Field(1.0, gt=0)


class Bottleneck(Adapter):
    """``y + s up(f(down(z)))`` with z = y (serial) or z = x (parallel), all [..., d].

    Args:
        width: d.
        config: its activation, initialisation, form, scale and dropout.
        size: waist m.
    """

    Config = BottleneckConfig
    own_position: ClassVar[str] = "both"

    def __init__(self, width: int, size: int, config: BottleneckConfig) -> None:
        super().__init__()
        self.down = nn.Linear(width, size)
        self.up = nn.Linear(size, width)
        self.activation = ACTIVATIONS[config.activation]
        self.parallel = config.form == "parallel"
        self.scale = config.scale
        self.dropout = nn.Dropout(config.dropout)
        if config.init == "normal":
            nn.init.normal_(self.down.weight, std=0.02)
        nn.init.zeros_(self.down.bias)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    @classmethod
    def roles(cls, config: BottleneckConfig) -> tuple[str, ...]:
        position = config.position or cls.own_position
        return ("attention", "ffn") if position == "both" else (position,)

    @classmethod
    def build(cls, site: Site, config: BottleneckConfig) -> Self:
        return cls(site.width, config.size(site.encoder), config)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        seen = self.dropout(x if self.parallel else y)
        correction: Tensor = self.up(self.activation(self.down(seen)))
        return y + self.scale * correction

    @classmethod
    def count(cls, config: BottleneckConfig, width: int, inner: int, size: int, layers: int) -> int:
        return layers * len(cls.roles(config)) * (2 * width * size + width + size)


class HoulsbyConfig(BottleneckConfig):
    """Settings of :class:`Houlsby`."""

    method: Literal["houlsby"] = "houlsby"


@register
class Houlsby(Bottleneck):
    """A bottleneck after the attention and after the feed-forward sublayer of each layer."""

    Config = HoulsbyConfig
    title = "Houlsby"
    family = "bottleneck"
    year = 2019
    references = ("arXiv:1902.00751",)

    @classmethod
    def picture(cls) -> Drawing:
        return waists_behind(
            "A bottleneck after the attention and after the feed-forward sublayer", ("attention", "ffn")
        )
