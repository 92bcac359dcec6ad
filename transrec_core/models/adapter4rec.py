"""Reads checkpoints of the code released with the paper (github.com/westlake-repl/Adapter4Rec) into this
project's folders.

A checkpoint is a pickled dictionary with ``model_state_dict``. It is read with ``weights_only=True``: tensors
and plain containers, no code. The map of the names is in ``adapter4rec_names.py``.

What the keys can't say is an option: heads, objective, the bottleneck's activation. Three things to know. The
released LoRA puts *fresh* query and value layers in place of the pretrained ones, and those are what its
checkpoint holds. Its parallel adapters have the keys of its serial ones, and are read as these. And histories
are padded on the left there and on the right here: scores agree for histories of full length, not for shorter
ones, whose positions differ.
"""

from __future__ import annotations

import pickle
import re
from pathlib import Path
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from transrec_core.adapters.config import AdapterConfig
from transrec_core.adapters.methods.houlsby import HoulsbyConfig
from transrec_core.adapters.methods.lora import LoRAConfig
from transrec_core.adapters.methods.pfeiffer import PfeifferConfig
from transrec_core.base.errors import UserError
from transrec_core.models.adapter4rec_names import MAE, TEXT, USER, VIT, adapter_names, base_names
from transrec_core.models.backbones import fresh_backbone
from transrec_core.models.item_encoder import ItemEncoder
from transrec_core.models.spec import ModelSpec
from transrec_core.models.transrec import TransRec

#: Parts of keys of methods that have no sound counterpart, and why.
REFUSED = {
    ".LN.": "its Pfeiffer block has a LayerNorm of its own, which no adapter here has",
    "phm_rule": "its Compacter has no skip connection",
    "W_left": "its Compacter has no skip connection",
    "com_dense": "its K-Adapter attends without a mask",
    "learned_embedding": "its soft prompt cuts tokens off the title",
    "Prompt_Tokens": "its soft prompt stands behind the patches",
    "id_embedding": "it holds an item-ID model, which can't be moved to other data",
}


