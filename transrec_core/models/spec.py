"""The shape of a model as plain data; nothing heavy is imported to read one."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from transrec_core.base.config import StrictModel


class ModelSpec(StrictModel):
    """Shape and objective of a TransRec, apart from its backbone.

    Attributes:
        objective: "sasrec" (loss at every position) or "cpc" (at the last one).
        dim: size d of item and user vectors, a multiple of ``heads``.
        blocks: transformer blocks of the user encoder.
        heads: attention heads of each.
        max_len: how many of a user's last items are read.
        dropout: in the user encoder.
        pooling: how token or patch states become one vector: their mean, or the first one's state (as in the
            paper).
        encoder_layers: keep only this many layers of the backbone, from the bottom; None keeps all.
        item_activation: on the item vector (the released code of the paper: "gelu").
        user_activation: in the user encoder's feed-forward part (there: "relu").
        norm_eps: of the user encoder's LayerNorms (there: 1e-6).
    """

    objective: Literal["sasrec", "cpc"] = "sasrec"
    dim: int = Field(64, ge=1)
    blocks: int = Field(2, ge=1)
    heads: int = Field(2, ge=1)
    max_len: int = Field(20, ge=2)
    dropout: float = Field(0.1, ge=0, lt=1)
    pooling: Literal["cls", "mean"] = "mean"
    encoder_layers: int | None = Field(None, ge=1)
    item_activation: Literal["none", "gelu"] = "none"
    user_activation: Literal["gelu", "relu"] = "gelu"
    norm_eps: float = Field(1e-5, gt=0)
