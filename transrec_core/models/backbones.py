"""Backbones of item encoders: read from a folder or the hub, or drawn at random, cut to their bottom layers.

Weights of a ViT-MAE encoder are read as a ViT: the masking belongs to pretraining. What is read is complete
and becomes single precision, or it is refused: nothing has random weights without being asked to.
"""

from __future__ import annotations

import inspect
import os
import pickle
import re
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from torch import nn
from transformers import MODEL_MAPPING, AutoConfig, AutoModel, PretrainedConfig, ViTModel
from transformers.utils import logging as hf_logging

from transrec_core.base.errors import UserError

#: What wrappers write before the names of an encoder's tensors: DDP, torch.compile and sentence-transformers.
_WRAPPERS = r"^(?:module\.|_orig_mod\.|0\.auto_model\.)+"
#: Tensors that no item vector depends on: of pretraining, and of a pooled output that is not used.
_UNUSED = re.compile(r"pooler|mask_token")
_BAD_FIELDS = (ValueError, StrictDataclassError)
_UNREADABLE = (*_BAD_FIELDS, OSError, KeyError, RuntimeError, SafetensorError, pickle.UnpicklingError)


def load_backbone(name: str, layers: int | None = None) -> nn.Module:
    """Loads a pretrained encoder in single precision, whatever precision it was saved in.

    Args:
        name: a folder with config.json and weights, or a name on the Hugging Face hub.
        layers: keep only this many layers, from the bottom.

    Returns:
        A Hugging Face encoder; one that is cut has a configuration of its own that says so.

    Raises:
        UserError: if nothing can be loaded from there, tensors are missing or of another shape than its
            config.json says, it is no encoder of titles or pictures, or it has fewer layers.
    """
    where = f"folder '{name}'" if Path(name).exists() or os.sep in name else f"hub name '{name}'"
    verbosity = hf_logging.get_verbosity()
    hf_logging.disable_progress_bar()
    hf_logging.set_verbosity_error()  # the report on the pooler, which is left out on purpose, is no news
    try:
        config = AutoConfig.from_pretrained(name)
        _refuse_others(config, where)
        keep_layers(config, layers)
        backbone, report = _class_of(config).from_pretrained(
            name,
            config=config,
            dtype=torch.float32,
            key_mapping={_WRAPPERS: ""},
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # they are in the report
            **_no_pooler(config),
        )
    except UserError:
        raise
    except _UNREADABLE as error:
        raise UserError(f"can't load an encoder from {where}: {str(error).splitlines()[0]}") from None
    finally:
        hf_logging.set_verbosity(verbosity)
    _refuse_holes(backbone, report, where)
    model: nn.Module = backbone
    return model


def fresh_backbone(config: dict[str, Any], seed: int | None = None, layers: int | None = None) -> nn.Module:
    """An encoder with random weights, in single precision.

    Args:
        config: ``model_type`` and the fields of its configuration, as ``config.to_diff_dict()`` gives them.
        seed: draws the weights; None goes on from where the random numbers are.
        layers: build only this many layers.

    Raises:
        UserError: if the family is unknown, or has fewer layers.
    """
    try:
        full = _config(config)
    except _BAD_FIELDS as error:
        reason = " ".join(str(error).split())
        raise UserError(f"can't build a '{config['model_type']}' encoder: {reason}") from None
    keep_layers(full, layers)
    if seed is not None:
        torch.manual_seed(seed)
    cls = _class_of(full)
    build = AutoModel.from_config if cls is AutoModel else cls
    model: nn.Module = build(full, **_no_pooler(full))
    return model


def keep_layers(config: Any, layers: int | None) -> None:
    """Makes a configuration that of the same encoder with its first ``layers`` layers, in place.

    The encoder is then built, or read, with no more layers than that. So it is the same one that is built
    again from the configuration after it was saved.

    Args:
        config: configuration of a Hugging Face encoder.
        layers: how many, from the bottom; None changes nothing.

    Raises:
        UserError: if it has fewer, or its family can't be cut.
    """
    if layers is None:
        return
    if not 1 <= layers <= config.num_hidden_layers:
        raise UserError(f"encoder_layers={layers}: the encoder has {config.num_hidden_layers} layers")
    config.num_hidden_layers = layers
    if getattr(config, "layer_types", None):  # ModernBERT: "full_attention", "sliding_attention", ...
        config.layer_types = config.layer_types[:layers]
    if getattr(config, "stage_names", None):  # DINOv2, BEiT: "stem", "stage1", ...
        config.stage_names = config.stage_names[: layers + 1]
        config.set_output_features_output_indices(None, None)  # the last one
    try:
        _config(config.to_diff_dict())
    except _BAD_FIELDS as error:
        reason = " ".join(str(error).split())
        raise UserError(f"encoder_layers={layers}: can't cut a '{config.model_type}' ({reason})") from None


def _config(fields: dict[str, Any]) -> Any:
    fields = {key: "float32" if key.endswith("dtype") else value for key, value in fields.items()}
    return AutoConfig.for_model(fields.pop("model_type"), **fields)


def _refuse_others(config: PretrainedConfig, where: str) -> None:
    if not hasattr(config, "hidden_size") or config.is_encoder_decoder or hasattr(config, "depths"):
        raise UserError(
            f"can't load an encoder from {where}: a '{config.model_type}' is not one stack of layers for "
            "titles or pictures; of a model of several parts (CLIP, T5) save one part with save_pretrained"
        )


def _refuse_holes(backbone: nn.Module, report: dict[str, Any], where: str) -> None:
    misfits = sorted(report["mismatched_keys"])
    if misfits:
        name, given, wanted = misfits[0]
        raise UserError(
            f"can't load an encoder from {where}: '{name}' is {list(given)} in the weights and "
            f"{list(wanted)} by config.json; the two belong to different encoders"
        )
    missing = sorted(name for name in report["missing_keys"] if not _UNUSED.search(name))
    if missing:
        names = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
        raise UserError(
            f"can't load an encoder from {where}: {len(missing)} of its {len(backbone.state_dict())} tensors "
            f"are not in the weights ({names}); save it again with save_pretrained of its own class"
        )


def _class_of(config: PretrainedConfig) -> Any:
    return ViTModel if config.model_type in ("vit", "vit_mae") else AutoModel


def _no_pooler(config: PretrainedConfig) -> dict[str, bool]:
    """The pooler is never used; families without one do not know the argument."""
    models: Any = MODEL_MAPPING
    cls = ViTModel if _class_of(config) is ViTModel else models.get(type(config), AutoModel)
    known = inspect.isclass(cls) and "add_pooling_layer" in inspect.signature(cls).parameters
    return {"add_pooling_layer": False} if known else {}
