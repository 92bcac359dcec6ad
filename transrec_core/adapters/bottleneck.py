"""Bottleneck adapters: Houlsby and Pfeiffer.

A small network with a narrow waist is put at the end of a sublayer, before its residual sum, and adds a correction to
what the frozen sublayer computed. Its second map starts at zero, so at the start it changes nothing.

    h  <-  h + W_up f(W_down h + b_down) + b_up          h in R^d, waist m << d

Houlsby et al. 2019 (https://arxiv.org/abs/1902.00751, section 2.1) put one after the attention and one after the
feed-forward sublayer; Pfeiffer et al. 2021 (https://arxiv.org/abs/2005.00247) found that the one after the
feed-forward sublayer does nearly as well. Parameters for each adapter: 2 d m + d + m.

    x ─► attention ─► [adapter] ─► + ─► norm ─► FFN ─► [adapter] ─► + ─► norm ─►
    └──────────────────────────────┘       └───────────────────────┘
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

import torch.nn.functional as F
from torch import Tensor, nn

from transrec_core.adapters.anatomy import Site
from transrec_core.adapters.base import Adapter, AdapterConfig, register

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"gelu": F.gelu, "relu": F.relu, "tanh": F.tanh}


class Bottleneck(Adapter):
    """``h + up(f(down(h)))`` on the output ``h`` [..., d] of the module it stands behind.

    Args:
        width: d. size: waist m. activation: a key of :data:`ACTIVATIONS`. init: see :class:`AdapterConfig`.
        dropout: dropout on h before the waist.
    """

    own_position = "both"

    def __init__(self, width: int, size: int, activation: str = "gelu", init: str = "kaiming", dropout: float = 0.0):
        super().__init__()
        self.down = nn.Linear(width, size)
        self.up = nn.Linear(size, width)
        self.activation = ACTIVATIONS[activation]
        self.dropout = nn.Dropout(dropout)
        if init == "normal":
            nn.init.normal_(self.down.weight, std=0.02)
        nn.init.zeros_(self.down.bias)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    @classmethod
    def roles(cls, config: AdapterConfig) -> tuple[str, ...]:
        position = config.position or cls.own_position
        return ("attention", "ffn") if position == "both" else (position,)

    @classmethod
    def build(cls, site: Site, config: AdapterConfig) -> Self:
        width = int(site.module.out_features)  # type: ignore[arg-type]
        return cls(width, config.size(site.encoder), config.activation, config.init, config.dropout)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        out: Tensor = y + self.up(self.activation(self.down(self.dropout(y))))
        return out


@register("houlsby")
class Houlsby(Bottleneck):
    """A bottleneck after the attention and after the feed-forward sublayer of each layer."""


@register("pfeiffer")
class Pfeiffer(Bottleneck):
    """A bottleneck after the feed-forward sublayer only (the released code has it after the attention instead)."""

    own_position = "ffn"
