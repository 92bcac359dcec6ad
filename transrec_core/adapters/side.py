"""A decoupled side network: it reads the frozen backbone's layers, and nothing of it runs through the backbone.

A narrow ladder climbs beside the backbone: at each layer it mixes what it has with a narrowed copy of the backbone's *pooled* state there,
through a gate, and at the top adds a widened correction to the pooled output. As nothing trained stands before the backbone's states, no
gradient runs through the backbone, and its states can be computed once for each item and kept: a training step then costs no backbone at all.

    s_l  =  f(g_l s_{l-1} + (1 - g_l) (W_l h_l + b_l)),      g_l = sigmoid(gamma_l)         h_l: pooled state after layer l, s_0 = 0
    y   <-  y + W_up s_L + b_up                                                             W_up, b_up start at zero

The ladder and its gates are from Sung et al. 2022 (LST, https://arxiv.org/abs/2206.06522, section 3.2); reading pooled states, so that they fit
a cache, from Fu et al. 2024 (IISAN, https://arxiv.org/abs/2404.02059, section 3). Parameters for L layers read: L (d m + m + 1) + m d + d.

In the user encoder "pooled" is the state at each position, so causality holds. Its input, the item vectors, is trained (by the head, if by
nothing else), so there gradients do run through the frozen blocks.
"""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor, nn

from transrec_core.adapters.anatomy import Site
from transrec_core.adapters.base import Adapter, AdapterConfig, register
from transrec_core.adapters.bottleneck import ACTIVATIONS


@register("side")
class Side(Adapter):
    """``y + up(s_L)`` from the states of all layers x [..., layers + 1, d] and the last one y [..., d].

    Args:
        width: d. size: m. layers: layers to read, from the bottom. config: its activation and dropout.
    """

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
            side = self.activation(gates[index] * side + (1 - gates[index]) * self.down[index](states[..., layer + 1, :]))
        out: Tensor = y + self.up(side)
        return out
