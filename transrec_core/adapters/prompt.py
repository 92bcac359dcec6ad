"""Soft prompts: learned tokens before the input (shallow), or learned keys and values in every layer (deep, "prefix").

A prompt adds no map; it gives the frozen attention something more to look at. Prompt tokens are put before the embedded title or
picture and taken away again after the last layer, so no token or patch is lost; in the user encoder they stand before the first
item, where causal attention may look. A soft prompt is the one adapter that changes outputs from the start: attention is a
weighted mean, and new members have weight.

    prompt    X <- [P; X]                                   P in R^{n x d}, before the first layer
    prefix    K <- [P_k; K],   V <- [P_v; V]                P_k, P_v in R^{n x d}, in each adapted layer

Lester et al. 2021 (https://arxiv.org/abs/2104.08691) for text, Jia et al. 2022 (VPT-shallow, https://arxiv.org/abs/2203.12119, section 3.2) for
pictures; Li and Liang 2021 (https://arxiv.org/abs/2101.00190, equation 3), without the reparametrising network. Parameters: n d for a prompt, 2 n d
a layer for a prefix (n = 30 prompt tokens on bert-base: 23,040, as the released code counts; it cuts 30 tokens off the title for them).
"""

from __future__ import annotations

from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from transrec_core.adapters.anatomy import Site
from transrec_core.adapters.base import Adapter, AdapterConfig, register
from transrec_core.errors import UserError


@register("prompt")
class Prompt(Adapter):
    """``[P; y]``: n learned tokens [n, d] before the embedded input y [k, T, d]."""

    defaults = {"encoders": "item", "item_size": 30}
    averages = False

    def __init__(self, n_tokens: int, width: int) -> None:
        super().__init__()
        self.n_tokens = n_tokens
        self.tokens = nn.Parameter(torch.randn(n_tokens, width) * 0.02)

    @classmethod
    def roles(cls, config: AdapterConfig) -> tuple[str, ...]:
        return ("embeddings",)

    @classmethod
    def build(cls, site: Site, config: AdapterConfig) -> Self:
        fields = getattr(site.root, "config", None)
        if getattr(fields, "use_relative_position_bias", False) or getattr(fields, "use_shared_relative_position_bias", False):
            raise UserError("this encoder has a bias for each pair of patches, and none for prompt tokens; use method 'prefix'")
        return cls(config.size(site.encoder), site.width)

    def forward(self, x: Any, y: Tensor) -> Tensor:
        return torch.cat([self.tokens.expand(y.shape[0], -1, -1), y], 1)


@register("prefix")
class Prefix(Adapter):
    """``[P_k; K], [P_v; V]``: n learned keys and values, each [n, d], before those of a layer [k, heads, T, d / heads]."""

    defaults = {"item_size": 30}
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

    def forward(self, x: Any, y: tuple[Tensor, Tensor, Tensor | None]) -> tuple[Tensor, Tensor, Tensor | None]:
        keys, values, mask = y
        extended = []
        for prefix, states in ((self.keys, keys), (self.values, values)):
            heads = prefix.unflatten(-1, (states.shape[1], -1)).transpose(0, 1)  # [heads, n, d / heads]
            extended.append(torch.cat([heads.expand(states.shape[0], -1, -1, -1).to(states.dtype), states], 2))
        if mask is not None:  # True or 0 lets a position be read
            mask = F.pad(mask, (len(self.keys), 0), value=float(mask.dtype == torch.bool))
        return extended[0], extended[1], mask
