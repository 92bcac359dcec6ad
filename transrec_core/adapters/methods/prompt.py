"""Soft prompt: learned tokens before the input.

A prompt adds no map; it gives the frozen attention something more to look at. Prompt tokens are put before
the embedded title or picture and taken away again after the last layer, so no token or patch is lost; in the
user encoder they stand before the first item, where causal attention may look. A soft prompt changes outputs
from the start: attention is a weighted mean, and new members have weight.

    X <- [P; X]                                   P in R^{n x d}, before the first layer

Lester et al. 2021 (https://arxiv.org/abs/2104.08691) for text, Jia et al. 2022 (VPT-shallow,
https://arxiv.org/abs/2203.12119, section 3.2) for pictures. Parameters: n d (n = 30 prompt tokens on
bert-base: 23,040, as the released code counts; it cuts 30 tokens off the title for them).
"""

from __future__ import annotations

from typing import Any, Literal, Self

import torch
from pydantic import Field
from torch import Tensor, nn

from transrec_core.adapters.anatomy import Site
from transrec_core.adapters.base import Adapter
from transrec_core.adapters.config import AdapterConfig
from transrec_core.adapters.drawing import FROZEN, PLAIN, TRAINED, Drawing
from transrec_core.adapters.registry import register
from transrec_core.base.errors import UserError


class PromptConfig(AdapterConfig):
    """Settings of :class:`Prompt`: by default 30 tokens, in the item encoder only."""

    method: Literal["prompt"] = "prompt"
    encoders: Literal["item", "user", "both"] = "item"
    item_size: int = Field(30, ge=1)


@register
class Prompt(Adapter):
    """``[P; y]``: n learned tokens [n, d] before the embedded input y [k, T, d]."""

    Config = PromptConfig
    title = "prompt"
    family = "soft prompt"
    year = 2021
    references = ("arXiv:2104.08691", "arXiv:2203.12119")
    grid = (1e-2, 3e-2, 1e-1, 3e-1)
    identity_at_start = False
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
        if getattr(fields, "use_relative_position_bias", False) or getattr(
            fields, "use_shared_relative_position_bias", False
        ):
            raise UserError(
                "this encoder has a bias for each pair of patches, and none for prompt tokens; use method "
                "'prefix'"
            )
        return cls(config.size(site.encoder), site.width)

    def forward(self, x: Any, y: Tensor) -> Tensor:
        return torch.cat([self.tokens.expand(y.shape[0], -1, -1), y], 1)

    @classmethod
    def count(cls, config: AdapterConfig, width: int, inner: int, size: int, layers: int) -> int:
        return size * width

    @classmethod
    def picture(cls) -> Drawing:
        d = Drawing(460, 112, "Learned tokens enter before the first layer and leave after the last one")
        for i in range(3):
            d.box(10 + 26 * i, 66, 24, 24, "P", TRAINED)
        for i in range(5):
            d.box(94 + 26 * i, 66, 24, 24, "x", FROZEN)
        d.words(160, 104, "embedded title or picture", size=11)
        d.line((112, 64), (112, 48))
        d.box(10, 14, 214, 34, "all layers, frozen")
        d.line((224, 31), (262, 31))
        for i in range(3):
            d.box(262 + 24 * i, 19, 22, 24, "", PLAIN)
            d.line((262 + 24 * i, 43), (284 + 24 * i, 19), arrow=False)
        for i in range(5):
            d.box(338 + 24 * i, 19, 22, 24, "", FROZEN)
        d.words(360, 60, "prompt states are dropped,\nnothing of the input is", size=11)
        return d
