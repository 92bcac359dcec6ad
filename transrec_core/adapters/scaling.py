"""The smallest adapters: (IA)3, BitFit and LayerNorm tuning. They train vectors, no matrix.

(IA)3 multiplies keys, values and the inner activations of the feed-forward sublayer by learned vectors that start at one;
BitFit trains the biases; LayerNorm tuning trains gains and biases of the norms. All three fold into the frozen weights.

    (IA)3      k <- l_k * k,   v <- l_v * v,   f(W_1 x) <- l_ff * f(W_1 x)
    BitFit     W x + b  <-  W x + b + c                                          c starts at zero
    LayerNorm  g * z + b  with trained copies of g and b

Liu et al. 2022 (https://arxiv.org/abs/2205.05638, section 3.3); Ben Zaken et al. 2022 (https://arxiv.org/abs/2106.10199); for norms alone
e.g. Zhao et al. 2024 (https://arxiv.org/abs/2312.11420). Parameters for each layer of width d with inner width f: (IA)3 2 d + f; BitFit the number of
biases (7 d + f where all have one, as in BERT); LayerNorm 4 d.
"""

from __future__ import annotations

from typing import Any, Self

import torch
from torch import Tensor, nn

from transrec_core.adapters.anatomy import Site
from transrec_core.adapters.base import Adapter, AdapterConfig, Replica, register


@register("ia3")
class IA3(Adapter):
    """``l * y`` on keys, values and the inner activations, y [..., size]."""

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


@register("bitfit")
class BitFit(Adapter):
    """``y + c`` behind every module of the adapted layers that has a bias (SASRec's attention has none), y [..., size]."""

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


@register("layernorm")
class LayerNormTuning(Replica):
    """Trained copies of the LayerNorms of the adapted layers."""

    @classmethod
    def roles(cls, config: AdapterConfig) -> tuple[str, ...]:
        return ("norm",)
