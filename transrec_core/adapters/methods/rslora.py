"""rsLoRA: LoRA with a scale that keeps the update from fading as the rank grows.

    W x  ->  W x + (alpha / sqrt(r)) B A x

Kalajdzievski 2023 (https://arxiv.org/abs/2312.03732, equation 4). Of rsLoRA and AdaLoRA this is the one here:
it is one line and merges like LoRA, while AdaLoRA prunes ranks on a schedule that the trainer would have to
know. Parameters as LoRA's.
"""

from __future__ import annotations

import math
from typing import Literal

from transrec_core.adapters.drawing import Drawing, low_rank_picture
from transrec_core.adapters.methods.lora import LoRA, LoRAConfig
from transrec_core.adapters.registry import register


class RsLoRAConfig(LoRAConfig):
    """Settings of :class:`RsLoRA`, those of LoRA."""

    method: Literal["rslora"] = "rslora"


@register
class RsLoRA(LoRA):
    """LoRA with the rank-stabilised scale alpha / sqrt(r)."""

    Config = RsLoRAConfig
    title = "rsLoRA"
    family = "low rank"
    year = 2023
    references = ("arXiv:2312.03732",)
    grid = (2.5e-3, 5e-3, 1e-2, 2e-2)  # its update is sqrt(rank) times LoRA's

    @staticmethod
    def scale_of(alpha: float, rank: int) -> float:
        return alpha / math.sqrt(rank)

    @classmethod
    def picture(cls) -> Drawing:
        return low_rank_picture(
            "A low-rank product beside a frozen weight, scaled by the root of the rank", "× α / √r"
        )
