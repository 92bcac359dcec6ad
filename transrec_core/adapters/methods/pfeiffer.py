"""Pfeiffer: a bottleneck after the feed-forward sublayer only, which does nearly as well as two.

    h  <-  h + s (W_up f(W_down h + b_down) + b_up)          h in R^d: its output, waist m << d

Pfeiffer et al. 2021 (https://arxiv.org/abs/2005.00247). AdapterHub's reads LN(h + residual) instead of h;
here it reads h, as the Houlsby adapter does, so that the two differ in their position only. The released code
of the paper has it after the attention. Parameters for each layer: 2 d m + d + m.
"""

from __future__ import annotations

from typing import Literal

from transrec_core.adapters.drawing import Drawing, waists_behind
from transrec_core.adapters.methods.houlsby import Bottleneck, BottleneckConfig
from transrec_core.adapters.registry import register


class PfeifferConfig(BottleneckConfig):
    """Settings of :class:`Pfeiffer`."""

    method: Literal["pfeiffer"] = "pfeiffer"


@register
class Pfeiffer(Bottleneck):
    """A bottleneck after the feed-forward sublayer only (the released code has it after the attention
    instead).
    """

    Config = PfeifferConfig
    title = "Pfeiffer"
    family = "bottleneck"
    year = 2021
    references = ("arXiv:2005.00247",)
    own_position = "ffn"

    @classmethod
    def picture(cls) -> Drawing:
        return waists_behind("A bottleneck after the feed-forward sublayer", ("ffn",))
