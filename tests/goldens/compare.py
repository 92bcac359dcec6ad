"""Our adapters with the parameters of the goldens, on the goldens' inputs: how far are the outputs apart?"""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from transrec_core.adapters import AdapterConfig
from transrec_core.models import ModelSpec, TransRec, load_backbone

HERE = Path(__file__).parent
SIZES = {"item_size": 4, "user_size": 4, "encoders": "item", "train_head": False}
CONFIGS = {
    "parallel": {"activation": "relu"},
    "lora": {"alpha": 8},
    "dora": {"alpha": 8},
    "rslora": {"alpha": 8},
}
NOTES = {
    ("pfeiffer", "adapters"): "with original_ln_before=False",
    ("prompt", "peft"): "position embeddings zero; PEFT's prompt is normalised first",
    ("dora", "peft"): "adapters 1.3 stretches the bias as well, so only PEFT",
    ("parallel", "adapters"): "in a pre-norm encoder it reads the residual stream instead, so only for BERT",
}


def names() -> list[str]:
    """All goldens as BACKBONE-METHOD-LIBRARY."""
    return sorted(path.stem for path in HERE.glob("*-*-*.safetensors"))


def difference(name: str) -> tuple[float, float]:
    """Largest absolute difference between our output and a golden's, and the largest change that the
    adapter makes to the output.
    """
    family, method, library = name.split("-")
    golden = load_file(HERE / f"{name}.safetensors")
    features = load_file(HERE / family / "inputs.safetensors")
    model = TransRec.from_backbone(load_backbone(str(HERE / family)), ModelSpec(dim=8), 0).eval()
    backbone = model.item_encoder.backbone
    with torch.no_grad():
        plain = backbone(**features).last_hidden_state
        model.add_adapter("a", AdapterConfig(method=method, **SIZES, **CONFIGS.get(method, {})))
        state = model.adapters["a"].state_dict()
        given = _ours(golden, family, method, library, backbone)
        assert state.keys() == given.keys(), f"{name}: {sorted(state.keys() ^ given.keys())[:4]}"
        model.adapters["a"].load_state_dict(given)
        output = backbone(**features).last_hidden_state
    return float((output - golden["output"]).abs().max()), float((golden["output"] - plain).abs().max())


def table() -> pd.DataFrame:
    """All goldens as a table."""
    rows = []
    for name in names():
        family, method, library = name.split("-")
        with safe_open(HERE / f"{name}.safetensors", framework="pt") as file:
            versions = file.metadata()
        off, effect = difference(name)
        rows.append(
            {
                "method": method,
                "backbone": family,
                "against": f"{library} {versions[library]}",
                "max |difference|": off,
                "max |effect|": effect,
                "note": NOTES.get((method, library), ""),
            }
        )
    return pd.DataFrame(rows)


def _ours(
    golden: dict[str, Tensor], family: str, method: str, library: str, backbone: torch.nn.Module
) -> dict[str, Tensor]:
    """A golden's parameters under our names."""
    found: dict[str, Tensor] = {}
    for key, value in golden.items():
        if key == "output":
            continue
        if "phm_rule" in key:
            found["shared.a"] = value
        elif "prompt" in key:
            norm = getattr(backbone.embeddings, "LayerNorm", None)
            tokens = norm(value) if library == "peft" and norm is not None else value
            found["item_encoder/backbone/embeddings.tokens"] = tokens
        else:
            if "control_trans" in key:  # prefixes of all layers: [n, keys and values of each layer, d]
                for place, part in enumerate(value.view(4, 4, 16).unbind(1)):
                    found[f"{_site(key, place // 2, family, method)}.{('keys', 'values')[place % 2]}"] = part
                continue
            layer = int(re.search(r"layers?\.(\d+)\.", key)[1])  # type: ignore[index]
            for part, tensor in _parts(key, value).items():
                found[f"{_site(key, layer, family, method)}.{part}"] = tensor
    return found


def _site(key: str, layer: int, family: str, method: str) -> str:
    """Our path of the site that a golden's key speaks of."""
    bert, vit = {"base": f"encoder/layer/{layer}"}, {"base": f"layers/{layer}"}
    bert |= {
        "attention": "attention/output/dense",
        "ffn": "output/dense",
        "query": "attention/self/query",
        "key": "attention/self/key",
        "value": "attention/self/value",
        "hidden": "intermediate",
        "attend": "attention/self",
    }
    vit |= {
        "attention": "attention/o_proj",
        "ffn": "mlp/fc2",
        "query": "attention/q_proj",
        "key": "attention/k_proj",
        "value": "attention/v_proj",
        "hidden": "mlp/activation_fn",
        "attend": "attention",
    }
    paths = bert if family == "bert" else vit
    if method == "prefix":
        role = "attend"
    elif projection := re.search(r"\.(query|key|value)\.", key):
        role = projection[1]
    elif method == "ia3":
        role = "hidden"
    else:
        role = "attention" if "attention.output" in key or "attention_adapters" in key else "ffn"
    return f"item_encoder/backbone/{paths['base']}/{paths[role]}"


def _parts(key: str, value: Tensor) -> dict[str, Tensor]:
    """Our parameter names for one of a golden's parameters."""
    endings = {
        "adapter_down.0.W_left": ("down.s", lambda v: v[..., 0]),
        "adapter_down.0.W_right": ("down.t", lambda v: v[:, 0]),
        "adapter_up.W_left": ("up.s", lambda v: v[..., 0]),
        "adapter_up.W_right": ("up.t", lambda v: v[:, 0]),
        "adapter_down.0.b": ("down.bias", None),
        "adapter_up.b": ("up.bias", None),
        "adapter_down.0.weight": ("down.weight", None),
        "adapter_down.0.bias": ("down.bias", None),
        "adapter_up.weight": ("up.weight", None),
        "adapter_up.bias": ("up.bias", None),
        "lora_A": ("a", None),
        "lora_B": ("b", None),
        "lora_A.default.weight": ("a", None),
        "lora_B.default.weight": ("b", None),
        "lora_magnitude_vector.default.weight": ("magnitude", None),
        "ia3_l.default": ("l", torch.flatten),
    }
    for ending, (ours, change) in endings.items():
        if key.endswith("." + ending):
            return {ours: value if change is None else change(value)}
    raise KeyError(f"{key} {tuple(value.shape)}")
