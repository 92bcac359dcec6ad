"""K-Adapter: small transformers beside the backbone, that read some of its layers.

Each adapter narrows the states of one backbone layer, with what the one before it gave, runs two small
transformer layers over them and widens them again; at the end, the last adapter's states and the backbone's
are mixed. Nothing inside the backbone changes. The mix starts as the backbone's own states (its matrix is the
identity beside zero), so at the start nothing changes.

    s_j  =  u_j + W_up T(T(W_down u_j)),     u_j = h_{l_j} + s_{j-1}
    y   <-  y + W [y; s_last] + b

with h_l the states after layer l and s_0 = 0; W starts at zero.

Wang et al. 2021 (https://arxiv.org/abs/2002.01808, section 3.2 and figure 2), with one hidden size m. By
default at the first and the last layer, as the released code has it for BERT. Parameters with K adapters on
width d: K (2 d m + d + m + 2 (12 m^2 + 9 m)) + 2 d^2 + d (3,573,920 on bert-base and d = 64 with m = 192 /
16, as the released code counts).

The released code gives these transformers no mask, so that in the user encoder position t reads its own
target; here they have the padding and causal masks of the encoder they stand beside.
"""

from __future__ import annotations

from typing import Literal, Self

import torch
from pydantic import Field
from torch import Tensor, nn

from transrec_core.adapters.anatomy import Site
from transrec_core.adapters.base import Adapter, Trace
from transrec_core.adapters.config import AdapterConfig
from transrec_core.adapters.drawing import TRAINED, Drawing, tower
from transrec_core.adapters.layers import PostNormLayer
from transrec_core.adapters.registry import register


class KAdapterConfig(AdapterConfig):
    """Settings of :class:`KAdapter`: by default beside the first and the last layer, hidden size 192."""

    method: Literal["k_adapter"] = "k_adapter"
    layers: Literal["all"] | list[int] | str = [0, -1]
    item_size: int = Field(192, ge=1)


class Beside(nn.Module):
    """One adapter beside the backbone: narrow, two transformer layers, widen, and a skip connection."""

    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.down = nn.Linear(width, size)
        self.layers = nn.ModuleList(PostNormLayer(size) for _ in range(2))
        self.up = nn.Linear(size, width)

    def forward(self, x: Tensor, mask: Tensor | None, causal: bool) -> Tensor:
        z = self.down(x)
        for layer in self.layers:
            z = layer(z, mask, causal)
        out: Tensor = x + self.up(z)
        return out


@register
class KAdapter(Adapter):
    """``y + W [y; s] + b`` with s from the encoder's :class:`Trace`, y [k, T, d].

    Args:
        width: d.
        size: m.
        layers: backbone layers to read, from the bottom.
        dropout: on what is read.
    """

    Config = KAdapterConfig
    title = "K-Adapter"
    family = "beside the backbone"
    year = 2021
    references = ("arXiv:2002.01808",)
    grid = (2.5e-3, 5e-3, 1e-2, 2e-2)  # it is made of transformer layers

    def __init__(self, width: int, size: int, layers: list[int], dropout: float = 0.0) -> None:
        super().__init__()
        self.layers = layers
        self.beside = nn.ModuleList(Beside(width, size) for _ in layers)
        self.mix = nn.Linear(2 * width, width)
        self.dropout = nn.Dropout(dropout)
        nn.init.zeros_(self.mix.weight)
        nn.init.zeros_(self.mix.bias)

    @classmethod
    def roles(cls, config: AdapterConfig) -> tuple[str, ...]:
        return ("states",)

    @classmethod
    def build(cls, site: Site, config: AdapterConfig) -> Self:
        layers = sorted(config.chosen_layers(site.n_layers))
        return cls(site.width, config.size(site.encoder), layers, config.dropout)

    def forward(self, x: Trace, y: Tensor) -> Tensor:
        mask = None if x.mask is None else x.mask[:, None, None].bool()
        added = torch.zeros_like(y)
        for layer, beside in zip(self.layers, self.beside, strict=True):
            added = beside(self.dropout(x.states[layer + 1]) + added, mask, x.causal)
        out: Tensor = y + self.mix(torch.cat([y, added], -1))
        return out

    @classmethod
    def count(cls, config: AdapterConfig, width: int, inner: int, size: int, layers: int) -> int:
        d, m = width, size
        return layers * (2 * d * m + d + m + 2 * (12 * m**2 + 9 * m)) + 2 * d**2 + d

    @classmethod
    def picture(cls) -> Drawing:
        d = Drawing(
            460,
            196,
            (
                "Small transformers beside the backbone read its first and last layer; a mix adds what they "
                "found"
            ),
        )
        heights = tower(d, 20, ("layer 1", "…", "layer L"))
        for height in (heights[0], heights[2]):
            d.line((65, height), (180, height))
            d.box(180, height - 17, 130, 34, "down, 2 small\nlayers, up", TRAINED)
        d.line((245, heights[0] - 17), (245, heights[2] + 17))
        d.words(258, (heights[0] + heights[2]) / 2, "added", anchor="start", size=11)
        d.line((310, heights[2]), (366, heights[2]), (366, 31))
        d.line((65, heights[2]), (65, 18), (340, 18))
        d.box(340, 5, 52, 26, "mix", TRAINED)
        d.line((392, 18), (440, 18))
        return d
