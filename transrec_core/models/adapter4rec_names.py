"""Names of tensors in checkpoints of the released code, and what they are called here.

With N for a layer and M for a block; ``T`` is ``bert_encoder.text_encoders.title``, ``C`` is
``cv_encoder.image_net``, ``U`` is ``user_encoder.transformer_encoder``:

    theirs                                              ours
    T.bert_model.*                                      item_encoder.backbone.* (the pooler is dropped)
    T.fc.*                                              item_encoder.projection.*
    C.vit.* (ViT), C.* (MAE)                            item_encoder.backbone.*
    C.classifier.* (ViT), cv_encoder.cv_proj.* (MAE)    item_encoder.projection.*
    U.position_embedding, U.layer_norm                  user_encoder.positions, .norm
    U.transformer_blocks.M.multi_head_attention.        user_encoder.blocks.M.attention.
        w_Q, w_K, w_V, fc                                   query, key, value, output
    U.transformer_blocks.M.feed_forward.w_1, w_2        user_encoder.blocks.M.ffn.input, output
    ...output.self_output.dense, ...transformer_block.* the same without the wrapper's name
    ...attention.output.adapter.fc_down / fc_up,        Houlsby or Pfeiffer behind the attention:
        ...adapter1                                         down / up
    ...output.adapter.fc_down / fc_up, ...adapter2      Houlsby behind the feed-forward sublayer
    ...query.lora_A / lora_B, ...w_Q.lora_A / lora_B    LoRA: a / b, with loralib's alpha = 1
"""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import Tensor, nn

TEXT, VIT, MAE = "bert_encoder.text_encoders.title.", "cv_encoder.image_net.vit.", "cv_encoder.image_net."
USER = "user_encoder.transformer_encoder."

#: Patterns on their keys, in order; the first that matches is applied.
_BACKBONE = [(r"\.self_output\.", "."), (r"^", "item_encoder.backbone.")]
_VIT = [
    (r"^encoder\.layer\.(\d+)\.", r"layers.\1."),
    (r"attention\.attention\.(query|key|value)", lambda m: "attention." + m[1][0] + "_proj"),
    (r"attention\.output\.dense", "attention.o_proj"),
    (r"intermediate\.dense", "mlp.fc1"),
    (r"(?<!attention)\.output\.dense", ".mlp.fc2"),
]
_USER = [
    (r"^position_embedding\.", "positions."),
    (r"^layer_norm\.", "norm."),
    (r"^transformer_blocks\.(\d+)\.(transformer_block\.)?", r"blocks.\1."),
    (r"multi_head_attention\.layer_norm", "attention_norm"),
    (r"multi_head_attention\.", "attention."),
    (r"feed_forward\.layer_norm", "ffn_norm"),
    (r"feed_forward\.", "ffn."),
    (r"\.w_Q\.", ".query."),
    (r"\.w_K\.", ".key."),
    (r"\.w_V\.", ".value."),
    (r"attention\.fc\.", "attention.output."),
    (r"\.w_1\.", ".input."),
    (r"\.w_2\.", ".output."),
    (r"^", "user_encoder."),
]


def _replaced(key: str, patterns: list[Any]) -> str:
    for pattern, replacement in patterns:
        key = re.sub(pattern, replacement, key, count=1)
    return key


def _item_name(key: str, family: str) -> str | None:
    """Their key of the item encoder -> ours; None for what is not used."""
    if family in ("bert", "roberta"):
        key = key.removeprefix(TEXT)
        if key.startswith("fc."):
            return f"item_encoder.projection.{key[3:]}"
        key = key.removeprefix("bert_model.")
        return (
            None
            if key.startswith("pooler.") or "position_ids" in key or "token_type_ids" in key
            else _replaced(key, _BACKBONE)
        )
    for head in ("cv_encoder.image_net.classifier.", "cv_encoder.cv_proj."):
        if key.startswith(head):
            return f"item_encoder.projection.{key.removeprefix(head)}"
    key = key.removeprefix(VIT if family == "vit" else MAE)
    return (
        None
        if key.startswith("pooler.")
        else _replaced(key.replace(".self_output.", "."), [*_VIT, (r"^", "item_encoder.backbone.")])
    )


def base_names(state: dict[str, Tensor], family: str) -> dict[str, Tensor]:
    """The tensors of a model without adapters, by our names.

    Args:
        state: theirs.
        family: of the item encoder: "bert", "roberta", "vit" or "vit_mae".
    """
    named = {}
    for key, value in state.items():
        name = _replaced(key.removeprefix(USER), _USER) if key.startswith(USER) else _item_name(key, family)
        if name is not None:
            named[name] = value
    return named


def adapter_names(adapters: dict[str, Tensor], family: str, group: nn.ModuleDict) -> dict[str, Tensor]:
    """The tensors of an adapter, by our names.

    Args:
        adapters: theirs.
        family: of the item encoder.
        group: the adapter here.
    """
    named = {}
    for key, value in adapters.items():
        part = re.sub(r"fc_(down|up)", r"\1", key.rsplit(".", 2)[-2]) + "." + key.rsplit(".", 1)[1]
        if key.endswith(("lora_A", "lora_B")):
            site, part = key.rsplit(".", 1)[0] + ".weight", key[-1].lower()
        elif key.startswith(USER):
            layer = "multi_head_attention.fc" if ".adapter1." in key else "feed_forward.w_2"
            site = re.sub(r"adapter\d?\..*", f"{layer}.weight", key)
        else:
            site = re.sub(r"adapter\..*", "dense.weight", key)
        name = _replaced(site.removeprefix(USER), _USER) if key.startswith(USER) else _item_name(site, family)
        named[f"{str(name).removesuffix('.weight').replace('.', '/')}.{part}"] = value
    # The image code trains SASRec's value projection as a fresh layer without a low-rank part: an update of
    # zero, with the weight itself in the base.
    for key, tensor in group.state_dict().items():
        if key not in named and key.startswith("user_encoder") and "/value." in key:
            named[key] = torch.zeros_like(tensor)
    return named
