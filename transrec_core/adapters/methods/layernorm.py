"""LayerNorm tuning: trained copies of gain and bias of the LayerNorms of the adapted layers.

    g * z + b  with trained copies of g and b

E.g. Zhao et al. 2024 (https://arxiv.org/abs/2312.11420). They fold into the frozen norms. Parameters for each
layer of width d: 4 d.
"""

from __future__ import annotations

from typing import Literal

from transrec_core.adapters.base import VECTORS, Replica
from transrec_core.adapters.config import AdapterConfig
from transrec_core.adapters.drawing import FROZEN, TRAINED, Drawing, layer_picture
from transrec_core.adapters.registry import register


class LayerNormTuningConfig(AdapterConfig):
    """Settings of :class:`LayerNormTuning`, those of every adapter."""

    method: Literal["layernorm"] = "layernorm"


@register
class LayerNormTuning(Replica):
    """Trained copies of the LayerNorms of the adapted layers."""

    Config = LayerNormTuningConfig
    title = "LayerNorm"
    family = "vectors"
    year = 2024
    references = ("arXiv:2312.11420",)
    grid = VECTORS
    merges = True

    @classmethod
    def roles(cls, config: AdapterConfig) -> tuple[str, ...]:
        return ("norm",)

    @classmethod
    def count(cls, config: AdapterConfig, width: int, inner: int, size: int, layers: int) -> int:
        return layers * 4 * width

    @classmethod
    def picture(cls) -> Drawing:
        d = layer_picture("Gain and bias of the LayerNorms are trained copies", ())
        d.parts = [p.replace(FROZEN, TRAINED) if 'width="10"' in p else p for p in d.parts]
        return d
