"""A decoupled side network: it reads the frozen backbone's layers, and nothing of it runs through them.

A narrow ladder climbs beside the backbone: at each layer it mixes what it has with a narrowed copy of the
backbone's *pooled* state there, through a gate, and at the top adds a widened correction to the pooled
output. As nothing trained stands before the backbone's states, no gradient runs through the backbone, and its
states can be computed once for each item and kept: a training step then costs no backbone at all.

    s_l  =  f(g_l s_{l-1} + (1 - g_l) (W_l h_l + b_l)),      g_l = sigmoid(gamma_l)
    y   <-  y + W_up s_L + b_up

with h_l the pooled state after layer l and s_0 = 0; W_up and b_up start at zero.

The ladder and its gates are from Sung et al. 2022 (LST, https://arxiv.org/abs/2206.06522, section 3.2);
reading pooled states, so that they fit a cache, from Fu et al. 2024 (IISAN, https://arxiv.org/abs/2404.02059,
section 3). Parameters for L layers read: L (d m + m + 1) + m d + d.

In the user encoder "pooled" is the state at each position, so causality holds. Its input, the item vectors,
is trained (by the head, if by nothing else), so there gradients do run through the frozen blocks.
"""

from __future__ import annotations

from typing import Literal, Self

import torch
from torch import Tensor, nn

from transrec_core.adapters.anatomy import Site
from transrec_core.adapters.base import Adapter
from transrec_core.adapters.config import AdapterConfig
from transrec_core.adapters.drawing import TRAINED, Drawing, tower
from transrec_core.adapters.layers import ACTIVATIONS
from transrec_core.adapters.registry import register


class SideConfig(AdapterConfig):
    """Settings of :class:`Side`, those of every adapter."""

    method: Literal["side"] = "side"


@register
class Side(Adapter):
    """``y + up(s_L)`` from the states of all layers x [..., layers + 1, d] and the last one y [..., d].

    Args:
        width: d.
        size: m.
        layers: layers to read, from the bottom.
        config: its activation and dropout.
    """

    Config = SideConfig
    title = "side network"
    family = "beside the backbone"
    year = 2022
    references = ("arXiv:2206.06522", "arXiv:2404.02059")

    def __init__(self, width: int, size: int, layers: list[int], config: AdapterConfig) -> None:
        super().__init__()
        self.layers = layers
        self.down = nn.ModuleList(nn.Linear(width, size) for _ in layers)
        self.gates = nn.Parameter(torch.zeros(len(layers)))
        self.up = nn.Linear(size, width)
        self.activation = ACTIVATIONS[config.activation]
        self.dropout = nn.Dropout(config.dropout)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    @classmethod
    def roles(cls, config: AdapterConfig) -> tuple[str, ...]:
        return ("readout",)

    @classmethod
    def build(cls, site: Site, config: AdapterConfig) -> Self:
        return cls(site.width, config.size(site.encoder), sorted(config.chosen_layers(site.n_layers)), config)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        states, gates = self.dropout(x), torch.sigmoid(self.gates)
        side = torch.zeros((), device=y.device, dtype=y.dtype)
        for index, layer in enumerate(self.layers):
            side = self.activation(
                gates[index] * side + (1 - gates[index]) * self.down[index](states[..., layer + 1, :])
            )
        out: Tensor = y + self.up(side)
        return out

    @classmethod
    def count(cls, config: AdapterConfig, width: int, inner: int, size: int, layers: int) -> int:
        return layers * (width * size + size + 1) + size * width + width

    @classmethod
    def picture(cls) -> Drawing:
        d = Drawing(
            460,
            196,
            "A ladder beside the frozen backbone reads its pooled states; nothing trained stands before them",
        )
        heights = tower(d, 20, ("layer 1", "layer 2", "layer L"))
        for number, height in enumerate(heights):
            d.line((65, height), (196, height))
            d.box(196, height - 11, 92, 22, ("down", "gate, down", "gate, down")[number], TRAINED)
            if number:
                d.line((242, heights[number - 1] - 11), (242, height + 11))
        d.words(140, heights[1] + 12, "cached", size=11)
        d.line((170, 190), (170, 34), arrow=False, dashed=True)
        d.words(178, 184, "no gradient beyond this line", anchor="start", size=11)
        d.line((288, heights[2]), (330, heights[2]))
        d.box(330, heights[2] - 11, 44, 22, "up", TRAINED)
        d.line((374, heights[2]), (400, heights[2]), (400, 27))
        d.line((65, heights[2]), (65, 18), (391, 18))
        d.join(400, 18)
        d.line((409, 18), (445, 18))
        return d
