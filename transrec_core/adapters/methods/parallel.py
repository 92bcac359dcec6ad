"""Parallel: a bottleneck beside the feed-forward sublayer, which reads what the sublayer reads.

    h  <-  h + s (W_up f(W_down x + b_down) + b_up)          x, h in R^d: its input and output

He et al. 2022 (https://arxiv.org/abs/2110.04366, table 1 and section 4.3), with s = 4. Parameters for each
layer: 2 d m + d + m.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from transrec_core.adapters.drawing import Drawing
from transrec_core.adapters.methods.houlsby import Bottleneck, BottleneckConfig
from transrec_core.adapters.registry import register


class ParallelConfig(BottleneckConfig):
    """Settings of :class:`Parallel`: other defaults, the fields are those of every bottleneck."""

    method: Literal["parallel"] = "parallel"
    form: Literal["serial", "parallel"] = "parallel"
    scale: float = Field(4.0, gt=0)


@register
class Parallel(Bottleneck):
    """A bottleneck beside the feed-forward sublayer, its correction scaled by 4 as in He et al.

    The released code lets the block add its own input once more before the residual sum does; here there is
    one residual.
    """

    Config = ParallelConfig
    title = "parallel"
    family = "bottleneck"
    year = 2022
    references = ("arXiv:2110.04366",)
    own_position = "ffn"

    @classmethod
    def picture(cls) -> Drawing:
        d = Drawing(460, 110, "A bottleneck beside the feed-forward sublayer, scaled and added to its output")
        d.line((10, 40), (110, 40))
        d.box(110, 22, 100, 36, "feed-forward")
        d.line((210, 40), (311, 40))
        d.line((60, 40), (60, 84), (110, 84))
        d.waist(110, 68, 100, 32)
        d.line((210, 84), (250, 84))
        d.words(268, 84, "× s")
        d.line((286, 84), (320, 84), (320, 49))
        d.join(320, 40)
        d.line((329, 40), (384, 40))
        d.words(392, 40, "residual\nsum", anchor="start", size=11)
        return d