def read_checkpoint(path: str | Path) -> dict[str, Tensor]:
    """The model's tensors of a checkpoint.

    Args:
        path: epoch-N.pt of the released code.

    Raises:
        UserError: if the file is missing, damaged, holds code, or is no such checkpoint.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file; give a checkpoint of the released code (epoch-N.pt)")
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged files and forbidden pickles raise a dozen kinds
        pickled = path.open("rb").read(2) in (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
        unsafe = pickled and isinstance(
            error, pickle.UnpicklingError
        )  # a class or function, which reading would import and call
        reason = (
            "it holds something other than tensors, which could run code"
            if unsafe
            else "it is damaged or no checkpoint"
        )
        raise UserError(f"{path}: not read, because {reason}") from None
    state = loaded.get("model_state_dict", loaded) if isinstance(loaded, dict) else None
    if (
        not isinstance(state, dict)
        or not state
        or not all(isinstance(k, str) and isinstance(v, Tensor) for k, v in state.items())
    ):
        raise UserError(
            f"{path}: no dictionary of tensors under 'model_state_dict'; it is not a checkpoint of the "
            "released code"
        )
    for part, reason in REFUSED.items():
        if any(part in key for key in state):
            raise UserError(f"{path}: not converted, because {reason}")
    return cast(dict[str, Tensor], state)


def convert(
    path: str | Path,
    objective: Literal["sasrec", "cpc"] = "sasrec",
    item_heads: int | None = None,
    user_heads: int = 2,
    activation: Literal["relu", "gelu"] = "relu",
) -> TransRec:
    """A TransRec, with the adapter "adapter4rec" if there is one, from a checkpoint of the released code.

    Args:
        path: the checkpoint.
        objective: what it was trained for.
        item_heads: attention heads of the backbone (by default one for each 64 of its width).
        user_heads: of the user encoder.
        activation: of the bottlenecks (``--adapter_activation``, "RELU" there by default).

    Raises:
        UserError: if the file can't be read, or a tensor is missing, left over, or of another shape than the
            rest says.
    """
    state = read_checkpoint(path)
    family = _family(state, path)
    adapters = {key: value for key, value in state.items() if re.search(r"\.adapter\d?\.|\.lora_[AB]$", key)}
    base = base_names({key: value for key, value in state.items() if key not in adapters}, family)
    spec = _spec(base, objective, user_heads)
    try:
        backbone = fresh_backbone(_backbone_fields(base, family, item_heads))
        model = TransRec(ItemEncoder(backbone, spec.dim, spec.pooling, spec.item_activation), spec)
        _load(model, base)
        if adapters:
            model.add_adapter("adapter4rec", _adapter_config(adapters, activation))
            _load(
                model.adapters["adapter4rec"],
                adapter_names(adapters, family, cast(nn.ModuleDict, model.adapters["adapter4rec"])),
            )
    except (KeyError, RuntimeError, ValueError, IndexError) as error:
        raise UserError(f"{path}: does not fit together: {' '.join(str(error).split())}") from None
    return model.eval()


def _family(state: dict[str, Tensor], path: str | Path) -> str:
    if not any(key.startswith(USER) for key in state):
        raise UserError(f"{path}: no '{USER}*'; it is not a checkpoint of the released code")
    if any(key.startswith(TEXT + "bert_model.") for key in state):
        types = next((v for k, v in state.items() if k.endswith("token_type_embeddings.weight")), None)
        return "roberta" if types is not None and len(types) == 1 else "bert"
    if any(key.startswith(VIT) for key in state):
        return "vit"
    if any(key.startswith(MAE + "encoder.") for key in state):
        return "vit_mae"
    raise UserError(
        f"{path}: neither a text nor a ViT nor a MAE encoder in it; other encoders of the released code are "
        "not converted"
    )


def _layers(names: Any, pattern: str) -> int:
    return 1 + max((int(m[1]) for name in names if (m := re.search(pattern, name))), default=-1)


def _spec(base: dict[str, Tensor], objective: Literal["sasrec", "cpc"], heads: int) -> ModelSpec:
    positions = base.get("user_encoder.positions.weight", torch.empty(2, 2))
    return ModelSpec(
        objective=objective,
        dim=positions.shape[1],
        blocks=max(1, _layers(base, r"^user_encoder\.blocks\.(\d+)\.")),
        heads=heads,
        max_len=positions.shape[0],
        pooling="cls",
        item_activation="gelu",
        user_activation="relu",
        norm_eps=1e-6,
    )


def _backbone_fields(base: dict[str, Tensor], family: str, heads: int | None) -> dict[str, Any]:
    inside = {key.removeprefix("item_encoder.backbone."): value for key, value in base.items()}
    layers = _layers(inside, r"^(?:encoder\.layer|layers)\.(\d+)\.")
    fields: dict[str, Any]
    if family in ("bert", "roberta"):
        words, width = inside["embeddings.word_embeddings.weight"].shape
        fields = {
            "vocab_size": words,
            "max_position_embeddings": len(inside["embeddings.position_embeddings.weight"]),
            "type_vocab_size": len(inside["embeddings.token_type_embeddings.weight"]),
            "intermediate_size": len(inside["encoder.layer.0.intermediate.dense.weight"]),
        }
        fields |= {"pad_token_id": 1, "layer_norm_eps": 1e-5} if family == "roberta" else {}
    else:
        patches = inside["embeddings.patch_embeddings.projection.weight"]
        width, side = patches.shape[0], round((inside["embeddings.position_embeddings"].shape[1] - 1) ** 0.5)
        fields = {
            "patch_size": patches.shape[-1],
            "image_size": side * patches.shape[-1],
            "num_channels": patches.shape[1],
            "intermediate_size": len(inside["layers.0.mlp.fc1.weight"]),
        }
    return {
        "model_type": family,
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads or max(1, width // 64),
        **fields,
    }


def _adapter_config(adapters: dict[str, Tensor], activation: Literal["relu", "gelu"]) -> AdapterConfig:
    def size(ending: str, user: bool) -> int:
        return int(
            next(len(v) for k, v in adapters.items() if k.endswith(ending) and k.startswith(USER) == user)
        )

    if any(key.endswith(".lora_A") for key in adapters):
        return LoRAConfig(
            item_size=size(".lora_A", False), user_size=size(".lora_A", True), alpha=1.0, train_head=False
        )
    both = any(".adapter2." in key for key in adapters)
    sizes = {"item_size": size("fc_down.weight", False), "user_size": size("fc_down.weight", True)}
    if both:
        return HoulsbyConfig(activation=activation, train_head=False, **sizes)
    return PfeifferConfig(position="attention", activation=activation, train_head=False, **sizes)


def _load(module: nn.Module, tensors: dict[str, Tensor]) -> None:
    wanted = {key: value for key, value in module.state_dict().items() if not key.startswith("adapters.")}
    missing, extra = sorted(wanted.keys() - tensors.keys()), sorted(tensors.keys() - wanted.keys())
    if missing or extra:
        raise ValueError(f"'{missing[0]}' is missing" if missing else f"'{extra[0]}' is left over")
    for key, value in tensors.items():
        if value.shape != wanted[key].shape:
            raise ValueError(f"'{key}' has shape {list(value.shape)}, not {list(wanted[key].shape)}")
    module.load_state_dict(tensors, strict=False)
