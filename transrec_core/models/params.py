"""How many parameters a method adds, without weights: everything is built on PyTorch's meta device.

Counts are those of the modules that attaching would really add. They equal what building the modules of the
released Adapter4Rec code gives (bert-base, d = 64: Houlsby 2,387,776; Pfeiffer at the attention 1,193,888;
K-Adapter 3,573,920; LoRA at r = 64/16 2,367,488; Compacter 60,928; prompt of 30 tokens 23,040). One count
differs: the released base model, 109,632,320, has BERT's pooler in it, which no score ever uses and which is
not built here.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from transrec_core.adapters.config import AdapterConfig
from transrec_core.adapters.registry import METHODS
from transrec_core.base.errors import UserError
from transrec_core.models.backbones import fresh_backbone
from transrec_core.models.spec import ModelSpec
from transrec_core.models.transrec import TransRec

_MINI_BERT = {"model_type": "bert", "max_position_embeddings": 512}

#: Shapes of the usual backbones, so that nothing has to be downloaded.
ENCODERS: dict[str, dict[str, Any]] = {
    "bert-base-uncased": {"model_type": "bert"},
    "bert-large-uncased": {
        "model_type": "bert",
        "hidden_size": 1024,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "intermediate_size": 4096,
    },
    "bert-tiny": {
        **_MINI_BERT,
        "hidden_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 512,
    },
    "bert-mini": {
        **_MINI_BERT,
        "hidden_size": 256,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "intermediate_size": 1024,
    },
    "bert-medium": {
        **_MINI_BERT,
        "hidden_size": 512,
        "num_hidden_layers": 8,
        "num_attention_heads": 8,
        "intermediate_size": 2048,
    },
    "roberta-base": {
        "model_type": "roberta",
        "vocab_size": 50265,
        "max_position_embeddings": 514,
        "type_vocab_size": 1,
    },
    "distilbert-base-uncased": {"model_type": "distilbert"},
    "vit-base-patch16-224": {"model_type": "vit"},
    "vit-mae-base": {"model_type": "vit_mae"},
    "beit-base-patch16-224": {
        "model_type": "beit",
        "use_relative_position_bias": True,
        "use_absolute_position_embeddings": False,
    },
}


def encoder_fields(name: str) -> dict[str, Any]:
    """Configuration of an encoder by its usual name, or from a folder with a config.json.

    Raises:
        UserError: if it is neither.
    """
    if name in ENCODERS:
        return ENCODERS[name]
    path = Path(name) / "config.json"
    try:
        fields = dict(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise UserError(
            f"encoder '{name}': no {path}, and no name known here ({', '.join(ENCODERS)})"
        ) from None
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"{path}: not readable as a configuration ({str(error).splitlines()[0]})") from None
    if "model_type" not in fields:
        raise UserError(f"{path}: no 'model_type'; give the folder of a Hugging Face encoder")
    return fields


def count(encoder: str, config: AdapterConfig, spec: ModelSpec | None = None) -> dict[str, Any]:
    """What a method adds to a TransRec around ``encoder``.

    Args:
        encoder: a key of :data:`ENCODERS`, or a folder with a config.json.
        config: the adapter.
        spec: shape of the TransRec (d = 64 by default).

    Returns:
        "method", "added" (parameters of the adapter without the head's copy), "item" and "user" (the same by
        encoder), "head" (the copy of the head), "trained" (added + head), "base" (the frozen model), "total",
        "share" (trained / total) and "bytes" (of the saved safetensors file, float32).

    Raises:
        UserError: if the encoder is unknown or the adapter does not fit it.
    """
    spec = spec or ModelSpec()
    fields = encoder_fields(encoder)
    with torch.device("meta"):
        model = TransRec.from_backbone(fresh_backbone(fields), spec, 0)
        base = sum(p.numel() for p in model.parameters())
        model.add_adapter("a", config)
    model.train_adapter("a")
    sizes: dict[str, int] = {"item": 0, "user": 0, "shared": 0, "head": 0}
    for key, adapter in model.adapters["a"].items():  # type: ignore[operator]
        part = "shared" if key == "shared" else "head" if key.endswith("projection") else key.split("_", 1)[0]
        sizes[part] += sum(p.numel() for p in adapter.parameters())
    trained, total = model.trainable_parameters()
    tensors = {k.replace("/", "."): v for k, v in model.adapters["a"].state_dict().items()}
    return {
        "method": config.method,
        "added": trained - sizes["head"],
        **sizes,
        "trained": trained,
        "base": base,
        "total": total,
        "share": trained / total,
        "bytes": file_size(tensors),
    }


def file_size(tensors: dict[str, Tensor]) -> int:
    """Bytes of a safetensors file of float32 tensors: 8, a JSON header padded to a multiple of 8, the
    numbers.
    """
    header, end = {}, 0
    for name in sorted(tensors):
        start, end = end, end + 4 * tensors[name].numel()
        header[name] = {"dtype": "F32", "shape": list(tensors[name].shape), "data_offsets": [start, end]}
    length = len(json.dumps(header, separators=(",", ":")))
    return 8 + (length + 7) // 8 * 8 + end


def table(encoder: str, spec: ModelSpec | None = None, **fields: Any) -> list[dict[str, Any]]:
    """:func:`count` of every method with its own defaults, laid under ``fields``; methods that the encoder
    cannot have are left out.
    """
    rows, refused = [], None
    for method in METHODS:
        try:
            rows.append(count(encoder, AdapterConfig(method=method, **fields), spec))
        except (UserError, ValidationError) as error:
            refused = error
    if not rows and refused is not None:
        raise refused
    return rows
