"""LoRA, rsLoRA, DoRA and (IA)3 of the item encoder in the format of the PEFT library, both ways.

A PEFT adapter is a folder with ``adapter_config.json`` and ``adapter_model.safetensors``; its keys are module
paths from the wrapped encoder:

    base_model.model.<path>.lora_A.weight              [r, d_in]        LoRA's A
    base_model.model.<path>.lora_B.weight              [d_out, r]       LoRA's B
    base_model.model.<path>.lora_magnitude_vector      [d_out]          DoRA's m
    base_model.model.<path>.ia3_l                      [d_out, 1]       (IA)3 on keys and values
    base_model.model.<path of the ffn>.ia3_l           [1, d_in]        (IA)3 on the inner activations, named
                                                                        by the map that reads them

What PEFT has no place for (adapters of the user encoder, the head, LayerNorms) is left out of an export and
has to be saved by ``save_adapter``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from transrec_core.adapters.anatomy import Site
from transrec_core.adapters.base import Adapter
from transrec_core.adapters.config import AdapterConfig
from transrec_core.adapters.mixin import AdapterMixin
from transrec_core.adapters.weights import save_tensors
from transrec_core.base.errors import UserError
from transrec_core.base.files import atomic_write

#: PEFT's own file names.
CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter_model.safetensors"

#: Our parameter -> what PEFT calls it.
KEYS = {
    "lora": {"a": "lora_A.weight", "b": "lora_B.weight"},
    "dora": {"a": "lora_A.weight", "b": "lora_B.weight", "magnitude": "lora_magnitude_vector"},
    "ia3": {"l": "ia3_l"},
}
KEYS["rslora"] = KEYS["lora"]
PREFIX = "base_model.model."


def _peft_path(site: Site) -> str:
    # PEFT names (IA)3 on an inner activation by the linear map that reads it.
    assert site.root is not None
    wanted = site.feeds if site.role == "hidden" else site.module
    return next(name for name, module in site.root.named_modules() if module is wanted)


def _item_sites(model: AdapterMixin) -> dict[str, Site]:
    roles = ("query", "key", "value", "hidden")
    return {_peft_path(site): site for site in model.sites() if site.encoder == "item" and site.role in roles}


def _group(model: AdapterMixin, name: str) -> nn.ModuleDict:
    return cast(nn.ModuleDict, model.adapters[name])


def export_peft(model: AdapterMixin, name: str, folder: str | Path, base_model: str = "") -> None:
    """Writes the item encoder's part of an adapter so that ``peft.PeftModel.from_pretrained(backbone,
    folder)`` reads it.

    Args:
        model: host of the adapter.
        name: of the adapter.
        folder: where to.
        base_model: name or path of the backbone, for the config.

    Raises:
        UserError: if there is no such adapter, or PEFT has no form for its method.
    """
    if name not in model.adapters:
        raise UserError(f"no adapter '{name}' (there are: {', '.join(model.adapters) or 'none'})")
    config, group = model.adapter_configs[name], _group(model, name)
    if config.method not in KEYS:
        known = ", ".join(sorted(KEYS))
        raise UserError(f"PEFT has no form for '{config.method}' here (it has: {known}); use save_adapter")
    tensors: dict[str, Tensor] = {}
    inner = []
    for path, site in _item_sites(model).items():
        key = site.path.replace(".", "/")
        if key not in group:
            continue
        for ours, theirs in KEYS[config.method].items():
            value = getattr(group[key], ours).detach()
            if config.method == "ia3":
                value = value[None] if site.role == "hidden" else value[:, None]
            tensors[f"{PREFIX}{path}.{theirs}"] = value.contiguous()
        inner += [path] if site.role == "hidden" else []
    if not tensors:
        raise UserError(
            f"adapter '{name}' has nothing in the item encoder to export (encoders={config.encoders})"
        )
    common = {
        "base_model_name_or_path": base_model,
        "task_type": "FEATURE_EXTRACTION",
        "inference_mode": True,
    }
    targets = sorted({_split(key, config.method)[0] for key in tensors})
    if config.method == "ia3":
        fields: dict[str, Any] = {"peft_type": "IA3", "target_modules": targets, "feedforward_modules": inner}
    else:
        fields = {
            "peft_type": "LORA",
            "target_modules": targets,
            "r": config.item_size,
            "lora_alpha": getattr(config, "alpha", None) or config.item_size,
            "lora_dropout": config.dropout,
            "bias": "none",
            "use_dora": config.method == "dora",
            "use_rslora": config.method == "rslora",
        }
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    save_tensors(folder / WEIGHTS_FILE, tensors, {"format": "pt"})
    atomic_write(folder / CONFIG_FILE, json.dumps({**fields, **common}, indent=2) + "\n")


def import_peft(model: AdapterMixin, folder: str | Path, name: str) -> AdapterConfig:
    """Adds an adapter that PEFT saved for the item encoder, and activates it.

    Args:
        model: the host that gets it.
        folder: what PEFT's ``save_pretrained`` wrote.
        name: what to call it here.

    Returns:
        The configuration it was read as.

    Raises:
        UserError: if a file is missing or damaged, the method has no counterpart here, or the adapter does
            not fit. The model is then unchanged.
    """
    folder = Path(folder)
    for file in (CONFIG_FILE, WEIGHTS_FILE):
        if not (folder / file).is_file():
            raise UserError(
                f"{folder / file}: not found; {folder} is no PEFT adapter with safetensors weights"
            )
    try:
        fields = dict(json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8")))
        tensors = load_file(folder / WEIGHTS_FILE)
    except (ValueError, TypeError, SafetensorError) as error:
        raise UserError(
            f"{folder}: damaged adapter ({str(error).splitlines()[0]}); save or download it again"
        ) from None
    method = _method(fields, folder)
    sites = _item_sites(model)
    values: dict[str, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        path, ours = _split(key, method)
        if path not in sites:
            raise UserError(
                f"{folder}: {method} can't act on '{key}' of this item encoder; it was made for another "
                "model or other targets"
            )
        values.setdefault(path, {})[ours] = value.flatten() if method == "ia3" else value
    config = _config(fields, method, [sites[path] for path in values])
    before, combine = model.active_adapters, model.combine
    model.add_adapter(name, config)
    group = _group(model, name)
    wanted = {path for path, site in sites.items() if site.path.replace(".", "/") in group}
    try:
        if wanted != set(values):
            odd = sorted(wanted ^ set(values))[0]
            raise ValueError(f"'{odd}': adapters here have the same targets in each chosen layer")
        for path, parameters in values.items():
            adapter = cast(Adapter, group[sites[path].path.replace(".", "/")])
            adapter.load_state_dict(parameters)
    except (ValueError, RuntimeError) as error:
        model.delete_adapter(name)
        model.set_adapter(before, combine)
        raise UserError(
            f"{folder}: adapter does not fit this model: {' '.join(str(error).split())}"
        ) from None
    return config


def _split(key: str, method: str) -> tuple[str, str]:
    for ours, theirs in KEYS[method].items():
        # PEFT has written the magnitude with and without ".weight".
        for ending in (theirs, theirs.removesuffix(".weight") + ".weight"):
            if key.endswith("." + ending):
                return key.removeprefix(PREFIX).removesuffix("." + ending), ours
    return key, ""


def _method(fields: dict[str, Any], folder: Path) -> str:
    kind = fields.get("peft_type")
    if kind not in ("LORA", "IA3"):
        raise UserError(
            f"{folder / CONFIG_FILE}: peft_type '{kind}' has no counterpart here (LORA and IA3 have)"
        )
    for field, plain in (
        ("bias", "none"),
        ("rank_pattern", {}),
        ("alpha_pattern", {}),
        ("modules_to_save", None),
        ("fan_in_fan_out", False),
    ):
        if fields.get(field) not in (plain, None):
            raise UserError(
                f"{folder / CONFIG_FILE}: {field}={fields[field]} is not supported; train the adapter "
                "without it"
            )
    if kind == "IA3":
        return "ia3"
    if fields.get("use_dora") and fields.get("use_rslora"):
        raise UserError(
            f"{folder / CONFIG_FILE}: DoRA with the rank-stabilised scale has no counterpart here"
        )
    return "dora" if fields.get("use_dora") else "rslora" if fields.get("use_rslora") else "lora"


def _config(fields: dict[str, Any], method: str, sites: list[Site]) -> AdapterConfig:
    layers = sorted({site.layer for site in sites})
    placement: dict[str, Any] = {
        "encoders": "item",
        "train_head": False,
        "layers": "all" if len(layers) == sites[0].n_layers else layers,
    }
    if method != "ia3":
        targets = tuple(
            role for role in ("query", "key", "value") if any(site.role == role for site in sites)
        )
        placement |= {
            "targets": targets,
            "item_size": fields["r"],
            "alpha": fields["lora_alpha"],
            "dropout": fields.get("lora_dropout", 0.0),
        }
    return AdapterConfig(method=method, **placement)
